//! A store that other processes have open as well: writing at once, changing what this one is about
//! to change, growing the map. `tests/turmoil.rs` and `tests/kills` stop and kill them.

use crate::common::peer::Peer;
use crate::common::{device, place, sys};
use crate::subject::*;
use crate::through_rust_and_c;
use pool_metadata::capi::*;
use pool_metadata::DeviceState;
use std::fs::{self, File};
use std::time::{Duration, Instant};

through_rust_and_c!(
    update_of_a_device_that_another_process_has_changed_conflicts,
    processes_that_write_at_once_lose_no_update,
    map_that_another_process_grows_serves_readers_and_writers,
    map_that_another_process_grows_serves_a_read_only_store,
    writer_of_another_process_delays_writes_by_the_lock_wait_at_most,
    file_that_another_process_has_open_by_another_path_is_refused,
);

const SMALL: pm_options = pm_options {
    map_size: 1 << 20,
    ..DEFAULTS
};

fn update_of_a_device_that_another_process_has_changed_conflicts<S: Store>() {
    let (_directory, path) = place();
    let store: S = open(&path);
    for name in ["a", "b", "c", "d", "e"] {
        add(&store, name);
    }
    let mut peer = Peer::start("processes::remote", &path);
    peer.expect("ready");
    let mut order = |line: &str| {
        peer.tell(line);
        peer.expect("ok");
    };
    // The message names the device, and the other process's write stays.
    let outcome = store.update(b"a", &mut |device| {
        order("activate a");
        device.size = 1;
        Ok(())
    });
    refused(outcome, PM_ERR_CONFLICT).says(&["\"a\""]);
    let a = get(&store, "a");
    assert_eq!((a.size, a.state), (4096, DeviceState::Activated));
    // Removed; removed and added again; and replaced after a fault.
    let update = store.begin(b"b").unwrap();
    order("remove b");
    refused(update.commit(), PM_ERR_NOT_FOUND);
    let update = store.begin(b"c").unwrap();
    order("remove c");
    order("add c");
    refused(update.commit(), PM_ERR_CONFLICT);
    let update = store.begin(b"d").unwrap();
    order("fault d");
    order("add d");
    refused(update.commit(), PM_ERR_CONFLICT);
    // A change of another device is no conflict, and a second try succeeds.
    let update = store.begin(b"e").unwrap();
    order("activate a");
    update.commit().unwrap();
    store.begin(b"a").unwrap().commit().unwrap();
    check(&store);
    peer.finish();
}

fn processes_that_write_at_once_lose_no_update<S: Store>() {
    /// How often each process counts, and how many devices it leaves.
    const COUNTED: u64 = 99;
    let (_directory, path) = place();
    let store = S::open(&path, &SMALL).unwrap();
    let mut counter = device("counter");
    counter.size = 0;
    store.add(&mut counter).unwrap();
    let start = |_| Peer::start("processes::count", &path);
    let mut peers: Vec<_> = (0..3).map(start).collect();
    peers.iter_mut().for_each(|peer| peer.expect("ready"));
    peers.iter_mut().for_each(|peer| peer.tell("go"));
    let mut counted = 0;
    while counted < COUNTED {
        let outcome = store.update(b"counter", &mut |device| {
            device.size += 1;
            Ok(())
        });
        match outcome {
            Ok(()) => counted += 1,
            conflict => drop(refused(conflict, PM_ERR_CONFLICT)),
        }
    }
    let mut ids = Vec::new();
    for mut peer in peers {
        ids.extend(std::iter::from_fn(|| peer.try_hear()));
        peer.finish();
    }
    let left = ids.len() as u64;
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len() as u64, left), (COUNTED, COUNTED));
    assert_eq!(get(&store, "counter").size, 4 * COUNTED);
    check(&store);
}

/// How many devices the other process adds, each with a text of 40,000 bytes.
const LARGE: usize = 150;

/// To which size depends on timing: a process that finds the map too small, or the file beyond it,
/// doubles it.
fn assert_grown<S: Store>(store: &S) {
    let stats = store.stats().unwrap();
    assert!(stats.map_size >= stats.map_used.max(LARGE as u64 * 40_000));
}

fn map_that_another_process_grows_serves_readers_and_writers<S: Store>() {
    let (_directory, path) = place();
    let store = S::open(&path, &SMALL).unwrap();
    add(&store, "a");
    let mut peer = Peer::start("processes::grow", &path);
    peer.expect("ready");
    peer.tell("go");
    let (mut walked, mut written) = (0, 0);
    while walked <= LARGE {
        written += 1;
        store
            .update(b"a", &mut |device| {
                device.size = written;
                Ok(())
            })
            .unwrap();
        assert_eq!(get(&store, "a").size, written);
        walked = 0;
        for device in devices(&store) {
            let byte = device.error.first().copied().unwrap_or(0);
            assert!(device.error.iter().all(|b| *b == byte));
            walked += 1;
        }
    }
    peer.finish();
    assert_grown(&store);
    check(&store);
    assert_eq!(store.names().unwrap().len(), 1 + LARGE);
}

fn map_that_another_process_grows_serves_a_read_only_store<S: Store>() {
    let (_directory, path) = place();
    let store: S = open(&path);
    add(&store, "a");
    store.close().unwrap();
    let options = pm_options {
        flags: PM_OPEN_READ_ONLY,
        ..SMALL
    };
    // In a container, a handle that only reads shares a store that a process has open there, and
    // reads a private copy of any other.
    let mut peer = Peer::start("processes::grow", &path);
    peer.expect("ready");
    let store = S::open(&path, &options).unwrap();
    peer.tell("go");
    let mut walked = 0;
    while walked <= LARGE {
        assert_eq!(get(&store, "a").device_id, 1);
        let now = devices(&store).len();
        assert!(now >= walked);
        walked = now;
    }
    peer.finish();
    let stats = store.stats().unwrap();
    assert!(stats.map_size >= stats.map_used && stats.map_used > 1 << 20);
    check(&store);
    store.close().unwrap();
}

fn writer_of_another_process_delays_writes_by_the_lock_wait_at_most<S: Store>() {
    const WAIT: Duration = Duration::from_millis(100);
    let (_directory, path) = place();
    let store = S::open(&path, &waiting(100)).unwrap();
    add(&store, "own");
    // Held through another descriptor, the lock of writers is another process's.
    let writer = File::open(&path).unwrap();
    sys::flock(&writer);
    let start = Instant::now();
    let change = || store.change_state(b"own", DeviceState::Activated);
    refused(change(), PM_ERR_TIMEOUT).says(&["another process", "100 ms"]);
    assert!((WAIT..WAIT * 100).contains(&start.elapsed()));
    // Reads wait for no writer.
    assert_eq!(get(&store, "own").state, DeviceState::Created);
    drop(writer);
    change().unwrap();
    check(&store);
}

/// Through a hard link LMDB would keep its locks in another file, so both could write at once.
fn file_that_another_process_has_open_by_another_path_is_refused<S: Store>() {
    let (directory, path) = place();
    let link = directory.path().join("hard-link.db");
    let mut peer = Peer::start("open_twice::open_and_wait", &path);
    peer.expect("open");
    fs::hard_link(&path, &link).unwrap();
    refused(S::open(&link, &waiting(2000)), PM_ERR_ALREADY_OPEN).says(&["another process"]);
    // By the same path the two share it.
    let store = S::open(&path, &READ_ONLY).unwrap();
    assert_eq!(get(&store, "child").device_id, 1);
    peer.finish();
    check(&store);
    store.close().unwrap();
    check(&open::<S>(&link));
}
