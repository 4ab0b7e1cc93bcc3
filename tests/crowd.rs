//! Thousands of threads that read at once: there are fewer places in LMDB's reader table than
//! threads, so some wait; none fails.
//!
//! `make campaign` does it more often than `make test`.

#[allow(dead_code)]
#[path = "children/crowd.rs"]
mod child;
mod common;

use child::spawn;
use common::peer::Peer;
use common::{add, campaign, check, options, place, wait_until};
use pool_metadata::{Error, PoolMetadata};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::RwLock;
use std::thread::{self};
use std::time::Duration;

#[test]
fn thousands_of_threads_read_at_once_and_none_fails() {
    for _ in 0..campaign(1, 10) {
        let (_directory, path) = place();
        Peer::start("crowd::crowd", &path).finish();
        check(&PoolMetadata::open(&path).unwrap());
    }
}

#[test]
fn reader_slots_that_another_process_frees_are_found() {
    const THREADS: usize = 200;
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    add(&store, "a");
    let mut peer = Peer::start("crowd::hold", &path);
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

/// LMDB needs a place for a moment when a store is opened.
#[test]
fn store_is_opened_while_others_hold_every_reader_slot() {
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    add(&store, "a");
    store.close().unwrap();
    let mut keeper = Peer::start("crowd::hold_none", &path);
    keeper.expect("open");
    // Those of a process that is there are waited for, and no longer than the lock wait.
    let mut peer = Peer::start("crowd::take_all", &path);
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
    let mut peer = Peer::start("crowd::take_all", &path);
    peer.expect("taken");
    peer.kill();
    check(&options(50).open(&path).unwrap());
    keeper.finish();
}

/// Reads keep their slots for the next reads, but not so many that others find none.
#[test]
fn idle_processes_leave_reader_slots_to_others() {
    let (_directory, path) = place();
    let store = options(100)
        .max_readers(child::FEW_SLOTS)
        .open(&path)
        .unwrap();
    add(&store, "a");
    store.close().unwrap();
    let mut idle: Vec<Peer> = Vec::new();
    for _ in 0..4 {
        let mut peer = Peer::start("crowd::read_and_idle", &path);
        peer.expect("idle");
        idle.push(peer);
    }
    let store = options(100).open(&path).unwrap();
    assert_eq!(store.stats().unwrap().max_readers, child::FEW_SLOTS.into());
    let walks: Vec<_> = (0..child::FEW_SLOTS / 4)
        .map(|_| store.walk().unwrap())
        .collect();
    assert_eq!(store.get_device("a").unwrap().device_id, 1);
    drop(walks);
    for mut peer in idle {
        peer.tell("go on");
        peer.expect("done");
        peer.finish();
    }
    check(&store);
}
