//! Creating a store: never half of one, never two, never over somebody else's file; and what a
//! process may not do.

mod common;

use common::child::{self, Peer};
use common::{add, check, device, devices, directory, options, place, raw, sys};
use pool_metadata::{DeviceState, Error, OpenOptions, PoolMetadata, Verify};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Barrier;

#[test]
fn child_entry() {
    child::entry(|role, argument| match role {
        "create" => create_in_child(argument.as_ref()),
        "create-until-killed" => create_until_killed(argument.as_ref()),
        "no-permission" => no_permission(argument.as_ref()),
        "little-space" => little_address_space(argument.as_ref()),
        other => panic!("no role {other}"),
    });
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Opens the store when the parent says so, and adds one device.
fn create_in_child(directory: &Path) {
    child::say("ready");
    while let Some(name) = child::listen() {
        let store = PoolMetadata::open(directory.join(name)).unwrap();
        add(&store, std::process::id().to_string());
        store.close().unwrap();
        child::say("done");
    }
}

#[test]
fn processes_that_create_the_same_store_at_once() {
    let directory = directory();
    let mut peers: Vec<Peer> = (0..3)
        .map(|_| Peer::start("create", directory.path()))
        .collect();
    peers.iter_mut().for_each(|peer| peer.expect("ready"));
    for round in 0..40 {
        let name = format!("pool-{round}");
        peers.iter_mut().for_each(|peer| peer.tell(&name));
        peers.iter_mut().for_each(|peer| peer.expect("done"));
        let path = directory.path().join(&name);
        let store = PoolMetadata::open(&path).unwrap();
        assert_eq!(devices(&store).len(), 3, "all are in the one store");
        check(&store);
        store.close().unwrap();
        fs::remove_file(&path).unwrap();
        fs::remove_file(raw::lock_path(&path)).unwrap();
    }
    peers.into_iter().for_each(Peer::finish);
    assert_eq!(
        names_in(directory.path()),
        [""; 0],
        "nothing is left behind"
    );
}

#[test]
fn threads_that_create_the_same_store_at_once() {
    for _ in 0..50 {
        let (directory, path) = place();
        let start = Barrier::new(4);
        let opened: Vec<_> = std::thread::scope(|scope| {
            let open = || {
                start.wait();
                PoolMetadata::open(&path)
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        // Kept open, so that the others cannot have it one after the other.
        let mut stores = Vec::new();
        for result in opened {
            match result {
                Ok(store) => {
                    check(&store);
                    stores.push(store);
                }
                Err(Error::AlreadyOpen { .. }) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        assert_eq!(stores.len(), 1);
        assert_eq!(names_in(directory.path()), ["pool.db", "pool.db-lock"]);
    }
}

/// Creates one store after the other until it is killed.
fn create_until_killed(directory: &Path) {
    child::say("ready");
    for number in 0.. {
        let path = directory.join(format!("{number}.db"));
        let store = PoolMetadata::open(&path).unwrap();
        drop(store);
    }
}

#[test]
fn a_creator_that_is_killed_leaves_no_store_or_a_whole_one() {
    for round in 0..30 {
        let directory = directory();
        let mut peer = Peer::start("create-until-killed", directory.path());
        peer.expect("ready");
        std::thread::sleep(std::time::Duration::from_micros(700 * round));
        peer.kill();
        let found = names_in(directory.path());
        for name in found.iter().filter(|name| name.ends_with(".db")) {
            let path = directory.path().join(name);
            assert!(fs::metadata(&path).unwrap().len() > 0);
            let mut look = OpenOptions::new();
            check(&look.read_only(true).open(&path).unwrap());
        }
        // Whatever it was at: the next one comes through, and takes over what was left.
        let stores: BTreeSet<_> = found
            .iter()
            .map(|name| name.split_inclusive(".db").next().unwrap())
            .collect();
        for name in stores {
            let store = PoolMetadata::open(directory.path().join(name)).unwrap();
            add(&store, "a");
            check(&store);
        }
        let left = names_in(directory.path());
        assert!(
            left.iter()
                .all(|name| name.ends_with(".db") || name.ends_with(".db-lock")),
            "{left:?}"
        );
    }
}

#[test]
fn what_a_dead_creator_left_is_taken_over() {
    let begun = [&raw::META_START[..], &[0xaa; 1 << 20]].concat();
    for rubbish in [&b""[..], &[0; 7], &[0; 8192], &begun] {
        let (directory, path) = place();
        let draft = directory.path().join("pool.db.new");
        fs::write(&draft, rubbish).unwrap();
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o644)).unwrap();
        let store = PoolMetadata::open(&path).unwrap();
        add(&store, "a");
        check(&store);
        assert_eq!(names_in(directory.path()), ["pool.db", "pool.db-lock"]);
        let metadata = fs::metadata(&path).unwrap();
        assert!(metadata.len() <= 512 << 10);
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_store_that_is_called_like_a_draft_is_not_taken_for_one() {
    let (directory, path) = place();
    let other = directory.path().join("pool.db.new");
    let theirs = PoolMetadata::open(&other).unwrap();
    let refused = || {
        let error = common::error_of(PoolMetadata::open(&path));
        assert!(matches!(error, Error::InvalidPath { .. }), "{error:?}");
        assert!(error.to_string().contains("pool.db.new"), "{error}");
        assert!(!path.exists());
    };
    // Open and still empty; then with something in it, and its -lock file gone.
    refused();
    add(&theirs, "precious");
    theirs.close().unwrap();
    fs::remove_file(raw::lock_path(&other)).unwrap();
    refused();
    let theirs = PoolMetadata::open(&other).unwrap();
    theirs.get_device("precious").unwrap();
    check(&theirs);
}

#[test]
fn somebodys_file_that_is_called_like_a_draft_is_not_written_over() {
    for theirs in [b"notes, kept nowhere else".to_vec(), raw::bbolt_file()] {
        let (directory, path) = place();
        let draft = directory.path().join("pool.db.new");
        fs::write(&draft, &theirs).unwrap();
        let error = common::error_of(PoolMetadata::open(&path));
        assert!(
            matches!(&error, Error::InvalidPath { path, .. } if **path == *draft),
            "{error:?}"
        );
        assert!(fs::read(&draft).unwrap() == theirs && !path.exists());
    }
}

fn no_permission(directory: &Path) {
    sys::become_nobody();
    let refused = |path: PathBuf, read_only: bool| {
        let error = common::error_of(options(100).read_only(read_only).open(&path));
        assert!(matches!(error, Error::Permission { .. }), "{error:?}");
        assert_eq!(error.os_error(), Some(libc::EACCES));
        let message = error.to_string();
        assert!(message.contains(path.to_str().unwrap()), "{message}");
    };
    for read_only in [false, true] {
        refused(directory.join("closed.db"), read_only);
        refused(directory.join("closed-directory/pool.db"), read_only);
        refused(directory.join("closed-lock.db"), read_only);
    }
    // Who may read the file and not write it can look at it read-only, if the reader table can be
    // written.
    refused(directory.join("readable.db"), false);
    let look = options(100)
        .read_only(true)
        .open(directory.join("readable.db"));
    let store = look.unwrap();
    assert_eq!(devices(&store).len(), 1);
    store.close().unwrap();
    // In a directory where nothing can be created.
    refused(directory.join("new.db"), false);
}

#[test]
fn files_that_this_user_may_not_use() {
    let directory = directory();
    let mode = |name: &str, mode: u32| {
        let path = directory.path().join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    fs::create_dir(directory.path().join("closed-directory")).unwrap();
    for name in [
        "closed.db",
        "closed-lock.db",
        "readable.db",
        "closed-directory/pool.db",
    ] {
        add(
            &PoolMetadata::open(directory.path().join(name)).unwrap(),
            "a",
        );
    }
    mode("closed.db", 0o000);
    mode("closed-lock.db", 0o666);
    mode("closed-lock.db-lock", 0o000);
    mode("readable.db", 0o444);
    mode("readable.db-lock", 0o666);
    mode("closed-directory", 0o000);
    mode("", 0o555);
    let before = names_in(directory.path());
    Peer::start("no-permission", directory.path()).finish();
    assert_eq!(names_in(directory.path()), before);
    mode("", 0o755);
    mode("closed-directory", 0o755);
    mode("closed.db", 0o600);
    mode("closed-lock.db-lock", 0o600);
    for name in [
        "closed.db",
        "closed-lock.db",
        "readable.db",
        "closed-directory/pool.db",
    ] {
        let store = OpenOptions::new()
            .read_only(true)
            .open(directory.path().join(name))
            .unwrap();
        check(&store);
    }
}

fn little_address_space(path: &Path) {
    sys::limit(libc::RLIMIT_AS, 2 << 30);
    let store = PoolMetadata::open(path).unwrap();
    let map = store.stats().unwrap().map_size;
    assert!((1 << 20..2 << 30).contains(&map), "{map}");
    for number in 0..100 {
        add(&store, format!("device-{number}"));
    }
    check(&store);
    store.close().unwrap();

    // Too little for the map to grow: an error, and all is as it was.
    let mut small = options(1000);
    let store = small
        .map_size(1 << 20)
        .verify(Verify::None)
        .open(path)
        .unwrap();
    let used = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = used.split_whitespace().next().unwrap().parse().unwrap();
    sys::limit(libc::RLIMIT_AS, pages * 4096 + (1 << 20));
    let mut large = device("large");
    large.error = vec![b'e'; 400 << 10];
    let full = (0..8).find_map(|number| {
        large.name = format!("large-{number}").into_bytes();
        store.add_device(&mut large).err()
    });
    assert!(matches!(full, Some(Error::MapFull { .. })), "{full:?}");
    check(&store);
    assert_error!(store.get_device(&large.name), Error::NotFound { .. });
    store
        .change_device_state("device-1", DeviceState::Removed)
        .unwrap();
    sys::limit(libc::RLIMIT_AS, 2 << 30);
    store.add_device(&mut large).unwrap();
    check(&store);
}

#[test]
fn with_little_address_space_less_is_mapped() {
    let (_directory, path) = place();
    Peer::start("little-space", &path).finish();
    check(&PoolMetadata::open(&path).unwrap());
}
