//! What each step of a script does to an open store.

use super::workload::Op;
use crate::common::device;
use pool_metadata::{DeviceInfo, Ids, PoolDevice, PoolMetadata, PoolState, Walk};

/// Takes one step, which succeeds. A snapshot that it keeps for later steps is in `held`.
pub fn perform(store: &PoolMetadata, held: &mut Option<Walk>, op: &Op) {
    attempt(store, held, op).unwrap();
}

/// Takes one step, which may fail.
pub fn attempt(
    store: &PoolMetadata,
    held: &mut Option<Walk>,
    op: &Op,
) -> pool_metadata::Result<()> {
    if held.is_some() && needs_more(store, op) {
        // A snapshot would keep the map from growing.
        *held = None;
    }
    match op {
        Op::Add(device) => store.add_device(&mut device.clone()),
        Op::Text { name, len } => store.update_device(name, |device| {
            device.error = vec![b't'; *len];
            Ok(())
        }),
        Op::State { name, state } => store.change_device_state(name, *state),
        Op::Faulty(name) => store.mark_faulty(name),
        Op::Remove(name) => store.remove_device(name),
        Op::Apply(changes) => store.apply(changes).map(drop).map_err(Into::into),
        Op::Import(count) => take_over(store, *count),
        Op::Reconcile(lost) => reconcile(store, lost),
        Op::Sync => store.sync(),
        Op::Deferred(op) => attempt(&store.deferred(), held, op),
        Op::Hold => {
            *held = match held {
                Some(_) => None,
                None => Some(store.walk().unwrap()),
            };
            Ok(())
        }
        Op::Reopen => unreachable!("not a step on an open store"),
    }
}

/// Whether the map might have to grow for the step.
fn needs_more(store: &PoolMetadata, op: &Op) -> bool {
    const ONE_STEP: u64 = 256 << 10;
    let stats = store.stats().unwrap();
    let is_list = |op: &Op| matches!(op, Op::Apply(_) | Op::Reconcile(_));
    is_list(op) || stats.map_size - stats.map_used < ONE_STEP
}

/// Takes devices out of the store that no snapshot has. The pool still has the first, and a device
/// that the store does not know.
fn reconcile(store: &PoolMetadata, lost: &[Vec<u8>]) -> pool_metadata::Result<()> {
    let (mut snapshots, mut ids) = (Vec::new(), Vec::new());
    for device in store.walk()? {
        let device = device?;
        if !lost[1..].contains(&device.name) {
            ids.push(device.device_id);
        }
        if !lost.contains(&device.name) {
            snapshots.push(device.name);
        }
    }
    ids.push(store.stats()?.last_id as u32 + 2);
    let in_pool = |device_id| PoolDevice {
        device_id,
        ..PoolDevice::default()
    };
    let found = store.reconcile(&PoolState {
        devices: Some(ids.into_iter().map(in_pool).collect()),
        snapshots: Some(snapshots),
        commit: None,
    })?;
    store.apply_reconciliation(&found).map(drop)
}

fn take_over(store: &PoolMetadata, count: usize) -> pool_metadata::Result<()> {
    let all: Vec<_> = (0..count)
        .map(|index| DeviceInfo {
            device_id: index as u32 + 1,
            error: vec![b'i'; index % 7 * 100],
            ..device(format!("imported-{index:06}"))
        })
        .collect();
    let devices: Vec<_> = all.iter().map(DeviceInfo::as_ref).collect();
    let ids = Ids {
        last_id: count as u32 + 2,
        free: vec![count as u32 + 1],
        faulty: vec![count as u32 + 2],
    };
    store.import(&devices, &ids)
}
