//! Several changes in one call: as a whole, in one commit or not at all, or each by itself.

use std::collections::HashSet;

use crate::device::{DeviceInfo, DeviceState};
use crate::error::{Error, Result};
use crate::lmdb::write::Fault;
use crate::store::write::apply::{apply_one, Written};
use crate::store::write::batch::Batch;
use crate::store::write::device_locks::DeviceLock;
use crate::store::write::op::Op;
use crate::store::write::pool::Pool;

/// One change of a list for [`PoolMetadata::apply`](crate::PoolMetadata::apply) or
/// [`PoolMetadata::apply_each`](crate::PoolMetadata::apply_each).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Add a device, as [`add_device`](crate::PoolMetadata::add_device) does.
    Add(DeviceInfo),
    /// Write a record over the one of the same name, if that one's generation is still the one
    /// given here and its device id the same: what was read with
    /// [`get_device`](crate::PoolMetadata::get_device), changed. Not for what was read before
    /// a restore: see [`generation`](DeviceInfo::generation).
    Update(DeviceInfo),
    /// Set a device's state.
    ChangeState {
        /// The device's name.
        name: Vec<u8>,
        /// The state that it is to have.
        state: DeviceState,
    },
    /// Mark a device and its id as faulty.
    MarkFaulty {
        /// The device's name.
        name: Vec<u8>,
    },
    /// Remove a device and free its id.
    Remove {
        /// The device's name.
        name: Vec<u8>,
    },
}

/// What a change did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Applied {
    /// Id of the device that was changed: for an added one, the id that it got.
    pub device_id: u32,
    /// The commit that changed it.
    pub generation: u64,
}

/// Why a list of changes was not made.
#[derive(Debug)]
pub struct ApplyError {
    /// Position in the list of the change that was refused; none if the failure was not one
    /// change's.
    pub index: Option<usize>,
    /// Why.
    pub error: Error,
}

impl std::fmt::Display for ApplyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.index {
            Some(index) => write!(
                f,
                "change {index} was refused, and none was made: {}",
                self.error
            ),
            None => write!(f, "no change was made: {}", self.error),
        }
    }
}

impl std::error::Error for ApplyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl From<Error> for ApplyError {
    fn from(error: Error) -> ApplyError {
        ApplyError { index: None, error }
    }
}

impl From<ApplyError> for Error {
    fn from(failed: ApplyError) -> Error {
        failed.error
    }
}

impl Change {
    fn as_op(&self) -> Op<'_> {
        match self {
            Change::Add(device) => Op::Add(device.as_ref()),
            Change::Update(device) => Op::Update {
                device: device.as_ref(),
                generation: device.generation,
            },
            Change::ChangeState { name, state } => Op::ChangeState {
                name,
                state: *state,
            },
            Change::MarkFaulty { name } => Op::MarkFaulty { name },
            Change::Remove { name } => Op::Remove { name },
        }
    }
}

impl From<Written> for Applied {
    fn from(written: Written) -> Applied {
        Applied {
            device_id: written.device_id,
            generation: written.generation,
        }
    }
}

impl Pool {
    /// Makes all changes in one commit of their own, or none.
    pub fn apply(&self, changes: &[Change]) -> std::result::Result<Vec<Applied>, ApplyError> {
        let ops: Vec<_> = changes.iter().map(Change::as_op).collect();
        self.apply_ops(&ops)
    }

    /// The same for borrowed changes.
    pub fn apply_ops(&self, ops: &[Op<'_>]) -> std::result::Result<Vec<Applied>, ApplyError> {
        self.check_not_in_update()?;
        for (index, op) in ops.iter().enumerate() {
            op.check().map_err(|error| ApplyError {
                index: Some(index),
                error,
            })?;
        }
        self.env.check_writable()?;
        let deadline = self.env.deadline();
        // In the order of names: two lists that share devices cannot wait for each other.
        let mut names: Vec<_> = ops.iter().map(Op::name).collect();
        names.sort_unstable();
        names.dedup();
        let _locks = names
            .into_iter()
            .map(|name| self.locks.lock(name, &deadline))
            .collect::<Result<Vec<_>>>()?;
        let mut refused = None;
        let written = self.commit_alone(&deadline, |txn| {
            refused = None;
            let mut record = Vec::new();
            let mut batch = Batch::begin(txn)?;
            let mut all = Vec::with_capacity(ops.len());
            for (index, op) in ops.iter().enumerate() {
                match apply_one(&mut batch, op, &mut record)? {
                    Ok(written) => all.push(written.into()),
                    Err(error) => {
                        refused = Some(index);
                        return Err(Fault::Error(error));
                    }
                }
            }
            if batch.txn.writes() > 0 {
                batch.finish()?;
            }
            Ok(all)
        });
        written.map_err(|error| ApplyError {
            index: refused,
            error,
        })
    }

    /// Makes each change by itself, as many in one commit as can share it.
    pub fn apply_each(&self, changes: &[Change]) -> Vec<Result<Applied>> {
        let ops: Vec<_> = changes.iter().map(Change::as_op).collect();
        self.apply_each_op(&ops)
    }

    /// The same for borrowed changes.
    pub fn apply_each_op(&self, ops: &[Op<'_>]) -> Vec<Result<Applied>> {
        let mut results: Vec<Option<Result<Written>>> = ops.iter().map(|_| None).collect();
        if ops.len() > 1 {
            self.apply_together(ops, &mut results);
        }
        // The work on a long list is no wait, so each change has its own; but what was waited for
        // in vain is not waited for again, so that the call has an end.
        let (mut device, mut turn) = (self.env.deadline(), self.env.deadline());
        let (mut patient, mut growth) = (true, None);
        ops.iter()
            .zip(results)
            .map(|(op, result)| {
                let result = result.unwrap_or_else(|| {
                    let larger = growth.as_ref().unwrap_or(&turn);
                    let result = self.commit_until(op, &device, &turn, larger);
                    if let Err(Error::Timeout { .. }) = result {
                        patient &= !device.left().is_zero();
                        if growth.is_none() && turn.left().is_zero() {
                            // For a larger map, perhaps: there is a turn yet for who needs none.
                            growth = Some(std::mem::replace(&mut turn, self.env.deadline()));
                        }
                        return result;
                    }
                    turn = self.env.deadline();
                    if patient {
                        device = self.env.deadline();
                    }
                    result
                });
                Ok(result?.into())
            })
            .collect()
    }

    /// Makes the changes of devices that nobody has locked, the first of each device. The others
    /// are left to be made one by one: nobody waits for a device but who changes it.
    fn apply_together(&self, ops: &[Op<'_>], results: &mut [Option<Result<Written>>]) {
        let usable = self
            .check_not_in_update()
            .and_then(|()| self.env.check_writable());
        if usable.is_err() {
            return;
        }
        let mut left = HashSet::new();
        let mut locked: Vec<(usize, DeviceLock)> = Vec::with_capacity(ops.len());
        for (index, op) in ops.iter().enumerate() {
            if op.check().is_err() || left.contains(op.name()) {
                continue;
            }
            match self.locks.try_lock(op.name()) {
                Some(lock) => locked.push((index, lock)),
                // What comes later for this device is not to be made before this.
                None => drop(left.insert(op.name())),
            }
        }
        let ready: Vec<_> = locked.iter().map(|(index, _)| ops[*index]).collect();
        for ((index, _), result) in locked.iter().zip(self.commit_together(&ready)) {
            results[*index] = Some(result);
        }
    }
}
