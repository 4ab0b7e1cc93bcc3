//! The write operations, and the one function through which every write of the store goes.

use super::Pool;
use crate::batch::Batch;
use crate::device::{check_name, DeviceInfo, DeviceRef, DeviceState};
use crate::digest::{self, Table};
use crate::env::{Deadline, Step};
use crate::error::{Error, Result};
use crate::{ids, record};

/// A write, as its caller hands it in.
pub(crate) enum Op<'a> {
    /// Add a device; the id in it is ignored.
    Add(DeviceRef<'a>),
    /// Write a record over the one of the same name, if that is still of this generation.
    Update {
        device: DeviceRef<'a>,
        generation: u64,
    },
    /// Set a device's state.
    ChangeState { name: &'a [u8], state: DeviceState },
    /// Set a device's state, and its id's, to faulty.
    MarkFaulty { name: &'a [u8] },
    /// Remove a device and free its id.
    Remove { name: &'a [u8] },
}

/// What a write did to its device.
#[derive(Clone, Copy)]
pub(crate) struct Written {
    pub device_id: u32,
    pub generation: u64,
}

/// The record that is there, copied, with its share of the digest.
struct Existing {
    device: DeviceInfo,
    share: u128,
}

impl<'a> Op<'a> {
    pub fn name(&self) -> &'a [u8] {
        match self {
            Op::Add(device) | Op::Update { device, .. } => device.name,
            Op::ChangeState { name, .. } | Op::MarkFaulty { name } | Op::Remove { name } => name,
        }
    }

    /// Refuses what no store could do, before anything is waited for.
    fn check(&self) -> Result<()> {
        match self {
            Op::Add(device) | Op::Update { device, .. } => device.check(),
            // A name that no device can have is not found, as in a look-up.
            _ if check_name(self.name()).is_err() => Err(Error::not_found(self.name())),
            _ => Ok(()),
        }
    }
}

impl Pool {
    /// Commits one operation and returns once it is durable. Every write goes through here.
    pub fn commit(&self, op: &Op<'_>) -> Result<Written> {
        self.check_not_in_update()?;
        op.check()?;
        // Before anything is waited for: a closed store's, or a forked child's, locks may never be given back.
        self.env.check_writable()?;
        let deadline = self.env.deadline();
        let _lock = self.locks.lock(op.name(), &deadline)?;
        self.commit_locked(op, &deadline)
    }

    /// The same for a caller that holds the device's lock.
    pub fn commit_locked(&self, op: &Op<'_>, deadline: &Deadline) -> Result<Written> {
        self.check_not_in_update()?;
        op.check()?;
        let mut record = Vec::new();
        self.env.write(deadline, |txn| {
            let mut batch = Batch::begin(txn)?;
            let written = apply(&mut batch, op, &mut record)?;
            batch.finish()?;
            Ok(written)
        })
    }
}

/// Does one operation. It refuses before its first write, so that others could share its commit.
fn apply(batch: &mut Batch<'_, '_>, op: &Op<'_>, record: &mut Vec<u8>) -> Step<Written> {
    let existing = find(batch, op.name())?;
    let missing = || Error::not_found(op.name());
    match op {
        Op::Add(device) => add(batch, *device, existing, record),
        Op::Update { device, generation } => {
            let existing = existing.ok_or_else(missing)?;
            if existing.device.generation != *generation {
                return Err(Error::Conflict {
                    name: op.name().into(),
                }
                .into());
            }
            write(batch, *device, Some(existing.share), record)
        }
        Op::ChangeState { state, .. } => {
            let existing = existing.ok_or_else(missing)?;
            let changed = DeviceRef {
                state: *state,
                ..existing.device.as_ref()
            };
            write(batch, changed, Some(existing.share), record)
        }
        Op::MarkFaulty { .. } => {
            let existing = existing.ok_or_else(missing)?;
            ids::mark_faulty(batch, existing.device.device_id)?;
            let changed = DeviceRef {
                state: DeviceState::Faulty,
                ..existing.device.as_ref()
            };
            write(batch, changed, Some(existing.share), record)
        }
        Op::Remove { name } => {
            let existing = existing.ok_or_else(missing)?;
            ids::release(batch, existing.device.device_id)?;
            batch.remove_row(Table::Devices, name, existing.share)?;
            batch.header.devices -= 1;
            Ok(written(batch, existing.device.device_id))
        }
    }
}

/// A faulty device is replaced and gets another id; the one it had stays out of use, whatever state it was in.
fn add(
    batch: &mut Batch<'_, '_>,
    device: DeviceRef<'_>,
    existing: Option<Existing>,
    record: &mut Vec<u8>,
) -> Step<Written> {
    if existing
        .as_ref()
        .is_some_and(|e| e.device.state != DeviceState::Faulty)
    {
        return Err(Error::AlreadyExists {
            name: device.name.into(),
        }
        .into());
    }
    let device_id = ids::allocate(batch)?;
    match &existing {
        Some(existing) => ids::mark_faulty(batch, existing.device.device_id)?,
        None => batch.header.devices += 1,
    }
    let device = DeviceRef {
        device_id,
        ..device
    };
    write(batch, device, existing.map(|e| e.share), record)
}

fn find(batch: &Batch<'_, '_>, name: &[u8]) -> Step<Option<Existing>> {
    let Some(value) = batch.txn.get(Table::Devices, name)? else {
        return Ok(None);
    };
    Ok(Some(Existing {
        device: record::decode(name, value)?.to_owned(),
        share: digest::row(Table::Devices, name, value),
    }))
}

fn write(
    batch: &mut Batch<'_, '_>,
    device: DeviceRef<'_>,
    replaced: Option<u128>,
    record: &mut Vec<u8>,
) -> Step<Written> {
    let generation = batch.header.commit;
    record::encode(
        &DeviceRef {
            generation,
            ..device
        },
        record,
    )?;
    match replaced {
        Some(old) => batch.replace(Table::Devices, device.name, old, record)?,
        None => batch.insert(Table::Devices, device.name, record)?,
    }
    Ok(written(batch, device.device_id))
}

fn written(batch: &Batch<'_, '_>, device_id: u32) -> Written {
    Written {
        device_id,
        generation: batch.header.commit,
    }
}
