//! What a store tells of itself: commits, readers, waiting writers, pages.

#[allow(dead_code)]
#[path = "children/stats.rs"]
mod child;
mod common;

use child::readers;
use common::peer::Peer;
use common::{add, check, device, options, place, sys, wait_until};
use pool_metadata::{Change, DeviceState, Error, Histogram, Ids, OpenOptions, PoolMetadata};
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

fn filled(histogram: &Histogram) -> Vec<(Option<u64>, u64)> {
    assert_eq!(histogram.buckets.iter().sum::<u64>(), histogram.count);
    let buckets = histogram.buckets.iter().copied().enumerate();
    buckets
        .filter(|(_, count)| *count > 0)
        .map(|(bucket, count)| (Histogram::upper_bound(bucket), count))
        .collect()
}

#[test]
fn commits_are_counted_by_their_operations_and_their_time() {
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    let stats = store.stats().unwrap();
    assert_eq!(filled(&stats.commit_operations), []);
    assert_eq!(filled(&stats.commit_nanoseconds), []);
    let ids = Ids {
        last_id: 3,
        free: vec![1, 2, 3],
        ..Ids::default()
    };
    store.import(&[], &ids).unwrap();
    add(&store, "a");
    commit(&store, 9);
    let adds = |range: std::ops::Range<u32>| -> Vec<_> {
        range.map(|n| Change::Add(device(n.to_string()))).collect()
    };
    store.apply(&adds(0..6)).unwrap();
    store.apply(&adds(10..1010)).unwrap();
    // What is refused, and what changes nothing, is no commit.
    assert_error!(store.mark_faulty("none"), Error::NotFound { .. });
    assert_error!(
        store.add_device(&mut device("a")),
        Error::AlreadyExists { .. }
    );
    assert!(store.apply(&adds(2000..2001)).is_ok());
    assert!(store.apply(&adds(1009..1011)).is_err());
    store.apply(&[]).unwrap();
    let stats = store.stats().unwrap();
    assert_eq!(stats.commits, 14);
    assert_eq!(stats.commit_operations.count, 14);
    assert_eq!(stats.commit_operations.sum, 1 + 1 + 9 + 6 + 1000 + 1);
    assert_eq!(
        filled(&stats.commit_operations),
        [(Some(1), 12), (Some(8), 1), (Some(1024), 1)]
    );
    assert_eq!(stats.commit_nanoseconds.count, 14);
    // A commit is a few system calls at the least.
    assert!(stats.commit_nanoseconds.quantile(0.0) > 500, "{stats:?}");
    check(&store);
    // What the store was asked for anew begins at nothing; the store's own count goes on.
    store.close().unwrap();
    let stats = PoolMetadata::open(&path).unwrap().stats().unwrap();
    assert_eq!((stats.commits, stats.commit_operations.count), (14, 0));
}

#[test]
fn threads_that_share_commits_are_counted_one_by_one() {
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
fn a_read_shows_its_age_in_commits_until_it_ends_in_whatever_process() {
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
fn a_short_read_is_one_for_as_long_as_it_lasts() {
    let (_directory, path) = place();
    Peer::start("stats::short_read", &path).finish();
}

#[test]
fn a_read_of_a_killed_process_is_none() {
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
fn writers_that_wait_for_a_device_are_counted() {
    let (_directory, path) = place();
    let store = options(20_000).open(&path).unwrap();
    add(&store, "a");
    add(&store, "b");
    let update = store.begin_update("a").unwrap();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| commit(&store, 1));
        }
        wait_until("three waiters", || {
            store.stats().unwrap().writers_waiting == 3
        });
        update.commit().unwrap();
    });
    assert_eq!(store.stats().unwrap().writers_waiting, 0);
}

#[test]
fn writers_that_wait_for_another_process_or_for_their_leader_are_counted() {
    let (_directory, path) = place();
    let store = options(20_000).open(&path).unwrap();
    let names = ["a", "b", "c"];
    for name in names {
        add(&store, name);
    }
    // The lock of the writers between processes: who has it through another descriptor is another
    // process.
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
        // One leads and waits for the other process, two for the one.
        wait_until("three waiters", || {
            store.stats().unwrap().writers_waiting == 3
        });
        drop(other);
    });
    assert_eq!(store.stats().unwrap().writers_waiting, 0);
    check(&store);
}

#[test]
fn a_flush_that_failed_shows() {
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    add(&store, "a");
    assert!(!store.stats().unwrap().writes_stopped);
    let failed = thread::scope(|scope| {
        let write = || {
            sys::fail_in_this_thread(sys::FLUSHES, libc::EIO, None);
            store.mark_faulty("a").is_err()
        };
        scope.spawn(write).join().unwrap()
    });
    let stats = store.stats().unwrap();
    assert!(failed && stats.writes_stopped);
    // What came to nothing is no commit.
    assert_eq!((stats.commits, stats.commit_operations.count), (1, 1));
}

#[test]
fn reads_that_wait_for_a_place_are_counted() {
    let (_directory, path) = place();
    Peer::start("stats::slots", &path).finish();
}

#[test]
fn pages_that_are_freed_are_counted_until_they_are_used_again() {
    let (_directory, path) = place();
    let store = OpenOptions::new().open(&path).unwrap();
    let mut large = device("large");
    large.error = vec![b'e'; 1 << 20];
    store.add_device(&mut large).unwrap();
    let before = store.stats().unwrap();
    store.remove_device("large").unwrap();
    let freed = store.stats().unwrap();
    let pages = (1 << 20) / freed.page_size;
    assert!(freed.pages_free >= before.pages_free + pages, "{freed:?}");
    // Which the next commit may not, but for those before it.
    add(&store, "small");
    store.add_device(&mut large).unwrap();
    let after = store.stats().unwrap();
    assert!(after.pages_free < freed.pages_free, "{after:?}");
    // Nothing is counted that is in use.
    assert!((after.pages_free + pages) * after.page_size < after.map_used);
}
