//! What a store and its pool disagree about, and what brings them in step again.
//!
//! Nothing here reads a store or a pool: the records and ids of one, and a list of the devices of
//! the other, come in, and differences with a plan come out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::device::{DeviceRef, DeviceState};
use crate::error::{Error, Quoted, Result};
use crate::limits::{MAX_DEVICE_ID, MAX_POOL_ID};

/// A thin device that the pool has, as `thin_ls` or `thin_dump` list it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolDevice {
    /// Its device id, of 24 bits.
    pub device_id: u32,
    /// How many blocks are mapped, if that is known.
    pub mapped_blocks: Option<u64>,
    /// The pool's transaction id when it was created, if that is known.
    pub transaction_id: Option<u64>,
}

/// What is known of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolState {
    /// All devices that the pool has, in any order.
    pub devices: Vec<PoolDevice>,
    /// The names of all devices that the snapshotter has a snapshot for, if they are known.
    pub snapshots: Option<Vec<Vec<u8>>>,
    /// The store's commit ([`Stats::commits`](crate::Stats::commits)) just before the pool was
    /// listed, if the store was in use meanwhile: devices that were written later are left alone,
    /// since the list cannot have them.
    pub commit: Option<u64>,
}

/// What a store and its pool disagree about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DifferenceKind {
    /// The store has a device that is not in the pool.
    OnlyInStore = 1,
    /// The pool has a device that is not in the store, and whose id the store keeps out of use.
    OnlyInPool = 2,
    /// The pool has a device that is not in the store, and whose id the store would give out: the
    /// kernel would refuse it (`EEXIST`).
    IdWouldCollide = 3,
    /// The store has the device in a state in which it is not in the pool, and it is there.
    StateContradicts = 4,
    /// An id is faulty, no device has it, and the pool has nothing under it.
    IdLeaked = 5,
    /// No snapshot knows the device: the snapshotter cannot make one of that name any more.
    NoSnapshot = 6,
    /// A snapshot's device is not in the store.
    NoDevice = 7,
}

/// What brings the store in step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreAction {
    /// Nothing is to be done in the store.
    Nothing = 0,
    /// Free the id.
    FreeId = 1,
    /// Keep the id out of use.
    MarkIdFaulty = 2,
    /// Mark the device and its id as faulty, so that a device of that name can be made again.
    MarkFaulty = 3,
    /// Remove the device's record, which frees its id.
    RemoveRecord = 4,
}

/// One thing that a store and its pool disagree about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// What it is.
    pub kind: DifferenceKind,
    /// The device's name, if the store or the snapshotter has it.
    pub name: Option<Vec<u8>>,
    /// The device id; none for a snapshot without a device.
    pub device_id: Option<u32>,
    /// The device's state, if the store has the device.
    pub state: Option<DeviceState>,
    /// The commit that last wrote the device's record; 0 without a record.
    pub generation: u64,
    /// The device in the pool, if it is there.
    pub in_pool: Option<PoolDevice>,
    /// What brings the store in step.
    pub action: StoreAction,
    /// Whether the device should be deleted from the pool, which is for the operator to do.
    pub delete_from_pool: bool,
    /// What is wrong, in words.
    pub what: String,
}

impl Difference {
    /// The command that deletes the device from the pool, which is a device-mapper name or path, if
    /// it should be deleted. It destroys the device's data.
    pub fn pool_command(&self, pool: &str) -> Option<String> {
        let device_id = self.device_id.filter(|_| self.delete_from_pool)?;
        let quoted = pool.replace('\'', "'\\''");
        Some(format!("dmsetup message '{quoted}' 0 'delete {device_id}'"))
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// Everything that a store and its pool disagree about, as of one commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reconciliation {
    /// The store's commit that was compared.
    pub commit: u64,
    /// How many devices are in both.
    pub in_both: u64,
    /// How many devices of the store were left alone because they are newer than the list.
    pub newer: u64,
    /// What they disagree about: devices by name, then ids, then snapshots without a device.
    pub differences: Vec<Difference>,
}

impl Reconciliation {
    /// Whether they agree.
    pub fn is_in_step(&self) -> bool {
        self.differences.is_empty()
    }
}

/// Compares a store's rows with a pool.
pub(crate) struct Reconciler<'p> {
    pool: BTreeMap<u32, PoolDevice>,
    /// The names of snapshots whose devices were not seen yet.
    snapshots: Option<BTreeSet<&'p [u8]>>,
    since: u64,
    /// The ids of devices, and those that are left alone.
    owned: BTreeSet<u32>,
    done: Reconciliation,
}

impl<'p> Reconciler<'p> {
    /// Refuses a list that no pool has.
    pub fn new(state: &'p PoolState) -> Result<Reconciler<'p>> {
        let mut pool = BTreeMap::new();
        for device in &state.devices {
            let device_id = device.device_id;
            if device_id > MAX_POOL_ID {
                return Err(Error::InvalidId { device_id });
            }
            if pool.insert(device_id, *device).is_some() {
                return Err(Error::ListedTwice { device_id });
            }
        }
        let snapshots = state.snapshots.as_ref();
        Ok(Reconciler {
            pool,
            snapshots: snapshots.map(|names| names.iter().map(Vec::as_slice).collect()),
            since: state.commit.unwrap_or(u64::MAX),
            owned: BTreeSet::new(),
            done: Reconciliation::default(),
        })
    }

    /// Takes a device of the store.
    pub fn device(&mut self, device: &DeviceRef<'_>) {
        let in_pool = self.pool.get(&device.device_id).copied();
        self.owned.insert(device.device_id);
        let snapshots = self.snapshots.as_mut();
        let known = snapshots.is_none_or(|names| names.remove(device.name));
        if device.generation > self.since {
            self.done.newer += 1;
            return;
        }
        self.done.in_both += u64::from(in_pool.is_some());
        let Some((kind, action, why)) = judge(device.state, in_pool.is_some(), known) else {
            return;
        };
        let DeviceRef {
            name,
            device_id,
            state,
            generation,
            ..
        } = *device;
        self.done.differences.push(Difference {
            kind,
            name: Some(name.to_vec()),
            device_id: Some(device_id),
            state: Some(state),
            generation,
            in_pool,
            action,
            delete_from_pool: kind == DifferenceKind::NoSnapshot && in_pool.is_some(),
            what: format!("device {} (id {device_id}, {state}) {why}", Quoted(name)),
        });
    }

    /// Takes the id of a device that the commit has removed: the list may still have it.
    pub fn removed(&mut self, device_id: u32, commit: u64) {
        if commit > self.since {
            self.owned.insert(device_id);
        }
    }

    /// Compares the ids that no device has.
    pub fn finish(mut self, commit: u64, faulty: &BTreeSet<u32>) -> Reconciliation {
        for (&id, &device) in &self.pool {
            if self.owned.contains(&id) {
                continue;
            }
            let is_of_no_store = id == 0 || id > MAX_DEVICE_ID;
            let out_of_use = is_of_no_store || faulty.contains(&id);
            let (kind, action, why) = match out_of_use {
                true => (
                    DifferenceKind::OnlyInPool,
                    StoreAction::Nothing,
                    "keeps it out of use",
                ),
                false => (
                    DifferenceKind::IdWouldCollide,
                    StoreAction::MarkIdFaulty,
                    "would give it out, which the kernel would refuse",
                ),
            };
            let what = format!("id {id} is in the pool, and no device has it; the store {why}");
            let difference = of_id(kind, id, Some(device), action, what);
            self.done.differences.push(Difference {
                delete_from_pool: !is_of_no_store,
                ..difference
            });
        }
        for &id in faulty {
            if !self.owned.contains(&id) && !self.pool.contains_key(&id) {
                let what =
                    format!("id {id} is faulty, no device has it, and it is not in the pool");
                let (kind, action) = (DifferenceKind::IdLeaked, StoreAction::FreeId);
                self.done
                    .differences
                    .push(of_id(kind, id, None, action, what));
            }
        }
        for name in self.snapshots.into_iter().flatten() {
            let what = format!("snapshot's device {} is not in the store", Quoted(name));
            let nothing = StoreAction::Nothing;
            self.done.differences.push(Difference {
                name: Some(name.to_vec()),
                device_id: None,
                ..of_id(DifferenceKind::NoDevice, 0, None, nothing, what)
            });
        }
        self.done.commit = commit;
        self.done
    }
}

/// What is wrong with a device in this state that is in the pool or not, and known to the
/// snapshotter or not.
fn judge(
    state: DeviceState,
    in_pool: bool,
    known: bool,
) -> Option<(DifferenceKind, StoreAction, &'static str)> {
    use DeviceState::{Creating, Faulty, Removed, Removing, Unknown};
    use DifferenceKind::{NoSnapshot, OnlyInStore, StateContradicts};
    use StoreAction::{MarkFaulty, Nothing, RemoveRecord};
    // There is nothing in the pool to lose, or it was on its way out.
    let is_unfinished = matches!(state, Unknown | Creating | Removing | Removed | Faulty);
    Some(match (in_pool, known) {
        // containerd with `async_remove` marks the device of a removed snapshot so, and its cleanup
        // deletes it from the pool and the store later.
        (true, _) if state == Removed => return None,
        (true, true) => match state {
            Unknown | Creating => (
                StateContradicts,
                MarkFaulty,
                "is in the pool, where its state has it not",
            ),
            _ => return None,
        },
        // Its id must stay out of use until the pool has nothing under it.
        (true, false) if state == Faulty => (NoSnapshot, Nothing, "is one that no snapshot knows"),
        (true, false) => (NoSnapshot, MarkFaulty, "is one that no snapshot knows"),
        (false, false) => (
            NoSnapshot,
            RemoveRecord,
            "is one that no snapshot knows, and not in the pool",
        ),
        (false, true) if is_unfinished => (OnlyInStore, RemoveRecord, "is not in the pool"),
        (false, true) => (
            OnlyInStore,
            MarkFaulty,
            "is not in the pool: its data is lost",
        ),
    })
}

/// A difference about an id that no device has.
fn of_id(
    kind: DifferenceKind,
    id: u32,
    in_pool: Option<PoolDevice>,
    action: StoreAction,
    what: String,
) -> Difference {
    Difference {
        kind,
        name: None,
        device_id: Some(id),
        state: None,
        generation: 0,
        in_pool,
        action,
        delete_from_pool: false,
        what,
    }
}
