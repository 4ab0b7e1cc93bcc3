//! What the integration tests share.
#![allow(dead_code)] // every test program uses a part of it

pub mod child;
pub mod pages;
pub mod raw;
pub mod rng;
pub mod sys;

use pool_metadata::{DeviceInfo, DeviceState, Error, OpenOptions, PoolMetadata};
use proptest::test_runner::{Config as ProptestConfig, RngSeed};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How much of something a test does: so much in `make test`, so much in `make campaign`.
pub fn campaign(short: usize, long: usize) -> usize {
    if std::env::var_os("PM_CAMPAIGN").is_some() {
        long
    } else {
        short
    }
}

/// How a property is tested: so many cases in `make test`, the same ones each time, so that what
/// failed fails again; as many as `PROPTEST_CASES` says in `make properties`, and others each time.
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

/// A directory that goes away with the test, in memory where the machine offers that: most tests
/// ask what the store means, not how fast the disk flushes. A file that is written while somebody
/// reads becomes as large as the machine is fast, and containers have 64 MiB of such memory: too
/// little.
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

/// Options with a lock wait that a test can afford to run into.
pub fn options(lock_wait_ms: u64) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.lock_wait(Duration::from_millis(lock_wait_ms));
    options
}

/// A small device of that name.
pub fn device(name: impl Into<Vec<u8>>) -> DeviceInfo {
    DeviceInfo {
        size: 4096,
        state: DeviceState::Created,
        ..DeviceInfo::new(name)
    }
}

/// Adds a small device of that name and returns it as the store has it.
pub fn add(store: &PoolMetadata, name: impl Into<Vec<u8>>) -> DeviceInfo {
    let mut device = device(name);
    store.add_device(&mut device).unwrap();
    device
}

/// The invariants that hold after every write: the store's own check, and what its counters must
/// add up to.
pub fn check(store: &PoolMetadata) {
    store.verify().unwrap();
    let stats = store.stats().unwrap();
    let names = store.get_device_names().unwrap();
    assert!(names.is_sorted() && names.len() as u64 == stats.devices);
    assert_eq!(
        stats.taken_ids + stats.free_ids + stats.faulty_ids,
        stats.last_id
    );
}

/// Every device, in the order of a walk.
pub fn devices(store: &PoolMetadata) -> Vec<DeviceInfo> {
    store.walk().unwrap().map(Result::unwrap).collect()
}

/// The error of something that has to fail.
pub fn error_of<T>(result: Result<T, Error>) -> Error {
    match result {
        Ok(_) => panic!("it should have failed"),
        Err(error) => error,
    }
}

/// Fails unless the expression is an error of that pattern; the message shows what it was instead.
#[macro_export]
macro_rules! assert_error {
    ($result:expr, $pattern:pat $(if $guard:expr)?) => {
        match $result {
            Err($pattern) $(if $guard)? => {}
            Err(other) => panic!("another error than {}: {other:?}", stringify!($pattern)),
            Ok(_) => panic!("no error, where {} was due", stringify!($pattern)),
        }
    };
}

/// Waits until `done` says so.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(90), "waiting: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
