//! Roles of `tests/create`.

use crate::assert_error;
use crate::common::{
    add, check, child, device, devices, error_of, lone_reader_shares, options, sys,
};
use pool_metadata::{DeviceState, Error, PoolMetadata, Verify};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

/// Opens each store that the parent names, and adds one device.
pub fn create_in_child(directory: &Path) {
    child::say("ready");
    while let Some(name) = child::listen() {
        let store = PoolMetadata::open(directory.join(name)).unwrap();
        add(&store, std::process::id().to_string());
        store.close().unwrap();
        child::say("done");
    }
}

pub fn no_permission(directory: &Path) {
    sys::become_nobody();
    let refused = |path: PathBuf, read_only: bool| {
        let error = error_of(options(100).read_only(read_only).open(&path));
        assert!(matches!(error, Error::Permission { .. }), "{error:?}");
        assert_eq!(error.os_error(), Some(libc::EACCES));
        let message = error.to_string();
        assert!(message.contains(path.to_str().unwrap()), "{message}");
    };
    for read_only in [false, true] {
        refused(directory.join("closed.db"), read_only);
        refused(directory.join("closed-directory/pool.db"), read_only);
    }
    // A process that may read the file and not write it can open it read-only: a copy of it, if it
    // may not write the reader table.
    for (name, may_share) in [("readable.db", true), ("closed-lock.db", false)] {
        let path = directory.join(name);
        refused(path.clone(), false);
        let store = options(100).read_only(true).open(path).unwrap();
        assert_eq!(devices(&store).len(), 1);
        let shares = may_share && lone_reader_shares(directory);
        assert_eq!(store.stats().unwrap().is_copy, !shares);
        store.close().unwrap();
    }
    // In a directory where nothing can be created.
    refused(directory.join("new.db"), false);
}

pub fn little_address_space(path: &Path) {
    sys::limit(libc::RLIMIT_AS, 2 << 30);
    let store = PoolMetadata::open(path).unwrap();
    let map = store.stats().unwrap().map_size;
    assert!((1 << 20..2 << 30).contains(&map), "{map}");
    for number in 0..100 {
        add(&store, format!("device-{number}"));
    }
    check(&store);
    store.close().unwrap();
    // In a thread: the C library reserves address space for its heap when it starts, so it is the
    // map that has too little, and not an allocation.
    thread::scope(|scope| scope.spawn(|| map_that_cannot_grow(path)).join().unwrap());
}

/// With too little address space for the map to grow, a write fails and changes nothing.
fn map_that_cannot_grow(path: &Path) {
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
