//! Lists of changes: all in one commit, or none.

use pool_metadata::{Change, DeviceInfo, DeviceState, Error, PoolMetadata};
use std::time::Duration;

fn store() -> (tempfile::TempDir, PoolMetadata) {
    let directory = tempfile::tempdir().unwrap();
    let store = PoolMetadata::open(directory.path().join("pool.db")).unwrap();
    (directory, store)
}

fn add(name: &str) -> Change {
    Change::Add(DeviceInfo::new(name))
}

fn remove(name: &str) -> Change {
    Change::Remove { name: name.into() }
}

fn change_state(name: &str, state: DeviceState) -> Change {
    Change::ChangeState {
        name: name.into(),
        state,
    }
}

#[test]
fn all_changes_are_made_in_their_order_in_one_commit() {
    let (_directory, store) = store();
    store.add_device(&mut DeviceInfo::new("old")).unwrap();
    let mut old = store.get_device("old").unwrap();
    old.size = 77;
    let applied = store
        .apply(&[
            add("a"),
            remove("a"),
            add("b"),
            Change::MarkFaulty {
                name: b"b".to_vec(),
            },
            add("b"),
            Change::Update(old),
            change_state("old", DeviceState::Suspended),
        ])
        .unwrap();
    let ids: Vec<_> = applied.iter().map(|change| change.device_id).collect();
    assert_eq!(ids, [2, 2, 2, 2, 3, 1, 1]);
    assert!(applied.iter().all(|change| change.generation == 2));
    let old = store.get_device("old").unwrap();
    assert_eq!(
        (old.size, old.state, old.generation),
        (77, DeviceState::Suspended, 2)
    );
    assert_eq!(store.get_device("b").unwrap().device_id, 3);
    let stats = store.stats().unwrap();
    assert_eq!(
        (
            stats.commits,
            stats.devices,
            stats.free_ids,
            stats.faulty_ids
        ),
        (2, 2, 0, 1)
    );
    store.verify().unwrap();
    assert_eq!(store.apply(&[]).unwrap(), []);
    assert_eq!(store.stats().unwrap().commits, 2);
}

#[test]
fn one_refusal_undoes_all_and_says_which_it_was() {
    let (_directory, store) = store();
    store.add_device(&mut DeviceInfo::new("there")).unwrap();
    let there = store.get_device("there").unwrap();
    let stale = DeviceInfo {
        generation: 9,
        ..there.clone()
    };
    let other = DeviceInfo {
        device_id: 9,
        ..there
    };
    let too_long = DeviceInfo {
        error: vec![b'e'; pool_metadata::MAX_ERROR_LEN + 1],
        ..DeviceInfo::new("long")
    };
    type Expected = fn(&Error) -> bool;
    let cases: [(Change, Expected); 6] = [
        (add("there"), |e| matches!(e, Error::AlreadyExists { .. })),
        (remove("absent"), |e| matches!(e, Error::NotFound { .. })),
        (Change::Update(stale), |e| {
            matches!(e, Error::Conflict { .. })
        }),
        (Change::Update(other), |e| {
            matches!(e, Error::IdentityChanged { .. })
        }),
        (Change::Add(too_long), |e| {
            matches!(e, Error::TooLong { .. })
        }),
        (add(""), |e| matches!(e, Error::InvalidName { .. })),
    ];
    for (bad, expected) in cases {
        let before: Vec<_> = store.walk().unwrap().map(Result::unwrap).collect();
        let failed = store
            .apply(&[add("x"), add("y"), bad, add("z")])
            .unwrap_err();
        assert_eq!(failed.index, Some(2));
        assert!(expected(&failed.error), "{failed}");
        let after: Vec<_> = store.walk().unwrap().map(Result::unwrap).collect();
        assert_eq!(before, after);
        store.verify().unwrap();
    }
    assert_eq!(store.stats().unwrap().commits, 1);
    let next = store.apply(&[add("next")]).unwrap();
    assert_eq!(next[0].device_id, 2, "refused lists have consumed no id");
}

#[test]
fn a_list_waits_for_its_devices_and_lists_do_not_wait_for_each_other_for_ever() {
    let (directory, store) = store();
    drop(store);
    let mut options = pool_metadata::OpenOptions::new();
    options.lock_wait(Duration::from_millis(50));
    let store = options.open(directory.path().join("pool.db")).unwrap();
    store.apply(&[add("a"), add("b")]).unwrap();
    let update = store.begin_update("b").unwrap();
    let failed = store.apply(&[remove("a"), remove("b")]).unwrap_err();
    assert_eq!(failed.index, None);
    assert!(matches!(failed.error, Error::Timeout { .. }), "{failed}");
    drop(update);
    drop(store);
    let store = PoolMetadata::open(directory.path().join("pool.db")).unwrap();
    std::thread::scope(|scope| {
        for round in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for _ in 0..25 {
                    let (first, second) = if round % 2 == 0 {
                        ("a", "b")
                    } else {
                        ("b", "a")
                    };
                    store
                        .apply(&[
                            change_state(first, DeviceState::Activated),
                            change_state(second, DeviceState::Activated),
                        ])
                        .unwrap();
                    store
                        .change_device_state("a", DeviceState::Suspended)
                        .unwrap();
                }
            });
        }
    });
    store.verify().unwrap();
    assert_eq!(store.stats().unwrap().devices, 2);
}

#[test]
fn ten_thousand_devices_change_in_one_commit() {
    let (_directory, store) = store();
    let names: Vec<_> = (0..10_000).map(|n| format!("snap-{n}")).collect();
    let adds: Vec<_> = names.iter().map(|name| add(name)).collect();
    store.apply(&adds).unwrap();
    let faulty: Vec<_> = names
        .iter()
        .map(|name| Change::MarkFaulty {
            name: name.as_bytes().to_vec(),
        })
        .collect();
    store.apply(&faulty).unwrap();
    store.verify().unwrap();
    let stats = store.stats().unwrap();
    assert_eq!(
        (stats.commits, stats.devices, stats.faulty_ids),
        (2, 10_000, 10_000)
    );
    assert!(stats.file_size < 64 << 20, "{} bytes", stats.file_size);
}
