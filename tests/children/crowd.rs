//! Roles of `tests/crowd`.

use crate::common::{add, check, child, options, raw, wait_until, Barrier};
use pool_metadata::{DeviceState, PoolMetadata};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::RwLock;
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Duration;

pub const THREADS: usize = 3000;

const DEVICES: usize = 10;

/// A small stack for each, so that thousands of threads fit into memory.
pub fn spawn<'s>(
    scope: &'s Scope<'s, '_>,
    work: impl FnOnce() + Send + 's,
) -> ScopedJoinHandle<'s, ()> {
    let small = thread::Builder::new().stack_size(128 << 10);
    small.spawn_scoped(scope, work).unwrap()
}

/// Uses the default of 1,024 reader slots. The lock wait is longer than the default, since
/// thousands of threads are slow on an overloaded machine.
pub fn crowd(path: &Path) {
    let store = options(60_000).open(path).unwrap();
    for number in 0..DEVICES {
        add(&store, number.to_string());
    }
    let start = Barrier::new(THREADS + 1);
    let (walking, read) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let gate = RwLock::new(());
    let look = |thread: usize| {
        start.wait();
        // A walk keeps its reader slot until it ends.
        let walk = store.walk().unwrap();
        walking.fetch_add(1, Ordering::SeqCst);
        drop(gate.read());
        assert_eq!(walk.count(), DEVICES);
        let name = (thread % DEVICES).to_string();
        assert_eq!(store.get_device(&name).unwrap().name, name.as_bytes());
        assert_eq!(store.get_device_names().unwrap().len(), DEVICES);
        read.fetch_add(1, Ordering::SeqCst);
    };
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let look = &look;
            spawn(scope, move || look(thread));
        }
        let closed = gate.write().unwrap();
        start.wait();
        let mut before = 0;
        wait_until("the table to be full", || {
            thread::sleep(Duration::from_millis(50));
            let now = walking.load(Ordering::SeqCst);
            now > 900 && std::mem::replace(&mut before, now) == now
        });
        assert!(before <= 1024, "{before}");
        // A write needs no reader slot.
        store
            .change_device_state("0", DeviceState::Suspended)
            .unwrap();
        drop(closed);
    });
    assert_eq!(read.into_inner(), THREADS);
    let stats = store.stats().unwrap();
    assert_eq!(stats.max_readers, 1024);
    assert!(stats.reader_waits > 0, "{stats:?}");
    assert_eq!(stats.reader_refusals, 0, "{stats:?}");
    assert_eq!((stats.walks_open, stats.readers_active), (0, 0));
    check(&store);
}

/// Holds all reader slots but a few until the parent says to release them.
pub fn hold(path: &Path) {
    let store = PoolMetadata::open(path).unwrap();
    let walks: Vec<_> = (0..1000).map(|_| store.walk().unwrap()).collect();
    child::say("held");
    child::listen();
    drop(walks);
    child::say("given back");
    child::listen();
}

/// Keeps the store open, so that the lock file is not reset.
pub fn hold_none(path: &Path) {
    let _store = PoolMetadata::open(path).unwrap();
    child::say("open");
    child::listen();
}

/// Holds all reader slots that are free.
pub fn take_all(path: &Path) {
    let lmdb = raw::readers(path);
    let reads: Vec<_> = std::iter::from_fn(|| lmdb.begin_ro_txn().ok()).collect();
    child::say("taken");
    child::listen();
    thread::sleep(Duration::from_millis(100));
    drop(reads);
    child::listen();
}

/// The least size of a reader table.
pub const FEW_SLOTS: u32 = 128;

/// Reads in as many threads at once as can, and then keeps the store open and does nothing.
pub fn read_and_idle(path: &Path) {
    const READS: usize = 60;
    let store = options(20_000).max_readers(FEW_SLOTS).open(path).unwrap();
    let all_read = Barrier::new(READS);
    thread::scope(|scope| {
        for _ in 0..READS {
            let read = || {
                store
                    .read_device("a", |_| {
                        all_read.wait();
                    })
                    .unwrap()
            };
            spawn(scope, read);
        }
    });
    child::say("idle");
    child::listen();
    // It goes on reading all the same.
    check(&store);
    child::say("done");
}
