//! A store on a read-only file system can be read: LMDB keeps no reader table there, so as long as
//! anybody can write the same file by another mount, it is either that or reading here, never both.

mod common;

use common::peer::{self, Peer};
use common::{add, check, error_of, options, place, wait_until};
use pool_metadata::{DeviceInfo, Error, OpenOptions, PoolMetadata};
use std::path::Path;
use std::process::{Command, Stdio};

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

    let script = "mount --bind \"$1\" \"$1\" && mount -o remount,ro,bind \"$1\" && \
                  exec \"$2\" --exact store_on_a_read_only_file_system_is_read";
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(directory.path())
        .arg(std::env::current_exe().unwrap())
        .env(INSIDE, &path)
        .output()
        .unwrap();
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

/// A reader to whom the store's directory is mounted read-only.
fn reader_on_a_read_only_mount(store: &Path) -> Peer {
    let directory = store.parent().unwrap();
    let inner = peer::command("read_only_fs::reader", store);
    let script =
        "mount --bind \"$1\" \"$1\" && mount -o remount,ro,bind \"$1\" && shift && exec \"$@\"";
    let mut outer = Command::new("unshare");
    outer
        .args(["--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(directory)
        .arg(inner.get_program())
        .args(inner.get_args())
        .envs(
            inner
                .get_envs()
                .filter_map(|(key, value)| Some((key, value?))),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut peer = Peer::spawn(&mut outer).unwrap();
    peer.expect("ready");
    peer
}

fn order(peer: &mut Peer, line: &str, answer: &str) {
    peer.tell(line);
    peer.expect(answer);
}

#[test]
fn store_open_for_writing_is_not_read_through_a_read_only_mount() {
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    add(&store, "base");
    let mut peer = reader_on_a_read_only_mount(&path);
    order(&mut peer, "open", "already open");
    // Neither has that disturbed the writer, nor is anything left behind by which a second try
    // succeeds.
    add(&store, "snap");
    order(&mut peer, "open", "already open");
    check(&store);
    store.close().unwrap();
    order(&mut peer, "open", "2 devices");
    peer.finish();
}

#[test]
fn store_read_through_a_read_only_mount_is_not_opened_for_writing() {
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    add(&store, "base");
    store.close().unwrap();
    let mut peers = [
        reader_on_a_read_only_mount(&path),
        reader_on_a_read_only_mount(&path),
    ];
    let refused = || {
        let error = error_of(options(200).open(&path));
        match &error {
            Error::AlreadyOpen { path: of, why } => {
                assert_eq!(**of, *path);
                assert!(why.contains("read-only"), "{why}");
            }
            other => panic!("{other:?}"),
        }
    };
    // Readers go together; the last of them keeps writers out.
    for peer in &mut peers {
        order(peer, "open", "1 devices");
        refused();
    }
    for peer in &mut peers {
        refused();
        order(peer, "read", "1 devices");
        order(peer, "close", "closed");
    }
    let store = options(200).open(&path).unwrap();
    add(&store, "snap");
    check(&store);
    order(&mut peers[0], "open", "already open");
    store.close().unwrap();
    // One that is killed keeps nobody out.
    let [mut first, second] = peers;
    order(&mut first, "open", "2 devices");
    first.kill();
    second.finish();
    add(&options(200).open(&path).unwrap(), "third");
}

/// A viewer that looks in for a moment must not keep a daemon from starting.
#[test]
fn writer_waits_for_the_end_of_a_read_through_a_read_only_mount() {
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    add(&store, "base");
    store.close().unwrap();
    let mut reader = reader_on_a_read_only_mount(&path);
    let mut late = reader_on_a_read_only_mount(&path);
    order(&mut reader, "open", "1 devices");
    std::thread::scope(|scope| {
        let opening = scope.spawn(|| options(60_000).open(&path));
        // Once the writer waits, no reader begins. One that was faster did not meet it.
        wait_until("the writer keeps readers out", || {
            late.tell("open");
            let refused = late.hear() == "already open";
            if !refused {
                order(&mut late, "close", "closed");
            }
            refused
        });
        assert!(!opening.is_finished());
        order(&mut reader, "read", "1 devices");
        order(&mut reader, "close", "closed");
        let store = opening.join().unwrap().unwrap();
        add(&store, "snap");
        check(&store);
    });
    order(&mut late, "open", "2 devices");
    reader.finish();
    late.finish();
}
