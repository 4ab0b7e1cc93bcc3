//! Several processes on one store: writing at once, changing what another is about to change,
//! growing the map. Those that are stopped and killed are in `tests/turmoil.rs` and `tests/kills`.

#[allow(dead_code)]
#[path = "children/processes.rs"]
mod child;
mod common;

use child::{assert_grown, count_up, large, small, COUNTED};
use common::peer::Peer;
use common::{add, check, device, devices, error_of, options, place, sys};
use pool_metadata::{DeviceState, Error, PoolMetadata};
use std::fs::File;
use std::time::{Duration, Instant};

#[test]
fn update_of_a_device_that_another_process_has_changed_conflicts() {
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    for name in ["a", "b", "c", "d", "e"] {
        add(&store, name);
    }
    let mut peer = Peer::start("processes::remote", &path);
    peer.expect("ready");
    let mut order = |line: &str| {
        peer.tell(line);
        peer.expect("ok");
    };
    // Changed: the message names the device, and the other process's write stays.
    let result = store.update_device("a", |device| {
        order("activate a");
        device.size = 1;
        Ok::<(), Error>(())
    });
    let error = error_of(result);
    assert!(
        matches!(&error, Error::Conflict { name } if **name == *b"a"),
        "{error:?}"
    );
    assert!(error.to_string().contains("\"a\""), "{error}");
    let a = store.get_device("a").unwrap();
    assert_eq!((a.size, a.state), (4096, DeviceState::Activated));
    // Removed; removed and added again; and replaced after a fault.
    let update = store.begin_update("b").unwrap();
    order("remove b");
    assert_error!(update.commit(), Error::NotFound { .. });
    let update = store.begin_update("c").unwrap();
    order("remove c");
    order("add c");
    assert_error!(update.commit(), Error::Conflict { .. });
    let update = store.begin_update("d").unwrap();
    order("fault d");
    order("add d");
    assert_error!(update.commit(), Error::Conflict { .. });
    // A change of another device is no conflict, and a second try succeeds.
    let update = store.begin_update("e").unwrap();
    order("activate a");
    update.commit().unwrap();
    store.begin_update("a").unwrap().commit().unwrap();
    check(&store);
    peer.finish();
}

#[test]
fn processes_that_write_at_once_lose_no_update() {
    let (_directory, path) = place();
    let store = small().open(&path).unwrap();
    let mut counter = device("counter");
    counter.size = 0;
    store.add_device(&mut counter).unwrap();
    let mut peers: Vec<_> = (0..3)
        .map(|_| Peer::start("processes::count", &path))
        .collect();
    peers.iter_mut().for_each(|peer| peer.expect("ready"));
    peers.iter_mut().for_each(|peer| peer.tell("go"));
    for _ in 0..COUNTED {
        count_up(&store);
    }
    let mut ids = Vec::new();
    for mut peer in peers {
        ids.extend(std::iter::from_fn(|| peer.try_hear()));
        peer.finish();
    }
    let left = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), left), (COUNTED as usize, COUNTED as usize));
    assert_eq!(
        store.get_device("counter").unwrap().size,
        4 * u64::from(COUNTED)
    );
    check(&store);
}

#[test]
fn map_that_another_process_grows_serves_readers_and_writers() {
    let (_directory, path) = place();
    let store = small().open(&path).unwrap();
    add(&store, "a");
    let mut peer = Peer::start("processes::grow", &path);
    peer.expect("ready");
    peer.tell("go");
    let (mut walked, mut written) = (0, 0);
    while walked < 151 {
        written += 1;
        store
            .update_device("a", |device| {
                device.size = written;
                Ok::<(), Error>(())
            })
            .unwrap();
        assert_eq!(store.get_device("a").unwrap().size, written);
        walked = 0;
        for device in store.walk().unwrap() {
            let device = device.unwrap();
            let byte = device.error.first().copied().unwrap_or(0);
            assert!(device.error.iter().all(|b| *b == byte));
            walked += 1;
        }
    }
    peer.finish();
    assert_grown(&store);
    check(&store);
    // A read without a walk sees the new size as well.
    let expected: Vec<_> = (0..150).map(|number| large(number).name).collect();
    assert_eq!(store.get_device_names().unwrap()[1..], expected);
}

#[test]
fn map_that_another_process_grows_serves_a_read_only_store() {
    let (_directory, path) = place();
    add(&PoolMetadata::open(&path).unwrap(), "a");
    let look = small().read_only(true).open(&path).unwrap();
    let mut peer = Peer::start("processes::grow", &path);
    peer.expect("ready");
    peer.tell("go");
    let mut walked = 0;
    while walked < 151 {
        assert_eq!(look.get_device("a").unwrap().device_id, 1);
        let now = devices(&look).len();
        assert!(now >= walked);
        walked = now;
    }
    peer.finish();
    let stats = look.stats().unwrap();
    assert!(stats.map_size >= stats.map_used && stats.map_used > 1 << 20);
    check(&look);
    look.close().unwrap();
}

#[test]
fn writer_of_another_process_delays_writes_by_the_lock_wait_at_most() {
    let (_directory, path) = place();
    let store = options(100).open(&path).unwrap();
    add(&store, "own");
    let writer = File::open(&path).unwrap();
    sys::flock(&writer);
    let start = Instant::now();
    let change = || store.change_device_state("own", DeviceState::Activated);
    let error = error_of(change());
    let Error::Timeout { what, waited } = &error else {
        panic!("{error:?}");
    };
    assert!(what.contains("another process"), "{what}");
    assert_eq!(*waited, Duration::from_millis(100));
    assert!((*waited..*waited * 100).contains(&start.elapsed()));
    // Reads wait for no writer.
    assert_eq!(devices(&store)[0].state, DeviceState::Created);
    drop(writer);
    change().unwrap();
    check(&store);
}
