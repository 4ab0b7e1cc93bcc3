//! Backups of a store in use: what they wait for, how they fail, and that nothing is left half
//! done. What they hold is in `meaning/backup.rs`.

mod common;

use common::peer::{self, Peer};
use common::{
    add, bounded, check, counters, device, devices, error_of, files_with, options, place, raw, sys,
    SetOnDrop,
};
use pool_metadata::{BackupOptions, DeviceInfo, Error, OpenOptions, PoolMetadata};
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

/// What a store holds: devices with their generations, ids, counters.
fn contents(store: &PoolMetadata) -> impl PartialEq + std::fmt::Debug {
    let ids = store.walk().unwrap().ids().unwrap();
    (devices(store), ids, counters(store))
}

/// Fails if a file is at the path, or beside it.
fn assert_nothing_at(path: &Path) {
    for suffix in ["", "-lock"] {
        assert!(!with(path, suffix).exists(), "{suffix:?} is there");
    }
    assert_eq!(files_with(path, ".partial"), Vec::<PathBuf>::new());
}

#[test]
fn backup_of_a_store_that_is_written_is_of_one_moment() {
    let (directory, path) = place();
    let store = bounded(10_000).open(&path).unwrap();
    for n in 0..200 {
        add(&store, format!("device-{n}"));
    }
    let mut peer = Peer::start("backup::write_on", &path);
    peer.expect("ready");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let end = SetOnDrop(&stop);
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
        drop(end);
        assert!(
            commits.is_sorted() && commits[0] < commits[59],
            "{commits:?}"
        );
    });
    peer.kill();
    check(&store);
}

#[test]
fn backup_waits_for_no_writer() {
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
fn disk_that_is_full_or_fails_leaves_nothing_behind() {
    let (directory, path) = place();
    let store = lived_in(&path);
    let copy = directory.path().join("copy");
    for options in [plain(), compact()] {
        for (calls, errno) in [
            (sys::WRITES, libc::ENOSPC),
            (sys::WRITES, libc::EDQUOT),
            (sys::WRITES, libc::EIO),
            (sys::FLUSHES, libc::EIO),
            (&[libc::SYS_renameat2][..], libc::EIO),
            (&[libc::SYS_openat][..], libc::EMFILE),
        ] {
            let error = error_of(sys::with_errno(calls, errno, None, || {
                store.backup(&copy, &options)
            }));
            assert_eq!(error.os_error(), Some(errno), "{error:?}");
            let full = matches!(errno, libc::ENOSPC | libc::EDQUOT);
            assert_eq!(full, matches!(error, Error::DiskFull { .. }), "{error:?}");
            assert!(
                error.to_string().contains(copy.to_str().unwrap()),
                "{error}"
            );
            assert_nothing_at(&copy);
        }
        // The store does not suffer from it.
        add(&store, format!("after-{options:?}"));
    }
    check(&store);
    store.backup(&copy, &plain()).unwrap();
}

#[test]
fn closed_store_and_forked_child_make_no_backup() {
    let (directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    let copy = directory.path().join("copy");
    assert!(sys::in_forked_child(|| {
        matches!(store.backup(&copy, &plain()), Err(Error::Forked))
    }));
    store.close().unwrap();
    assert_error!(store.backup(&copy, &plain()), Error::Closed);
    assert_nothing_at(&copy);
}

#[test]
fn read_only_store_is_backed_up() {
    let (directory, path) = place();
    lived_in(&path).close().unwrap();
    let store = OpenOptions::new().read_only(true).open(&path).unwrap();
    for (name, options) in [("plain", plain()), ("compact", compact())] {
        let copy = directory.path().join(name);
        store.backup(&copy, &options).unwrap();
        let copied = PoolMetadata::open(&copy).unwrap();
        assert_eq!(contents(&copied), contents(&store));
    }
}

/// A sound backup can have any name that a person would choose.
#[test]
fn no_file_beside_the_destination_is_overwritten() {
    let (directory, path) = place();
    let store = options(50).open(&path).unwrap();
    add(&store, "base");
    let copy = directory.path().join("monday");
    let mut others = Vec::new();
    for suffix in [
        ".partial",
        ".partial-",
        ".partial-1",
        ".partial-20261129",
        ".new",
    ] {
        let other = with(&copy, suffix);
        store.backup(&other, &plain()).unwrap();
        others.push((std::fs::read(&other).unwrap(), other));
    }
    for suffix in [
        ".partial-0123456789abcdeg",
        ".partial-0123456789abcdef.db",
        ".restoring",
    ] {
        let other = with(&copy, suffix);
        std::fs::write(&other, "notes").unwrap();
        others.push((b"notes".to_vec(), other));
    }
    add(&store, "more");
    store.backup(&copy, &plain()).unwrap();
    let restored = directory.path().join("restored");
    OpenOptions::new().restore(&copy, &restored).unwrap();
    for (content, other) in others {
        assert!(std::fs::read(&other).unwrap() == content, "{other:?}");
    }
    check(&PoolMetadata::open(&copy).unwrap());
}

#[test]
fn temporary_file_is_removed_only_from_a_killed_backup() {
    let (directory, path) = place();
    let store = options(50).open(&path).unwrap();
    add(&store, "base");
    let copy = directory.path().join("copy");
    let temporary = with(&copy, ".partial-0123456789abcdef");
    // A file that a killed backup has left, whatever it got to, is removed by the next one.
    let whole = directory.path().join("whole");
    store.backup(&whole, &plain()).unwrap();
    let whole = std::fs::read(whole).unwrap();
    for left in [&[], &[0; 3 << 20][..], &whole[..5000], &whole] {
        std::fs::write(&temporary, left).unwrap();
        store.backup(&copy, &plain()).unwrap();
        assert!(!temporary.exists());
        let facts = std::fs::metadata(&copy).unwrap();
        assert!(facts.len() < 1 << 20 && facts.permissions().mode() & 0o7777 == 0o600);
        check(&PoolMetadata::open(&copy).unwrap());
        std::fs::remove_file(&copy).unwrap();
        std::fs::remove_file(raw::lock_path(&copy)).unwrap();
    }
    // One that is a store in use, or has been one, is left alone, and so is everything that is no
    // regular file.
    std::fs::write(&temporary, &whole).unwrap();
    let other = PoolMetadata::open(&temporary).unwrap();
    let again = || {
        store.backup(&copy, &plain()).unwrap();
        std::fs::remove_file(&copy).unwrap();
    };
    again();
    add(&other, "other");
    other.close().unwrap();
    again();
    check(&PoolMetadata::open(&temporary).unwrap());
    std::fs::remove_file(&temporary).unwrap();
    std::fs::remove_file(raw::lock_path(&temporary)).unwrap();
    std::fs::create_dir(&temporary).unwrap();
    again();
    std::fs::remove_dir(&temporary).unwrap();
    std::os::unix::fs::symlink(&path, &temporary).unwrap();
    again();
    assert!(temporary.is_symlink());
    check(&store);
    // So is a file that has the name of the backup's lock file.
    std::fs::write(
        raw::lock_path(&copy),
        "not a lock file, and not to be removed",
    )
    .unwrap();
    assert_error!(store.backup(&copy, &plain()), Error::InvalidPath { .. });
    assert!(raw::lock_path(&copy).exists() && !copy.exists());
}

#[test]
fn backup_killed_at_any_moment_leaves_nothing_or_a_whole_one() {
    let (_directory, path) = place();
    lived_in(&path).close().unwrap();
    let copy = with(&path, ".copy");
    let (mut none, mut whole, mut temporary_files) = (0, 0, 0);
    let mut round = 0;
    // A slow machine takes more rounds until the process has been killed at every moment.
    while round < 60 || ((whole == 0 || temporary_files == 0) && round < 600) {
        peer::start_and_kill(
            "backup::back_up_on",
            &path,
            round * 997 % (40_000 << (round / 60)),
        );
        round += 1;
        let left = files_with(&copy, ".partial").len();
        assert!(left <= 1, "the next backup removes what was left");
        temporary_files += left;
        if copy.exists() {
            let copied = PoolMetadata::open(&copy).unwrap();
            check(&copied);
            assert_eq!(copied.get_device("longest").unwrap().error.len(), 1 << 20);
            whole += 1;
            copied.close().unwrap();
            std::fs::remove_file(&copy).unwrap();
        } else {
            none += 1;
        }
    }
    println!("{none} without, {whole} with a backup, {temporary_files} temporary files");
    assert!(whole > 0 && temporary_files > 0);
    check(&PoolMetadata::open(&path).unwrap());
}
