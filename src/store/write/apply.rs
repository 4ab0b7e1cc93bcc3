//! What each write operation does to the rows, inside a write transaction.

use crate::device::{DeviceRef, DeviceState};
use crate::error::{Error, Result};
use crate::format::table::Table;
use crate::format::{digest, record};
use crate::lmdb::write::{Fault, Step};
use crate::store::write::batch::{down, up, Batch};
use crate::store::write::ids;
use crate::store::write::journal;
use crate::store::write::op::{Applied, Op};

/// The record that is there, but for its texts, with its row hash.
struct Existing {
    device_id: u32,
    generation: u64,
    state: DeviceState,
    row_hash: u128,
    /// Bytes of the row's value.
    len: usize,
}

/// By how many bytes an update may make a row longer and still be one of those that a full disk is
/// the last to refuse: enough for a state and the reason for it.
const SHORT_TEXT: usize = 512;

/// Applies one operation; a refusal leaves the batch as it was.
pub(crate) fn apply_one(
    batch: &mut Batch<'_, '_>,
    op: &Op<'_>,
    record: &mut Vec<u8>,
) -> Step<Result<Applied>> {
    let (writes, header) = (batch.txn.writes(), batch.header.clone());
    match apply(batch, op, record) {
        Ok(applied) => {
            batch.txn.count_operation();
            Ok(Ok(applied))
        }
        Err(Fault::Error(refusal)) if batch.txn.writes() == writes => {
            batch.header = header;
            Ok(Err(refusal))
        }
        Err(fault) => Err(fault),
    }
}

/// Does one operation. It refuses before its first write, so that other operations can share its
/// commit.
pub(crate) fn apply(batch: &mut Batch<'_, '_>, op: &Op<'_>, record: &mut Vec<u8>) -> Step<Applied> {
    if let Op::Add(device) = op {
        if let Some(added) = add_new(batch, *device, record)? {
            return Ok(added);
        }
    }
    if op.name().is_empty() {
        return apply_to_store(batch, op, record);
    }
    let missing = || Error::not_found(op.name());
    let new_state = match op {
        Op::ChangeState { state, .. } => Some(*state),
        Op::MarkFaulty { .. } => Some(DeviceState::Faulty),
        _ => None,
    };
    let found = find(batch, op.name(), new_state, record)?;
    match op {
        Op::Add(device) => add(batch, *device, found, record),
        Op::Update(device) => {
            let found = found.ok_or_else(missing)?;
            found.check_same(device)?;
            encode(batch, found.device_id, *device, record)?;
            if record.len() > found.len + SHORT_TEXT {
                batch.txn.grow_store();
            }
            write(batch, op.name(), Some(&found), found.device_id, record)
        }
        Op::ChangeState { name, .. } => {
            let found = found.ok_or_else(missing)?;
            write(batch, name, Some(&found), found.device_id, record)
        }
        Op::MarkFaulty { name } => {
            let found = found.ok_or_else(missing)?;
            ids::mark_faulty(batch, found.device_id)?;
            write(batch, name, Some(&found), found.device_id, record)
        }
        Op::Remove { name } => {
            let found = found.ok_or_else(missing)?;
            ids::release(batch, found.device_id)?;
            batch.remove_row(Table::Devices, name, found.row_hash)?;
            down(&mut batch.header.devices, "devices")?;
            journal::log_removal(batch, name, found.device_id, record)?;
            Ok(applied(batch, found.device_id))
        }
        Op::ReplaceId { name, device_id } => {
            let found = found.ok_or_else(missing)?;
            replace_id(batch, name, *device_id, found, record)
        }
        _ => apply_to_store(batch, op, record),
    }
}

/// Does an operation that is not about a device.
fn apply_to_store(batch: &mut Batch<'_, '_>, op: &Op<'_>, record: &mut Vec<u8>) -> Step<Applied> {
    let (device_id, number) = match *op {
        Op::FreeId { device_id } => {
            ids::free(batch, device_id)?;
            (device_id, 1)
        }
        Op::FreeFaultyIds { except } => (0, ids::free_all(batch, except)?),
        Op::MarkIdsFaulty { ids } => (0, ids::withhold_all(batch, ids)?),
        Op::MarkIdsFaultyUpTo { last } => (0, ids::withhold_up_to(batch, last)?),
        Op::BeginIntent(intent) => {
            let number = journal::begin_intent(batch, intent, record)?;
            (intent.device_id, number)
        }
        Op::FinishIntent { number } => (journal::finish_intent(batch, number)?, number),
        _ => {
            let what = "an operation on a device was taken for one on the store";
            return Err(Error::Internal { what }.into());
        }
    };
    Ok(Applied {
        number,
        ..applied(batch, device_id)
    })
}

impl Existing {
    /// Refuses to write `device` over another record than the one that it was read from.
    fn check_same(&self, device: &DeviceRef<'_>) -> Result<()> {
        if self.generation != device.generation {
            return Err(Error::Conflict {
                name: device.name.into(),
            });
        }
        if self.device_id != device.device_id {
            return Err(Error::IdentityChanged {
                name: device.name.into(),
                new_name: device.name.into(),
                device_id: self.device_id,
                new_device_id: device.device_id,
            });
        }
        Ok(())
    }
}

/// Refuses to go on if the device's record is not the one of that generation any more.
pub(crate) fn check_generation(batch: &Batch<'_, '_>, name: &[u8], generation: u64) -> Step<()> {
    let found = find(batch, name, None, &mut Vec::new())?;
    let found = found.ok_or_else(|| Error::not_found(name))?;
    match found.generation == generation {
        true => Ok(()),
        false => Err(Error::Conflict { name: name.into() }.into()),
    }
}

/// Adds a device of a new name under an id that was never used, with one search for where its row
/// goes. `None`, and nothing written, if the name is not new or an id is free.
fn add_new(
    batch: &mut Batch<'_, '_>,
    device: DeviceRef<'_>,
    record: &mut Vec<u8>,
) -> Step<Option<Applied>> {
    let before = batch.header.clone();
    let Some(device_id) = ids::allocate_unused(batch) else {
        return Ok(None);
    };
    encode(batch, device_id, device, record)?;
    up(&mut batch.header.devices, "devices")?;
    batch.txn.grow_store();
    if batch.insert_new(Table::Devices, device.name, record)? {
        return Ok(Some(applied(batch, device_id)));
    }
    batch.header = before;
    Ok(None)
}

/// A faulty device is replaced and gets another id; the one it had stays out of use, whatever state
/// it was in.
fn add(
    batch: &mut Batch<'_, '_>,
    device: DeviceRef<'_>,
    existing: Option<Existing>,
    record: &mut Vec<u8>,
) -> Step<Applied> {
    let in_use = existing.as_ref().filter(|e| e.state != DeviceState::Faulty);
    if let Some(existing) = in_use {
        return Err(Error::AlreadyExists {
            name: device.name.into(),
            device_id: existing.device_id,
            state: existing.state.name(),
        }
        .into());
    }
    let device_id = ids::allocate(batch)?;
    match &existing {
        Some(existing) => ids::mark_faulty(batch, existing.device_id)?,
        None => up(&mut batch.header.devices, "devices")?,
    }
    encode(batch, device_id, device, record)?;
    batch.txn.grow_store();
    write(batch, device.name, existing.as_ref(), device_id, record)
}

/// Gives a device the next id. The pool has something under the one that it had, which is faulty.
fn replace_id(
    batch: &mut Batch<'_, '_>,
    name: &[u8],
    device_id: u32,
    found: Existing,
    record: &mut Vec<u8>,
) -> Step<Applied> {
    let conflict = || Error::Conflict { name: name.into() };
    let value = batch.txn.get(Table::Devices, name)?;
    let device = record::decode(name, value.ok_or_else(conflict)?)?.to_owned();
    if device.device_id != device_id {
        return Err(conflict().into());
    }
    let new_id = ids::allocate(batch)?;
    ids::mark_faulty(batch, device_id)?;
    encode(batch, new_id, device.as_ref(), record)?;
    write(batch, name, Some(&found), new_id, record)
}

/// Looks a record up. With a new state, the record that it would be in that state is encoded.
fn find(
    batch: &Batch<'_, '_>,
    name: &[u8],
    new_state: Option<DeviceState>,
    record: &mut Vec<u8>,
) -> Step<Option<Existing>> {
    let Some(value) = batch.txn.get(Table::Devices, name)? else {
        return Ok(None);
    };
    let device = record::decode(name, value)?;
    if let Some(state) = new_state {
        encode(
            batch,
            device.device_id,
            DeviceRef { state, ..device },
            record,
        )?;
    }
    Ok(Some(Existing {
        device_id: device.device_id,
        generation: device.generation,
        state: device.state,
        row_hash: digest::row_hash(Table::Devices, name, value),
        len: value.len(),
    }))
}

/// Writes a record that was encoded.
fn write(
    batch: &mut Batch<'_, '_>,
    name: &[u8],
    replaced: Option<&Existing>,
    device_id: u32,
    record: &[u8],
) -> Step<Applied> {
    match replaced {
        Some(old) => batch.replace(Table::Devices, name, old.row_hash, record)?,
        None => batch.insert(Table::Devices, name, record)?,
    }
    Ok(applied(batch, device_id))
}

fn encode(
    batch: &Batch<'_, '_>,
    device_id: u32,
    device: DeviceRef<'_>,
    record: &mut Vec<u8>,
) -> Step<()> {
    let device = DeviceRef {
        device_id,
        generation: batch.header.commit,
        ..device
    };
    record::encode(&device, record)?;
    Ok(())
}

fn applied(batch: &Batch<'_, '_>, device_id: u32) -> Applied {
    Applied {
        device_id,
        generation: batch.header.commit,
        number: 0,
    }
}
