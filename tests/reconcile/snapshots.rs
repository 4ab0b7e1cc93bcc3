//! The store compared with the list of snapshots: devices that no snapshot has, and snapshots
//! without a device.

use super::{one_of_each, rows};
use crate::common::{add, check, device, devices, place, pool};
use pool_metadata::DifferenceKind::*;
use pool_metadata::{
    DeviceInfo, DeviceState, IdFilter, IdState, PoolMetadata, PoolState, StoreAction,
};
use DeviceState::*;

/// A state with these snapshots of the devices of `one_of_each`.
fn snapshots_of(states: &[DeviceState], devices: Option<&[u32]>) -> PoolState {
    let names = states.iter().map(|state| state.name().as_bytes().to_vec());
    PoolState {
        devices: devices.and_then(|ids| pool(ids).devices),
        snapshots: Some(names.collect()),
        commit: None,
    }
}

/// The data is lost, and containerd has to hear of it by its own name.
#[test]
fn device_of_a_snapshot_that_is_not_in_the_pool_is_only_reported() {
    let (_directory, store) = one_of_each();
    let state = snapshots_of(&DeviceState::ALL, Some(&[]));
    let found = store.reconcile(&state).unwrap();
    // The one that is faulty has been given up before.
    assert_eq!(found.differences.len(), 13);
    for difference in &found.differences {
        assert_eq!(difference.kind, OnlyInStore);
        assert_eq!(difference.action, StoreAction::Nothing);
        assert!(difference.what.contains("remove the snapshot"));
        assert_eq!(difference.pool_commands("pool"), [""; 0]);
    }
    assert_eq!(store.apply_reconciliation(&found).unwrap(), 0);
    assert_eq!(devices(&store).len(), 14);
}

#[test]
fn device_in_the_pool_with_its_snapshot_is_in_step_in_any_state() {
    let (_directory, store) = one_of_each();
    let all: Vec<u32> = (1..=14).collect();
    let state = snapshots_of(&DeviceState::ALL, Some(&all));
    let found = store.reconcile(&state).unwrap();
    assert!(found.is_in_step() && found.in_both == 14, "{found:?}");
}

/// Whatever is not known keeps the id out of use and data where it is.
#[test]
fn record_without_a_snapshot_goes_and_its_id_is_kept_unless_the_pool_lacks_it() {
    let (_directory, store) = one_of_each();
    let all: Vec<u32> = (1..=14).collect();
    for devices in [None, Some(&all[..])] {
        let found = store.reconcile(&snapshots_of(&[], devices)).unwrap();
        assert_eq!(
            found.differences.len(),
            13,
            "all but the one that is removed"
        );
        for difference in &found.differences {
            assert_eq!(difference.kind, NoSnapshot);
            assert_eq!(difference.action, StoreAction::RemoveRecordKeepId);
            assert_eq!(difference.in_pool.is_some(), devices.is_some());
            let (id, name) = (difference.device_id.unwrap(), difference.state.unwrap());
            assert_eq!(
                difference.pool_commands("/dev/mapper/p"),
                [
                    format!("dmsetup remove {name}"),
                    format!("dmsetup message /dev/mapper/p 0 'delete {id}'")
                ]
            );
        }
    }
    let found = store.reconcile(&snapshots_of(&[], Some(&[]))).unwrap();
    let freeing = found
        .differences
        .iter()
        .filter(|difference| difference.action == StoreAction::RemoveRecord);
    assert_eq!(freeing.count(), 14);
    let found = store.reconcile(&snapshots_of(&[], None)).unwrap();
    assert_eq!(store.apply_reconciliation(&found).unwrap(), 13);
    check(&store);
    let left = devices(&store);
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].state, Removed);
    let faulty = store.list_ids(&IdFilter::of(IdState::Faulty)).unwrap();
    assert_eq!(faulty.len(), 13);
}

#[test]
fn commands_for_the_pool_quote_what_a_shell_would_read_otherwise() {
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    let odd: [&[u8]; 6] = [b"a;b", b"$(x)", b"-rf", b"a b", b"\xff", b"'"];
    for name in odd {
        store.add_device(&mut DeviceInfo::new(name)).unwrap();
    }
    let found = store.reconcile(&snapshots_of(&[], None)).unwrap();
    for difference in &found.differences {
        let id = difference.device_id.unwrap();
        assert_eq!(
            difference.pool_commands("/dev/mapper/it's"),
            [format!(
                "dmsetup message '/dev/mapper/it'\\''s' 0 'delete {id}'"
            )]
        );
    }
    assert_eq!(found.differences.len(), odd.len());
}

/// containerd's `async_remove`: the snapshot is gone, its device is marked as removed at once, and
/// deleted from the pool and the store by the next cleanup, which looks for that state.
#[test]
fn removed_device_that_is_still_in_the_pool_is_left_to_the_cleanup() {
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    add(&store, "kept");
    add(&store, "gone");
    store.change_device_state("gone", Removed).unwrap();
    for snapshots in [None, Some(vec![b"kept".to_vec()])] {
        let state = PoolState {
            snapshots: snapshots.clone(),
            ..pool(&[1, 2])
        };
        let found = store.reconcile(&state).unwrap();
        assert!(found.is_in_step(), "{found:?}");
        assert_eq!(found.in_both, 2);
        // The system may go down after the cleanup has deleted it from the pool.
        let state = PoolState {
            snapshots,
            ..pool(&[1])
        };
        let found = store.reconcile(&state).unwrap();
        let removals: Vec<_> = found
            .differences
            .iter()
            .map(|d| (d.device_id, d.action))
            .collect();
        assert_eq!(removals, [(Some(2), StoreAction::RemoveRecord)]);
    }
}

/// The jam after a power cut: the store has the device, and no snapshot does, so that a snapshot of
/// that name "already exists" for ever.
#[test]
fn device_that_no_snapshot_knows_is_freed_for_a_new_one() {
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    for name in ["base", "jam-in-pool", "jam-lost", "known"] {
        let mut device = device(name);
        device.state = Activated;
        store.add_device(&mut device).unwrap();
    }
    let snapshots = ["base", "gone", "known"].map(|name| name.as_bytes().to_vec());
    let state = PoolState {
        snapshots: Some(snapshots.to_vec()),
        ..pool(&[1, 2, 4])
    };
    let found = store.reconcile(&state).unwrap();
    let expected = [
        (
            NoSnapshot,
            "jam-in-pool".to_owned(),
            Some(2),
            StoreAction::RemoveRecordKeepId,
            true,
        ),
        (
            NoSnapshot,
            "jam-lost".to_owned(),
            Some(3),
            StoreAction::RemoveRecord,
            false,
        ),
        (
            NoDevice,
            "gone".to_owned(),
            None,
            StoreAction::Nothing,
            false,
        ),
    ];
    assert_eq!(rows(&found), expected);
    let store_refuses = |name| store.add_device(&mut device(name)).is_err();
    assert!(store_refuses("jam-in-pool") && store_refuses("jam-lost"));
    assert_eq!(store.apply_reconciliation(&found).unwrap(), 2);
    check(&store);
    // Both can be made again, and neither gets an id that the pool has.
    assert_eq!(add(&store, "jam-lost").device_id, 3);
    assert_eq!(add(&store, "jam-in-pool").device_id, 5);
    check(&store);
}
