//! What a store means beside its devices: ids in step with the pool, intents, removals.

use crate::c::types::Outcome;
use crate::in_step::{Gone, Id, InStep};
use crate::model::Model;
use crate::spec::{kept, Spec};
use crate::subject::Store;
use pool_metadata::capi::*;
use pool_metadata::{DeviceInfo, Error, Intent, WalkFilter, MAX_DEVICE_ID};

/// Beyond the ids of a pool.
const BEYOND: u32 = 1 << 24;

pub fn check_ids(ids: &[u32]) -> Result<(), Error> {
    match ids.iter().find(|id| **id >= BEYOND) {
        Some(&device_id) => Err(Error::InvalidId { device_id }),
        None => Ok(()),
    }
}

pub fn check_last(last: u32) -> Result<(), Error> {
    match last > MAX_DEVICE_ID {
        true => Err(Error::InvalidId { device_id: last }),
        false => Ok(()),
    }
}

pub fn check_intent(intent: &Intent) -> Result<(), Error> {
    crate::spec::check_device_name(&intent.name)?;
    check_ids(&[intent.device_id])
}

impl Spec {
    pub fn owner(&self, id: u32) -> Option<&DeviceInfo> {
        self.devices.values().find(|device| device.device_id == id)
    }

    pub fn free_id(&mut self, device_id: u32) -> Result<(), Error> {
        check_ids(&[device_id])?;
        let state = if device_id == 0 || device_id > self.last_id {
            Some("was never assigned")
        } else {
            self.free.contains(&device_id).then_some("is free already")
        };
        if let Some(state) = state {
            return Err(Error::IdNotFaulty { device_id, state });
        }
        if let Some(owner) = self.owner(device_id) {
            let name = owner.name.as_slice().into();
            return Err(Error::IdInUse { device_id, name });
        }
        self.faulty.remove(&device_id);
        self.free.insert(device_id);
        self.commits += 1;
        Ok(())
    }

    pub fn free_faulty_ids(&mut self, except: &[u32]) -> Result<u64, Error> {
        check_ids(except)?;
        let mut freed = self.faulty.clone();
        freed.retain(|id| self.owner(*id).is_none() && !except.contains(id));
        self.faulty.retain(|id| !freed.contains(id));
        self.free.extend(&freed);
        // What changes nothing is no commit.
        self.commits += u64::from(!freed.is_empty());
        Ok(freed.len() as u64)
    }

    pub fn mark_ids_faulty(&mut self, ids: &[u32]) -> Result<u64, Error> {
        check_ids(ids)?;
        let before = self.faulty.len();
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        for id in ids {
            if id > self.last_id && id <= MAX_DEVICE_ID {
                self.free.extend(self.last_id + 1..=id);
                self.last_id = id;
            }
            if self.free.remove(&id) {
                self.faulty.insert(id);
            }
        }
        let marked = self.faulty.len() - before;
        self.commits += u64::from(marked > 0);
        Ok(marked as u64)
    }

    pub fn mark_ids_faulty_up_to(&mut self, last: u32) -> Result<u64, Error> {
        check_last(last)?;
        let ids: Vec<u32> = (1..=last).collect();
        self.mark_ids_faulty(&ids)
    }

    pub fn replace_id(&mut self, name: &[u8], id: u32) -> Result<u32, Error> {
        let mut device = self.get_unlocked(name)?;
        if device.device_id != id {
            return Err(Error::Conflict { name: kept(name) });
        }
        device.device_id = self.allocate()?;
        self.faulty.insert(id);
        self.put(&mut device);
        Ok(device.device_id)
    }

    pub fn begin_intent(&mut self, intent: &Intent) -> Result<u64, Error> {
        check_intent(intent)?;
        self.commits += 1;
        self.last_intent += 1;
        self.intents.push(Intent {
            number: self.last_intent,
            commit: self.commits,
            ..intent.clone()
        });
        Ok(self.last_intent)
    }

    pub fn finish_intent(&mut self, number: u64) -> Result<(), Error> {
        let open = self
            .intents
            .iter()
            .position(|intent| intent.number == number);
        self.intents
            .remove(open.ok_or(Error::NoSuchIntent { number })?);
        self.commits += 1;
        Ok(())
    }
}

impl InStep for Model {
    fn by_id(&self, device_id: u32) -> Outcome<DeviceInfo> {
        let spec = self.read_spec()?;
        let found = spec.owner(device_id).cloned();
        Ok(found.ok_or(Error::NoDeviceWithId { device_id })?)
    }

    fn ids(&self, states: u32, first: u32, last: u32) -> Outcome<Vec<Id>> {
        let spec = self.read_spec()?;
        let end = if last == 0 { u32::MAX } else { last };
        let mut ids = Vec::new();
        for id in 1..=spec.last_id {
            let state = match (spec.free.contains(&id), spec.faulty.contains(&id)) {
                (true, _) => PM_ID_FREE,
                (_, true) => PM_ID_FAULTY,
                _ => PM_ID_TAKEN,
            };
            if (states == 0 || states >> state & 1 == 1) && id >= first && id <= end {
                ids.push((id, state, spec.owner(id).map(|device| device.name.clone())));
            }
        }
        Ok(ids)
    }

    fn free_id(&self, id: u32) -> Outcome<()> {
        Ok(self.write_spec()?.free_id(id)?)
    }

    fn free_faulty_ids(&self, except: &[u32]) -> Outcome<u64> {
        Ok(self.write_spec()?.free_faulty_ids(except)?)
    }

    fn mark_ids_faulty(&self, ids: &[u32]) -> Outcome<u64> {
        Ok(self.write_spec()?.mark_ids_faulty(ids)?)
    }

    fn mark_ids_faulty_up_to(&self, last: u32) -> Outcome<u64> {
        Ok(self.write_spec()?.mark_ids_faulty_up_to(last)?)
    }

    fn replace_id(&self, name: &[u8], id: u32) -> Outcome<u32> {
        Ok(self.write_spec()?.replace_id(name, id)?)
    }

    fn filtered(&self, filter: &WalkFilter) -> Outcome<Vec<DeviceInfo>> {
        let takes = |device: &DeviceInfo| {
            (filter.states.is_empty() || filter.states.contains(&device.state))
                && filter
                    .parent
                    .as_ref()
                    .is_none_or(|parent| *parent == device.parent_name)
                && filter.ids.contains(&device.device_id)
                && device.generation > filter.since
        };
        let mut devices: Vec<_> = self.walk()?.map(Result::unwrap).collect();
        devices.retain(takes);
        Ok(devices)
    }

    fn begin_intent(&self, intent: &Intent) -> Outcome<u64> {
        Ok(self.write_spec()?.begin_intent(intent)?)
    }

    fn finish_intent(&self, number: u64) -> Outcome<()> {
        Ok(self.write_spec()?.finish_intent(number)?)
    }

    fn intents(&self) -> Outcome<Vec<Intent>> {
        Ok(self.read_spec()?.intents.clone())
    }

    fn removals(&self, since: u64) -> Outcome<Gone> {
        let spec = self.read_spec()?;
        let mut removed = spec.removals.clone();
        removed.retain(|removal| removal.2 > since);
        // No case of this model removes as many as are forgotten.
        Ok((removed, true, spec.commits))
    }

    fn identity(&self) -> Outcome<Option<Vec<u8>>> {
        Ok(None)
    }

    fn set_identity(&self, _: Option<&[u8]>) -> Outcome<()> {
        unreachable!("identities are not drawn")
    }
}
