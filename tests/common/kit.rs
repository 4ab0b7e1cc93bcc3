//! What tests and their child processes share; nothing here needs a development dependency.
#![allow(dead_code)] // every program uses a part of it

pub mod child;
pub mod pages;
pub mod raw;
pub mod rng;
pub mod seccomp;
pub mod sys;

use pool_metadata::{DeviceInfo, DeviceState, Error, OpenOptions};
use pool_metadata::{PoolDevice, PoolMetadata, PoolState};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// How much of something a test does in `make test`, and in `make campaign`.
pub fn campaign(short: usize, long: usize) -> usize {
    if std::env::var_os("PM_CAMPAIGN").is_some() {
        long
    } else {
        short
    }
}

/// Whether a handle that only reads shares the lock file of a store that no process has open. In a
/// PID namespace of its own, and on overlayfs, it reads a private copy; a container has both.
pub fn lone_reader_shares(path: &Path) -> bool {
    let namespace = std::fs::read_link("/proc/self/ns/pid");
    let own = namespace.is_ok_and(|namespace| namespace != Path::new("pid:[4026531836]"));
    !own && !sys::is_on_overlayfs(path)
}

/// Options with a short lock wait, for tests that run into it.
pub fn options(lock_wait_ms: u64) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.lock_wait(Duration::from_millis(lock_wait_ms));
    options
}

/// Options for a writer that goes on as fast as it can while others read: the pages that it frees
/// meanwhile are not used again, so without a bound the file grows with the time that a read takes,
/// and that with the file. Writes beyond the bound fail with `Error::Pinned`.
pub fn bounded(lock_wait_ms: u64) -> OpenOptions {
    let mut options = options(lock_wait_ms);
    options.max_pinned_growth(16 << 20);
    options
}

/// Repeats a write of such a writer until no read is in its way.
pub fn until_unpinned<T>(mut write: impl FnMut() -> pool_metadata::Result<T>) -> T {
    loop {
        match write() {
            Err(Error::Pinned { .. }) => std::thread::yield_now(),
            result => break result.unwrap(),
        }
    }
}

/// Sets the flag that ends other threads when it is dropped, also when an assertion fails: a scope
/// waits for its threads before it lets the panic out.
pub struct SetOnDrop<'a>(pub &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Sets the flag that ends other threads when an assertion of this thread fails.
pub struct SetOnPanic<'a>(pub &'a AtomicBool);

impl Drop for SetOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::SeqCst);
        }
    }
}

/// How long a thread waits for others before it fails.
const LONGEST_WAIT: Duration = Duration::from_secs(90);

/// Lets as many threads go on at once as it was made for, one time. If one of them has failed and
/// does not come, the others fail too: a scope would wait for them for ever.
pub struct Barrier {
    missing: Mutex<usize>,
    complete: Condvar,
}

impl Barrier {
    pub fn new(threads: usize) -> Barrier {
        Barrier {
            missing: Mutex::new(threads),
            complete: Condvar::new(),
        }
    }

    pub fn wait(&self) {
        let mut missing = self.missing.lock().unwrap();
        *missing -= 1;
        if *missing == 0 {
            self.complete.notify_all();
        }
        let others = |missing: &mut usize| *missing > 0;
        let waited = self
            .complete
            .wait_timeout_while(missing, LONGEST_WAIT, others);
        let late = waited.map_or(0, |(missing, _)| *missing);
        assert_eq!(late, 0, "threads that have not come");
    }
}

/// A pool that has the devices with these ids, and of which nothing else is known.
pub fn pool(ids: &[u32]) -> PoolState {
    let device = |&device_id| PoolDevice {
        device_id,
        ..PoolDevice::default()
    };
    PoolState {
        devices: Some(ids.iter().map(device).collect()),
        ..PoolState::default()
    }
}

/// A small device of that name.
pub fn device(name: impl Into<Vec<u8>>) -> DeviceInfo {
    DeviceInfo {
        size: 4096,
        state: DeviceState::Created,
        ..DeviceInfo::new(name)
    }
}

/// Adds a small device of that name, and returns it with its id and generation.
pub fn add(store: &PoolMetadata, name: impl Into<Vec<u8>>) -> DeviceInfo {
    let mut device = device(name);
    store.add_device(&mut device).unwrap();
    device
}

/// Checks what holds after every write: the store verifies, and its counters add up.
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

/// The error of a call that has to fail.
pub fn error_of<T>(result: Result<T, Error>) -> Error {
    match result {
        Ok(_) => panic!("it should have failed"),
        Err(error) => error,
    }
}

/// Fails unless the expression is an error of that pattern; the message shows the actual result.
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

/// Waits until `done` returns true.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LONGEST_WAIT, "waiting: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The files beside `path` whose names begin with its own and `suffix`, as those of temporary files
/// do.
pub fn files_with(path: &Path, suffix: &str) -> Vec<PathBuf> {
    let start = format!("{}{suffix}", path.file_name().unwrap().to_str().unwrap());
    let entries = std::fs::read_dir(path.parent().unwrap()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let found = names.filter(|name| name.starts_with(&start));
    found.map(|name| path.with_file_name(name)).collect()
}
