//! Backups of a store in use: what they hold, what they wait for, how they fail, and that nothing
//! is left half done.

#[path = "../common/mod.rs"]
mod common;
mod trouble;

use common::peer::{self, Peer};
use common::{add, check, device, devices, error_of, options, place, raw, sys};
use pool_metadata::{BackupOptions, DeviceInfo, Error, OpenOptions, PoolMetadata, Verify};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

fn plain() -> BackupOptions {
    BackupOptions::new()
}

fn compact() -> BackupOptions {
    let mut options = plain();
    options.compact(true);
    options
}

fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A store with all that a store can hold: free and faulty ids, a faulty device, and texts on pages
/// of their own.
fn lived_in(path: &Path) -> PoolMetadata {
    let store = options(1000).open(path).unwrap();
    for n in 0..300 {
        add(&store, format!("device-{n:03}"));
    }
    for n in (0..300).step_by(7) {
        store.remove_device(format!("device-{n:03}")).unwrap();
    }
    store.mark_faulty("device-001").unwrap();
    store.mark_faulty("device-002").unwrap();
    store.add_device(&mut device("device-002")).unwrap();
    for (name, len) in [("long", 100_000), ("longest", 1 << 20)] {
        let mut device = DeviceInfo::new(name);
        device.error = vec![b'e'; len];
        store.add_device(&mut device).unwrap();
    }
    check(&store);
    store
}

/// Everything that a store says of itself: devices with generations, ids, counters.
fn contents(store: &PoolMetadata) -> impl PartialEq + std::fmt::Debug {
    let stats = store.stats().unwrap();
    let ids = store.walk().unwrap().ids().unwrap();
    let counters = [
        stats.devices,
        stats.taken_ids,
        stats.free_ids,
        stats.faulty_ids,
        stats.last_id,
        stats.commits,
    ];
    (devices(store), ids, counters)
}

/// Nothing is at the path, or beside it.
fn assert_nothing_at(path: &Path) {
    for suffix in ["", "-lock", ".partial", ".partial-lock"] {
        assert!(!with(path, suffix).exists(), "{suffix:?} is there");
    }
}

#[test]
fn a_backup_is_a_store_with_the_same_contents() {
    let (directory, path) = place();
    let store = lived_in(&path);
    for (name, options) in [("plain", plain()), ("compact", compact())] {
        let copy = directory.path().join(name);
        store.backup(&copy, &options).unwrap();
        let mode = std::fs::metadata(&copy).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert!(!with(&copy, "-lock").exists() && !with(&copy, ".partial").exists());
        let copied = PoolMetadata::open(&copy).unwrap();
        check(&copied);
        assert_eq!(contents(&copied), contents(&store), "{name}");
        // Both go on, each by itself.
        let ids = [&store, &copied].map(|store| add(store, name).device_id);
        assert_eq!(ids[0], ids[1]);
        for n in 0..100 {
            add(&copied, format!("more-{n}"));
        }
        check(&copied);
        copied.close().unwrap();
        check(&PoolMetadata::open(&copy).unwrap());
        assert!(store.get_device("more-1").is_err());
        store.remove_device(name).unwrap();
    }
    check(&store);
}

#[test]
fn a_compacted_backup_is_smaller() {
    let (directory, path) = place();
    let store = lived_in(&path);
    for n in 0..300 {
        let _ = store.remove_device(format!("device-{n:03}"));
    }
    store.remove_device("longest").unwrap();
    let [a, b] = ["a", "b"].map(|name| directory.path().join(name));
    store.backup(&a, &plain()).unwrap();
    store.backup(&b, &compact()).unwrap();
    let [a, b] = [a, b].map(|path| std::fs::metadata(path).unwrap().len());
    assert!(b < 200_000 && b < a / 2, "{b} bytes of {a}");
}

#[test]
fn an_empty_store() {
    let (directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    for (name, options) in [("plain", plain()), ("compact", compact())] {
        let copy = directory.path().join(name);
        store.backup(&copy, &options).unwrap();
        let copied = PoolMetadata::open(&copy).unwrap();
        assert_eq!(add(&copied, "first").device_id, 1);
        check(&copied);
    }
}

/// Says so when it is dropped, so that nobody waits for a test that has failed.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn every_backup_of_a_store_that_is_written_is_of_one_moment() {
    let (directory, path) = place();
    let store = options(10_000).open(&path).unwrap();
    for n in 0..200 {
        add(&store, format!("device-{n}"));
    }
    let mut peer = Peer::start("backup::write_on", &path);
    peer.expect("ready");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = Stop(&stop);
        for writer in 0..2 {
            let (store, stop) = (&store, &stop);
            scope.spawn(move || {
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let mut device = device(format!("writer-{writer}-{}", n % 50));
                    device.error = vec![b'x'; n * 37 % 9000];
                    let _ = store.add_device(&mut device);
                    let _ = store.remove_device(format!("writer-{writer}-{}", n * 7 % 50));
                }
            });
        }
        let mut commits = Vec::new();
        for round in 0..60 {
            let copy = directory.path().join(format!("copy-{round}"));
            let options = if round % 2 == 0 { plain() } else { compact() };
            store.backup(&copy, &options).unwrap();
            let copied = PoolMetadata::open(&copy).unwrap();
            check(&copied);
            commits.push(copied.stats().unwrap().commits);
            add(&copied, "one more");
            check(&copied);
            copied.close().unwrap();
            std::fs::remove_file(&copy).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        assert!(
            commits.is_sorted() && commits[0] < commits[59],
            "{commits:?}"
        );
    });
    peer.kill();
    check(&store);
}

#[test]
fn a_backup_waits_for_no_writer() {
    let (directory, path) = place();
    let store = options(50).open(&path).unwrap();
    add(&store, "base");
    let mut peer = Peer::start("backup::hold_lmdb_lock", &path);
    peer.expect("held");
    for (name, options) in [("plain", plain()), ("compact", compact())] {
        let start = Instant::now();
        let copy = directory.path().join(name);
        store.backup(&copy, &options).unwrap();
        assert!(start.elapsed() < Duration::from_secs(5));
        let copied = PoolMetadata::open(&copy).unwrap();
        assert_eq!(devices(&copied), devices(&store));
    }
    peer.finish();
}

#[test]
fn from_inside_a_callback() {
    let (directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    add(&store, "base");
    let copy = directory.path().join("copy");
    store
        .update_device("base", |_| store.backup(&copy, &plain()))
        .unwrap();
    check(&PoolMetadata::open(&copy).unwrap());
}

#[test]
fn what_is_there_is_kept_unless_it_is_a_store_to_be_replaced() {
    let (directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    add(&store, "base");
    let at = |name: &str| directory.path().join(name);
    let mut overwrite = plain();
    overwrite.overwrite(true);
    // Of other kinds: never.
    std::fs::write(at("text"), "some text that is long enough to be looked at").unwrap();
    std::fs::write(at("bbolt"), raw::bbolt_file()).unwrap();
    raw::foreign(&at("foreign"), |environment| {
        raw::put_rows(environment, [(b"k".to_vec(), b"v".to_vec())]);
    });
    std::fs::create_dir(at("directory")).unwrap();
    sys::make_fifo(&at("fifo"));
    std::os::unix::fs::symlink("nowhere", at("link")).unwrap();
    for name in ["text", "bbolt", "foreign"] {
        let before = std::fs::read(at(name)).unwrap();
        assert_error!(store.backup(at(name), &plain()), Error::FileExists { .. });
        let error = error_of(store.backup(at(name), &overwrite));
        let expected = match name {
            "text" => matches!(error, Error::NotAStore { .. }),
            "bbolt" => matches!(error, Error::BboltFile { .. }),
            _ => matches!(error, Error::ForeignLmdb { .. }),
        };
        assert!(expected, "{name}: {error:?}");
        assert!(std::fs::read(at(name)).unwrap() == before);
    }
    for name in ["directory", "fifo"] {
        assert_error!(store.backup(at(name), &plain()), Error::FileExists { .. });
        assert_error!(
            store.backup(at(name), &overwrite),
            Error::NotRegularFile { .. }
        );
    }
    for options in [plain(), overwrite.clone()] {
        assert_error!(
            store.backup(at("link"), &options),
            Error::InvalidPath { .. }
        );
        assert_error!(store.backup("", &options), Error::InvalidPath { .. });
        assert_error!(
            store.backup(at("no/where"), &options),
            Error::NoSuchFile { .. }
        );
        assert_error!(
            store.backup(at(&"n".repeat(300)), &options),
            Error::InvalidPath { .. }
        );
    }
    // The store itself, and one that another process or this one has open.
    assert_error!(store.backup(&path, &plain()), Error::FileExists { .. });
    assert_error!(store.backup(&path, &overwrite), Error::AlreadyOpen { .. });
    let other = PoolMetadata::open(at("other")).unwrap();
    assert_error!(
        store.backup(at("other"), &overwrite),
        Error::AlreadyOpen { .. }
    );
    add(&other, "other");
    other.close().unwrap();
    let mut peer = Peer::start("backup::hold_lmdb_lock", at("other"));
    peer.expect("held");
    peer.finish();
    // A store that nobody has open is replaced, its lock file goes with it.
    store.backup(at("other"), &overwrite).unwrap();
    assert!(!with(&at("other"), "-lock").exists());
    let other = PoolMetadata::open(at("other")).unwrap();
    assert_eq!(devices(&other), devices(&store));
    other.close().unwrap();
    // A damaged one is, too.
    let len = std::fs::metadata(at("other")).unwrap().len();
    let file = std::fs::File::options()
        .write(true)
        .open(at("other"))
        .unwrap();
    file.set_len(len / 2).unwrap();
    store.backup(at("other"), &overwrite).unwrap();
    check(&PoolMetadata::open(at("other")).unwrap());
}

#[test]
fn a_store_that_another_process_has_open_is_not_overwritten() {
    let (directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    let target = directory.path().join("target");
    PoolMetadata::open(&target).unwrap().close().unwrap();
    let mut peer = Peer::start("backup::write_on", &target);
    peer.expect("ready");
    let mut overwrite = plain();
    overwrite.overwrite(true);
    assert_error!(store.backup(&target, &overwrite), Error::AlreadyOpen { .. });
    peer.kill();
    store.backup(&target, &overwrite).unwrap();
}
