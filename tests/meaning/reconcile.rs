//! The store compared with its pool, and brought in step with it.

use crate::common::{assorted, pool};
use crate::comparing::Reconcile;
use crate::subject::*;
use crate::through_rust_and_c;
use pool_metadata::capi::*;
use pool_metadata::{DeviceState, PoolState};

through_rust_and_c!(
    differences_are_found_and_the_chosen_ones_applied,
    plan_of_a_store_that_has_changed_is_refused_as_a_whole,
    device_that_is_newer_than_the_list_is_left_alone,
    lists_count_only_if_they_are_known,
    list_that_no_pool_has_is_refused,
    store_that_cannot_be_written_is_compared_and_kept,
);

/// The state of `assorted`: a (id 1, faulty), b (2), c (4); 3 and 6 free, 5 faulty.
fn store<S: Store>() -> (tempfile::TempDir, S) {
    let (directory, path) = assorted();
    let store = open(&path);
    (directory, store)
}

fn known(ids: &[u32], names: &[&str]) -> PoolState {
    PoolState {
        snapshots: Some(names.iter().map(|name| name.as_bytes().to_vec()).collect()),
        ..pool(ids)
    }
}

fn differences_are_found_and_the_chosen_ones_applied<S: Reconcile>() {
    let (_directory, store) = store::<S>();
    let state = known(&[1, 4, 6, 0, 0xff_ffff], &["a", "b", "x\0y"]);
    let before = contents(&store);
    let (counts, rows) = store.differences(&state).unwrap();
    assert_eq!(contents(&store), before);
    assert_eq!(counts, (10, 2, 0));
    let state_of = |name| get(&store, name).state as i32;
    let of_id = |kind, action, id, in_pool, delete| (kind, action, vec![], id, -1, in_pool, delete);
    let (lost, jam) = (PM_DIFFERENCE_ONLY_IN_STORE, PM_DIFFERENCE_NO_SNAPSHOT);
    let expected = [
        (
            lost,
            PM_ACTION_NOTHING,
            b"b".to_vec(),
            2,
            state_of("b"),
            false,
            false,
        ),
        (
            jam,
            PM_ACTION_REMOVE_RECORD_KEEP_ID,
            b"c".to_vec(),
            4,
            state_of("c"),
            true,
            true,
        ),
        of_id(PM_DIFFERENCE_FOREIGN_ID, PM_ACTION_NOTHING, 0, true, false),
        of_id(
            PM_DIFFERENCE_ID_WOULD_COLLIDE,
            PM_ACTION_MARK_ID_FAULTY,
            6,
            true,
            true,
        ),
        of_id(
            PM_DIFFERENCE_FOREIGN_ID,
            PM_ACTION_NOTHING,
            0xff_ffff,
            true,
            false,
        ),
        of_id(PM_DIFFERENCE_ID_LEAKED, PM_ACTION_FREE_ID, 5, false, false),
        (
            PM_DIFFERENCE_NO_DEVICE,
            PM_ACTION_NOTHING,
            b"x\0y".to_vec(),
            0,
            -1,
            false,
            false,
        ),
    ];
    assert_eq!(rows, expected);
    let (_, _, applied) = store.reconcile(&state, |row| row.2 != b"b", || {}).unwrap();
    assert_eq!(applied.unwrap(), 3, "three have no part in the store");
    check(&store);
    assert_eq!(counters(&store.stats().unwrap())[5], 11, "one commit");
    refused(store.get(b"c"), PM_ERR_NOT_FOUND);
    assert_ne!(get(&store, "b").state, DeviceState::Faulty);
    let ids = store.walk().unwrap().ids().unwrap();
    assert_eq!((ids.free, ids.faulty), (vec![3, 5], vec![1, 4, 6]));
}

fn plan_of_a_store_that_has_changed_is_refused_as_a_whole<S: Reconcile>() {
    let (_directory, store) = store::<S>();
    let state = pool(&[1, 4, 6]);
    let (_, rows, applied) = store
        .reconcile(
            &state,
            |_| true,
            || store.change_state(b"b", DeviceState::Suspended).unwrap(),
        )
        .unwrap();
    assert_eq!(rows.len(), 3);
    refused(applied, PM_ERR_CONFLICT).says(&["device \"b\""]);
    let (_, _, applied) = store
        .reconcile(&state, |_| true, || store.remove(b"b").unwrap())
        .unwrap();
    refused(applied, PM_ERR_NOT_FOUND).says(&["device \"b\""]);
    check(&store);
    let ids = store.walk().unwrap().ids().unwrap();
    assert_eq!(ids.faulty, [1, 5], "nothing of the plans was done");
}

fn device_that_is_newer_than_the_list_is_left_alone<S: Reconcile>() {
    let (_directory, store) = store::<S>();
    store.free_id(5).unwrap();
    let mut state = pool(&[1, 2, 4]);
    state.commit = Some(11);
    assert_eq!(store.differences(&state).unwrap(), ((11, 3, 0), vec![]));
    add(&store, "new");
    assert_eq!(store.differences(&state).unwrap(), ((12, 3, 1), vec![]));
    state.commit = None;
    assert_eq!(store.differences(&state).unwrap().1.len(), 1);
    // A list from before the first commit has none of the devices.
    let state = PoolState {
        commit: Some(0),
        ..pool(&[])
    };
    let ((_, _, newer), _) = store.differences(&state).unwrap();
    assert_eq!(newer, 4);
}

fn lists_count_only_if_they_are_known<S: Reconcile>() {
    let (_directory, store) = store::<S>();
    store.free_id(5).unwrap();
    let ids = [1, 2, 4];
    assert_eq!(store.differences(&pool(&ids)).unwrap().1, []);
    let names = ["a", "b", "c"];
    assert_eq!(store.differences(&known(&ids, &names)).unwrap().1, []);
    assert_eq!(store.differences(&known(&ids, &[])).unwrap().1.len(), 3);
    // The id of a device without a snapshot is kept unless the pool is known not to have it.
    let only_snapshots = PoolState {
        devices: None,
        ..known(&[], &["a", "b"])
    };
    let action_for_c = |state| {
        let (counts, rows) = store.differences(state).unwrap();
        let of_c: Vec<_> = rows.iter().filter(|row| row.2 == b"c").collect();
        assert_eq!(of_c.len(), 1, "{rows:?}");
        (counts.1, rows.len(), of_c[0].1, of_c[0].5, of_c[0].6)
    };
    assert_eq!(
        action_for_c(&only_snapshots),
        (0, 1, PM_ACTION_REMOVE_RECORD_KEEP_ID, false, true)
    );
    assert_eq!(
        action_for_c(&known(&[1, 2], &["a", "b"])),
        (2, 1, PM_ACTION_REMOVE_RECORD, false, false)
    );
    let (_, _, applied) = store.reconcile(&only_snapshots, |_| true, || {}).unwrap();
    assert_eq!(applied.unwrap(), 1);
    assert_eq!(store.walk().unwrap().ids().unwrap().faulty, [1, 4]);
    check(&store);
    let nothing = store.differences(&PoolState::default());
    refused(nothing, PM_ERR_INVALID_ARGUMENT).says(&["nothing to compare"]);
}

fn list_that_no_pool_has_is_refused<S: Reconcile>() {
    let (_directory, store) = store::<S>();
    for (ids, word) in [(vec![1, 9, 9], "9"), (vec![1 << 24], "16777216")] {
        let outcome = store.differences(&pool(&ids));
        refused(outcome, PM_ERR_INVALID_ARGUMENT).says(&[word]);
    }
    store.close().unwrap();
    refused(store.differences(&pool(&[])), PM_ERR_CLOSED);
}

fn store_that_cannot_be_written_is_compared_and_kept<S: Reconcile>() {
    let (_directory, path) = assorted();
    let store = S::open(&path, &READ_ONLY).unwrap();
    let (_, rows, applied) = store.reconcile(&pool(&[1, 2]), |_| true, || {}).unwrap();
    assert_eq!(rows.len(), 2);
    refused(applied, PM_ERR_READ_ONLY);
}
