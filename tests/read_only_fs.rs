//! A store on a read-only file system can be read, whoever has it open by another mount. The handle
//! reads a private copy, of which nobody else notices anything.

mod common;

use common::peer::{self, Peer};
use common::{add, assorted, check, mounts, options, place, raw, SetOnDrop};
use pool_metadata::{DeviceInfo, Error, OpenOptions, PoolMetadata, RepairOptions};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

/// Set to the store's path in the process that runs on the read-only mount.
const INSIDE: &str = "PM_TEST_READ_ONLY_STORE";

#[test]
fn store_on_a_read_only_file_system_is_read() {
    if let Some(path) = std::env::var_os(INSIDE) {
        return inside(Path::new(&path));
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pool.db");
    let store = PoolMetadata::open(&path).unwrap();
    store.add_device(&mut DeviceInfo::new("base")).unwrap();
    drop(store);
    std::fs::remove_file(directory.path().join("pool.db-lock")).unwrap();

    let mut itself = Command::new(std::env::current_exe().unwrap());
    itself
        .args(["--exact", "store_on_a_read_only_file_system_is_read"])
        .env(INSIDE, &path);
    let Some(mut command) = mounts::with_read_only(directory.path(), &itself) else {
        return;
    };
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat())
    );
}

fn inside(path: &Path) {
    let store = OpenOptions::new().read_only(true).open(path).unwrap();
    assert_eq!(store.get_device("base").unwrap().device_id, 1);
    assert_eq!(store.get_device_names().unwrap(), [b"base"]);
    store.verify().unwrap();
    assert!(matches!(
        store.remove_device("base"),
        Err(Error::ReadOnly { .. })
    ));
    store.close().unwrap();
    assert!(matches!(
        PoolMetadata::open(path),
        Err(Error::ReadOnlyFileSystem { .. })
    ));
}

/// A viewer to whom the store's directory is mounted read-only, if that can be.
fn viewer_on_a_read_only_mount(store: &Path) -> Option<Peer> {
    let inner = peer::command("viewers::viewer", store);
    let mut outer = mounts::with_read_only(store.parent().unwrap(), &inner)?;
    outer.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut peer = Peer::spawn(&mut outer).unwrap();
    peer.expect("ready");
    Some(peer)
}

#[test]
fn store_open_for_writing_is_read_through_a_read_only_mount() {
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    add(&store, "base");
    let Some(mut viewer) = viewer_on_a_read_only_mount(&path) else {
        return;
    };
    viewer.order("open", "copy of 1");
    add(&store, "snap");
    // It reads on as of when it was opened.
    viewer.order("read", "copy of 1");
    viewer.order("open", "copy of 2");
    assert_eq!(store.stats().unwrap().readers_active, 0);
    check(&store);
    viewer.finish();
}

/// A viewer that looks in, for a moment or for good, keeps nothing from being done with the store.
#[test]
fn viewer_on_a_read_only_mount_keeps_nobody_from_the_store() {
    let (directory, path) = assorted();
    let Some(mut viewer) = viewer_on_a_read_only_mount(&path) else {
        return;
    };
    viewer.order("open", "copy of 3");
    // Nothing is waited for: not to write, nor to have the store alone.
    let store = options(0).open(&path).unwrap();
    add(&store, "more");
    let backup = directory.path().join("backup.db");
    store.backup(&backup, &Default::default()).unwrap();
    store.close().unwrap();
    raw::edit(&path, |txn, tables| {
        txn.del(tables.ids, &[0, 0, 0, 0, 6], None).unwrap();
    });
    let repaired = options(0).repair(&path, &RepairOptions::new()).unwrap();
    assert!(repaired.after.is_sound());
    options(0).restore(&backup, &path).unwrap();
    viewer.order("read", "copy of 3");
    viewer.order("open", "copy of 4");
    viewer.finish();
    check(&options(0).open(&path).unwrap());
}

/// The copy starts over when a writer has been too fast for it.
#[test]
fn viewer_reads_a_whole_commit_under_a_writer_that_never_pauses() {
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    for number in 0..200 {
        add(&store, format!("device-{number:03}"));
    }
    let Some(mut viewer) = viewer_on_a_read_only_mount(&path) else {
        return;
    };
    let viewed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = SetOnDrop(&viewed);
        scope.spawn(|| {
            for number in (0..200).cycle() {
                if viewed.load(Ordering::Relaxed) {
                    return;
                }
                let name = format!("device-{number:03}");
                store.remove_device(&name).unwrap();
                add(&store, name);
            }
        });
        for _ in 0..30 {
            viewer.tell("open");
            let view = viewer.hear();
            assert!(["copy of 199", "copy of 200"].contains(&&*view), "{view}");
        }
    });
    viewer.finish();
    check(&store);
}
