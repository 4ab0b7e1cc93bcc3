//! One file, opened more than once: in this process an error at once, in another process fine as
//! long as both use the same `-lock` file.

mod common;

use common::peer::Peer;
use common::{add, check, devices, directory, options, place, raw};
use pool_metadata::{Error, PoolMetadata};
use std::fs;
use std::os::unix::fs::symlink;

#[test]
fn link_to_a_store_uses_the_lock_file_of_the_store() {
    let (directory, path) = place();
    PoolMetadata::open(&path).unwrap().close().unwrap();
    let elsewhere = common::directory();
    let link = elsewhere.path().join("link.db");
    symlink(&path, &link).unwrap();
    let store = PoolMetadata::open(&link).unwrap();
    assert_eq!(store.path(), path.canonicalize().unwrap());
    add(&store, "a");
    check(&store);
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    Peer::start("open_twice::open_and_wait", &path).finish();
    check(&store);
}

#[test]
fn closed_store_is_opened_again_at_once() {
    let (_directory, path) = place();
    let first = PoolMetadata::open(&path).unwrap();
    add(&first, "a");
    let update = first.begin_update("a").unwrap();
    first.close().unwrap();
    // Its handle, and an update begun on it, are still there; and its lock file may go now.
    fs::remove_file(raw::lock_path(&path)).unwrap();
    let second = PoolMetadata::open(&path).unwrap();
    assert_error!(update.commit(), Error::Closed);
    assert_error!(first.get_device("a"), Error::Closed);
    add(&second, "b");
    Peer::start("open_twice::open_and_wait", &path).finish();
    drop(first);
    assert_error!(PoolMetadata::open(&path), Error::AlreadyOpen { .. });
    check(&second);
}

#[test]
fn many_stores_are_open_at_once() {
    let directory = directory();
    let open = |n: usize| PoolMetadata::open(directory.path().join(format!("{n}.db"))).unwrap();
    let stores: Vec<_> = (0..20).map(open).collect();
    for (number, store) in stores.iter().enumerate() {
        add(store, number.to_string());
    }
    for (number, store) in stores.iter().enumerate() {
        assert_eq!(
            store.get_device_names().unwrap(),
            [number.to_string().into_bytes()]
        );
        check(store);
    }
}

#[test]
fn hard_link_of_an_open_store_is_only_viewed_in_another_process() {
    let (directory, path) = place();
    let link = directory.path().join("hard-link.db");
    let store = PoolMetadata::open(&path).unwrap();
    fs::hard_link(&path, &link).unwrap();
    Peer::start("open_twice::only_viewed_in_child", &link).finish();
    assert!(!raw::lock_path(&link).exists());
    add(&store, "a");
    check(&store);
    store.close().unwrap();
    // Once it is closed, either path will do.
    Peer::start("open_twice::open_and_wait", &link).finish();
    check(&PoolMetadata::open(&path).unwrap());
}

#[test]
fn store_whose_lock_file_was_deleted_in_use_is_only_viewed() {
    let (_directory, path) = place();
    let mut peer = Peer::start("open_twice::open_and_wait", &path);
    peer.expect("open");
    fs::remove_file(raw::lock_path(&path)).unwrap();
    let error = common::error_of(PoolMetadata::open(&path));
    assert!(matches!(error, Error::AlreadyOpen { .. }), "{error:?}");
    Peer::start("open_twice::only_viewed_in_child", &path).finish();
    assert!(!raw::lock_path(&path).exists());
    peer.finish();
    let store = PoolMetadata::open(&path).unwrap();
    assert_eq!(devices(&store).len(), 1);
    check(&store);
}

/// The lock file holds the number of the last commit. Processes that used it with two different
/// files would write over each other's commits.
#[test]
fn file_that_replaces_an_open_store_is_refused() {
    let (directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    add(&store, "a");
    let copy = directory.path().join("copy.db");
    fs::copy(&path, &copy).unwrap();
    fs::rename(&copy, &path).unwrap();
    Peer::start("open_twice::refused_in_child", &path).finish();
    fs::remove_file(&path).unwrap();
    Peer::start("open_twice::refused_to_create", &path).finish();
    add(&store, "b");
    check(&store);
    store.close().unwrap();
    // The lock file is free now.
    Peer::start("open_twice::open_and_wait", &path).finish();
    let store = PoolMetadata::open(&path).unwrap();
    assert_eq!(devices(&store).len(), 1);
    check(&store);
}

#[test]
fn forked_child_is_refused_on_its_parents_handle() {
    let (_directory, path) = place();
    Peer::start("open_twice::fork", &path).finish();
    check(&PoolMetadata::open(&path).unwrap());
}

#[test]
fn reader_slots_of_dead_processes_are_used_again() {
    let (_directory, path) = place();
    let mut few = options(300);
    let store = few.max_readers(0).open(&path).unwrap();
    add(&store, "a");
    for _ in 0..3 {
        let mut peer = Peer::start("open_twice::take_reader_slots", &path);
        peer.expect("taken");
        // While that process lives, the rest does not suffice for as many here.
        let crowd: Result<Vec<_>, Error> = (0..100).map(|_| store.walk()).collect();
        let error = common::error_of(crowd);
        assert!(
            matches!(error, Error::ReadersFull { slots: 128 }),
            "{error:?}"
        );
        peer.kill();
        let crowd: Result<Vec<_>, Error> = (0..100).map(|_| store.walk()).collect();
        assert_eq!(crowd.unwrap().len(), 100);
    }
    assert_eq!(store.get_device("a").unwrap().device_id, 1);
    check(&store);
}

/// Another thread may open the store as soon as this one's handle is gone, or its open has failed,
/// and never before.
#[test]
fn store_that_other_threads_open_and_close_is_refused_as_open_or_opened() {
    let (_directory, path) = place();
    PoolMetadata::open(&path).unwrap().close().unwrap();
    let open_and_drop = || {
        let mut refused = options(0);
        let mut opened = 0;
        while opened < 100 {
            match refused.read_only(opened % 3 == 0).open(&path) {
                Ok(_) => opened += 1,
                Err(Error::AlreadyOpen { .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(open_and_drop);
        }
    });
    check(&PoolMetadata::open(&path).unwrap());
}
