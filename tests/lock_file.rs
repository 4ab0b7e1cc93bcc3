//! What is at `<path>-lock`. LMDB takes whatever it finds there for its reader table and writes
//! over it, so a file of somebody else is refused, untouched; what LMDB left behind is taken over.

mod common;

use common::peer::Peer;
use common::{add, check, error_of, lone_reader_shares, place, Barrier};
use pool_metadata::{BackupOptions, Error, OpenOptions, PoolMetadata, RepairOptions};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{symlink, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread;

fn lock_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-lock");
    name.into()
}

/// Opens the path in both ways; the lock file's path has to be named.
fn refused(path: &Path, read_only: bool) {
    let error = error_of(OpenOptions::new().read_only(read_only).open(path));
    assert!(matches!(error, Error::InvalidPath { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains("-lock"), "{message}");
}

/// Nothing is made, and nothing written, where the lock file is somebody else's.
fn refused_beside(make: &dyn Fn(&Path), unchanged: &dyn Fn(&Path)) {
    // No store there: none is made.
    let (directory, path) = place();
    let lock = lock_of(&path);
    make(&lock);
    refused(&path, false);
    unchanged(&lock);
    let names: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| !name.to_str().unwrap().starts_with("other"))
        .collect();
    assert!(!path.exists() && names.len() == 1, "{names:?}");
    // A store there: it stays as it is.
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    add(&store, "base");
    store.close().unwrap();
    let (lock, bytes) = (lock_of(&path), fs::read(&path).unwrap());
    fs::remove_file(&lock).unwrap();
    make(&lock);
    for read_only in [false, true] {
        if read_only && !lone_reader_shares(&path) {
            // Its private copy needs no lock file.
            let store = OpenOptions::new().read_only(true).open(&path).unwrap();
            assert_eq!(store.get_device_names().unwrap(), [b"base"]);
        } else {
            refused(&path, read_only);
        }
        unchanged(&lock);
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
}

#[test]
fn store_in_place_of_a_lock_file_is_refused() {
    refused_beside(
        &|lock| {
            let store = PoolMetadata::open(lock).unwrap();
            add(&store, "other");
            store.close().unwrap();
            fs::remove_file(lock_of(lock)).unwrap();
        },
        &|lock| {
            let store = OpenOptions::new().read_only(true).open(lock).unwrap();
            assert_eq!(store.get_device_names().unwrap(), [b"other"]);
            check(&store);
            store.close().unwrap();
            assert!(!lock_of(lock).exists());
        },
    );
}

/// The store that is called like the lock file of another is in use, and stays so.
#[test]
fn open_store_in_place_of_a_lock_file_is_refused() {
    let (_directory, path) = place();
    let store = PoolMetadata::open(lock_of(&path)).unwrap();
    add(&store, "base");
    refused(&path, false);
    assert!(!path.exists());
    add(&store, "snap");
    check(&store);
    store.close().unwrap();
    check(&PoolMetadata::open(lock_of(&path)).unwrap());
}

#[test]
fn other_bytes_in_place_of_a_lock_file_are_refused() {
    let whole_pages = b"#!/bin/sh\n".repeat(4096);
    for bytes in [&b"just some text\n"[..], &b"x"[..], &whole_pages] {
        refused_beside(&|lock| fs::write(lock, bytes).unwrap(), &|lock| {
            assert_eq!(fs::read(lock).unwrap(), bytes);
        });
    }
}

#[test]
fn directory_in_place_of_a_lock_file_is_refused() {
    refused_beside(&|lock| fs::create_dir(lock).unwrap(), &|lock| {
        assert_eq!(fs::read_dir(lock).unwrap().count(), 0);
    });
}

#[test]
fn link_in_place_of_a_lock_file_is_refused() {
    // To a file of somebody else, which LMDB would write over, and to none, which it would make.
    for text in [Some("text"), None] {
        let target = |lock: &Path| lock.with_file_name("other");
        refused_beside(
            &|lock| {
                if let Some(text) = text {
                    fs::write(target(lock), text).unwrap();
                }
                symlink("other", lock).unwrap();
            },
            &|lock| {
                assert_eq!(fs::read_link(lock).unwrap(), Path::new("other"));
                assert_eq!(fs::read_to_string(target(lock)).ok().as_deref(), text);
            },
        );
    }
}

/// A store with one device more than it had, by way of whatever lock file there is.
fn goes_on(path: &Path, devices: u64) {
    let store = PoolMetadata::open(path).unwrap();
    add(&store, format!("device-{devices}"));
    assert_eq!(store.stats().unwrap().devices, devices);
    check(&store);
    store.close().unwrap();
    let store = OpenOptions::new().read_only(true).open(path).unwrap();
    check(&store);
}

#[test]
fn lock_file_that_was_left_is_taken_over() {
    let (_directory, path) = place();
    let lock = lock_of(&path);
    goes_on(&path, 1);
    let left = fs::read(&lock).unwrap();
    assert!(!left.is_empty());
    goes_on(&path, 2);
    // Never filled; cut off by a crash; and one that another store's process left.
    // LMDB makes the locks in it first and marks it then: that is what a process that opens it at
    // this moment finds.
    let mut unmarked = left.clone();
    unmarked[..8].fill(0);
    let found = [vec![], vec![0; 8192], vec![0; 3], left, unmarked];
    for (devices, bytes) in (3..).zip(found) {
        fs::write(&lock, bytes).unwrap();
        goes_on(&path, devices);
    }
    // One that is longer, for more readers than this opener asks for.
    let mut options = OpenOptions::new();
    options.max_readers(2000).open(&path).unwrap();
    goes_on(&path, 8);
}

#[test]
fn new_store_takes_over_an_empty_lock_file() {
    for bytes in [vec![], vec![0; 4096]] {
        let (_directory, path) = place();
        fs::write(lock_of(&path), bytes).unwrap();
        goes_on(&path, 1);
    }
}

/// A process that closes any descriptor of a lock file loses LMDB's lock on it, by which others see
/// that it lives: they would give its readers' places back, and write over what it reads. So
/// nothing opens a lock file that is in use here.
#[test]
fn lock_file_in_use_by_this_process_is_not_opened() {
    let (directory, path) = place();
    let at = |name: &str| directory.path().join(name);
    let store = PoolMetadata::open(&path).unwrap();
    add(&store, "base");
    let walk = store.walk().unwrap();
    symlink(lock_of(&path), at("link")).unwrap();
    fs::hard_link(lock_of(&path), at("hard-link")).unwrap();
    let options = OpenOptions::new();
    for lock in [lock_of(&path), at("link"), at("hard-link")] {
        let mut replace = BackupOptions::new();
        let errors = [
            error_of(options.open(&lock)),
            error_of(options.clone().read_only(true).open(&lock)),
            error_of(options.check_file(&lock, 1)),
            error_of(options.repair(&lock, &RepairOptions::new())),
            error_of(options.restore(&lock, at("new.db"))),
            error_of(options.restore(&path, &lock)),
            error_of(store.backup(&lock, replace.overwrite(true))),
        ];
        for error in errors {
            let text = error.to_string();
            assert!(matches!(error, Error::AlreadyOpen { .. }), "{text}");
        }
        Peer::start("lock_file::sees_a_walk", &path).finish();
    }
    drop(walk);
    check(&store);
    // Nor for another store that comes to be beside it.
    fs::remove_file(&path).unwrap();
    for error in [
        error_of(PoolMetadata::open(&path)),
        error_of(store.backup(&path, &BackupOptions::new())),
    ] {
        assert!(matches!(error, Error::AlreadyOpen { .. }), "{error}");
    }
    store.close().unwrap();
    check(&PoolMetadata::open(&path).unwrap());
}

/// The ranges that this process has locked in the file by its process id, as LMDB does.
fn own_locks(file: &Path) -> BTreeSet<String> {
    let (pid, inode) = (std::process::id(), fs::metadata(file).unwrap().ino());
    let range = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let [_, "POSIX", _, _, owner, at, start, end] = words[..] else {
            return None;
        };
        let ours = owner == pid.to_string() && at.ends_with(&format!(":{inode}"));
        ours.then(|| format!("{start} {end}"))
    };
    let locks = fs::read_to_string("/proc/locks").unwrap();
    locks.lines().filter_map(range).collect()
}

/// One of them gets the store. The others have opened and closed its files to examine them, which
/// must not cost it its locks.
#[test]
fn threads_that_create_one_store_at_once_leave_its_locks_alone() {
    for _ in 0..400 {
        let (_directory, path) = place();
        let begin = Barrier::new(3);
        let open = || {
            begin.wait();
            PoolMetadata::open(&path)
        };
        let stores: Vec<_> = thread::scope(|scope| {
            let openers = [(); 3].map(|()| scope.spawn(open));
            openers.map(|opener| opener.join().unwrap()).into()
        });
        let refused = |result: &&Result<PoolMetadata, Error>| {
            matches!(result, Err(Error::AlreadyOpen { .. }))
        };
        assert_eq!(stores.iter().filter(refused).count(), 2, "{stores:?}");
        // The lock of the file and the reader's lock. The list is not read in one moment, so
        // changes of other processes can hide a line of it.
        let both = || own_locks(&lock_of(&path)).len() == 2;
        assert!((0..50).any(|_| both()), "{:?}", own_locks(&lock_of(&path)));
    }
}
