//! Device ids: which are free, taken and faulty, whose they are, and bringing them in step with the
//! pool.

use std::collections::BTreeMap;

use crate::device::DeviceInfo;
use crate::device_ids::{IdEntry, IdFilter, IdList, IdState};
use crate::error::{Error, Result};
use crate::format::table::Table;
use crate::format::{id_row, record};
use crate::lmdb::snapshot::{self, Snapshot};
use crate::store::walk::WalkFilter;
use crate::store::write::op::Op;
use crate::store::PoolMetadata;

impl PoolMetadata {
    /// The device that has this id, copied.
    ///
    /// Records are kept by name, so this looks at every device: about as long as a walk takes.
    ///
    /// # Errors
    /// [`Error::NoDeviceWithId`], and those of [`get_device`](Self::get_device).
    pub fn get_device_by_id(&self, device_id: u32) -> Result<DeviceInfo> {
        let filter = WalkFilter {
            ids: device_id..=device_id,
            ..WalkFilter::default()
        };
        let found = self.walk_filtered(&filter)?.next();
        found.unwrap_or(Err(Error::NoDeviceWithId { device_id }))
    }

    /// The device ids that a filter wants, as of one moment, with the devices that have them.
    ///
    /// Without taken ids this takes time for each faulty and free id and, if faulty ones are
    /// wanted, for each device; memory only for what is listed.
    ///
    /// # Errors
    /// Those of [`get_device`](Self::get_device).
    pub fn list_ids(&self, filter: &IdFilter) -> Result<IdList> {
        let snapshot = Snapshot::open(&self.pool.env)?;
        list(&snapshot, filter).map_err(|e| e.at(snapshot.env().path()))
    }

    /// Frees a faulty id that no device has, for example once the pool has nothing under it any
    /// more. It can then be given out again.
    ///
    /// # Errors
    /// [`Error::IdInUse`] if a device has it, [`Error::IdNotFaulty`] if it is free or was never
    /// given out, [`Error::InvalidId`], and those of every write.
    pub fn free_id(&self, device_id: u32) -> Result<()> {
        self.pool.commit(&Op::FreeId { device_id }).map(drop)
    }

    /// Frees all faulty ids that no device has, but for those of a list: the ids that are in the
    /// pool. Returns how many it has freed.
    ///
    /// # Errors
    /// [`Error::InvalidId`] for one of more than 24 bits, and those of every write.
    pub fn free_faulty_ids(&self, except: &[u32]) -> Result<u64> {
        let freed = self.pool.commit(&Op::FreeFaultyIds { except })?;
        Ok(freed.number)
    }

    /// Keeps ids out of use that no device has: each becomes faulty, whether it was free or never
    /// given out. Ids that a device has, and faulty ones, stay as they are. Returns how many have
    /// become faulty.
    ///
    /// After a restore of an older backup, the ids that are in the pool are such a list: the store
    /// would give out again those of devices that it does not know.
    ///
    /// # Errors
    /// [`Error::InvalidId`] for one of more than 24 bits, and those of every write.
    pub fn mark_ids_faulty(&self, ids: &[u32]) -> Result<u64> {
        let marked = self.pool.commit(&Op::MarkIdsFaulty { ids })?;
        Ok(marked.number)
    }

    /// Keeps all ids from 1 to `last` out of use that no device has, as
    /// [`mark_ids_faulty`](Self::mark_ids_faulty) does.
    ///
    /// # Errors
    /// [`Error::InvalidId`] if `last` is no device id, and those of every write.
    pub fn mark_ids_faulty_up_to(&self, last: u32) -> Result<u64> {
        let marked = self.pool.commit(&Op::MarkIdsFaultyUpTo { last })?;
        Ok(marked.number)
    }

    /// Gives a device another id, because the pool has something under the one that it has
    /// (`EEXIST`): that one becomes faulty, and the next one is given out, in one commit. Returns
    /// the new id.
    ///
    /// `device_id` is the id that was refused. If the device has another one by now, nothing
    /// changes.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] if the device has another id;
    /// [`Error::IdsExhausted`]; and those of every write.
    pub fn replace_device_id(&self, name: impl AsRef<[u8]>, device_id: u32) -> Result<u32> {
        let name = name.as_ref();
        let replaced = self.pool.commit(&Op::ReplaceId { name, device_id })?;
        Ok(replaced.device_id)
    }
}

fn list(snapshot: &Snapshot, filter: &IdFilter) -> Result<IdList> {
    let last = snapshot::header(snapshot)?.last_id.min(filter.last);
    let wanted = filter.first.max(1)..=last;
    let mut rows = BTreeMap::new();
    snapshot.each_row(Table::Ids, |key, value| {
        let (state, id) = id_row::decode(key, value)?;
        if wanted.contains(&id) {
            let state = match state {
                id_row::IdState::Free => IdState::Free,
                id_row::IdState::Faulty => IdState::Faulty,
            };
            rows.insert(id, state);
        }
        Ok(())
    })?;
    let mut list = IdList::default();
    if filter.taken || filter.faulty {
        snapshot.each_row(Table::Devices, |name, value| {
            let device_id = record::decode(name, value)?.device_id;
            if !wanted.contains(&device_id) {
                return Ok(());
            }
            let state = rows.remove(&device_id).unwrap_or(IdState::Taken);
            if filter.takes(state) {
                list.entries.push(IdEntry {
                    device_id,
                    state,
                    name_at: list.names.len(),
                    name_len: name.len(),
                });
                list.names.extend_from_slice(name);
            }
            Ok(())
        })?;
    }
    let rows = rows.into_iter().filter(|(_, state)| filter.takes(*state));
    list.entries.extend(rows.map(|(device_id, state)| IdEntry {
        device_id,
        state,
        name_at: 0,
        name_len: 0,
    }));
    list.entries.sort_unstable_by_key(|entry| entry.device_id);
    Ok(list)
}
