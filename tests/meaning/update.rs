//! Updates, with a callback and in two phases: what they write, what they wait for, and what a
//! callback may do.

use crate::c::types::Outcome;
use crate::common::{device, Barrier};
use crate::subject::*;
use crate::through_rust_and_c;
use pool_metadata::capi::*;
use pool_metadata::{DeviceInfo, DeviceState, Ids, MAX_ERROR_LEN, MAX_NAME_LEN};
use std::thread;
use std::time::{Duration, Instant};

through_rust_and_c!(
    callback_changes_the_record,
    committed_update_writes_the_record_and_an_aborted_one_does_not,
    failing_callback_changes_nothing_and_its_code_comes_back,
    change_that_cannot_be_is_refused,
    longest_text_grows_the_map_and_the_callback_runs_once,
    other_devices_are_written_while_a_callback_runs_and_its_own_waits,
    threads_that_wait_for_a_device_get_it_when_the_update_ends,
    callbacks_of_different_devices_run_at_the_same_time,
    write_inside_a_callback_is_refused_and_a_read_is_not,
    commit_inside_a_callback_is_refused_and_ends_the_update,
    update_ends_in_another_thread,
    update_of_a_closed_store_writes_nothing,
);

/// A store with devices a and b.
fn two_devices<S: Store>(options: &pm_options) -> (tempfile::TempDir, S) {
    let (directory, store) = new_store(options);
    add(&store, "a");
    add(&store, "b");
    (directory, store)
}

/// Sets the size of the device to `size`.
fn resize<S: Store>(store: &S, name: &str, size: u64) -> Outcome<()> {
    store.update(name.as_bytes(), &mut |device| {
        device.size = size;
        Ok(())
    })
}

fn callback_changes_the_record<S: Store>() {
    let (_directory, store) = two_devices::<S>(&DEFAULTS);
    let before = get(&store, "a");
    let mut shown = Vec::new();
    store
        .update(b"a", &mut |device| {
            shown.push(device.clone());
            device.size = 8192;
            device.state = DeviceState::Suspended;
            device.parent_name = b"parent".to_vec();
            device.error = b"text".to_vec();
            device.generation = 12345; // ignored
            Ok(())
        })
        .unwrap();
    assert_eq!(shown, [before]);
    let expected = DeviceInfo {
        device_id: 1,
        size: 8192,
        state: DeviceState::Suspended,
        parent_name: b"parent".to_vec(),
        error: b"text".to_vec(),
        generation: 3,
        ..DeviceInfo::new("a")
    };
    assert_eq!(get(&store, "a"), expected);
    // An update that changes nothing is a commit all the same.
    store.update(b"a", &mut |_| Ok(())).unwrap();
    assert_eq!(get(&store, "a").generation, 4);
    check(&store);
}

fn committed_update_writes_the_record_and_an_aborted_one_does_not<S: Store>() {
    let (_directory, store) = two_devices::<S>(&DEFAULTS);
    let before = contents(&store);
    let mut update = store.begin(b"a").unwrap();
    update.device().size = 1;
    update.abort();
    let mut update = store.begin(b"a").unwrap();
    update.device().size = 1;
    drop(update);
    assert_eq!(contents(&store), before);
    for (parent_name, error) in [(&b"root"[..], &b"short"[..]), (b"", b"")] {
        let mut update = store.begin(b"a").unwrap();
        update.device().parent_name = parent_name.to_vec();
        update.device().error = error.to_vec();
        update.commit().unwrap();
        let found = get(&store, "a");
        assert_eq!(
            (&found.parent_name[..], &found.error[..]),
            (parent_name, error)
        );
    }
    // Each has unlocked the device.
    store.remove(b"a").unwrap();
    refused(store.begin(b"a"), PM_ERR_NOT_FOUND);
    check(&store);
}

fn failing_callback_changes_nothing_and_its_code_comes_back<S: Store>() {
    let (_directory, store) = two_devices::<S>(&DEFAULTS);
    let before = contents(&store);
    for code in [1, -1, 5, PM_ERR_NOT_FOUND, -4711, i32::MAX, i32::MIN] {
        let mut calls = 0;
        let outcome = store.update(b"a", &mut |device| {
            calls += 1;
            *device = DeviceInfo::new("another");
            Err(code)
        });
        let failure = refused(outcome, PM_ERR_CALLBACK);
        assert_eq!((failure.callback_code, calls), (code, 1));
        failure.says(&[&code.to_string()]);
    }
    assert_eq!(contents(&store), before);
    store.change_state(b"a", DeviceState::Removed).unwrap();
    check(&store);
}

fn change_that_cannot_be_is_refused<S: Store>() {
    let (_directory, store) = two_devices::<S>(&DEFAULTS);
    let before = contents(&store);
    type Change = fn(&mut DeviceInfo);
    let cases: [(Change, i32, [&str; 2]); 7] = [
        (
            |device| device.name = b"other".to_vec(),
            PM_ERR_IDENTITY_CHANGED,
            ["\"a\"", "\"other\""],
        ),
        (
            |device| device.name.clear(),
            PM_ERR_IDENTITY_CHANGED,
            ["\"a\"", "\"\""],
        ),
        (
            |device| device.name = vec![b'n'; MAX_NAME_LEN + 1],
            PM_ERR_IDENTITY_CHANGED,
            ["\"a\"", "nnn"],
        ),
        (
            |device| device.device_id = 777,
            PM_ERR_IDENTITY_CHANGED,
            ["id 1 ", "777"],
        ),
        (
            |device| device.parent_name = b"a\0b".to_vec(),
            PM_ERR_INVALID_NAME,
            ["parent name", "NUL"],
        ),
        (
            |device| device.parent_name = vec![b'p'; MAX_NAME_LEN + 1],
            PM_ERR_INVALID_NAME,
            ["parent name", "511"],
        ),
        (
            |device| device.error = vec![b'e'; MAX_ERROR_LEN + 1],
            PM_ERR_TOO_LONG,
            ["1048577", "\"a\""],
        ),
    ];
    for (change, status, words) in cases {
        let outcome = store.update(b"a", &mut |device| {
            device.size = 1;
            change(device);
            Ok(())
        });
        refused(outcome, status).says(&words);
        // The update ends with the refusal: the next round begins another.
        let mut update = store.begin(b"a").unwrap();
        change(update.device());
        refused(update.commit(), status).says(&words);
        assert_eq!(contents(&store), before);
    }
    check(&store);
}

fn longest_text_grows_the_map_and_the_callback_runs_once<S: Store>() {
    let small = pm_options {
        map_size: 1 << 20,
        ..DEFAULTS
    };
    let (_directory, store) = two_devices::<S>(&small);
    let mut calls = 0;
    store
        .update(b"a", &mut |device| {
            calls += 1;
            device.error = vec![b'e'; MAX_ERROR_LEN];
            device.size = u64::MAX;
            Ok(())
        })
        .unwrap();
    let found = get(&store, "a");
    assert_eq!(found.error, vec![b'e'; MAX_ERROR_LEN]);
    assert_eq!((calls, found.size), (1, u64::MAX));
    assert!(store.stats().unwrap().map_size > 1 << 20);
    check(&store);
}

fn other_devices_are_written_while_a_callback_runs_and_its_own_waits<S: Store>() {
    const WAIT: Duration = Duration::from_millis(50);
    let (_directory, store) = two_devices::<S>(&waiting(50));
    let elsewhere = || {
        add(&store, "c");
        resize(&store, "b", 2).unwrap();
        store.remove(b"c").unwrap();
        let mut never = |_: &mut DeviceInfo| panic!("two callbacks at once");
        let writes: [&mut dyn FnMut() -> Outcome<()>; 7] = [
            &mut || store.update(b"a", &mut never),
            &mut || store.begin(b"a").map(drop),
            &mut || store.change_state(b"a", DeviceState::Removed),
            &mut || store.mark_faulty(b"a"),
            &mut || store.remove(b"a"),
            &mut || store.add(&mut device("a")),
            &mut || {
                let name = b"a".to_vec();
                let applied = store.apply(&[pool_metadata::Change::Remove { name }]);
                applied.map(drop).map_err(|(_, failure)| failure)
            },
        ];
        for write in writes {
            let start = Instant::now();
            refused(write(), PM_ERR_TIMEOUT).says(&["\"a\"", "50 ms"]);
            assert!((WAIT..100 * WAIT).contains(&start.elapsed()));
        }
        // Reading does not wait.
        assert_eq!(get(&store, "a").size, 4096);
    };
    store
        .update(b"a", &mut |device| {
            device.size = 1;
            thread::scope(|scope| scope.spawn(elsewhere).join().unwrap());
            Ok(())
        })
        .unwrap();
    assert_eq!(get(&store, "a").size, 1);
    assert_eq!(get(&store, "b").size, 2);
    check(&store);
}

fn threads_that_wait_for_a_device_get_it_when_the_update_ends<S: Store>() {
    let (_directory, store) = two_devices::<S>(&DEFAULTS);
    let double = || {
        store.update(b"a", &mut |device| {
            device.size *= 2;
            Ok(())
        })
    };
    let mut update = store.begin(b"a").unwrap();
    thread::scope(|scope| {
        let waiters: Vec<_> = (0..8).map(|_| scope.spawn(double)).collect();
        thread::sleep(Duration::from_millis(20));
        update.device().size = 1;
        update.commit().unwrap();
        for waiter in waiters {
            waiter.join().unwrap().unwrap();
        }
    });
    assert_eq!(get(&store, "a").size, 1 << 8);
    check(&store);
}

fn callbacks_of_different_devices_run_at_the_same_time<S: Store>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    for number in 0..8 {
        add(&store, number.to_string());
    }
    // All callbacks have to run at the same time for any of them to return.
    let all = Barrier::new(8);
    thread::scope(|scope| {
        for number in 0..8 {
            let (store, all) = (&store, &all);
            scope.spawn(move || {
                let outcome = store.update(number.to_string().as_bytes(), &mut |device| {
                    all.wait();
                    device.size = number;
                    Ok(())
                });
                outcome.unwrap();
            });
        }
    });
    let sizes: Vec<_> = devices(&store).iter().map(|device| device.size).collect();
    assert_eq!(sizes, (0..8).collect::<Vec<_>>());
    check(&store);
}

fn assert_writes_are_refused<S: Store>(store: &S) {
    for name in [&b"a"[..], b"b", b"new"] {
        let mut new = device(name);
        let mut never = |_: &mut DeviceInfo| panic!("a callback inside a callback");
        let change = pool_metadata::Change::Add(device(name));
        let outcomes = [
            store.add(&mut new),
            store.change_state(name, DeviceState::Removed),
            store.mark_faulty(name),
            store.remove(name),
            store.update(name, &mut never),
            store.begin(name).map(drop),
            store.import(&[], &Ids::default()),
            store
                .apply(std::slice::from_ref(&change))
                .map(drop)
                .map_err(|(_, failure)| failure),
            store.apply_each(&[change]).remove(0).map(drop),
            store.sync(),
            store.close(),
        ];
        for outcome in outcomes {
            refused(outcome, PM_ERR_NESTED_WRITE);
        }
        assert_eq!(new, device(name), "nothing is written back");
    }
}

fn write_inside_a_callback_is_refused_and_a_read_is_not<S: Store>() {
    let (_directory, store) = two_devices::<S>(&DEFAULTS);
    let (_other_directory, other) = two_devices::<S>(&DEFAULTS);
    store
        .update(b"a", &mut |device| {
            assert_writes_are_refused(&store);
            // Another store can be written, and after that this one still cannot.
            other
                .update(b"b", &mut |theirs| {
                    refused(store.remove(b"b"), PM_ERR_NESTED_WRITE);
                    refused(other.remove(b"a"), PM_ERR_NESTED_WRITE);
                    theirs.size = 7;
                    Ok(())
                })
                .unwrap();
            add(&other, "c");
            refused(store.remove(b"b"), PM_ERR_NESTED_WRITE);
            assert_eq!(get(&store, "a").size, 4096);
            assert_eq!(devices(&store).len(), 2);
            check(&store);
            device.size = 5;
            Ok(())
        })
        .unwrap();
    assert_eq!(get(&store, "a").size, 5);
    assert_eq!(get(&other, "b").size, 7);
    store.remove(b"b").unwrap();
    check(&store);
    check(&other);
}

fn commit_inside_a_callback_is_refused_and_ends_the_update<S: Store>() {
    let (_directory, store) = two_devices::<S>(&DEFAULTS);
    let mut begun = Some(store.begin(b"b").unwrap());
    store
        .update(b"a", &mut |_| {
            let begun = begun.take().unwrap();
            refused(begun.commit(), PM_ERR_NESTED_WRITE);
            Ok(())
        })
        .unwrap();
    store.remove(b"b").unwrap();
    check(&store);
}

fn update_ends_in_another_thread<S: Store>() {
    let (_directory, store) = two_devices::<S>(&waiting(50));
    let mut update = store.begin(b"a").unwrap();
    assert_eq!(*update.device(), get(&store, "a"));
    update.device().state = DeviceState::Suspended;
    // Between the phases this thread may write: it is not inside a callback.
    store.change_state(b"b", DeviceState::Removed).unwrap();
    refused(store.begin(b"a"), PM_ERR_TIMEOUT);
    thread::scope(|scope| {
        scope.spawn(|| update.commit().unwrap());
    });
    assert_eq!(get(&store, "a").state, DeviceState::Suspended);
    let update = store.begin(b"a").unwrap();
    thread::scope(|scope| {
        scope.spawn(|| update.abort());
    });
    store.remove(b"a").unwrap();
    check(&store);
}

fn update_of_a_closed_store_writes_nothing<S: Store>() {
    let (directory, store) = two_devices::<S>(&DEFAULTS);
    let mut begun = store.begin(b"b").unwrap();
    begun.device().size = 1;
    let outcome = store.update(b"a", &mut |device| {
        thread::scope(|scope| scope.spawn(|| store.close().unwrap()).join().unwrap());
        device.size = 1;
        Ok(())
    });
    refused(outcome, PM_ERR_CLOSED);
    let again: S = open(&directory.path().join("pool.db"));
    refused(begun.commit(), PM_ERR_CLOSED);
    assert!(devices(&again).iter().all(|device| device.size == 4096));
    check(&again);
}
