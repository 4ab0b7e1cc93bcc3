//! Roles of `tests/address_space`.

use crate::common::{add, check, child, devices, options, sys};
use pool_metadata::PoolMetadata;
use std::fs;
use std::path::Path;
use std::thread;

pub const LIMIT: u64 = 512 << 20;

pub const FIRST_MAP: u64 = 1 << 20;

/// Carries out orders: reads, and answers with the size of its map; or adds a device.
pub fn reader(path: &Path) {
    sys::limit(libc::RLIMIT_AS, LIMIT);
    let store = options(20_000).map_size(FIRST_MAP).open(path).unwrap();
    child::say(&store.stats().unwrap().map_size.to_string());
    while let Some(line) = child::listen() {
        if line == "add" {
            add(&store, "small");
        }
        assert_eq!(store.get_device("base").unwrap().device_id, 1);
        assert_eq!(
            store.get_device_names().unwrap().len(),
            devices(&store).len()
        );
        check(&store);
        child::say(&store.stats().unwrap().map_size.to_string());
    }
}

/// Opens the store with as much address space left as the parent says, in MiB, and then does what a
/// process goes on with: starts a thread, and takes memory.
pub fn opener(path: &Path) {
    let free: u64 = child::listen().unwrap().parse().unwrap();
    let used = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = used.split_whitespace().next().unwrap().parse().unwrap();
    sys::limit(libc::RLIMIT_AS, pages * 4096 + (free << 20));
    let store = PoolMetadata::open(path).unwrap();
    add(&store, format!("device-{free}"));
    let work = || {
        let memory = vec![1_u8; 4 << 20];
        check(&store);
        memory.len()
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, work).unwrap();
        assert_eq!(thread.join().unwrap(), 4 << 20);
    });
    child::say(&store.stats().unwrap().map_size.to_string());
}
