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

/// What is known of a pool and its snapshotter: the devices, the snapshots, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolState {
    /// All devices that the pool has, in any order, if they are known.
    pub devices: Option<Vec<PoolDevice>>,
    /// The names of all devices that the snapshotter has a snapshot for, if they are known.
    pub snapshots: Option<Vec<Vec<u8>>>,
    /// The store's commit ([`Stats::commits`](crate::Stats::commits)) before the lists were made,
    /// if the store was in use meanwhile: devices that were written later are left alone, since the
    /// lists cannot have them. A snapshotter adds the device of a new snapshot first and the
    /// snapshot last: let the time that this takes pass between reading the commit and listing the
    /// snapshots.
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
    /// The pool has a device with an id that no store gives out, 0 or the last one: another program
    /// has made it.
    ForeignId = 4,
    /// An id is faulty, no device has it, and the pool has nothing under it.
    IdLeaked = 5,
    /// No snapshot has the device: the snapshotter cannot make one of that name any more.
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
    /// Remove the device's record, which frees its id.
    RemoveRecord = 3,
    /// Remove the device's record, and keep its id out of use: the pool has a device under it, or
    /// may have one.
    RemoveRecordKeepId = 4,
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
    /// The device in the pool, if it is known to be there.
    pub in_pool: Option<PoolDevice>,
    /// What brings the store in step.
    pub action: StoreAction,
    /// Whether the device should be deleted from the pool, if it is there. That is for the operator
    /// to do.
    pub delete_from_pool: bool,
    /// What is wrong, in words.
    pub what: String,
}

impl Difference {
    /// The commands that delete the device from the pool, which is a device-mapper name or path, if
    /// it should be deleted: the first deactivates it, if it has a name that a shell reads as it
    /// is, and fails if it is not active. They destroy the device's data.
    pub fn pool_commands(&self, pool: &str) -> Vec<String> {
        let Some(device_id) = self.device_id.filter(|_| self.delete_from_pool) else {
            return Vec::new();
        };
        let name = self
            .name
            .as_deref()
            .and_then(|name| std::str::from_utf8(name).ok());
        let typed = name.filter(|name| is_word(name) && !name.starts_with('-'));
        let deactivate = typed.map(|name| format!("dmsetup remove {name}"));
        let pool = match is_word(pool) {
            true => pool.to_owned(),
            false => format!("'{}'", pool.replace('\'', "'\\''")),
        };
        let delete = format!("dmsetup message {pool} 0 'delete {device_id}'");
        deactivate.into_iter().chain([delete]).collect()
    }
}

/// Whether a shell takes the text as one word without quotes.
fn is_word(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-/:".contains(&byte);
    !text.is_empty() && text.bytes().all(plain)
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
    /// How many devices are in both; 0 if those of the pool are not known.
    pub in_both: u64,
    /// How many devices of the store were left alone because they are newer than the lists.
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
    /// The devices of the pool, if they are known.
    pool: Option<BTreeMap<u32, PoolDevice>>,
    /// The names of snapshots whose devices were not seen yet, if they are known.
    snapshots: Option<BTreeSet<&'p [u8]>>,
    since: u64,
    /// The ids of devices, and those that are left alone.
    owned: BTreeSet<u32>,
    done: Reconciliation,
}

impl<'p> Reconciler<'p> {
    /// Refuses a list that no pool has, and a comparison with nothing.
    pub fn new(state: &'p PoolState) -> Result<Reconciler<'p>> {
        if state.devices.is_none() && state.snapshots.is_none() {
            return Err(Error::NothingToCompare);
        }
        let snapshots = state.snapshots.as_ref();
        Ok(Reconciler {
            pool: state.devices.as_deref().map(by_id).transpose()?,
            snapshots: snapshots.map(|names| names.iter().map(Vec::as_slice).collect()),
            since: state.commit.unwrap_or(u64::MAX),
            owned: BTreeSet::new(),
            done: Reconciliation::default(),
        })
    }

    /// Takes a device of the store.
    pub fn device(&mut self, device: &DeviceRef<'_>) {
        let DeviceRef {
            name,
            device_id,
            state,
            generation,
            ..
        } = *device;
        self.owned.insert(device_id);
        let snapshots = self.snapshots.as_mut();
        let has_snapshot = snapshots.map(|names| names.remove(name));
        if generation > self.since {
            self.done.newer += 1;
            return;
        }
        let found = self.pool.as_ref().map(|pool| pool.get(&device_id).copied());
        let in_pool = found.flatten();
        self.done.in_both += u64::from(in_pool.is_some());
        let is_in_pool = found.map(|found| found.is_some());
        let Some((kind, action, why)) = judge(state, is_in_pool, has_snapshot) else {
            return;
        };
        self.done.differences.push(Difference {
            kind,
            name: Some(name.to_vec()),
            device_id: Some(device_id),
            state: Some(state),
            generation,
            in_pool,
            action,
            delete_from_pool: action == StoreAction::RemoveRecordKeepId,
            what: format!("device {} (id {device_id}, {state}) {why}", Quoted(name)),
        });
    }

    /// Takes a device that the commit has removed: the lists may still have it.
    pub fn removed(&mut self, name: &[u8], device_id: u32, commit: u64) {
        if commit > self.since {
            self.owned.insert(device_id);
            if let Some(names) = &mut self.snapshots {
                names.remove(name);
            }
        }
    }

    /// Compares the ids that no device has.
    pub fn finish(mut self, commit: u64, faulty: &BTreeSet<u32>) -> Reconciliation {
        let differences = &mut self.done.differences;
        if let Some(pool) = &self.pool {
            let others = pool.values().filter(|d| !self.owned.contains(&d.device_id));
            differences.extend(others.map(|device| only_in_pool(device, faulty)));
            let leaked = faulty
                .iter()
                .filter(|id| !self.owned.contains(id) && !pool.contains_key(id));
            differences.extend(leaked.map(|&id| Difference {
                device_id: Some(id),
                action: StoreAction::FreeId,
                what: format!("id {id} is faulty, and neither a device nor the pool has it"),
                ..Difference::of(DifferenceKind::IdLeaked)
            }));
        }
        for name in self.snapshots.into_iter().flatten() {
            differences.push(Difference {
                name: Some(name.to_vec()),
                what: format!(
                    "the device {} of a snapshot is not in the store: remove the snapshot",
                    Quoted(name)
                ),
                ..Difference::of(DifferenceKind::NoDevice)
            });
        }
        self.done.commit = commit;
        self.done
    }
}

/// The devices by their ids. Refuses ids that no pool has, and an id that is there twice.
fn by_id(devices: &[PoolDevice]) -> Result<BTreeMap<u32, PoolDevice>> {
    let mut pool = BTreeMap::new();
    for device in devices {
        let device_id = device.device_id;
        if device_id > MAX_POOL_ID {
            return Err(Error::InvalidId { device_id });
        }
        if pool.insert(device_id, *device).is_some() {
            return Err(Error::ListedTwice { device_id });
        }
    }
    Ok(pool)
}

/// What is wrong with a device in this state, and what is to be done in the store, by whether the
/// pool and the snapshotter have it, if that is known.
///
/// No record goes whose device may hold a snapshot's data, and no id is freed that the pool may
/// have.
fn judge(
    state: DeviceState,
    is_in_pool: Option<bool>,
    has_snapshot: Option<bool>,
) -> Option<(DifferenceKind, StoreAction, &'static str)> {
    use DifferenceKind::{NoSnapshot, OnlyInStore};
    use StoreAction::{Nothing, RemoveRecord, RemoveRecordKeepId};
    Some(match (has_snapshot, is_in_pool) {
        // containerd with `async_remove` marks the device of a removed snapshot so, and its cleanup
        // deletes it from the pool and the store later.
        (_, None | Some(true)) if state == DeviceState::Removed => return None,
        (Some(false), Some(false)) => (
            NoSnapshot,
            RemoveRecord,
            "belongs to no snapshot, and is not in the pool",
        ),
        (Some(false), _) => (NoSnapshot, RemoveRecordKeepId, "belongs to no snapshot"),
        // What is faulty is known to have no data.
        (Some(true), Some(false)) if state != DeviceState::Faulty => (
            OnlyInStore,
            Nothing,
            "is not in the pool, so the data of its snapshot is lost: remove the snapshot",
        ),
        (None, Some(false)) => (OnlyInStore, RemoveRecord, "is not in the pool"),
        _ => return None,
    })
}

/// What a device of the pool is that the store does not have.
fn only_in_pool(device: &PoolDevice, faulty: &BTreeSet<u32>) -> Difference {
    use DifferenceKind::{ForeignId, IdWouldCollide, OnlyInPool};
    use StoreAction::{MarkIdFaulty, Nothing};
    let id = device.device_id;
    let (kind, action, why) = if id == 0 || id > MAX_DEVICE_ID {
        let why = "no store gives it out: another program has made it";
        (ForeignId, Nothing, why)
    } else if faulty.contains(&id) {
        let why = "no device has it, and the store keeps it out of use";
        (OnlyInPool, Nothing, why)
    } else {
        let why = "no device has it, and the store would give it out: the kernel would refuse it";
        (IdWouldCollide, MarkIdFaulty, why)
    };
    let blocks = match device.mapped_blocks {
        Some(1) => " (1 block)".to_owned(),
        Some(blocks) => format!(" ({blocks} blocks)"),
        None => String::new(),
    };
    Difference {
        device_id: Some(id),
        in_pool: Some(*device),
        action,
        delete_from_pool: kind != ForeignId,
        what: format!("id {id}{blocks} is in the pool; {why}"),
        ..Difference::of(kind)
    }
}

impl Difference {
    /// One that is about no device of the store, and asks for nothing.
    fn of(kind: DifferenceKind) -> Difference {
        Difference {
            kind,
            name: None,
            device_id: None,
            state: None,
            generation: 0,
            in_pool: None,
            action: StoreAction::Nothing,
            delete_from_pool: false,
            what: String::new(),
        }
    }
}
