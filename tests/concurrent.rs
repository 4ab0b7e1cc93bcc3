//! Many threads on one store: reading, writing, walking, and its map growing under all of them.

mod common;

use common::peer::Peer;
use common::{add, check, device, devices, options, place};
use pool_metadata::{DeviceState, Error, PoolMetadata};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

/// Adds one to the size of a device, by an update.
fn count_up(store: &PoolMetadata, name: &str) {
    let counted = store.update_device(name, |device| {
        device.size += 1;
        Ok::<(), Error>(())
    });
    counted.unwrap();
}

#[test]
fn threads_that_do_everything_at_once() {
    const THREADS: u64 = 8;
    const ROUNDS: u64 = 60;
    let (_directory, path) = place();
    let store = PoolMetadata::open(path).unwrap();
    let mut shared = device("shared");
    shared.size = 0;
    store.add_device(&mut shared).unwrap();
    let one = |thread: u64| {
        for round in 0..ROUNDS {
            let name = format!("{thread}/{}", round % 5);
            let added = add(&store, name.as_str());
            assert_eq!(store.get_device(&name).unwrap(), added);
            count_up(&store, "shared");
            store
                .change_device_state(&name, DeviceState::Activated)
                .unwrap();
            if round % 4 == 0 {
                store.mark_faulty(&name).unwrap();
                assert_ne!(add(&store, name.as_str()).device_id, added.device_id);
            }
            let mine: Vec<_> = devices(&store)
                .into_iter()
                .filter(|device| device.name.starts_with(format!("{thread}/").as_bytes()))
                .collect();
            assert_eq!(mine.len(), 1, "nobody else touches this thread's devices");
            store.remove_device(&name).unwrap();
            assert_error!(store.get_device(&name), Error::NotFound { .. });
            if round % 16 == 0 {
                store.verify().unwrap();
            }
        }
    };
    thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || one(thread));
        }
    });
    let left = devices(&store);
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].size, THREADS * ROUNDS);
    check(&store);
}

#[test]
fn ids_that_threads_get_are_never_the_same() {
    let (_directory, path) = place();
    let store = PoolMetadata::open(path).unwrap();
    let mut ids: Vec<u32> = thread::scope(|scope| {
        let add_some = |thread| {
            let store = &store;
            move || {
                (0..50)
                    .map(|n| add(store, format!("{thread}-{n}")).device_id)
                    .collect()
            }
        };
        let threads: Vec<_> = (0..8).map(|thread| scope.spawn(add_some(thread))).collect();
        threads
            .into_iter()
            .flat_map(|t| -> Vec<u32> { t.join().unwrap() })
            .collect()
    });
    ids.sort_unstable();
    assert_eq!(ids, (1..=400).collect::<Vec<u32>>());
    check(&store);
}

#[test]
fn many_more_threads_than_reader_slots() {
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
fn reads_beyond_the_slots_wait_and_give_up_in_time() {
    let (_directory, path) = place();
    Peer::start("concurrent::all_slots", &path).finish();
    check(&PoolMetadata::open(&path).unwrap());
}

#[test]
fn the_map_grows_under_readers_and_writers() {
    let (_directory, path) = place();
    let store = options(20_000).map_size(1 << 20).open(path).unwrap();
    add(&store, "a");
    let (writers, begin) = (AtomicUsize::new(4), Barrier::new(7));
    let write = |thread| {
        begin.wait();
        let mut large = device("");
        for number in 0..40 {
            large.name = format!("{thread}-{number}").into_bytes();
            large.error = vec![thread; 40_000];
            store.add_device(&mut large).unwrap();
        }
        writers.fetch_sub(1, Ordering::SeqCst);
    };
    let read = || {
        begin.wait();
        // Once at the least, should the writers be faster.
        loop {
            let last = writers.load(Ordering::SeqCst) == 0;
            assert_eq!(store.get_device("a").unwrap().device_id, 1);
            for device in devices(&store) {
                let number = device.name[0].wrapping_sub(b'0');
                assert!(device.error.iter().all(|byte| *byte == number));
            }
            if last {
                break;
            }
        }
    };
    thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || write(thread));
        }
        for _ in 0..3 {
            scope.spawn(read);
        }
    });
    let stats = store.stats().unwrap();
    assert_eq!(stats.devices, 161);
    assert!(stats.map_size >= 161 * 40_000, "{stats:?}");
    check(&store);
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
fn a_map_that_cannot_grow_because_of_a_walk_is_a_timeout() {
    let (_directory, path) = place();
    Peer::start("concurrent::cannot_grow", &path).finish();
    check(&PoolMetadata::open(&path).unwrap());
}
