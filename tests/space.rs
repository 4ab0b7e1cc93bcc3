//! The file does not grow without end while readers come and go: what a commit frees is used again
//! once nobody reads it.
//!
//! `make campaign` makes a million updates where `make test` makes a hundred thousand.

#[allow(dead_code)]
#[path = "children/space.rs"]
mod child;
mod common;

use child::open;
use common::peer::Peer;
use common::{add, campaign, check, place};
use pool_metadata::{DeviceState, Error, OpenOptions, PoolMetadata, Stats};
use std::collections::VecDeque;

const DEVICES: usize = 1000;

fn fill(store: &PoolMetadata) {
    for number in 0..DEVICES {
        add(store, format!("device-{number:04}"));
    }
}

/// One update, of each device in turn, in an order that meets every page.
fn update(store: &PoolMetadata, number: usize) {
    let name = format!("device-{:04}", number * 379 % DEVICES);
    let state = DeviceState::from_number((number % 13) as i64).unwrap();
    store.change_device_state(name, state).unwrap();
}

/// Pages that an update writes anew at most: the way to a device's record, the unnamed database
/// with the header, and the free list, each with a page to spare.
const PAGES_PER_UPDATE: u64 = 10;

/// Pages in use where the rows take `live` and a read may be `age` commits old: the free list has a
/// row for each of those commits, with their pages' numbers, on pages that may be half full.
fn in_use(live: u64, age: u64, page_size: u64) -> u64 {
    let row = 8 * (3 + PAGES_PER_UPDATE);
    live + PAGES_PER_UPDATE + 2 * (age + 3) * row / page_size
}

/// The largest that such a file may be.
///
/// What a read holds back is `age` commits' pages. LMDB uses freed pages of a commit only from the
/// second one after it on, and the file is made longer by an eighth, from 256 KiB to 8 MiB, at a
/// time.
fn largest(live: u64, age: u64, page_size: u64) -> u64 {
    let pages = in_use(live, age, page_size) + (age + 3) * PAGES_PER_UPDATE;
    let bytes = pages * page_size;
    bytes + (bytes / 8).clamp(256 << 10, 8 << 20) + (1 << 20)
}

fn live_pages(stats: &Stats) -> u64 {
    stats.map_used / stats.page_size - stats.pages_free
}

#[test]
fn file_stays_small_while_reads_come_and_go() {
    // A walk is begun every so often, and ends when three more have been.
    const EVERY: usize = 250;
    const WALKS: usize = 4;
    let updates = campaign(100_000, 1_000_000);
    let (_directory, path) = place();
    let store = open(&path);
    fill(&store);
    let live = live_pages(&store.stats().unwrap());
    let mut walks = VecDeque::new();
    let (mut oldest, mut most_held) = (0, 0);
    for number in 0..updates {
        update(&store, number);
        if number % EVERY == 0 {
            if walks.len() == WALKS {
                let stats = store.stats().unwrap();
                // In commits: how many since the oldest walk was begun, for all to see.
                let expected = WALKS * EVERY;
                assert_eq!(stats.oldest_reader_commits, expected as u64, "{stats:?}");
                assert_eq!(stats.walks_open, WALKS as u64);
                oldest = oldest.max(stats.oldest_reader_commits);
                most_held = most_held.max(stats.pages_held);
                let walk: pool_metadata::Walk = walks.pop_front().unwrap();
                assert_eq!(walk.count(), DEVICES);
                // It falls as soon as that one has ended.
                let after = store.stats().unwrap().oldest_reader_commits;
                assert_eq!(after, expected as u64 - EVERY as u64);
            }
            walks.push_back(store.walk().unwrap());
        }
    }
    let stats = store.stats().unwrap();
    let largest = largest(live, oldest, stats.page_size);
    assert!(stats.file_size <= largest, "more than {largest}: {stats:?}");
    assert!(most_held > 1000, "the walks held nothing back: {most_held}");
    // The rest is for no more rows than there were in the beginning.
    let (now, most) = (live_pages(&stats), in_use(live, oldest, stats.page_size));
    assert!(now <= most, "{now} pages and not {most}");
    println!(
        "{} bytes of {largest}, {now} pages of {most}",
        stats.file_size
    );
    drop(walks);
    assert_eq!(store.stats().unwrap().oldest_reader_commits, 0);
    check(&store);
}

#[test]
fn file_stays_small_after_a_reading_process_is_killed() {
    let updates = campaign(10_000, 200_000);
    let (_directory, path) = place();
    let store = open(&path);
    fill(&store);
    let live = live_pages(&store.stats().unwrap());
    let mut peer = Peer::start("space::look", &path);
    peer.expect("looking");
    const HELD: u64 = 100;
    for number in 0..HELD as usize {
        update(&store, number);
    }
    assert_eq!(store.stats().unwrap().oldest_reader_commits, HELD);
    peer.kill();
    // From here on nobody opens a store, asks for statistics or finds the table full: a writer has
    // to see to it.
    for number in 0..updates {
        update(&store, number);
    }
    let size = std::fs::metadata(&path).unwrap().len();
    let stats = store.stats().unwrap();
    // As long as what the file was made longer by lasted, nobody looked.
    let unnoticed = (512 << 10) / stats.page_size;
    let largest = largest(live, HELD + unnoticed, stats.page_size);
    assert!(size <= largest, "more than {largest}: {stats:?}");
    check(&store);
}

#[test]
fn limit_of_pinned_growth_names_the_process_that_reads_and_ends_with_it() {
    const LIMIT: u64 = 512 << 10;
    let (_directory, path) = place();
    let store = OpenOptions::new()
        .max_pinned_growth(LIMIT)
        .open(&path)
        .unwrap();
    fill(&store);
    let mut peer = Peer::start("space::look", &path);
    peer.expect("looking");
    let change = |number: usize| {
        let state = DeviceState::from_number((number % 13) as i64).unwrap();
        store.change_device_state("device-0001", state)
    };
    let refusal = (0..10_000).find_map(|number| change(number).err().map(|e| (number, e)));
    let (made, refusal) = refusal.expect("nothing is refused");
    let Error::Pinned {
        pid,
        commits_behind,
        age,
        held,
        limit,
        ..
    } = refusal
    else {
        panic!("{refusal:?}");
    };
    assert_eq!((pid, commits_behind, age), (peer.id(), made as u64, None));
    assert!(limit == LIMIT && held > LIMIT, "{held}");
    // Killed, it holds nothing: the next write that needs the room finds that out.
    peer.kill();
    (0..1000).for_each(|number| change(number).unwrap());
    check(&store);
}
