//! Device ids: listing them, and bringing them in step with the pool.

use crate::common::{assorted, raw};
use crate::in_step::InStep;
use crate::subject::*;
use crate::through_rust_and_c;
use pool_metadata::capi::*;
use pool_metadata::{Change, DeviceState, WalkFilter, MAX_DEVICE_ID};
use std::ops::RangeInclusive;

through_rust_and_c!(
    ids_are_listed_by_state_and_range_with_their_devices,
    device_is_found_by_its_id,
    faulty_id_of_no_device_is_freed_and_no_other,
    faulty_ids_that_are_not_in_the_pool_are_freed,
    ids_of_no_device_are_kept_out_of_use,
    ids_up_to_a_number_are_kept_out_of_use,
    refused_id_is_faulty_and_the_device_has_the_next,
    lists_replace_and_free_ids_as_a_whole,
    walk_shows_what_its_filter_takes,
    store_that_cannot_be_written_keeps_its_ids,
    id_that_no_pool_has_is_refused,
);

/// The state of `assorted`: a (id 1, faulty), b (2), c (4); 3 and 6 free, 5 faulty.
fn store<S: Store>() -> (tempfile::TempDir, S) {
    let (directory, path) = assorted();
    let store = open(&path);
    (directory, store)
}

fn id(number: u32, state: i32, name: &str) -> crate::in_step::Id {
    let name = (!name.is_empty()).then(|| name.as_bytes().to_vec());
    (number, state, name)
}

fn all() -> [crate::in_step::Id; 6] {
    [
        id(1, PM_ID_FAULTY, "a"),
        id(2, PM_ID_TAKEN, "b"),
        id(3, PM_ID_FREE, ""),
        id(4, PM_ID_TAKEN, "c"),
        id(5, PM_ID_FAULTY, ""),
        id(6, PM_ID_FREE, ""),
    ]
}

fn ids_are_listed_by_state_and_range_with_their_devices<S: InStep>() {
    let (_directory, store) = store::<S>();
    for states in 0..8 {
        let wanted = |state: i32| states == 0 || states >> state & 1 == 1;
        for (first, last) in [
            (0, 0),
            (1, 6),
            (2, 5),
            (3, 3),
            (6, u32::MAX),
            (7, 0),
            (5, 4),
        ] {
            let end = if last == 0 { u32::MAX } else { last };
            let mut expected = all().to_vec();
            expected.retain(|id| wanted(id.1) && id.0 >= first && id.0 <= end);
            let found = store.ids(states, first, last).unwrap();
            assert_eq!(found, expected, "{states} {first} {last}");
        }
    }
    let (_directory, empty) = new_store::<S>(&DEFAULTS);
    assert_eq!(empty.ids(0, 0, 0).unwrap(), []);
    store.close().unwrap();
    refused(store.ids(0, 0, 0), PM_ERR_CLOSED);
}

fn device_is_found_by_its_id<S: InStep>() {
    let (_directory, store) = store::<S>();
    for (name, id) in [("a", 1), ("b", 2), ("c", 4)] {
        assert_eq!(store.by_id(id).unwrap(), get(&store, name));
    }
    for id in [0, 3, 5, 6, 7, u32::MAX] {
        refused(store.by_id(id), PM_ERR_NOT_FOUND).says(&[&format!("id {id}")]);
    }
}

fn faulty_id_of_no_device_is_freed_and_no_other<S: InStep>() {
    let (_directory, store) = store::<S>();
    let before = contents(&store);
    for (id, status, words) in [
        (1, PM_ERR_ID_IN_USE, ["device \"a\"", "remove"]),
        (2, PM_ERR_ID_IN_USE, ["device \"b\"", "remove"]),
        (3, PM_ERR_ID_NOT_FAULTY, ["id 3", "free already"]),
        (7, PM_ERR_ID_NOT_FAULTY, ["id 7", "never assigned"]),
        (0, PM_ERR_ID_NOT_FAULTY, ["id 0", "never assigned"]),
    ] {
        refused(store.free_id(id), status).says(&words);
    }
    assert_eq!(contents(&store), before);
    store.free_id(5).unwrap();
    check(&store);
    let mut expected = all();
    expected[4].1 = PM_ID_FREE;
    assert_eq!(store.ids(0, 0, 0).unwrap(), expected);
    refused(store.free_id(5), PM_ERR_ID_NOT_FAULTY);
    let taken: Vec<_> = ["d", "e", "f", "g"]
        .map(|n| add(&store, n).device_id)
        .into();
    assert_eq!(taken, [3, 5, 6, 7]);
    check(&store);
}

fn faulty_ids_that_are_not_in_the_pool_are_freed<S: InStep>() {
    let (_directory, store) = store::<S>();
    store.mark_ids_faulty(&[3, 9, 12]).unwrap();
    let faulty = |store: &S| store.walk().unwrap().ids().unwrap().faulty;
    assert_eq!(faulty(&store), [1, 3, 5, 9, 12]);
    // In any order, twice, and with numbers that the store does not give out.
    let pool = [12, 0, 3, 4, 3, 0xff_ffff];
    assert_eq!(store.free_faulty_ids(&pool).unwrap(), 2);
    check(&store);
    assert_eq!(faulty(&store), [1, 3, 12]);
    assert_eq!(store.free_faulty_ids(&pool).unwrap(), 0);
    assert_eq!(store.free_faulty_ids(&[]).unwrap(), 2);
    check(&store);
    assert_eq!(faulty(&store), [1], "a device has it");
    assert_eq!(get(&store, "a").state, DeviceState::Faulty);
}

fn ids_of_no_device_are_kept_out_of_use<S: InStep>() {
    let (_directory, store) = store::<S>();
    // Taken, faulty and free ones, one that was never assigned, and none of the store's.
    assert_eq!(
        store
            .mark_ids_faulty(&[2, 5, 8, 6, 6, 0, 0xff_ffff])
            .unwrap(),
        2
    );
    check(&store);
    let mut expected = all().to_vec();
    expected[5].1 = PM_ID_FAULTY;
    expected.extend([id(7, PM_ID_FREE, ""), id(8, PM_ID_FAULTY, "")]);
    assert_eq!(store.ids(0, 0, 0).unwrap(), expected);
    assert_eq!(store.mark_ids_faulty(&[8, 6, 2]).unwrap(), 0);
    assert_eq!(store.mark_ids_faulty(&[]).unwrap(), 0);
    let taken: Vec<_> = ["d", "e", "f"].map(|n| add(&store, n).device_id).into();
    assert_eq!(taken, [3, 7, 9]);
    check(&store);
}

fn ids_up_to_a_number_are_kept_out_of_use<S: InStep>() {
    let (_directory, store) = store::<S>();
    assert_eq!(store.mark_ids_faulty_up_to(0).unwrap(), 0);
    assert_eq!(store.mark_ids_faulty_up_to(5).unwrap(), 1);
    assert_eq!(store.mark_ids_faulty_up_to(9).unwrap(), 4);
    assert_eq!(store.mark_ids_faulty_up_to(9).unwrap(), 0);
    check(&store);
    let faulty = store.walk().unwrap().ids().unwrap().faulty;
    assert_eq!(faulty, [1, 3, 5, 6, 7, 8, 9]);
    assert_eq!(add(&store, "d").device_id, 10);
    check(&store);
    let failure = refused(
        store.mark_ids_faulty_up_to(MAX_DEVICE_ID + 1),
        PM_ERR_INVALID_ARGUMENT,
    );
    failure.says(&["16777215", "out of range"]);
}

fn refused_id_is_faulty_and_the_device_has_the_next<S: InStep>() {
    let (_directory, store) = store::<S>();
    let before = get(&store, "b");
    assert_eq!(store.replace_id(b"b", 2).unwrap(), 3, "a free one first");
    check(&store);
    let after = get(&store, "b");
    assert!(after.generation > before.generation);
    let mut expected = before.clone();
    (expected.device_id, expected.generation) = (3, after.generation);
    assert_eq!(after, expected);
    // The kernel may refuse several, one after the other.
    for (refused, next) in [(3, 6), (6, 7), (7, 8)] {
        assert_eq!(store.replace_id(b"b", refused).unwrap(), next);
    }
    check(&store);
    let faulty = store.walk().unwrap().ids().unwrap().faulty;
    assert_eq!(faulty, [1, 2, 3, 5, 6, 7]);
    // A faulty device keeps its state.
    assert_eq!(store.replace_id(b"a", 1).unwrap(), 9);
    assert_eq!(get(&store, "a").state, DeviceState::Faulty);
    let before = contents(&store);
    refused(store.replace_id(b"b", 7), PM_ERR_CONFLICT).says(&["device \"b\""]);
    refused(store.replace_id(b"none", 7), PM_ERR_NOT_FOUND);
    refused(store.replace_id(b"", 7), PM_ERR_NOT_FOUND);
    assert_eq!(contents(&store), before);
}

fn lists_replace_and_free_ids_as_a_whole<S: InStep>() {
    let (_directory, store) = store::<S>();
    let replace = |name: &str, device_id| Change::ReplaceId {
        name: name.as_bytes().to_vec(),
        device_id,
    };
    let free = |device_id| Change::FreeId { device_id };
    let before = contents(&store);
    let lists = [
        (vec![free(5), free(5)], 1, PM_ERR_ID_NOT_FAULTY),
        (
            vec![replace("b", 2), free(2), replace("c", 9)],
            2,
            PM_ERR_CONFLICT,
        ),
        (vec![free(5), free(4)], 1, PM_ERR_ID_IN_USE),
    ];
    for (list, position, status) in lists {
        let (at, failure) = store.apply(&list).unwrap_err();
        assert_eq!((at, failure.code), (Some(position), status));
        assert_eq!(contents(&store), before);
    }
    // Each sees what those before it did, also when a look at every record was needed for it.
    let mark = Change::MarkFaulty {
        name: b"c".to_vec(),
    };
    let remove = Change::Remove {
        name: b"a".to_vec(),
    };
    let list = [
        free(5),
        replace("b", 2),
        free(2),
        mark,
        remove,
        replace("c", 4),
        free(4),
    ];
    let made = store.apply(&list).unwrap();
    let ids: Vec<u32> = made.iter().map(|made| made.0).collect();
    assert_eq!(ids, [5, 3, 2, 4, 1, 1, 4]);
    check(&store);
    let ids = store.walk().unwrap().ids().unwrap();
    assert_eq!((ids.free, ids.faulty), (vec![2, 4, 5, 6], vec![]));
    // By themselves, those that cannot be made keep none of the others from being made.
    let outcomes = store.apply_each(&[free(2), replace("b", 3), free(99)]);
    let codes = outcomes
        .iter()
        .map(|made| made.as_ref().map_or_else(|e| e.code, |_| PM_OK));
    let codes: Vec<i32> = codes.collect();
    assert_eq!(codes, [PM_ERR_ID_NOT_FAULTY, PM_OK, PM_ERR_ID_NOT_FAULTY]);
    check(&store);
}

fn walk_shows_what_its_filter_takes<S: InStep>() {
    let (_directory, store) = store::<S>();
    for (name, parent) in [("b1", "b"), ("b2", "b"), ("c1", "c"), ("long", "b")] {
        let mut child = crate::common::device(name);
        child.parent_name = parent.as_bytes().to_vec();
        if name == "long" {
            child.error = vec![b'e'; 100_000];
        }
        store.add(&mut child).unwrap();
    }
    store.change_state(b"b2", DeviceState::Suspended).unwrap();
    let all = devices(&store);
    let since = get(&store, "b1").generation;
    let states = [
        vec![],
        vec![DeviceState::Created],
        vec![DeviceState::Faulty, DeviceState::Suspended],
    ];
    for states in states {
        for parent in [None, Some(&b""[..]), Some(b"b"), Some(b"nobody")] {
            for ids in [
                0..=u32::MAX,
                2..=4,
                4..=4,
                RangeInclusive::new(5, 3),
                99..=100,
            ] {
                for since in [0, since, since + 1, u64::MAX] {
                    let filter = WalkFilter {
                        states: states.clone(),
                        parent: parent.map(<[u8]>::to_vec),
                        ids: ids.clone(),
                        since,
                    };
                    let mut expected = all.clone();
                    expected.retain(|device| {
                        (states.is_empty() || states.contains(&device.state))
                            && parent.is_none_or(|parent| parent == device.parent_name)
                            && ids.contains(&device.device_id)
                            && device.generation > since
                    });
                    assert_eq!(store.filtered(&filter).unwrap(), expected, "{filter:?}");
                }
            }
        }
    }
    let children = store.filtered(&WalkFilter::children_of("b")).unwrap();
    let names: Vec<_> = children.iter().map(|child| &child.name[..]).collect();
    assert_eq!(names, [&b"b1"[..], b"b2", b"long"]);
}

fn store_that_cannot_be_written_keeps_its_ids<S: InStep>() {
    let (_directory, path) = assorted();
    let store = S::open(&path, &READ_ONLY).unwrap();
    let outcomes = [
        store.free_id(5),
        store.free_faulty_ids(&[]).map(drop),
        store.mark_ids_faulty(&[6]).map(drop),
        store.mark_ids_faulty_up_to(9).map(drop),
        store.replace_id(b"b", 2).map(drop),
    ];
    for outcome in outcomes {
        refused(outcome, PM_ERR_READ_ONLY);
    }
    assert_eq!(store.ids(0, 0, 0).unwrap(), all());
    store.close().unwrap();
    // A table of ids that contradicts the records is damage, and no reason to free one.
    raw::edit(&path, |txn, tables| {
        lmdb::Transaction::get(txn, tables.devices, b"b").unwrap();
        txn.del(tables.devices, b"b", None).unwrap();
    });
    let store = S::open(&path, &verifying(PM_VERIFY_NONE)).unwrap();
    refused(store.free_id(2), PM_ERR_CORRUPT).says(&["id 2"]);
}

fn id_that_no_pool_has_is_refused<S: InStep>() {
    let (_directory, store) = store::<S>();
    let before = contents(&store);
    for id in [1 << 24, u32::MAX] {
        let outcomes = [
            store.free_id(id),
            store.free_faulty_ids(&[1, id]).map(drop),
            store.mark_ids_faulty(&[id, 3]).map(drop),
            store.mark_ids_faulty_up_to(id).map(drop),
        ];
        for outcome in outcomes {
            refused(outcome, PM_ERR_INVALID_ARGUMENT).says(&[&id.to_string(), "out of range"]);
        }
    }
    assert_eq!(contents(&store), before);
}
