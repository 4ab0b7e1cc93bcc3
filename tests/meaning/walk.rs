//! Walks: with a callback, device by device, and names only.

use crate::common::device;
use crate::subject::*;
use crate::through_rust_and_c;
use pool_metadata::capi::*;
use pool_metadata::{DeviceInfo, DeviceState, Ids, MAX_ERROR_LEN};
use std::time::{Duration, Instant};

through_rust_and_c!(
    every_device_is_shown_in_byte_order,
    empty_store_shows_nothing,
    failing_callback_ends_the_walk_and_its_code_comes_back,
    callback_may_write_and_the_walk_does_not_see_it,
    walk_inside_a_walk_shows_everything,
    call_that_needs_the_end_of_its_own_walk_fails_at_once,
    walk_shows_the_devices_of_one_moment,
    walk_tells_the_ids_of_the_same_moment,
    devices_of_all_sizes_are_shown,
    no_walk_begins_once_every_reader_slot_is_taken,
);

/// Names in byte order, among them some that would come elsewhere as signed characters or as
/// numbers.
const SORTED: [&[u8]; 11] = [
    b"\x01",
    b"10",
    b"9",
    b"B",
    b"a",
    b"a/",
    b"aa",
    b"b",
    b"\x7f",
    b"\x80",
    b"\xff\xfe",
];

/// A store with devices of those names, added in another order.
fn store_of_names<S: Store>(options: &pm_options) -> (tempfile::TempDir, S) {
    let (directory, store) = new_store(options);
    for at in [7, 2, 10, 0, 5, 9, 4, 1, 8, 3, 6] {
        add(&store, SORTED[at]);
    }
    (directory, store)
}

/// Every device, as a walk with a callback shows them.
fn visited<S: Store>(store: &S) -> Vec<DeviceInfo> {
    let mut shown = Vec::new();
    let visit = &mut |device| {
        shown.push(device);
        Ok(())
    };
    store.walk_devices(visit).unwrap();
    shown
}

fn every_device_is_shown_in_byte_order<S: Store>() {
    let (_directory, store) = store_of_names::<S>(&DEFAULTS);
    let expected: Vec<_> = SORTED.iter().map(|name| get(&store, name)).collect();
    assert_eq!(devices(&store), expected);
    assert_eq!(visited(&store), expected);
    assert_eq!(store.names().unwrap(), SORTED);
}

fn empty_store_shows_nothing<S: Store>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    assert!(devices(&store).is_empty() && visited(&store).is_empty());
    assert!(store.names().unwrap().is_empty());
    assert_eq!(store.walk().unwrap().ids().unwrap(), Ids::default());
}

fn failing_callback_ends_the_walk_and_its_code_comes_back<S: Store>() {
    let (_directory, store) = store_of_names::<S>(&DEFAULTS);
    for (end, code) in [
        (1, 1),
        (3, -1),
        (5, PM_ERR_CALLBACK),
        (7, i32::MAX),
        (11, i32::MIN),
    ] {
        let mut shown = 0;
        let outcome = store.walk_devices(&mut |_| {
            shown += 1;
            if shown == end {
                Err(code)
            } else {
                Ok(())
            }
        });
        let failure = refused(outcome, PM_ERR_CALLBACK);
        assert_eq!((failure.callback_code, shown), (code, end));
    }
    // None of them is left open.
    assert_eq!(store.stats().unwrap().walks_open, 0);
    store.close().unwrap();
}

fn callback_may_write_and_the_walk_does_not_see_it<S: Store>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    for number in 0..100 {
        add(&store, format!("{number:03}"));
    }
    let before = devices(&store);
    let mut seen = Vec::new();
    store
        .walk_devices(&mut |device| {
            let number: usize = String::from_utf8_lossy(&device.name).parse().unwrap();
            // A device that was shown before, this one, and one that is still to come.
            store.change_state(b"000", DeviceState::Removed).unwrap();
            match number % 3 {
                0 => store.mark_faulty(&device.name).unwrap(),
                1 => store.remove(&device.name).unwrap(),
                _ => drop(add(&store, format!("{number:03}-new"))),
            }
            if number < 99 {
                store
                    .update(format!("{:03}", number + 1).as_bytes(), &mut |next| {
                        next.size = 1;
                        Ok(())
                    })
                    .unwrap();
            }
            seen.push(device);
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, before);
    assert_eq!(devices(&store).len(), 100 - 33 + 33);
    check(&store);
}

fn walk_inside_a_walk_shows_everything<S: Store>() {
    let (_directory, store) = store_of_names::<S>(&DEFAULTS);
    let expected = devices(&store);
    let mut shown = 0;
    store
        .walk_devices(&mut |device| {
            assert_eq!(device, expected[shown]);
            assert_eq!(visited(&store), expected);
            shown += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!(shown, expected.len());
}

/// No wait could end while the callback waits.
fn call_that_needs_the_end_of_its_own_walk_fails_at_once<S: Store>() {
    let options = pm_options {
        map_size: 1 << 20,
        ..waiting(60_000)
    };
    let (_directory, store) = new_store::<S>(&options);
    add(&store, "a");
    let mut large = device("large");
    large.error = vec![b'e'; MAX_ERROR_LEN];
    let start = Instant::now();
    store
        .walk_devices(&mut |_| {
            // From an inner walk's callback, and after it.
            store
                .walk_devices(&mut |_| {
                    refused(store.close(), PM_ERR_BUSY).says(&["callback", "walk"]);
                    Ok(())
                })
                .unwrap();
            refused(store.close(), PM_ERR_BUSY).says(&["callback", "walk"]);
            refused(store.add(&mut large), PM_ERR_TIMEOUT).says(&["walk"]);
            add(&store, "b");
            Ok(())
        })
        .unwrap();
    assert!(start.elapsed() < Duration::from_secs(30), "at once");
    // Another thread's walk may end, and so may one that this thread takes step by step.
    let (_other_directory, other) = new_store::<S>(&DEFAULTS);
    add(&other, "a");
    other
        .walk_devices(&mut |_| {
            store.add(&mut large).unwrap();
            Ok(())
        })
        .unwrap();
    assert_eq!(devices(&store).len(), 3);
    check(&store);
    store.close().unwrap();
}

fn walk_shows_the_devices_of_one_moment<S: Store>() {
    let (_directory, store) = store_of_names::<S>(&DEFAULTS);
    let before = devices(&store);
    let mut walk = store.walk().unwrap();
    assert_eq!(walk.next().unwrap().unwrap(), before[0]);
    store.remove(b"a").unwrap();
    store
        .change_state(b"\xff\xfe", DeviceState::Removed)
        .unwrap();
    add(&store, "zz");
    assert!(walk.map(Result::unwrap).eq(before[1..].iter().cloned()));
    let names = store.names().unwrap();
    assert!(names.contains(&b"zz".to_vec()) && !names.contains(&b"a".to_vec()));
    check(&store);
}

fn walk_tells_the_ids_of_the_same_moment<S: Store>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    let empty = store.walk().unwrap();
    for name in ["a", "b", "c"] {
        add(&store, name);
    }
    store.remove(b"a").unwrap();
    store.mark_faulty(b"c").unwrap();
    assert_eq!(empty.ids().unwrap(), Ids::default());
    let mut walk = store.walk().unwrap();
    store.remove(b"b").unwrap();
    let expected = Ids {
        last_id: 3,
        free: vec![1],
        faulty: vec![3],
    };
    // They are the same wherever the walk is.
    assert_eq!(walk.ids().unwrap(), expected);
    assert_eq!(walk.by_ref().count(), 2);
    assert_eq!(walk.ids().unwrap(), expected);
}

fn devices_of_all_sizes_are_shown<S: Store>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    let mut expected = Vec::new();
    for (number, len) in [0, 3000, 1, 250, 1 << 20, 7, 100_000]
        .into_iter()
        .enumerate()
    {
        let mut new = device(format!("{number}"));
        new.error = vec![b'e'; len];
        store.add(&mut new).unwrap();
        expected.push(new);
    }
    assert!(devices(&store) == expected && visited(&store) == expected);
}

fn no_walk_begins_once_every_reader_slot_is_taken<S: Store>() {
    let few = pm_options {
        max_readers: 128,
        ..waiting(30)
    };
    let (_directory, store) = new_store::<S>(&few);
    add(&store, "base");
    let mut walks = Vec::new();
    let failure = loop {
        match store.walk() {
            Ok(walk) => walks.push(walk),
            Err(failure) => break failure,
        }
    };
    assert!((64..=128).contains(&walks.len()), "{}", walks.len());
    refused::<()>(Err(failure), PM_ERR_READERS_FULL).says(&["128"]);
    refused(store.names(), PM_ERR_READERS_FULL);
    add(&store, "writers go on");
    walks.pop();
    drop(store.walk().unwrap());
    walks.clear();
    check(&store);
}
