//! A map that starts tiny and grows many times, under writers and readers of several processes; and
//! one that cannot, because of a walk that somebody keeps open.
//!
//! `make campaign` does more of it than `make test`.

#[allow(dead_code)]
#[path = "children/growth.rs"]
mod child;
mod common;

use child::{name, open, step, text, work, Step, PATIENT, WRITERS};
use common::peer::Peer;
use common::{add, campaign, check, device, options, place, wait_until, SetOnDrop};
use pool_metadata::{DeviceState, Durability, PoolMetadata};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// What such writers leave behind.
fn left_behind(prefix: &str, steps: usize, left: &mut BTreeMap<Vec<u8>, Vec<u8>>) {
    for writer in 0..WRITERS {
        for number in 0..steps {
            let (Step::Add(at) | Step::Update(at) | Step::Remove(at)) = step(number);
            let name = name(prefix, writer, at).into_bytes();
            match step(number) {
                Step::Remove(_) => assert!(left.remove(&name).is_some()),
                _ => drop(left.insert(name, text(writer, number))),
            }
        }
    }
}

#[test]
fn tiny_map_grows_under_writers_and_readers_of_four_processes() {
    let steps = campaign(40, 400);
    for round in 0..campaign(1, 10) {
        let (_directory, path) = place();
        let store = open(&path, PATIENT);
        add(&store, "base");
        let mut peers: Vec<_> = ["first", "second"]
            .map(|prefix| {
                Peer::start(
                    "growth::worker",
                    format!("{prefix}/{steps}:{}", path.display()),
                )
            })
            .into();
        let mut looker = Peer::start("growth::looker", &path);
        looker.expect("ready");
        peers.iter_mut().for_each(|peer| peer.expect("ready"));
        peers.iter_mut().for_each(|peer| peer.tell("go"));
        work(&store, "own", steps);
        peers.iter_mut().for_each(|peer| peer.expect("done"));
        peers.into_iter().for_each(Peer::finish);
        looker.tell("end");
        looker.finish();
        let mut expected = BTreeMap::from([(b"base".to_vec(), Vec::new())]);
        for prefix in ["own", "first", "second"] {
            left_behind(prefix, steps, &mut expected);
        }
        let found: BTreeMap<_, _> = store
            .walk()
            .unwrap()
            .map(|device| device.map(|device| (device.name, device.error)).unwrap())
            .collect();
        assert!(found == expected, "something was lost in round {round}");
        check(&store);
        let stats = store.stats().unwrap();
        assert!(stats.map_size >= 8 << 20, "it has hardly grown: {stats:?}");
    }
}

#[test]
fn write_that_a_walk_keeps_from_growth_times_out_and_nothing_is_lost() {
    let (_directory, path) = place();
    Peer::start("growth::cannot_grow", &path).finish();
    check(&PoolMetadata::open(&path).unwrap());
}

/// A flush that ends while the map grows must not count as a user of the old map.
#[test]
fn flushes_beside_a_growing_map_do_not_close_the_store() {
    let (_directory, path) = place();
    let store = open(&path, PATIENT);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = SetOnDrop(&done);
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    store.sync().unwrap();
                }
            });
        }
        for number in 0..400 {
            let mut large = device(format!("large-{number}"));
            large.error = vec![b'e'; 40_000];
            store.add_device(&mut large).unwrap();
        }
    });
    check(&store);
}

#[test]
fn process_with_an_open_walk_times_out_when_another_grows_the_map() {
    let (_directory, path) = place();
    let store = open(&path, PATIENT);
    add(&store, "base");
    let mut peer = Peer::start("growth::keeps_a_walk", &path);
    peer.expect("walking");
    for number in 0..8 {
        let mut large = device(format!("large-{number}"));
        large.error = vec![b'e'; 500_000];
        store.add_device(&mut large).unwrap();
    }
    assert!(store.stats().unwrap().map_used > 1 << 20);
    peer.tell("it has grown");
    // Its waiting costs this process no more than its turn.
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _end = SetOnDrop(&stop);
            peer.expect("told");
        });
        while !stop.load(Ordering::SeqCst) {
            store
                .change_device_state("base", DeviceState::Activated)
                .unwrap();
            // No page that a commit frees is used again before the walk ends: without a pause, a
            // gigabyte.
            thread::sleep(Duration::from_millis(5));
        }
    });
    peer.tell("end");
    peer.finish();
    wait_until("its write", || {
        store.get_device("base").unwrap().state == DeviceState::Suspended
    });
    check(&store);
}

#[test]
fn writer_that_waits_for_a_larger_map_does_not_block_other_processes() {
    let (_directory, path) = place();
    // Shorter than what the other one waits, and longer than a slow machine takes to lay its large
    // row out. How many writes there are must not depend on how the disk flushes.
    let mut options = options(2000);
    options.map_size(1 << 20).durability(Durability::Relaxed);
    let store = options.open(&path).unwrap();
    add(&store, "base");
    let mut peer = Peer::start("growth::wants_more", &path);
    peer.expect("begins");
    let gave_up = AtomicBool::new(false);
    let mut writes = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            let _end = SetOnDrop(&gave_up);
            peer.expect("gives up");
        });
        while !gave_up.load(Ordering::SeqCst) {
            store
                .change_device_state("base", DeviceState::Activated)
                .unwrap();
            writes += 1;
            thread::sleep(Duration::from_millis(1));
        }
    });
    assert!(writes > 20, "{writes}");
    peer.finish();
    check(&store);
}
