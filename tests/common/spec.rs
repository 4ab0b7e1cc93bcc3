//! What a store means, as plain collections in memory: section by section what docs/design.md
//! promises of every operation, with nothing of how the store does it.

use pool_metadata::{DeviceInfo, DeviceState, Error, MAX_DEVICE_ID, MAX_ERROR_LEN, MAX_NAME_LEN};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The store as it should be.
#[derive(Default)]
pub struct Spec {
    pub devices: BTreeMap<Vec<u8>, DeviceInfo>,
    pub free: BTreeSet<u32>,
    pub faulty: BTreeSet<u32>,
    pub last_id: u32,
    pub commits: u64,
    /// Devices that an update has begun on and not ended. Waiting for one fails at once in this
    /// model.
    locked: BTreeSet<Vec<u8>>,
    /// Counts how often the store was opened: what was begun on an earlier handle cannot be
    /// committed.
    session: u32,
}

/// An update that has begun.
#[derive(Debug)]
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
        if replaced.is_some_and(|old| old.state != DeviceState::Faulty) {
            return Err(Error::AlreadyExists {
                name: device.name.as_slice().into(),
            });
        }
        let orphan = replaced.map(|old| old.device_id);
        device.device_id = self.allocate()?;
        self.faulty.extend(orphan);
        self.put(device);
        Ok(())
    }

    fn allocate(&mut self) -> Result<u32, Error> {
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

    pub fn abort(&mut self, pending: Pending) {
        if pending.session == self.session {
            self.locked.remove(&pending.name);
        }
    }

    pub fn commit(&mut self, mut pending: Pending) -> Result<(), Error> {
        let result = self.try_commit(&mut pending);
        self.abort(pending);
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

    /// The store is closed and opened again.
    pub fn reopen(&mut self) {
        self.session += 1;
        self.locked.clear();
    }

    /// Ids of devices that are not faulty, counted from the records.
    pub fn taken(&self) -> usize {
        let ids = self.devices.values().map(|device| device.device_id);
        ids.filter(|id| !self.faulty.contains(id)).count()
    }

    fn put(&mut self, device: &mut DeviceInfo) {
        self.commits += 1;
        device.generation = self.commits;
        self.devices.insert(device.name.clone(), device.clone());
    }

    fn get_unlocked(&self, name: &[u8]) -> Result<DeviceInfo, Error> {
        // A name that nothing can have is not waited for.
        if check_name("device name", name).is_ok() && !name.is_empty() {
            self.check_unlocked(name)?;
        }
        self.get(name)
    }

    fn check_unlocked(&self, name: &[u8]) -> Result<(), Error> {
        if !self.locked.contains(name) {
            return Ok(());
        }
        Err(Error::Timeout {
            what: "device".to_owned(),
            waited: Duration::ZERO,
        })
    }
}

fn check_record(device: &DeviceInfo) -> Result<(), Error> {
    if device.name.is_empty() {
        return Err(invalid("device name", &device.name, "it is empty"));
    }
    check_name("device name", &device.name)?;
    check_name("parent name", &device.parent_name)?;
    if device.error.len() > MAX_ERROR_LEN {
        return Err(Error::TooLong {
            name: device.name.as_slice().into(),
            len: device.error.len(),
        });
    }
    Ok(())
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
fn kept(name: &[u8]) -> Box<[u8]> {
    name[..name.len().min(MAX_NAME_LEN + 1)].into()
}

/// Whether two errors are the same, down to the names and ids in them; of a time-out, what was
/// waited for counts only by its first word.
pub fn same_error(found: &Error, expected: &Error) -> bool {
    match (found, expected) {
        (
            Error::Timeout { what, waited },
            Error::Timeout {
                what: first_word,
                waited: wait,
            },
        ) => what.starts_with(first_word.as_str()) && waited == wait,
        _ => format!("{found:?}") == format!("{expected:?}"),
    }
}
