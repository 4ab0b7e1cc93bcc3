//! What a store tells of itself: counts, sizes, commits, walks, writers that wait.

use crate::common::{device, wait_until};
use crate::subject::*;
use crate::through_rust_and_c;
use pool_metadata::capi::*;
use pool_metadata::{Change, DeviceState, Ids};
use std::thread;
use std::time::Duration;

through_rust_and_c!(
    counts_and_sizes_are_those_of_the_store,
    commits_are_counted_by_their_operations_and_their_time,
    open_walk_shows_its_age_and_the_pages_that_it_holds,
    running_reads_have_their_process_and_their_age_oldest_first,
    write_beyond_the_limit_of_pinned_growth_is_refused_until_the_read_ends,
    freed_pages_are_counted_until_they_are_used_again,
    writers_that_wait_for_a_device_are_counted,
);

fn commit<S: Store>(store: &S, count: usize) {
    for _ in 0..count {
        store.change_state(b"a", DeviceState::Suspended).unwrap();
    }
}

fn counts_and_sizes_are_those_of_the_store<S: Store>() {
    let (directory, store) = new_store::<S>(&DEFAULTS);
    assert_eq!(counters(&store.stats().unwrap()), [0; 6]);
    for name in ["a", "b", "c", "d"] {
        add(&store, name);
    }
    store.remove(b"a").unwrap();
    store.mark_faulty(b"b").unwrap();
    // The lowest free id; 2 is left faulty.
    assert_eq!(add(&store, "b").device_id, 1);
    let stats = store.stats().unwrap();
    assert_eq!(counters(&stats), [3, 3, 0, 1, 4, 7]);
    assert_eq!((stats.map_size, stats.max_readers), (16 << 30, 1024));
    assert_eq!(stats.page_size, 4096);
    let file = std::fs::metadata(directory.path().join("pool.db")).unwrap();
    assert_eq!(stats.file_size, file.len());
    assert!(stats.map_used > 0 && stats.map_used <= stats.file_size);
    assert_eq!(stats.map_used % stats.page_size, 0);
    assert!((1..=stats.max_readers).contains(&stats.readers_in_use));
    assert_eq!(stats.writes_stopped, 0);
}

/// The buckets that are not empty: the largest value that each counts, and how many it has.
fn filled(histogram: &pm_histogram) -> Vec<(u64, u64)> {
    assert_eq!(histogram.buckets.iter().sum::<u64>(), histogram.count);
    let buckets = histogram.buckets.iter().copied().enumerate();
    buckets
        .filter(|(_, count)| *count > 0)
        .map(|(bucket, count)| (1 << bucket, count))
        .collect()
}

fn commits_are_counted_by_their_operations_and_their_time<S: Store>() {
    let (directory, store) = new_store::<S>(&DEFAULTS);
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
    store.apply(&adds(2000..2001)).unwrap();
    // A call that is refused, or changes nothing, is no commit.
    refused(store.mark_faulty(b"none"), PM_ERR_NOT_FOUND);
    refused(store.add(&mut device("a")), PM_ERR_ALREADY_EXISTS);
    assert!(store.apply(&adds(1009..1011)).is_err());
    store.apply(&[]).unwrap();
    let stats = store.stats().unwrap();
    assert_eq!((stats.commits, stats.commit_operations.count), (14, 14));
    assert_eq!((stats.flushes, stats.undone_commits), (14, 0));
    assert_eq!(stats.commit_operations.sum, 1 + 1 + 9 + 6 + 1000 + 1);
    assert_eq!(
        filled(&stats.commit_operations),
        [(1, 12), (8, 1), (1024, 1)]
    );
    // A commit is a few system calls at the least.
    let times = filled(&stats.commit_nanoseconds);
    assert_eq!(stats.commit_nanoseconds.count, 14);
    assert!(
        times[0].0 > 500 && stats.commit_nanoseconds.sum > 14 * 500,
        "{times:?}"
    );
    check(&store);
    // Opened anew, the store counts its own commits from the start, and its generations go on.
    store.close().unwrap();
    let store: S = open(&directory.path().join("pool.db"));
    let stats = store.stats().unwrap();
    assert_eq!((stats.commits, stats.commit_operations.count), (14, 0));
}

/// Reads that are active, commits since the oldest, open walks.
fn readers(stats: &pm_stats) -> [u64; 3] {
    [
        stats.readers_active,
        stats.oldest_reader_commits,
        stats.walks_open,
    ]
}

fn open_walk_shows_its_age_and_the_pages_that_it_holds<S: Store>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    add(&store, "a");
    let none = store.stats().unwrap();
    assert_eq!(readers(&none), [0, 0, 0]);
    assert_eq!((none.oldest_walk_ns, none.pages_held), (0, 0));
    let walk = store.walk().unwrap();
    commit(&store, 12);
    thread::sleep(Duration::from_millis(2));
    let held = store.stats().unwrap();
    assert_eq!(readers(&held), [1, 12, 1]);
    assert!(held.oldest_walk_ns >= 2_000_000);
    assert!(held.pages_held >= 12 && held.pages_held <= held.pages_free);
    assert!(held.pages_free * held.page_size < held.map_used);
    let younger = store.walk().unwrap();
    assert_eq!(readers(&store.stats().unwrap()), [2, 12, 2]);
    drop(walk);
    let stats = store.stats().unwrap();
    assert_eq!(readers(&stats), [1, 0, 1]);
    assert!(stats.oldest_walk_ns < held.oldest_walk_ns + 60_000_000_000);
    drop(younger);
    let stats = store.stats().unwrap();
    assert_eq!(readers(&stats), [0, 0, 0]);
    assert!(stats.pages_held == 0 && stats.pages_free >= 12);
}

fn running_reads_have_their_process_and_their_age_oldest_first<S: Store>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    add(&store, "a");
    assert_eq!(store.running_reads().unwrap(), []);
    let younger = || {
        commit(&store, 3);
        thread::sleep(Duration::from_millis(2));
        store.walk().unwrap()
    };
    // In the order of LMDB's table, the second of the three gets the slot of the first.
    let walks = [store.walk().unwrap(), younger()];
    let [first, second] = walks;
    drop(first);
    let walks = [second, younger(), younger()];
    let reads = store.running_reads().unwrap();
    let behind: Vec<u64> = reads.iter().map(|read| read.commits_behind).collect();
    assert_eq!(behind, [6, 3, 0]);
    assert!(reads.iter().all(|read| read.pid == std::process::id()));
    let ages: Vec<u64> = reads.iter().map(|read| read.age_ns).collect();
    assert!(ages[2] > 0 && ages[1] >= ages[2] + 2_000_000, "{ages:?}");
    assert!(ages[0] >= ages[1] + 2_000_000, "{ages:?}");
    // Two walks of one commit are two reads.
    let twin = store.walk().unwrap();
    let reads = store.running_reads().unwrap();
    assert!(reads.len() == 4 && reads[2].age_ns > reads[3].age_ns && reads[3].age_ns > 0);
    drop((walks, twin));
    assert_eq!(store.running_reads().unwrap(), []);
    store.close().unwrap();
    refused(store.running_reads(), PM_ERR_CLOSED);
}

fn write_beyond_the_limit_of_pinned_growth_is_refused_until_the_read_ends<S: Store>() {
    const LIMIT: u64 = 1 << 20;
    let options = pm_options {
        max_pinned_growth: LIMIT,
        ..DEFAULTS
    };
    let (_directory, store) = new_store::<S>(&options);
    add(&store, "a");
    // Growth that no read causes has no limit.
    let mut large = device("large");
    large.error = vec![b'e'; 1 << 20];
    for name in ["b", "c", "d"] {
        large.name = name.into();
        store.add(&mut large).unwrap();
    }
    let before = store.stats().unwrap();
    let walk = store.walk().unwrap();
    let mut made = 0;
    let refusal = loop {
        match store.change_state(b"a", DeviceState::Suspended) {
            Ok(()) => made += 1,
            Err(refusal) => break refusal,
        }
        assert!(made < 10_000, "nothing is refused");
    };
    assert_eq!(refusal.code, PM_ERR_PINNED, "{refusal:?}");
    let process = format!("process {}'s", std::process::id());
    refusal.says(&[
        &process,
        &format!("{made} commits behind"),
        "open for",
        "1048576 bytes",
    ]);
    refused(store.add(&mut device("e")), PM_ERR_PINNED);
    let stats = store.stats().unwrap();
    assert_eq!(stats.commits, before.commits + made);
    assert!(stats.pages_held * stats.page_size > LIMIT);
    // The file is made longer by an eighth of its length at a time.
    assert!(
        stats.file_size <= before.file_size + LIMIT + before.file_size / 4,
        "{} bytes",
        stats.file_size
    );
    assert_eq!(walk.count(), 4);
    // The walk has ended with its last device's iterator.
    commit(&store, 100);
    assert_eq!(store.stats().unwrap().pages_held, 0);
    check(&store);
}

fn freed_pages_are_counted_until_they_are_used_again<S: Store>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    let mut large = device("large");
    large.error = vec![b'e'; 1 << 20];
    store.add(&mut large).unwrap();
    let before = store.stats().unwrap();
    store.remove(b"large").unwrap();
    let freed = store.stats().unwrap();
    let pages = (1 << 20) / freed.page_size;
    assert!(freed.pages_free >= before.pages_free + pages);
    // The next commit may use only pages that were freed before the last one.
    add(&store, "small");
    store.add(&mut large).unwrap();
    let after = store.stats().unwrap();
    assert!(after.pages_free < freed.pages_free);
    // A page in use is not counted.
    assert!((after.pages_free + pages) * after.page_size < after.map_used);
}

fn writers_that_wait_for_a_device_are_counted<S: Store>() {
    let (_directory, store) = new_store::<S>(&waiting(60_000));
    add(&store, "a");
    let update = store.begin(b"a").unwrap();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| commit(&store, 1));
        }
        wait_until("three writers wait", || {
            store.stats().unwrap().writers_waiting == 3
        });
        update.commit().unwrap();
    });
    assert_eq!(store.stats().unwrap().writers_waiting, 0);
}
