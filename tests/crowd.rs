//! Thousands of threads that read at once: there are fewer places in LMDB's reader table than
//! threads, so some wait; none fails.
//!
//! `make campaign` does it more often than `make test`.

mod common;

use common::child::{self, Peer};
use common::{add, campaign, check, options, place, raw, wait_until};
use pool_metadata::{DeviceState, Error, PoolMetadata};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, RwLock};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Duration;

#[test]
fn child_entry() {
    child::entry(|role, argument| match role {
        "crowd" => crowd(argument.as_ref()),
        "hold" => hold(argument.as_ref()),
        "hold-none" => hold_none(argument.as_ref()),
        "take-all" => take_all(argument.as_ref()),
        other => panic!("no role {other}"),
    });
}

const THREADS: usize = 3000;
const DEVICES: usize = 10;

/// Many threads fit into memory if each has a little.
fn spawn<'s>(
    scope: &'s Scope<'s, '_>,
    work: impl FnOnce() + Send + 's,
) -> ScopedJoinHandle<'s, ()> {
    let small = thread::Builder::new().stack_size(128 << 10);
    small.spawn_scoped(scope, work).unwrap()
}

/// The default of 1,024 places. On a machine that is overrun thousands of threads take longer than
/// the default wait.
fn crowd(path: &Path) {
    let store = options(60_000).open(path).unwrap();
    for number in 0..DEVICES {
        add(&store, number.to_string());
    }
    let start = Barrier::new(THREADS + 1);
    let (walking, read) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let gate = RwLock::new(());
    let look = |thread: usize| {
        start.wait();
        // A walk keeps its place until it ends.
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
        // Writing needs no place.
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

#[test]
fn thousands_of_threads_read_at_once_and_none_fails() {
    for _ in 0..campaign(1, 10) {
        let (_directory, path) = place();
        Peer::start("crowd", &path).finish();
        check(&PoolMetadata::open(&path).unwrap());
    }
}

/// Has all places but a few, until told to give them back.
fn hold(path: &Path) {
    let store = PoolMetadata::open(path).unwrap();
    let walks: Vec<_> = (0..1000).map(|_| store.walk().unwrap()).collect();
    child::say("held");
    child::listen();
    drop(walks);
    child::say("given back");
    child::listen();
}

#[test]
fn places_that_another_process_gives_back_are_found() {
    const THREADS: usize = 200;
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    add(&store, "a");
    let mut peer = Peer::start("hold", &path);
    peer.expect("held");
    let walking = AtomicUsize::new(0);
    let gate = RwLock::new(());
    thread::scope(|scope| {
        let closed = gate.write().unwrap();
        for _ in 0..THREADS {
            spawn(scope, || {
                let walk = store.walk().unwrap();
                walking.fetch_add(1, Ordering::SeqCst);
                drop(gate.read());
                assert_eq!(walk.count(), 1);
            });
        }
        wait_until("the last places", || walking.load(Ordering::SeqCst) >= 20);
        thread::sleep(Duration::from_millis(50));
        assert!(walking.load(Ordering::SeqCst) <= 24);
        peer.tell("give back");
        peer.expect("given back");
        wait_until("all walks", || walking.load(Ordering::SeqCst) == THREADS);
        drop(closed);
    });
    assert_eq!(store.stats().unwrap().readers_active, 0);
    peer.finish();
    check(&store);
}

/// Has the store open, so that its lock file stays as it is.
fn hold_none(path: &Path) {
    let _store = PoolMetadata::open(path).unwrap();
    child::say("open");
    child::listen();
}

/// Has all places, and those that others had as well.
fn take_all(path: &Path) {
    let lmdb = raw::readers(path);
    let reads: Vec<_> = std::iter::from_fn(|| lmdb.begin_ro_txn().ok()).collect();
    child::say("taken");
    child::listen();
    thread::sleep(Duration::from_millis(100));
    drop(reads);
    child::listen();
}

/// LMDB needs a place for a moment when a store is opened.
#[test]
fn a_store_is_opened_though_others_have_all_places() {
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    add(&store, "a");
    store.close().unwrap();
    let mut keeper = Peer::start("hold-none", &path);
    keeper.expect("open");
    // Those of a process that is there are waited for, and no longer than the lock wait.
    let mut peer = Peer::start("take-all", &path);
    peer.expect("taken");
    let full = options(50).open(&path).unwrap_err();
    assert!(
        matches!(full, Error::ReadersFull { slots: 1024 }),
        "{full:?}"
    );
    peer.tell("give back");
    check(&PoolMetadata::open(&path).unwrap());
    peer.finish();
    // Those of one that has died are free.
    let mut peer = Peer::start("take-all", &path);
    peer.expect("taken");
    peer.kill();
    check(&options(50).open(&path).unwrap());
    keeper.finish();
}
