//! Deferred writes: which flushes are made, by which thread and when, and what a flush that fails
//! leaves.
//! What a power cut leaves of them is in `tests/powercut`.

mod closing;
#[path = "../common/mod.rs"]
mod common;
mod failures;
mod left;
mod lost;
mod pins;

use common::peer::Peer;
use common::rng::Rng;
use common::{add, check, device, devices, error_of, options, place, raw, sys, wait_until};
use pool_metadata::{Change, DeviceInfo, DeviceState, Durability, Error, OpenOptions};
use pool_metadata::{PoolMetadata, Stats};
use std::path::Path;
use std::time::Duration;

/// Options with which nothing is flushed before its time.
fn patient() -> OpenOptions {
    let mut options = options(10_000);
    options.deferred_age(Duration::from_secs(3600));
    options
}

fn stats(store: &PoolMetadata) -> Stats {
    store.stats().unwrap()
}

/// Flushes that `work` makes, and how many commits it leaves unflushed.
fn flushes(store: &PoolMetadata, work: impl FnOnce()) -> (u64, u64) {
    let before = stats(store).flushes;
    work();
    (stats(store).flushes - before, stats(store).deferred_commits)
}

/// Whether the file has anchors.
fn has_anchors(path: &Path) -> bool {
    let bytes = std::fs::read(path).unwrap();
    let mut without = bytes.clone();
    raw::remove_anchors(&mut without);
    bytes != without
}

fn names(store: &PoolMetadata) -> Vec<String> {
    let name = |device: DeviceInfo| String::from_utf8(device.name).unwrap();
    devices(store).into_iter().map(name).collect()
}

/// The names of a store that is opened again, which is sound.
fn left(path: &Path) -> Vec<String> {
    let store = PoolMetadata::open(path).unwrap();
    check(&store);
    names(&store)
}

#[test]
fn deferred_commits_are_flushed_by_the_next_one_that_is_not() {
    let (_directory, path) = place();
    let store = patient().open(&path).unwrap();
    let deferred = store.deferred();
    add(&store, "a");
    let defer = |name: &str| flushes(&store, || drop(add(&deferred, name)));
    assert_eq!(defer("b"), (0, 1), "the commit before it is in its place");
    assert!(!has_anchors(&path));
    assert_eq!(
        defer("c"),
        (1, 1),
        "that was flushed, and has an anchor now"
    );
    assert!(has_anchors(&path));
    for count in 2..20 {
        assert_eq!(defer(&format!("d{count}")), (0, count));
    }
    let list = [Change::Add(device("e")), Change::Add(device("f"))];
    let apply = || drop(deferred.apply(&list).unwrap());
    assert_eq!(flushes(&store, apply), (0, 20));
    assert_eq!(flushes(&store, || drop(add(&store, "g"))), (1, 0));
    assert_eq!(defer("h"), (0, 1));
    // What it finds done may be deferred.
    let again = || deferred.mark_faulty("h").unwrap();
    assert_eq!(flushes(&store, again), (0, 2));
    let ids = [stats(&store).last_id as u32];
    let nothing_new = || assert_eq!(store.mark_ids_faulty(&ids).unwrap(), 0);
    assert_eq!(flushes(&store, nothing_new), (1, 0));
    assert_eq!(defer("i"), (0, 1));
    assert_eq!(flushes(&store, || store.sync().unwrap()), (1, 0));
    assert_eq!(defer("j"), (0, 1));
    check(&store);
    let all = names(&store);
    store.close().unwrap();
    assert!(!has_anchors(&path));
    assert_eq!(left(&path), all);
}

#[test]
fn store_that_defers_everything_is_flushed_by_its_bounds_and_by_sync() {
    let (_directory, path) = place();
    let mut options = patient();
    options.durability(Durability::Relaxed).deferred_commits(10);
    let store = options.open(&path).unwrap();
    let write = |count: usize| {
        for _ in 0..count {
            add(&store, format!("{}", stats(&store).commits));
        }
    };
    assert_eq!(flushes(&store, || write(2)), (1, 1));
    assert_eq!(flushes(&store, || write(8)), (0, 9));
    assert_eq!(flushes(&store, || write(1)), (1, 0));
    assert_eq!(flushes(&store, || write(9)), (0, 9));
    assert_eq!(flushes(&store, || write(31)), (4, 0));
    assert_eq!(flushes(&store, || write(1)), (0, 1));
    assert_eq!(flushes(&store, || store.sync().unwrap()), (1, 0));
    drop(store);
    assert!(!has_anchors(&path));
    assert_eq!(left(&path).len(), 52);
}

#[test]
fn number_of_deferred_commits_cannot_be_zero() {
    let (_directory, path) = place();
    let opened = OpenOptions::new().deferred_commits(0).open(&path);
    assert_error!(opened, Error::InvalidOption { .. });
    assert!(!path.exists());
}

/// The first thing that is not used any more is the thread's to end.
#[test]
fn idle_store_is_flushed_and_keeps_no_pages() {
    let (_directory, path) = place();
    let mut options = options(10_000);
    options.deferred_age(Duration::from_millis(5));
    let store = options.open(&path).unwrap();
    let deferred = store.deferred();
    for round in 0..3 {
        for number in 0..3 {
            add(&deferred, format!("{round}-{number}"));
        }
        wait_until("what was deferred is flushed", || {
            stats(&store).deferred_commits == 0 && !has_anchors(&path)
        });
        add(&store, format!("{round}"));
        assert_eq!(
            flushes(&store, || drop(add(&store, format!("{round}-")))),
            (1, 0)
        );
    }
    store.close().unwrap();
    assert_eq!(left(&path).len(), 15);
}

/// The flush that the second deferred commit has otherwise is made before the first write.
#[test]
fn store_that_expects_deferred_commits_needs_no_flush_in_between() {
    let (_directory, path) = place();
    let mut options = patient();
    options.expect_deferred(true);
    for name in ["a", "b"] {
        let store = options.open(&path).unwrap();
        assert!(stats(&store).flushes >= 1 && has_anchors(&path));
        let deferred = store.deferred();
        for count in 1..4 {
            let defer = || drop(add(&deferred, format!("{name}-{count}")));
            assert_eq!(flushes(&store, defer), (0, count));
        }
        assert_eq!(flushes(&store, || drop(add(&store, name))), (1, 0));
        store.close().unwrap();
        assert!(!has_anchors(&path));
    }
    assert_eq!(left(&path).len(), 8);
    // It is of no use to one that does not write.
    let store = options.read_only(true).open(&path).unwrap();
    assert!(!has_anchors(&path) && names(&store).len() == 8);
}

/// The anchors of one that does not are removed by then: see the test above.
#[test]
fn idle_store_that_expects_deferred_commits_stays_ready_for_them() {
    let (_directory, path) = place();
    let mut options = options(10_000);
    options
        .deferred_age(Duration::from_millis(5))
        .expect_deferred(true);
    let store = options.open(&path).unwrap();
    for round in 0..3 {
        add(&store.deferred(), format!("{round}-0"));
        add(&store.deferred(), format!("{round}-1"));
        wait_until("what was deferred is flushed", || {
            stats(&store).deferred_commits == 0
        });
        std::thread::sleep(Duration::from_millis(100));
        assert!(has_anchors(&path));
    }
    drop(store);
    assert_eq!(left(&path).len(), 6);
}

#[test]
fn map_grows_while_commits_are_deferred() {
    let (_directory, path) = place();
    let store = patient().map_size(1 << 20).open(&path).unwrap();
    let deferred = store.deferred();
    for number in 0..40 {
        let mut large = device(format!("{number}"));
        large.error = vec![b'e'; 100_000];
        deferred.add_device(&mut large).unwrap();
    }
    assert!(stats(&store).map_size > 4 << 20);
    check(&store);
    drop((store, deferred));
    assert_eq!(left(&path).len(), 40);
}

/// Each process flushes what the other has deferred before it writes.
#[test]
fn processes_that_defer_in_turn_flush_for_each_other() {
    let (_directory, path) = place();
    let store = patient().open(&path).unwrap();
    let deferred = store.deferred();
    let mut other = Peer::start("processes::remote", &path);
    other.expect("ready");
    let mut all = Vec::new();
    for round in 0..4 {
        for number in 0..round {
            all.push(add(&deferred, format!("{round}-own-{number}")));
        }
        for number in 0..4 - round {
            other.tell(&format!("defer {round}-other-{number}"));
            other.expect("ok");
        }
        assert_eq!(
            stats(&store).deferred_commits,
            0,
            "the other has flushed it"
        );
        let own = || drop(add(&store, format!("{round}-durable")));
        assert_eq!(flushes(&store, own).1, 0);
        check(&store);
    }
    add(&deferred, "last");
    add(&deferred, "really-last");
    let all = names(&store);
    other.tell("add other-last");
    other.expect("ok");
    drop((store, deferred));
    drop(other);
    assert_eq!(left(&path).len(), all.len() + 1);
}
