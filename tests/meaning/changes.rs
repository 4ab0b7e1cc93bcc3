//! Lists of changes: all in one commit or none, and each by itself.

use crate::common::device;
use crate::subject::*;
use crate::through_rust_and_c;
use pool_metadata::capi::*;
use pool_metadata::{Change, DeviceInfo, DeviceState, MAX_ERROR_LEN};
use std::thread;

through_rust_and_c!(
    list_is_made_in_its_order_in_one_commit,
    list_with_one_refusal_changes_nothing_and_says_which_it_was,
    list_waits_for_its_devices,
    lists_that_share_devices_do_not_wait_for_each_other_for_ever,
    ten_thousand_devices_change_in_one_commit,
    refused_change_keeps_no_other_from_being_made,
    changes_of_one_device_are_made_in_their_order,
    long_list_takes_several_commits,
    store_that_takes_no_writes_refuses_each_change,
    lists_and_single_writes_of_many_threads_are_all_made,
);

fn adding(name: impl Into<Vec<u8>>) -> Change {
    Change::Add(DeviceInfo::new(name))
}

fn removing(name: &str) -> Change {
    Change::Remove { name: name.into() }
}

fn marking(name: impl Into<Vec<u8>>) -> Change {
    Change::MarkFaulty { name: name.into() }
}

fn setting(name: &str, state: DeviceState) -> Change {
    Change::ChangeState {
        name: name.into(),
        state,
    }
}

fn suspending(name: &str) -> Change {
    setting(name, DeviceState::Suspended)
}

fn commits<S: Store>(store: &S) -> u64 {
    store.stats().unwrap().commits
}

fn list_is_made_in_its_order_in_one_commit<S: Store>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    let mut old = add(&store, "old");
    old.size = 77;
    let made = store
        .apply(&[
            adding("a"),
            removing("a"),
            adding("b"),
            marking("b"),
            adding("b"),
            Change::Update(old),
            suspending("old"),
        ])
        .unwrap();
    assert_eq!(made, [2, 2, 2, 2, 3, 1, 1].map(|id| (id, 2)));
    let old = get(&store, "old");
    assert_eq!(
        (old.size, old.state, old.generation),
        (77, DeviceState::Suspended, 2)
    );
    assert_eq!(get(&store, "b").device_id, 3);
    // Devices; taken, free and faulty ids; the last id; commits.
    assert_eq!(counters(&store.stats().unwrap()), [2, 2, 0, 1, 3, 2]);
    check(&store);
    assert_eq!(store.apply(&[]).unwrap(), []);
    assert_eq!(commits(&store), 2);
}

fn list_with_one_refusal_changes_nothing_and_says_which_it_was<S: Store>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    let there = add(&store, "there");
    let stale = DeviceInfo {
        generation: 9,
        ..there.clone()
    };
    let other = DeviceInfo {
        device_id: 9,
        ..there
    };
    let too_long = DeviceInfo {
        error: vec![b'e'; MAX_ERROR_LEN + 1],
        ..DeviceInfo::new("long")
    };
    let before = contents(&store);
    for (bad, status) in [
        (adding("there"), PM_ERR_ALREADY_EXISTS),
        (removing("absent"), PM_ERR_NOT_FOUND),
        (marking(""), PM_ERR_NOT_FOUND),
        (Change::Update(DeviceInfo::new("")), PM_ERR_NOT_FOUND),
        (
            Change::Update(DeviceInfo::new("n".repeat(512))),
            PM_ERR_NOT_FOUND,
        ),
        (Change::Update(stale), PM_ERR_CONFLICT),
        (Change::Update(other), PM_ERR_IDENTITY_CHANGED),
        (Change::Add(too_long), PM_ERR_TOO_LONG),
        (adding(""), PM_ERR_INVALID_NAME),
    ] {
        let list = [adding("x"), adding("y"), bad, adding("z")];
        let (index, failure) = store.apply(&list).unwrap_err();
        refused::<()>(Err(failure), status);
        assert_eq!(index, Some(2));
        assert_eq!(contents(&store), before);
    }
    check(&store);
    let made = store.apply(&[adding("next")]).unwrap();
    assert_eq!(made, [(2, 2)], "lists that were refused have taken no id");
}

fn list_waits_for_its_devices<S: Store>() {
    let (_directory, store) = new_store::<S>(&waiting(50));
    store.apply(&[adding("a"), adding("b")]).unwrap();
    let update = store.begin(b"b").unwrap();
    let (index, failure) = store.apply(&[removing("a"), removing("b")]).unwrap_err();
    refused::<()>(Err(failure), PM_ERR_TIMEOUT).says(&["\"b\""]);
    assert_eq!(index, None, "no change of the list is at fault");
    update.abort();
    store.apply(&[removing("a"), removing("b")]).unwrap();
    assert!(devices(&store).is_empty());
    check(&store);
}

fn lists_that_share_devices_do_not_wait_for_each_other_for_ever<S: Store>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    store.apply(&[adding("a"), adding("b")]).unwrap();
    thread::scope(|scope| {
        for names in [["a", "b"], ["b", "a"], ["a", "b"], ["b", "a"]] {
            let store = &store;
            scope.spawn(move || {
                let list = names.map(|name| setting(name, DeviceState::Activated));
                for _ in 0..25 {
                    store.apply(&list).unwrap();
                    store.change_state(b"a", DeviceState::Suspended).unwrap();
                }
            });
        }
    });
    check(&store);
    assert_eq!(commits(&store), 1 + 4 * 25 * 2);
}

fn ten_thousand_devices_change_in_one_commit<S: Store>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    let names: Vec<_> = (0..10_000).map(|n| format!("snap-{n}")).collect();
    let adds: Vec<_> = names.iter().map(|name| adding(name.as_str())).collect();
    store.apply(&adds).unwrap();
    let marks: Vec<_> = names.iter().map(|name| marking(name.as_str())).collect();
    store.apply(&marks).unwrap();
    check(&store);
    let stats = store.stats().unwrap();
    assert_eq!(counters(&stats), [10_000, 0, 0, 10_000, 10_000, 2]);
    assert!(stats.file_size < 64 << 20, "{} bytes", stats.file_size);
}

fn refused_change_keeps_no_other_from_being_made<S: Store>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    let mut stale = add(&store, "there");
    stale.generation += 1;
    let outcomes = store.apply_each(&[
        adding("z"),
        adding("there"),
        Change::Update(stale),
        removing("absent"),
        adding(""),
        adding("a"),
    ]);
    let codes = outcomes.iter().map(|outcome| match outcome {
        Ok(_) => PM_OK,
        Err(failure) => failure.code,
    });
    assert!(codes.eq([
        PM_OK,
        PM_ERR_ALREADY_EXISTS,
        PM_ERR_CONFLICT,
        PM_ERR_NOT_FOUND,
        PM_ERR_INVALID_NAME,
        PM_OK
    ]));
    assert_eq!((&outcomes[0], &outcomes[5]), (&Ok((3, 2)), &Ok((2, 2))));
    outcomes[3].clone().unwrap_err().says(&["\"absent\""]);
    assert_eq!(commits(&store), 2, "what could share a commit has");
    assert_eq!(store.names().unwrap(), [&b"a"[..], b"there", b"z"]);
    check(&store);
    assert!(store.apply_each(&[]).is_empty());
    store.apply_each(&[removing("a")]).remove(0).unwrap();
    assert_eq!(store.names().unwrap(), [&b"there"[..], b"z"]);
}

fn changes_of_one_device_are_made_in_their_order<S: Store>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    let mut outcomes = store.apply_each(&[
        adding("x"),
        suspending("x"),
        removing("x"),
        adding("y"),
        adding("x"),
        adding("x"),
    ]);
    refused(outcomes.pop().unwrap(), PM_ERR_ALREADY_EXISTS);
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(store.names().unwrap(), [b"x", b"y"]);
    check(&store);
}

fn long_list_takes_several_commits<S: Store>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    let many: Vec<_> = (0..1000).map(|n| adding(format!("snap-{n}"))).collect();
    assert!(store.apply_each(&many).iter().all(Result::is_ok));
    assert_eq!(commits(&store), 4);
    // Three megabytes of texts.
    let long: Vec<_> = (0..200)
        .map(|n| {
            Change::Add(DeviceInfo {
                error: vec![b'e'; 16_000],
                ..DeviceInfo::new(format!("long-{n}"))
            })
        })
        .collect();
    assert!(store.apply_each(&long).iter().all(Result::is_ok));
    assert_eq!(commits(&store), 4 + 4);
    assert_eq!(store.stats().unwrap().devices, 1200);
    check(&store);
}

fn store_that_takes_no_writes_refuses_each_change<S: Store>() {
    let (directory, store) = new_store::<S>(&DEFAULTS);
    add(&store, "a");
    add(&store, "b");
    let list = [suspending("a"), removing("b")];
    let assert_refused = |store: &S, status| {
        let outcomes = store.apply_each(&list);
        assert_eq!(outcomes.len(), 2);
        for outcome in outcomes {
            refused(outcome, status);
        }
    };
    store
        .update(b"a", &mut |_| {
            assert_refused(&store, PM_ERR_NESTED_WRITE);
            Ok(())
        })
        .unwrap();
    store.close().unwrap();
    assert_refused(&store, PM_ERR_CLOSED);
    let store = S::open(&directory.path().join("pool.db"), &READ_ONLY).unwrap();
    assert_refused(&store, PM_ERR_READ_ONLY);
    assert_eq!(store.stats().unwrap().devices, 2);
}

fn lists_and_single_writes_of_many_threads_are_all_made<S: Store>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    let write = |thread: usize| {
        for round in 0..30 {
            let name = |n| format!("{thread}-{round}-{n}");
            if thread.is_multiple_of(2) {
                // All threads add and remove the last one of each list.
                let mut list: Vec<_> = (0..5).map(|n| adding(name(n))).collect();
                list.extend([adding("shared"), removing("shared")]);
                let outcomes = store.apply_each(&list);
                assert!(outcomes[..5].iter().all(Result::is_ok));
            } else {
                for n in 0..5 {
                    store.add(&mut device(name(n))).unwrap();
                }
            }
        }
    };
    thread::scope(|scope| {
        for thread in 0..6 {
            let write = &write;
            scope.spawn(move || write(thread));
        }
    });
    let names = store.names().unwrap();
    let own = names.iter().filter(|name| *name != b"shared").count();
    assert_eq!(own, 6 * 30 * 5);
    check(&store);
}
