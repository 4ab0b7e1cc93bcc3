//! Several processes on one store: writing at once, changing what another is about to change,
//! growing the map, stopped in the middle and killed at any moment.

#[allow(dead_code)]
#[path = "children/processes.rs"]
mod child;
mod common;

use child::{assert_grown, count_up, large, small, step_name, COUNTED};
use common::peer::Peer;
use common::{add, check, device, devices, error_of, options, place};
use pool_metadata::{DeviceState, Error, PoolMetadata};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

#[test]
fn a_device_that_another_process_changes_between_the_phases() {
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
    // Changed: by name, in the message. What the other wrote stays.
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
    // Another device's change is no conflict, and neither is a second try.
    let update = store.begin_update("e").unwrap();
    order("activate a");
    update.commit().unwrap();
    store.begin_update("a").unwrap().commit().unwrap();
    check(&store);
    peer.finish();
}

#[test]
fn processes_that_write_at_once() {
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
fn another_process_makes_the_map_larger() {
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
    // One that only reads, and one that only writes, meet the new size as well.
    let expected: Vec<_> = (0..150).map(|number| large(number).name).collect();
    assert_eq!(store.get_device_names().unwrap()[1..], expected);
}

#[test]
fn another_process_makes_the_map_larger_for_one_that_only_reads() {
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

/// What there is after so many steps: name, length of the text, and whether it is faulty.
fn after_steps(prefix: &str, steps: usize) -> BTreeMap<Vec<u8>, (usize, bool)> {
    let mut found = BTreeMap::new();
    for step in 0..steps {
        let name = step_name(prefix, step).into_bytes();
        match step % 6 {
            0 | 3 => drop(found.insert(name, (0, false))),
            1 | 4 => found.get_mut(&name).unwrap().0 = 50 * step,
            2 => drop(found.remove(&name)),
            _ => found.get_mut(&name).unwrap().1 = true,
        }
    }
    found
}

#[test]
fn a_writer_killed_at_any_moment_loses_nothing_that_it_was_told_is_done() {
    let (_directory, path) = place();
    let mut store = small().open(&path).unwrap();
    let total = Cell::new(0);
    // More than that where the disk is slow: only many steps have been killed at any moment.
    for round in (0..2000_u64).take_while(|round| *round < 50 || total.get() <= 500) {
        let prefix = format!("r{round:02}");
        let argument = format!("{prefix}:{}", path.display());
        let mut peer = Peer::start("processes::take_steps", argument);
        peer.expect("ready");
        // Any moment: a time that differs from round to round, with this process writing beside it
        // in half of them.
        let moment = Instant::now() + Duration::from_micros(300 + 641 * (round * 7 % 50));
        while Instant::now() < moment {
            if round % 2 == 0 {
                store
                    .begin_update("own")
                    .map(|update| update.commit().unwrap())
                    .ok();
            }
        }
        let done = peer.kill().len();
        total.set(total.get() + done);
        let found: BTreeMap<_, _> = devices(&store)
            .into_iter()
            .filter(|device| device.name.starts_with(prefix.as_bytes()))
            .map(|device| {
                let faulty = device.state == DeviceState::Faulty;
                (device.name, (device.error.len(), faulty))
            })
            .collect();
        // One step may have been done and not reported any more.
        let possible = [after_steps(&prefix, done), after_steps(&prefix, done + 1)];
        assert!(
            possible.contains(&found),
            "round {round}, {done} done: {found:?}"
        );
        check(&store);
        if round == 0 {
            add(&store, "own");
        }
        if round % 10 == 9 {
            store.close().unwrap();
            store = small().open(&path).unwrap();
            check(&store);
        }
    }
    assert!(total.get() > 500, "{total:?} steps are too few");
}

#[test]
fn a_writer_that_is_stopped_holds_others_up_only_so_long() {
    let (_directory, path) = place();
    let store = options(100).open(&path).unwrap();
    add(&store, "own");
    let mut peer = Peer::start("processes::take_steps", format!("s:{}", path.display()));
    peer.expect("ready");
    let mut held_up = false;
    for moment in 0..200_u64 {
        std::thread::sleep(Duration::from_micros(997 * (moment % 7)));
        peer.signal(libc::SIGSTOP);
        let start = Instant::now();
        let result = store.change_device_state("own", DeviceState::Activated);
        let elapsed = start.elapsed();
        // Reading never waits for it.
        assert_eq!(store.get_device("own").unwrap().device_id, 1);
        assert!(devices(&store).iter().any(|device| device.name == b"own"));
        peer.signal(libc::SIGCONT);
        match result {
            Ok(()) => {}
            Err(Error::Timeout { what, waited }) => {
                assert!(what.contains("another process"), "{what}");
                assert_eq!(waited, Duration::from_millis(100));
                assert!((waited..waited * 100).contains(&elapsed), "{elapsed:?}");
                held_up = true;
                break;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(held_up, "it was never stopped while it wrote");
    // It goes on, and so does everybody.
    peer.expect("done");
    store.close().unwrap();
    let store = options(20_000).open(&path).unwrap();
    store
        .change_device_state("own", DeviceState::Suspended)
        .unwrap();
    assert!(!peer.kill().is_empty());
    store
        .change_device_state("own", DeviceState::Resumed)
        .unwrap();
    check(&store);
}
