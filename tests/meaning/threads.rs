//! Many threads on one store: updating, adding, walking, and its map growing under all of them.

use crate::common::{device, Barrier, SetOnDrop};
use crate::subject::*;
use crate::through_rust_and_c;
use pool_metadata::capi::*;
use pool_metadata::DeviceState;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

through_rust_and_c!(
    updates_of_many_threads_are_all_made,
    thread_reads_what_it_has_written_among_others,
    threads_never_get_the_same_id,
    map_grows_under_readers_and_writers,
);

/// A store with a device "counter" of size 0.
fn with_counter<S: Store>() -> (tempfile::TempDir, S) {
    let (directory, store) = new_store::<S>(&DEFAULTS);
    let mut counter = device("counter");
    counter.size = 0;
    store.add(&mut counter).unwrap();
    (directory, store)
}

fn count_up<S: Store>(store: &S) {
    let counted = store.update(b"counter", &mut |device| {
        device.size += 1;
        Ok(())
    });
    counted.unwrap();
}

fn updates_of_many_threads_are_all_made<S: Store>() {
    const THREADS: u64 = 8;
    const ROUNDS: u64 = 60;
    let (_directory, store) = with_counter::<S>();
    let run = |thread: u64| {
        for round in 0..ROUNDS {
            if (thread + round).is_multiple_of(2) {
                count_up(&store);
            } else {
                let mut update = store.begin(b"counter").unwrap();
                update.device().size += 1;
                update.commit().unwrap();
            }
            if round % 16 == 0 {
                let failed = store.update(b"counter", &mut |device| {
                    device.size = 0;
                    Err(-1)
                });
                refused(failed, PM_ERR_CALLBACK);
            }
        }
    };
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let run = &run;
            scope.spawn(move || run(thread));
        }
    });
    assert_eq!(get(&store, "counter").size, THREADS * ROUNDS);
    check(&store);
}

fn thread_reads_what_it_has_written_among_others<S: Store>() {
    const THREADS: u64 = 8;
    const ROUNDS: u64 = 60;
    let (_directory, store) = with_counter::<S>();
    let run = |thread: u64| {
        for round in 0..ROUNDS {
            let name = format!("{thread}/{}", round % 5).into_bytes();
            let added = add(&store, name.as_slice());
            assert_eq!(get(&store, &name), added);
            count_up(&store);
            store.change_state(&name, DeviceState::Activated).unwrap();
            if round % 4 == 0 {
                store.mark_faulty(&name).unwrap();
                assert_ne!(add(&store, name.as_slice()).device_id, added.device_id);
            }
            let mut own = devices(&store);
            own.retain(|device| device.name.starts_with(format!("{thread}/").as_bytes()));
            assert_eq!(own.len(), 1, "no other thread touches this one's devices");
            store.remove(&name).unwrap();
            refused(look_up(&store, &name), PM_ERR_NOT_FOUND);
            if round % 16 == 0 {
                store.verify().unwrap();
                store.stats().unwrap();
                store.sync().unwrap();
            }
        }
    };
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let run = &run;
            scope.spawn(move || run(thread));
        }
    });
    let left = devices(&store);
    assert_eq!((left.len(), left[0].size), (1, THREADS * ROUNDS));
    check(&store);
}

fn threads_never_get_the_same_id<S: Store>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    let add_some = |thread: usize| -> Vec<u32> {
        let names = (0..50).map(|n| format!("{thread}-{n}"));
        names.map(|name| add(&store, name).device_id).collect()
    };
    let mut ids: Vec<u32> = thread::scope(|scope| {
        let add_some = &add_some;
        let threads: Vec<_> = (0..8)
            .map(|thread| scope.spawn(move || add_some(thread)))
            .collect();
        threads
            .into_iter()
            .flat_map(|t| t.join().unwrap())
            .collect()
    });
    ids.sort_unstable();
    assert_eq!(ids, (1..=400).collect::<Vec<u32>>());
    check(&store);
}

fn map_grows_under_readers_and_writers<S: Store>() {
    let small = pm_options {
        map_size: 1 << 20,
        ..waiting(20_000)
    };
    let (_directory, store) = new_store::<S>(&small);
    add(&store, "a");
    let (written, begin) = (AtomicBool::new(false), Barrier::new(7));
    let write = |thread: u8| {
        begin.wait();
        for number in 0..40 {
            let mut large = device(format!("{thread}-{number}"));
            large.error = vec![thread; 40_000];
            store.add(&mut large).unwrap();
        }
    };
    let read = || {
        begin.wait();
        // At least once, in case the writers are faster.
        loop {
            let last = written.load(Ordering::SeqCst);
            assert_eq!(get(&store, "a").device_id, 1);
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
        let _end = SetOnDrop(&written);
        let write = &write;
        let writers = [0, 1, 2, 3].map(|thread| scope.spawn(move || write(thread)));
        for _ in 0..3 {
            scope.spawn(read);
        }
        for writer in writers {
            writer.join().unwrap();
        }
    });
    let stats = store.stats().unwrap();
    assert_eq!(stats.devices, 161);
    assert!(stats.map_size >= 161 * 40_000);
    check(&store);
}
