//! What a store means, as plain collections in memory: section by section what docs/design.md
//! promises of every operation, with nothing of how the store does it.

use crate::steps::{check_ids, check_intent, check_last};
use pool_metadata::{Change, DeviceInfo, DeviceState, Error, Ids, Intent};
use pool_metadata::{MAX_DEVICE_ID, MAX_ERROR_LEN, MAX_NAME_LEN};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

/// The store as it should be.
#[derive(Clone, Default)]
pub struct Spec {
    pub devices: BTreeMap<Vec<u8>, DeviceInfo>,
    pub free: BTreeSet<u32>,
    pub faulty: BTreeSet<u32>,
    pub last_id: u32,
    pub commits: u64,
    pub intents: Vec<Intent>,
    pub last_intent: u64,
    /// Name, id and commit of each removal.
    pub removals: Vec<(Vec<u8>, u32, u64)>,
    /// Devices that an update has begun on and not ended. Waiting for one fails at once in this
    /// model.
    locked: BTreeSet<Vec<u8>>,
    /// Counts how often the store was closed: what was begun on an earlier handle cannot be
    /// committed.
    pub session: u32,
    /// Whether the callback of an update runs.
    pub in_callback: bool,
}

/// Why a list was refused, and the position of the change at fault, if it was one change's.
pub type Refused = (Option<usize>, Error);

/// An update that has begun.
#[derive(Clone, Debug)]
pub struct Pending {
    pub name: Vec<u8>,
    device_id: u32,
    session: u32,
    pub device: DeviceInfo,
}

impl Spec {
    pub fn add(&mut self, device: &mut DeviceInfo) -> Result<(), Error> {
        check_record(device)?;
        self.check_unlocked(&device.name)?;
        let replaced = self.devices.get(&device.name);
        let in_use = replaced.filter(|old| old.state != DeviceState::Faulty);
        if let Some(old) = in_use {
            return Err(Error::AlreadyExists {
                name: device.name.as_slice().into(),
                device_id: old.device_id,
                state: old.state.name(),
            });
        }
        let orphan = replaced.map(|old| old.device_id);
        device.device_id = self.allocate()?;
        self.faulty.extend(orphan);
        self.put(device);
        Ok(())
    }

    pub fn allocate(&mut self) -> Result<u32, Error> {
        match self.free.pop_first() {
            Some(lowest) => Ok(lowest),
            None if self.last_id == MAX_DEVICE_ID => Err(Error::IdsExhausted),
            None => {
                self.last_id += 1;
                Ok(self.last_id)
            }
        }
    }

    pub fn get(&self, name: &[u8]) -> Result<DeviceInfo, Error> {
        self.devices
            .get(name)
            .cloned()
            .ok_or(Error::NotFound { name: kept(name) })
    }

    pub fn change_state(&mut self, name: &[u8], state: DeviceState) -> Result<(), Error> {
        let mut device = self.get_unlocked(name)?;
        device.state = state;
        self.put(&mut device);
        Ok(())
    }

    pub fn mark_faulty(&mut self, name: &[u8]) -> Result<(), Error> {
        let id = self.get_unlocked(name)?.device_id;
        self.faulty.insert(id);
        self.change_state(name, DeviceState::Faulty)
    }

    pub fn remove(&mut self, name: &[u8]) -> Result<(), Error> {
        let id = self.get_unlocked(name)?.device_id;
        self.devices.remove(name);
        self.faulty.remove(&id);
        self.free.insert(id);
        self.commits += 1;
        self.removals.push((name.to_vec(), id, self.commits));
        Ok(())
    }

    pub fn begin(&mut self, name: &[u8]) -> Result<Pending, Error> {
        self.check_unlocked(name)?;
        let device = self.get(name)?;
        self.locked.insert(name.to_vec());
        Ok(Pending {
            name: name.to_vec(),
            device_id: device.device_id,
            session: self.session,
            device,
        })
    }

    pub fn abort(&mut self, pending: &Pending) {
        if pending.session == self.session {
            self.locked.remove(&pending.name);
        }
    }

    pub fn commit(&mut self, mut pending: Pending) -> Result<(), Error> {
        let result = self.try_commit(&mut pending);
        self.abort(&pending);
        result
    }

    fn try_commit(&mut self, pending: &mut Pending) -> Result<(), Error> {
        let device = &mut pending.device;
        if device.name != pending.name || device.device_id != pending.device_id {
            return Err(Error::IdentityChanged {
                name: pending.name.as_slice().into(),
                new_name: kept(&device.name),
                device_id: pending.device_id,
                new_device_id: device.device_id,
            });
        }
        check_record(device)?;
        if pending.session != self.session {
            return Err(Error::Closed);
        }
        self.put(device);
        Ok(())
    }

    pub fn close(&mut self) {
        self.session += 1;
        self.locked.clear();
    }

    /// Makes all changes as one commit, or none; a refusal says which one was refused.
    pub fn apply(&mut self, list: &[Change]) -> Result<Vec<(u32, u64)>, Refused> {
        let before = self.clone();
        let made = self.apply_in_order(list);
        if made.is_err() {
            *self = before;
        }
        made
    }

    /// Refuses what no store could do, then waits for devices, then makes the changes.
    fn apply_in_order(&mut self, list: &[Change]) -> Result<Vec<(u32, u64)>, Refused> {
        for (index, change) in list.iter().enumerate() {
            self.check_possible(change)
                .map_err(|error| (Some(index), error))?;
        }
        for change in list {
            let unlocked = self.check_unlocked(name_of(change));
            unlocked.map_err(|error| (None, error))?;
        }
        let commits = self.commits;
        let (mut made, mut wrote) = (Vec::new(), false);
        for (index, change) in list.iter().enumerate() {
            self.commits = commits;
            let applied = self.apply_one(change);
            made.push(applied.map_err(|error| (Some(index), error))?);
            wrote |= self.commits > commits;
        }
        self.commits = commits + u64::from(wrote);
        Ok(made)
    }

    fn check_possible(&self, change: &Change) -> Result<(), Error> {
        match change {
            Change::Add(device) => check_record(device),
            // No device of such a name can be there.
            Change::Update(device) if !is_name(&device.name) => self.get(&device.name).map(drop),
            Change::Update(device) => check_record(device),
            Change::FreeId { device_id } => check_ids(&[*device_id]),
            Change::FreeFaultyIds { except: ids } | Change::MarkIdsFaulty { ids } => check_ids(ids),
            Change::MarkIdsFaultyUpTo { last } => check_last(*last),
            Change::BeginIntent(intent) => check_intent(intent),
            Change::FinishIntent { .. } => Ok(()),
            other if is_name(name_of(other)) => Ok(()),
            other => self.get(name_of(other)).map(drop),
        }
    }

    /// What the change has set: see [`Applied`](crate::subject::Applied).
    fn apply_one(&mut self, change: &Change) -> Result<(u32, u64), Error> {
        let number = match change {
            Change::FreeFaultyIds { except } => self.free_faulty_ids(except)?,
            Change::MarkIdsFaulty { ids } => self.mark_ids_faulty(ids)?,
            Change::MarkIdsFaultyUpTo { last } => self.mark_ids_faulty_up_to(*last)?,
            Change::BeginIntent(intent) => self.begin_intent(intent)?,
            Change::FinishIntent { number } => {
                self.finish_intent(*number)?;
                0
            }
            other => return Ok((self.apply_to_device(other)?, self.commits)),
        };
        Ok((0, number))
    }

    /// The id that was changed.
    fn apply_to_device(&mut self, change: &Change) -> Result<u32, Error> {
        match change {
            Change::Add(device) => {
                let mut device = device.clone();
                self.add(&mut device)?;
                Ok(device.device_id)
            }
            Change::Update(device) => {
                let mut pending = self.begin(&device.name)?;
                let read = std::mem::replace(&mut pending.device, device.clone());
                if read.generation != device.generation {
                    return Err(Error::Conflict {
                        name: device.name.as_slice().into(),
                    });
                }
                self.commit(pending)?;
                Ok(device.device_id)
            }
            Change::ChangeState { name, state } => {
                self.change_state(name, *state)?;
                Ok(self.get(name)?.device_id)
            }
            Change::MarkFaulty { name } => {
                self.mark_faulty(name)?;
                Ok(self.get(name)?.device_id)
            }
            Change::Remove { name } => {
                let id = self.get(name)?.device_id;
                self.remove(name)?;
                Ok(id)
            }
            Change::ReplaceId { name, device_id } => self.replace_id(name, *device_id),
            Change::FreeId { device_id } => {
                self.free_id(*device_id)?;
                Ok(*device_id)
            }
            other => unreachable!("{other:?} is not drawn"),
        }
    }

    /// Takes over what another store tells of itself, which goes together.
    pub fn import(&mut self, path: &Path, devices: &[DeviceInfo], ids: &Ids) -> Result<(), Error> {
        if self.last_id != 0 {
            return Err(Error::NotEmpty { path: path.into() });
        }
        self.commits += 1;
        for device in devices {
            let mut device = device.clone();
            device.generation = self.commits;
            self.devices.insert(device.name.clone(), device);
        }
        self.free.extend(&ids.free);
        self.faulty.extend(&ids.faulty);
        self.last_id = ids.last_id;
        Ok(())
    }

    /// Ids of devices that are not faulty, counted from the records.
    pub fn taken(&self) -> usize {
        let ids = self.devices.values().map(|device| device.device_id);
        ids.filter(|id| !self.faulty.contains(id)).count()
    }

    pub fn put(&mut self, device: &mut DeviceInfo) {
        self.commits += 1;
        device.generation = self.commits;
        self.devices.insert(device.name.clone(), device.clone());
    }

    pub fn get_unlocked(&self, name: &[u8]) -> Result<DeviceInfo, Error> {
        // A name that nothing can have is not waited for.
        if is_name(name) {
            self.check_unlocked(name)?;
        }
        self.get(name)
    }

    pub fn check_unlocked(&self, name: &[u8]) -> Result<(), Error> {
        if !self.locked.contains(name) {
            return Ok(());
        }
        Err(Error::Timeout {
            what: "device".to_owned(),
            waited: Duration::ZERO,
        })
    }
}

pub fn check_device_name(name: &[u8]) -> Result<(), Error> {
    if name.is_empty() {
        return Err(invalid("device name", name, "it is empty"));
    }
    check_name("device name", name)
}

fn check_record(device: &DeviceInfo) -> Result<(), Error> {
    check_device_name(&device.name)?;
    check_name("parent name", &device.parent_name)?;
    if device.error.len() > MAX_ERROR_LEN {
        return Err(Error::TooLong {
            name: device.name.as_slice().into(),
            len: device.error.len(),
        });
    }
    Ok(())
}

/// Whether a device can have that name.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && check_name("device name", name).is_ok()
}

fn name_of(change: &Change) -> &[u8] {
    match change {
        Change::Add(device) | Change::Update(device) => &device.name,
        Change::ChangeState { name, .. }
        | Change::MarkFaulty { name }
        | Change::Remove { name }
        | Change::ReplaceId { name, .. } => name,
        // It is of no device.
        _ => b"",
    }
}

fn check_name(what: &'static str, name: &[u8]) -> Result<(), Error> {
    if name.len() > MAX_NAME_LEN {
        return Err(invalid(what, name, "it is longer than 511 bytes"));
    }
    if name.contains(&0) {
        return Err(invalid(what, name, "it holds a NUL byte"));
    }
    Ok(())
}

fn invalid(what: &'static str, name: &[u8], why: &'static str) -> Error {
    Error::InvalidName {
        what,
        name: kept(name),
        why,
    }
}

/// What an error keeps of a refused name: one byte more than a name can have.
pub fn kept(name: &[u8]) -> Box<[u8]> {
    name[..name.len().min(MAX_NAME_LEN + 1)].into()
}
