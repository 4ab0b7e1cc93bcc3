//! The two phases of an update, and what callbacks may and may not do.

mod common;

use common::{add, check, devices, error_of, options, place};
use pool_metadata::{DeviceInfo, DeviceState, Error, PoolMetadata, MAX_ERROR_LEN};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// A store with devices a and b.
fn store() -> (tempfile::TempDir, PoolMetadata) {
    store_that_waits(20_000)
}

/// The same, and its waits are so long.
fn store_that_waits(lock_wait_ms: u64) -> (tempfile::TempDir, PoolMetadata) {
    let (directory, path) = place();
    let mut options = options(lock_wait_ms);
    let store = options.map_size(1 << 20).open(path).unwrap();
    add(&store, "a");
    add(&store, "b");
    (directory, store)
}

/// All that a write could have changed.
fn content(store: &PoolMetadata) -> (Vec<DeviceInfo>, u64) {
    (devices(store), store.stats().unwrap().commits)
}

#[derive(Debug)]
enum Own {
    Code(i32),
    Store(Error),
}

impl From<Error> for Own {
    fn from(error: Error) -> Own {
        Own::Store(error)
    }
}

#[test]
fn others_are_written_while_a_callback_runs_and_the_same_one_waits() {
    let (_directory, store) = store_that_waits(50);
    let (store, busy) = (&store, Duration::from_millis(50));
    store
        .update_device("a", |device| {
            device.size = 1;
            let elsewhere = || {
                add(store, "c");
                store.update_device("b", |device| {
                    device.size = 2;
                    Ok::<(), Error>(())
                })?;
                store.remove_device("c")?;
                let writes: [&dyn Fn() -> Result<(), Error>; 6] = [
                    &|| store.update_device("a", |_| panic!("two callbacks at once")),
                    &|| store.begin_update("a").map(drop),
                    &|| store.change_device_state("a", DeviceState::Removed),
                    &|| store.mark_faulty("a"),
                    &|| store.remove_device("a"),
                    &|| store.add_device(&mut DeviceInfo::new("a")),
                ];
                for write in writes {
                    let start = Instant::now();
                    let error = error_of(write());
                    assert!(matches!(error, Error::Timeout { waited, .. } if waited == busy));
                    assert!(error.to_string().contains("\"a\""), "{error}");
                    assert!((busy..100 * busy).contains(&start.elapsed()));
                }
                // Reading does not wait.
                assert_eq!(store.get_device("a")?.size, 4096);
                Ok::<(), Error>(())
            };
            thread::scope(|scope| scope.spawn(elsewhere).join().unwrap())
        })
        .unwrap();
    assert_eq!(store.get_device("a").unwrap().size, 1);
    assert_eq!(store.get_device("b").unwrap().size, 2);
    check(store);
}

#[test]
fn who_waits_for_a_device_gets_it_when_the_update_ends() {
    let (_directory, path) = place();
    let store = options(20_000).open(path).unwrap();
    add(&store, "a");
    let mut update = store.begin_update("a").unwrap();
    thread::scope(|scope| {
        let waiters: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    store.update_device("a", |device| {
                        device.size *= 2;
                        Ok::<(), Error>(())
                    })
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(20));
        update.device_mut().size = 1;
        update.commit().unwrap();
        for waiter in waiters {
            waiter.join().unwrap().unwrap();
        }
    });
    assert_eq!(store.get_device("a").unwrap().size, 1 << 8);
    check(&store);
}

#[test]
fn writes_from_inside_a_callback_are_refused_and_reads_are_not() {
    let (_directory, store) = store();
    let (_other_directory, other) = self::store();
    store
        .update_device("a", |device| {
            for name in ["a", "b", "new"] {
                let refused = [
                    store.add_device(&mut DeviceInfo::new(name)),
                    store.change_device_state(name, DeviceState::Removed),
                    store.mark_faulty(name),
                    store.remove_device(name),
                    store.begin_update(name).map(drop),
                    store.sync(),
                    store.close(),
                ];
                for result in refused {
                    assert_error!(result, Error::NestedWrite);
                }
            }
            // Another store is another matter; back from there, this one is still closed to writes.
            other.update_device("b", |theirs| {
                assert_error!(store.remove_device("b"), Error::NestedWrite);
                assert_error!(other.remove_device("a"), Error::NestedWrite);
                theirs.size = 7;
                Ok::<(), Error>(())
            })?;
            add(&other, "c");
            assert_error!(store.remove_device("b"), Error::NestedWrite);
            assert_eq!(store.get_device("a")?.size, 4096);
            assert_eq!(store.get_device_names()?.len(), 2);
            assert_eq!(store.stats()?.devices, 2);
            store.verify()?;
            device.size = 5;
            Ok::<(), Error>(())
        })
        .unwrap();
    assert_eq!(store.get_device("a").unwrap().size, 5);
    assert_eq!(other.get_device("b").unwrap().size, 7);
    store.remove_device("b").unwrap();
    check(&store);
    check(&other);
}

#[test]
fn a_commit_from_inside_a_callback_is_refused_too() {
    let (_directory, store) = store();
    let begun = store.begin_update("b").unwrap();
    store
        .update_device("a", |_| {
            assert_error!(begun.commit(), Error::NestedWrite);
            Ok::<(), Error>(())
        })
        .unwrap();
    // That update is over all the same.
    store.remove_device("b").unwrap();
    check(&store);
}

#[test]
fn a_callback_that_panics_changes_nothing_and_leaves_no_lock() {
    let (_directory, store) = store();
    let before = store.get_device("a").unwrap();
    let commits = store.stats().unwrap().commits;
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        store.update_device::<Error>("a", |device| {
            device.size = 1;
            panic!("in the callback");
        })
    }));
    assert!(panicked.is_err());
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        store.walk_devices::<Error>(|_| panic!("in the walk"))
    }));
    assert!(panicked.is_err());
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        store.read_device("a", |_| panic!("in the look"))
    }));
    assert!(panicked.is_err());
    assert_eq!(store.get_device("a").unwrap(), before);
    assert_eq!(store.stats().unwrap().commits, commits);
    store
        .change_device_state("a", DeviceState::Removed)
        .unwrap();
    check(&store);
    store.close().unwrap();
}

#[test]
fn a_callback_that_fails_changes_nothing_and_its_error_comes_back() {
    let (_directory, store) = store();
    let before = content(&store);
    let mut calls = 0;
    let result = store.update_device("a", |device| {
        calls += 1;
        *device = DeviceInfo::new("another");
        Err(Own::Code(42))
    });
    assert!(matches!(result, Err(Own::Code(42))) && calls == 1);
    let mut calls = 0;
    let result = store.update_device("none", |_| {
        calls += 1;
        Err(Own::Code(1))
    });
    assert_eq!(calls, 0);
    assert!(matches!(result, Err(Own::Store(Error::NotFound { .. }))));
    assert_eq!(content(&store), before);
    check(&store);
}

#[test]
fn what_an_update_may_not_leave_behind() {
    let (_directory, store) = store();
    let before = content(&store);
    let change = |change: &dyn Fn(&mut DeviceInfo)| {
        error_of(store.update_device("a", |device| {
            change(device);
            Ok(())
        }))
    };
    let renamed = change(&|device| device.name = b"other".to_vec());
    assert!(matches!(renamed, Error::IdentityChanged { .. }));
    let text = renamed.to_string();
    assert!(
        text.contains("\"a\"") && text.contains("\"other\""),
        "{text}"
    );
    let other_id = change(&|device| device.device_id = 777);
    assert!(matches!(
        other_id,
        Error::IdentityChanged {
            device_id: 1,
            new_device_id: 777,
            ..
        }
    ));
    let text = other_id.to_string();
    assert!(text.contains("777") && text.contains('1'), "{text}");
    let parent = change(&|device| device.parent_name = b"a\0b".to_vec());
    assert!(matches!(
        parent,
        Error::InvalidName {
            what: "parent name",
            ..
        }
    ));
    let text = change(&|device| device.error = vec![b'e'; MAX_ERROR_LEN + 1]);
    assert!(matches!(text, Error::TooLong { len, .. } if len == MAX_ERROR_LEN + 1));
    assert_eq!(content(&store), before);
    // At the limit all is well, though the map has to grow: the callback is called once even so.
    let mut calls = 0;
    store
        .update_device("a", |device| {
            calls += 1;
            device.error = vec![b'e'; MAX_ERROR_LEN];
            device.size = u64::MAX;
            Ok::<(), Error>(())
        })
        .unwrap();
    let found = store.get_device("a").unwrap();
    assert_eq!(
        (calls, found.error.len(), found.size),
        (1, MAX_ERROR_LEN, u64::MAX)
    );
    assert!(store.stats().unwrap().map_size > 1 << 20);
    check(&store);
}

#[test]
fn an_update_in_two_calls_may_end_in_another_thread() {
    let (_directory, store) = store_that_waits(50);
    let mut update = store.begin_update("a").unwrap();
    assert_eq!(update.device(), &store.get_device("a").unwrap());
    update.device_mut().state = DeviceState::Suspended;
    // Between the calls this thread may write: it is not inside a callback.
    store
        .change_device_state("b", DeviceState::Removed)
        .unwrap();
    assert_error!(store.begin_update("a"), Error::Timeout { .. });
    thread::spawn(move || update.commit())
        .join()
        .unwrap()
        .unwrap();
    assert_eq!(store.get_device("a").unwrap().state, DeviceState::Suspended);
    let update = store.begin_update("a").unwrap();
    thread::spawn(move || update.abort()).join().unwrap();
    drop(store.begin_update("a").unwrap());
    store.remove_device("a").unwrap();
    assert_error!(store.begin_update("a"), Error::NotFound { .. });
    check(&store);
}

#[test]
fn the_store_can_be_closed_under_an_update() {
    let (_directory, store) = store();
    let result = store.update_device("a", |device| {
        thread::scope(|scope| scope.spawn(|| store.close()).join().unwrap())?;
        device.size = 1;
        Ok::<(), Error>(())
    });
    assert_error!(result, Error::Closed);
    let store = PoolMetadata::open(store.path()).unwrap();
    assert_eq!(store.get_device("a").unwrap().size, 4096);
    check(&store);
}

#[test]
fn a_walks_callback_may_write_and_the_walk_does_not_see_it() {
    let (_directory, path) = place();
    let store = PoolMetadata::open(path).unwrap();
    for number in 0..100 {
        add(&store, format!("{number:03}"));
    }
    let before = devices(&store);
    let mut seen = Vec::new();
    store
        .walk_devices(|device| {
            seen.push(device.to_owned());
            let number: usize = std::str::from_utf8(device.name).unwrap().parse().unwrap();
            // Before it, itself, and what is still to come.
            store.change_device_state("000", DeviceState::Removed)?;
            match number % 3 {
                0 => store.mark_faulty(device.name)?,
                1 => store.remove_device(device.name)?,
                _ => drop(add(&store, format!("{number:03}-new"))),
            }
            if number < 99 {
                store.update_device(format!("{:03}", number + 1), |next| {
                    next.size = 1;
                    Ok::<(), Error>(())
                })?;
            }
            Ok::<(), Error>(())
        })
        .unwrap();
    assert_eq!(seen, before);
    assert_eq!(devices(&store).len(), 100 - 33 + 33);
    check(&store);
    let mut shown = 0;
    let stopped = store.walk_devices(|_| {
        shown += 1;
        if shown == 7 {
            Err(Own::Code(-7))
        } else {
            Ok(())
        }
    });
    assert!(matches!(stopped, Err(Own::Code(-7))) && shown == 7);
}

#[test]
fn an_update_waits_only_for_its_own_device() {
    let (_directory, path) = place();
    let store = PoolMetadata::open(path).unwrap();
    for number in 0..8 {
        add(&store, number.to_string());
    }
    // All callbacks have to run at the same time for any of them to return.
    let (send, receive) = mpsc::channel();
    let all = std::sync::Barrier::new(8);
    thread::scope(|scope| {
        for number in 0..8 {
            let (send, store, all) = (send.clone(), &store, &all);
            scope.spawn(move || {
                let result = store.update_device(number.to_string(), |device| {
                    all.wait();
                    device.size = number;
                    Ok::<(), Error>(())
                });
                send.send(result).unwrap();
            });
        }
    });
    drop(send);
    assert_eq!(receive.iter().map(Result::unwrap).count(), 8);
    let sizes: Vec<_> = devices(&store).iter().map(|device| device.size).collect();
    assert_eq!(sizes, (0..8).collect::<Vec<_>>());
    check(&store);
}
