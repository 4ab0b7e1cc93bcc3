//! Roles of `tests/open_twice`.

use crate::assert_error;
use crate::common::{
    add, check, child, device, devices, error_of, lone_reader_shares, options, sys,
};
use pool_metadata::{DeviceState, Error, PoolMetadata};
use std::path::Path;
use std::time::{Duration, Instant};

/// Opens the store, adds a device, and keeps the store open until the parent closes the pipe.
pub fn open_and_wait(path: &Path) {
    let store = PoolMetadata::open(path).unwrap();
    add(&store, "child");
    child::say("open");
    while child::listen().is_some() {}
    check(&store);
    store.close().unwrap();
}

pub fn refused_in_child(path: &Path) {
    for read_only in [false, true] {
        let mut options = options(2000);
        let result = options.read_only(read_only).open(path);
        if read_only && !lone_reader_shares(path) {
            assert!(result.unwrap().stats().unwrap().is_copy);
            continue;
        }
        let error = error_of(result);
        assert!(matches!(error, Error::AlreadyOpen { .. }), "{error:?}");
        assert!(error.to_string().contains("another process"), "{error}");
    }
}

/// A path with another lock file is no path to write by. A look needs no lock file: it gets a copy.
pub fn only_viewed_in_child(path: &Path) {
    let error = error_of(options(2000).open(path));
    assert!(matches!(error, Error::AlreadyOpen { .. }), "{error:?}");
    assert!(error.to_string().contains("another process"), "{error}");
    let store = options(2000).read_only(true).open(path).unwrap();
    assert!(store.stats().unwrap().is_copy);
    check(&store);
}

/// Where the store was removed, creating one is refused as well, and leaves none behind.
pub fn refused_to_create(path: &Path) {
    let error = error_of(options(2000).open(path));
    assert!(matches!(error, Error::AlreadyOpen { .. }), "{error:?}");
    assert!(error.to_string().contains("another process"), "{error}");
    let read = options(2000).read_only(true).open(path);
    assert_error!(read, Error::NoSuchFile { .. });
}

/// Needs a process of its own, since no other thread should run during a fork.
pub fn fork(path: &Path) {
    let store = options(50_000).open(path).unwrap();
    add(&store, "a");
    add(&store, "b");
    let update = store.begin_update("a").unwrap();
    let mut walk = store.walk().unwrap();
    assert!(walk.next().unwrap().is_ok());
    let forked = |error: Error| matches!(error, Error::Forked);
    let good = sys::in_forked_child(|| {
        let start = Instant::now();
        let refused = [
            store.get_device("a").map(drop),
            store.get_device("").map(drop),
            store.walk().map(drop),
            store.get_device_names().map(drop),
            store.stats().map(drop),
            store.verify(),
            store.sync(),
            store.add_device(&mut device("c")),
            store.begin_update("b").map(drop),
            store.change_device_state("a", DeviceState::Removed),
            store.remove_device("a"),
            store.mark_faulty("b"),
            store.close(),
            walk.next().unwrap().map(drop),
            update.commit(),
        ];
        assert_eq!(refused.len(), 15);
        assert!(refused
            .into_iter()
            .all(|result| forked(result.unwrap_err())));
        assert!(start.elapsed() < Duration::from_secs(25), "nothing waits");
        drop(walk);
        // The child opens the store itself, first beside the parent's handle, then without it.
        let own = PoolMetadata::open(path).unwrap();
        add(&own, "c");
        let view = own.walk().unwrap();
        drop(store);
        // Another process still sees the child's walk, beside the parent's.
        assert!(sys::in_forked_child(|| {
            let other = PoolMetadata::open(path).unwrap();
            other.stats().unwrap().readers_active == 2
        }));
        drop(view);
        assert_error!(PoolMetadata::open(path), Error::AlreadyOpen { .. });
        add(&own, "d");
        check(&own);
        own.close().is_ok()
    });
    assert!(good, "in the child");
    // The parent's handle and walk still work.
    let store = PoolMetadata::open(path).unwrap();
    assert_eq!(devices(&store).len(), 4);
    check(&store);
}

/// Takes most slots of LMDB's reader table, and keeps them.
pub fn take_reader_slots(path: &Path) {
    let store = options(2000).max_readers(0).open(path).unwrap();
    let walks: Vec<_> = (0..100).map(|_| store.walk().unwrap()).collect();
    child::say("taken");
    while child::listen().is_some() {}
    drop(walks);
}
