//! Statistics about other processes, and about threads that share a store. The others are in
//! `meaning/stats.rs`.

#[allow(dead_code)]
#[path = "children/stats.rs"]
mod child;
mod common;

use child::readers;
use common::peer::Peer;
use common::{add, check, options, place, sys, wait_until};
use pool_metadata::{DeviceState, PoolMetadata};
use std::fs::File;
use std::thread;
use std::time::Duration;

fn commit(store: &PoolMetadata, count: usize) {
    for _ in 0..count {
        store
            .change_device_state("a", DeviceState::Suspended)
            .unwrap();
    }
}

#[test]
fn operations_that_share_a_commit_are_counted_one_by_one() {
    const THREADS: u64 = 32;
    // Where a flush takes a while, so that others come meanwhile.
    let directory = tempfile::tempdir().unwrap();
    let store = PoolMetadata::open(directory.path().join("pool.db")).unwrap();
    let mut rounds = 0;
    let round = || {
        rounds += 1;
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let store = &store;
                scope.spawn(move || drop(add(store, format!("{thread}-{rounds}"))));
            }
        });
        let stats = store.stats().unwrap();
        assert_eq!(stats.commit_operations.sum, THREADS * rounds);
        assert_eq!(stats.commit_operations.count, stats.commits);
        assert_eq!(stats.commit_nanoseconds.count, stats.commits);
        assert_eq!(stats.writers_waiting, 0);
        stats.commits < THREADS * rounds
    };
    wait_until("some to share a commit", round);
}

#[test]
fn read_of_any_process_shows_its_age_in_commits() {
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    add(&store, "a");
    let none = store.stats().unwrap();
    assert_eq!(readers(&none), [0, 0, 0]);
    assert_eq!((none.oldest_walk, none.pages_held), (Duration::ZERO, 0));
    let mut peer = Peer::start("stats::look", &path);
    peer.expect("looks");
    commit(&store, 5);
    assert_eq!(readers(&store.stats().unwrap()), [1, 5, 0]);
    let walk = store.walk().unwrap();
    commit(&store, 7);
    thread::sleep(Duration::from_millis(2));
    let held = store.stats().unwrap();
    assert_eq!(readers(&held), [2, 12, 1]);
    assert!(held.oldest_walk >= Duration::from_millis(2));
    assert!(held.pages_held >= 12 && held.pages_held <= held.pages_free);
    assert!(held.pages_free * held.page_size < held.map_used);
    peer.tell("stop");
    peer.expect("done");
    assert_eq!(readers(&store.stats().unwrap()), [1, 7, 1]);
    let younger = store.walk().unwrap();
    drop(walk);
    let stats = store.stats().unwrap();
    assert_eq!(readers(&stats), [1, 0, 1]);
    assert!(stats.oldest_walk < held.oldest_walk + Duration::from_secs(60));
    drop(younger);
    assert_eq!(readers(&store.stats().unwrap()), [0, 0, 0]);
    assert_eq!(store.stats().unwrap().pages_held, 0);
    peer.finish();
}

#[test]
fn running_read_of_another_process_has_its_id_and_no_age() {
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    add(&store, "a");
    let mut peer = Peer::start("stats::look", &path);
    peer.expect("looks");
    commit(&store, 5);
    let walk = store.walk().unwrap();
    commit(&store, 7);
    let reads = store.running_reads().unwrap();
    let found: Vec<_> = reads
        .iter()
        .map(|read| (read.pid, read.commits_behind, read.age.is_some()))
        .collect();
    let own = std::process::id();
    assert_eq!(found, [(peer.id(), 12, false), (own, 7, true)]);
    peer.kill();
    let reads = store.running_reads().unwrap();
    assert_eq!((reads.len(), reads[0].pid), (1, own));
    drop(walk);
}

#[test]
fn short_read_is_active_while_it_lasts() {
    let (_directory, path) = place();
    Peer::start("stats::short_read", &path).finish();
}

#[test]
fn read_of_a_killed_process_is_not_counted() {
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    add(&store, "a");
    let mut peer = Peer::start("stats::look", &path);
    peer.expect("looks");
    commit(&store, 5);
    assert_eq!(readers(&store.stats().unwrap()), [1, 5, 0]);
    peer.kill();
    assert_eq!(readers(&store.stats().unwrap()), [0, 0, 0]);
}

#[test]
fn writers_that_wait_for_another_process_or_for_their_leader_are_counted() {
    let (_directory, path) = place();
    let store = options(20_000).open(&path).unwrap();
    let names = ["a", "b", "c"];
    for name in names {
        add(&store, name);
    }
    // Held through another descriptor, the lock of writers is another process's.
    let other = File::open(&path).unwrap();
    sys::flock(&other);
    thread::scope(|scope| {
        for name in names {
            let store = &store;
            scope.spawn(move || {
                store
                    .change_device_state(name, DeviceState::Resumed)
                    .unwrap()
            });
        }
        // One leads and waits for the other process; two wait for the leader.
        wait_until("three waiters", || {
            store.stats().unwrap().writers_waiting == 3
        });
        drop(other);
    });
    assert_eq!(store.stats().unwrap().writers_waiting, 0);
    check(&store);
}

#[test]
fn failed_flushes_are_reported() {
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    add(&store, "a");
    assert!(!store.stats().unwrap().writes_stopped);
    // The eighth failure in a row stops writes.
    for failures in 1..=8 {
        let write = || store.mark_faulty("a").is_err();
        assert!(sys::with_errno(sys::FLUSHES, libc::EIO, None, write));
        let stats = store.stats().unwrap();
        assert_eq!(stats.writes_stopped, failures == 8, "{failures}");
        // What came to nothing is no commit.
        assert_eq!((stats.commits, stats.commit_operations.count), (1, 1));
        assert_eq!(stats.undone_commits, 1);
    }
}

#[test]
fn reads_that_wait_for_a_slot_are_counted() {
    let (_directory, path) = place();
    Peer::start("stats::slots", &path).finish();
}
