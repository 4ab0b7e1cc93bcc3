//! What the integration tests share.
#![allow(dead_code)] // every test program uses a part of it

#[path = "kit.rs"]
mod kit;
pub mod mounts;
pub mod peer;
pub mod skip;

pub use kit::*;
pub use skip::skipped;

use pool_metadata::PoolMetadata;
use proptest::test_runner::{Config as ProptestConfig, RngSeed};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// How a property is tested. In `make test`, that many cases with a fixed seed, so that a failure
/// repeats; in `make properties`, as many as `PROPTEST_CASES` says, with a new seed each time.
pub fn properties(cases: u32) -> ProptestConfig {
    let asked = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_some() {
        return asked;
    }
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(1),
        ..asked
    }
}

/// A directory that is removed when it is dropped. It is in memory if that has space: most tests do
/// not depend on how a disk flushes. A file that is written during reads grows with the speed of
/// the machine, so the 64 MiB of /dev/shm in containers are too little.
pub fn directory() -> TempDir {
    const ROOM: u64 = 1 << 30;
    let memory = Path::new("/dev/shm");
    match tempfile::tempdir_in(memory) {
        Ok(directory) if sys::free_bytes(memory) >= ROOM => directory,
        _ => tempfile::tempdir().unwrap(),
    }
}

/// A directory and the path of a store in it.
pub fn place() -> (TempDir, PathBuf) {
    let directory = directory();
    let path = directory.path().join("pool.db");
    (directory, path)
}

/// A closed store with devices a (id 1, faulty), b (2), c (4); 3 and 6 are free, and 5 is faulty
/// without a device.
pub fn assorted() -> (TempDir, PathBuf) {
    let (directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    for name in ["a", "b", "gone", "c", "e"] {
        add(&store, name);
    }
    store.mark_faulty("e").unwrap();
    add(&store, "e");
    for name in ["gone", "e"] {
        store.remove_device(name).unwrap();
    }
    store.mark_faulty("a").unwrap();
    check(&store);
    assert!(store.check(10).unwrap().is_sound());
    let stats = store.stats().unwrap();
    assert_eq!([stats.devices, stats.free_ids, stats.faulty_ids], [3, 2, 2]);
    store.close().unwrap();
    (directory, path)
}

/// The counters of the store's header: devices, taken, free and faulty ids, the last id, commits.
pub fn counters(store: &PoolMetadata) -> [u64; 6] {
    let stats = store.stats().unwrap();
    [
        stats.devices,
        stats.taken_ids,
        stats.free_ids,
        stats.faulty_ids,
        stats.last_id,
        stats.commits,
    ]
}
