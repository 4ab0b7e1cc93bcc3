//! Many threads on one store, and what each read and write waits for. What they do is in
//! `meaning/threads.rs`.

mod common;

use common::peer::Peer;
use common::{add, check, device, options, place, Barrier};
use pool_metadata::PoolMetadata;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

#[test]
fn many_more_threads_than_reader_slots_all_read() {
    const THREADS: usize = 300;
    let (_directory, path) = place();
    let store = options(30_000).open(path).unwrap();
    for number in 0..10 {
        add(&store, number.to_string());
    }
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (store, start) = (&store, &start);
            scope.spawn(move || {
                start.wait();
                for round in 0..20 {
                    let name = ((thread + round) % 10).to_string();
                    let read = store.read_device(&name, |device| {
                        thread::yield_now(); // with the slot in hand
                        device.name.to_vec()
                    });
                    assert_eq!(read.unwrap(), name.as_bytes());
                    assert_eq!(store.walk().unwrap().count(), 10);
                }
            });
        }
    });
    check(&store);
}

#[test]
fn reads_beyond_the_slots_time_out() {
    let (_directory, path) = place();
    Peer::start("concurrent::all_slots", &path).finish();
    check(&PoolMetadata::open(&path).unwrap());
}

#[test]
fn growth_waits_for_a_read_in_flight() {
    let (_directory, path) = place();
    let store = options(20_000).map_size(1 << 20).open(path).unwrap();
    let mut large = device("a");
    large.error = vec![b'a'; 100_000];
    store.add_device(&mut large).unwrap();
    let (inside, done) = (Barrier::new(2), AtomicBool::new(false));
    let read = || {
        store.read_device("a", |device| {
            inside.wait();
            for _ in 0..10 {
                thread::sleep(Duration::from_millis(10));
                assert!(device.error.iter().all(|byte| *byte == b'a'));
            }
            done.store(true, Ordering::SeqCst);
        })
    };
    thread::scope(|scope| {
        let reader = scope.spawn(read);
        inside.wait();
        large.name = b"b".to_vec();
        large.error = vec![b'b'; pool_metadata::MAX_ERROR_LEN];
        store.add_device(&mut large).unwrap();
        assert!(done.load(Ordering::SeqCst), "the map was replaced under it");
        reader.join().unwrap().unwrap();
    });
    check(&store);
}

#[test]
fn growth_that_a_walk_prevents_times_out() {
    let (_directory, path) = place();
    Peer::start("concurrent::cannot_grow", &path).finish();
    check(&PoolMetadata::open(&path).unwrap());
}
