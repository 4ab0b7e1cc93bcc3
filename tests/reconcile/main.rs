//! The store compared with its pool, and brought in step: each thing that they can disagree about,
//! and what is done for it. `snapshots.rs` compares the snapshotter's list as well.

#[path = "../common/mod.rs"]
mod common;
mod snapshots;

use common::{add, assorted, check, device, devices, place, pool};
use pool_metadata::{
    DeviceState, Difference, DifferenceKind, Error, IdFilter, IdState, OpenOptions, PoolMetadata,
    PoolState, Reconciliation, StoreAction,
};
use DeviceState::*;
use DifferenceKind::*;

/// Kind, device, id, action, and whether it is to be deleted from the pool.
type Row = (DifferenceKind, String, Option<u32>, StoreAction, bool);

fn row(difference: &Difference) -> Row {
    let name = difference.name.as_deref().unwrap_or_default();
    (
        difference.kind,
        String::from_utf8_lossy(name).into_owned(),
        difference.device_id,
        difference.action,
        difference.delete_from_pool,
    )
}

fn rows(found: &Reconciliation) -> Vec<Row> {
    found.differences.iter().map(row).collect()
}

/// A store with a device in each state, called by it, with ids from 1 in the order of states.
fn one_of_each() -> (tempfile::TempDir, PoolMetadata) {
    let (directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    for state in DeviceState::ALL {
        let mut device = device(state.name());
        device.state = state;
        store.add_device(&mut device).unwrap();
    }
    store.mark_faulty("Faulty").unwrap();
    (directory, store)
}

#[test]
fn store_in_step_with_its_pool_has_no_differences() {
    let (_directory, path) = assorted();
    let store = PoolMetadata::open(&path).unwrap();
    // a is 1, b is 2 and c is 4; 5 is faulty, and the pool still has something under it.
    let found = store.reconcile(&pool(&[4, 2, 1])).unwrap();
    assert_eq!((found.in_both, found.newer, found.commit), (3, 0, 10));
    assert_eq!(
        rows(&found),
        [(IdLeaked, String::new(), Some(5), StoreAction::FreeId, false)]
    );
    assert!(!found.is_in_step());
    assert_eq!(store.apply_reconciliation(&found).unwrap(), 1);
    check(&store);
    let found = store.reconcile(&pool(&[4, 2, 1])).unwrap();
    assert!(found.is_in_step());
    let commits = store.stats().unwrap().commits;
    assert_eq!(store.apply_reconciliation(&found).unwrap(), 0);
    assert_eq!(store.stats().unwrap().commits, commits);
}

#[test]
fn record_of_a_device_that_is_not_in_the_pool_goes() {
    let (_directory, store) = one_of_each();
    let found = store.reconcile(&pool(&[])).unwrap();
    assert_eq!((found.in_both, found.differences.len()), (0, 14));
    for difference in &found.differences {
        let state = difference.state.unwrap();
        assert_eq!(difference.kind, OnlyInStore);
        assert_eq!(difference.action, StoreAction::RemoveRecord, "{state}");
        assert_eq!(difference.pool_commands("pool"), [""; 0]);
        let what = difference.to_string();
        assert!(
            what.contains(state.name()) && what.contains("not in the pool"),
            "{what}"
        );
    }
    assert_eq!(store.apply_reconciliation(&found).unwrap(), 14);
    check(&store);
    assert_eq!(devices(&store), []);
    let free = store.list_ids(&IdFilter::of(IdState::Free)).unwrap();
    assert_eq!(free.len(), 14);
}

#[test]
fn device_in_the_pool_is_in_step_in_any_state() {
    let (_directory, store) = one_of_each();
    let all: Vec<u32> = (1..=14).collect();
    let found = store.reconcile(&pool(&all)).unwrap();
    assert!(found.is_in_step() && found.in_both == 14, "{found:?}");
}

#[test]
fn id_that_only_the_pool_has_is_kept_out_of_use() {
    let (_directory, path) = assorted();
    let store = PoolMetadata::open(&path).unwrap();
    // 3 and 6 are free, 5 is faulty, 9 was never assigned; 0 and the last are no store's.
    let state = pool(&[1, 2, 3, 4, 5, 9, 0, 0xff_ffff]);
    let found = store.reconcile(&state).unwrap();
    let of = |kind, id, action, delete| (kind, String::new(), Some(id), action, delete);
    let expected = [
        of(ForeignId, 0, StoreAction::Nothing, false),
        of(IdWouldCollide, 3, StoreAction::MarkIdFaulty, true),
        of(OnlyInPool, 5, StoreAction::Nothing, true),
        of(IdWouldCollide, 9, StoreAction::MarkIdFaulty, true),
        of(ForeignId, 0xff_ffff, StoreAction::Nothing, false),
    ];
    assert_eq!(rows(&found), expected);
    let commands = found.differences.iter();
    let commands: Vec<_> = commands.flat_map(|d| d.pool_commands("thin")).collect();
    let delete = |id| format!("dmsetup message thin 0 'delete {id}'");
    assert_eq!(commands, [3, 5, 9].map(delete));
    assert_eq!(store.apply_reconciliation(&found).unwrap(), 2);
    check(&store);
    let next: Vec<_> = ["d", "e", "f"]
        .map(|name| add(&store, name).device_id)
        .into();
    assert_eq!(next, [6, 7, 8]);
    // Once they are deleted from the pool, their ids are leaked, and freed.
    let found = store.reconcile(&pool(&[1, 2, 4, 6, 7, 8])).unwrap();
    let leaked = |id| of(IdLeaked, id, StoreAction::FreeId, false);
    assert_eq!(rows(&found), [3, 5, 9].map(leaked));
    store.apply_reconciliation(&found).unwrap();
    check(&store);
    assert!(store
        .reconcile(&pool(&[1, 2, 4, 6, 7, 8]))
        .unwrap()
        .is_in_step());
}

#[test]
fn device_newer_than_the_list_is_left_alone() {
    let (_directory, path) = assorted();
    let store = PoolMetadata::open(&path).unwrap();
    let commit = Some(store.stats().unwrap().commits);
    // The pool is listed here; then a device is made and one is changed.
    add(&store, "new");
    store.change_device_state("b", Removing).unwrap();
    let state = PoolState {
        commit,
        ..pool(&[1, 4, 5])
    };
    let found = store.reconcile(&state).unwrap();
    assert_eq!((found.newer, found.in_both), (2, 2));
    let of_devices = |found: Reconciliation| {
        let mut named = found.differences;
        named.retain(|difference| difference.name.is_some());
        named.len()
    };
    assert_eq!(of_devices(found), 0);
    let everything = PoolState {
        commit: None,
        ..state.clone()
    };
    assert_eq!(of_devices(store.reconcile(&everything).unwrap()), 2);
    // The list still has what was removed since, and that id is no other's.
    store.remove_device("c").unwrap();
    let found = store.reconcile(&state).unwrap();
    assert!(found
        .differences
        .iter()
        .all(|difference| difference.device_id != Some(4)));
    // So has the list of snapshots.
    let state = PoolState {
        snapshots: Some(
            ["a", "b", "c", "x"]
                .map(|name| name.as_bytes().to_vec())
                .into(),
        ),
        devices: None,
        commit,
    };
    let found = store.reconcile(&state).unwrap();
    let missing: Vec<_> = rows(&found).into_iter().map(|row| (row.0, row.1)).collect();
    assert_eq!(missing, [(NoDevice, "x".to_owned())]);
}

#[test]
fn plan_that_is_out_of_date_is_refused_as_a_whole() {
    let (_directory, path) = assorted();
    let store = PoolMetadata::open(&path).unwrap();
    let plan = store.reconcile(&pool(&[3])).unwrap();
    assert_eq!(plan.differences.len(), 5);
    let untouched = |store: &PoolMetadata| (devices(store), store.walk().unwrap().ids().unwrap());
    let refused = |change: &dyn Fn(&PoolMetadata)| {
        change(&store);
        let before = untouched(&store);
        let error = common::error_of(store.apply_reconciliation(&plan));
        assert_eq!(untouched(&store), before);
        check(&store);
        error
    };
    let changed = refused(&|store| store.change_device_state("b", Activated).unwrap());
    assert!(matches!(changed, Error::Conflict { .. }), "{changed:?}");
    let replaced = refused(&|store| {
        store.remove_device("b").unwrap();
        add(store, "b");
    });
    assert!(matches!(replaced, Error::Conflict { .. }), "{replaced:?}");
    let removed = refused(&|store| store.remove_device("b").unwrap());
    assert!(matches!(removed, Error::NotFound { .. }), "{removed:?}");
    let plan = store.reconcile(&pool(&[])).unwrap();
    store.free_id(5).unwrap();
    let error = common::error_of(store.apply_reconciliation(&plan));
    assert!(
        matches!(error, Error::IdNotFaulty { device_id: 5, .. }),
        "{error:?}"
    );
    // A plan with that difference taken out is made.
    let mut plan = plan;
    plan.differences
        .retain(|difference| difference.kind != IdLeaked);
    assert_eq!(store.apply_reconciliation(&plan).unwrap(), 2);
    check(&store);
}

#[test]
fn list_that_no_pool_has_is_refused() {
    let (_directory, path) = assorted();
    let store = PoolMetadata::open(&path).unwrap();
    assert_error!(
        store.reconcile(&PoolState::default()),
        Error::NothingToCompare
    );
    assert_error!(
        store.reconcile(&pool(&[1, 2, 1])),
        Error::ListedTwice { device_id: 1 }
    );
    for id in [1 << 24, u32::MAX] {
        let error = common::error_of(store.reconcile(&pool(&[id])));
        assert!(error.to_string().contains(&id.to_string()), "{error}");
    }
    let plan = store.reconcile(&pool(&[])).unwrap();
    store.close().unwrap();
    assert_error!(store.reconcile(&pool(&[])), Error::Closed);
    let reader = OpenOptions::new().read_only(true).open(&path).unwrap();
    assert_eq!(reader.reconcile(&pool(&[])).unwrap(), plan);
    assert_error!(reader.apply_reconciliation(&plan), Error::ReadOnly { .. });
}
