//! Several changes in one call: as a whole, in one commit or not at all, or each by itself.

use std::collections::HashSet;

use crate::error::{Error, Result};
use crate::lmdb::write::Fault;
use crate::store::write::apply::apply_one;
use crate::store::write::batch::Batch;
use crate::store::write::device_locks::DeviceLock;
use crate::store::write::op::{Applied, Change, Op};
use crate::store::write::pool::Pool;
use crate::sync::lock_wait::LockWait;

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

impl Pool {
    /// Makes all changes in one commit of their own, or none.
    pub fn apply(&self, changes: &[Change]) -> std::result::Result<Vec<Applied>, ApplyError> {
        let ops: Vec<_> = changes.iter().map(Change::as_op).collect();
        self.apply_ops(&ops)
    }

    /// Makes all of these borrowed changes in one commit of their own, or none.
    pub fn apply_ops(&self, ops: &[Op<'_>]) -> std::result::Result<Vec<Applied>, ApplyError> {
        self.check_not_in_update()?;
        for (index, op) in ops.iter().enumerate() {
            op.check().map_err(|error| ApplyError {
                index: Some(index),
                error,
            })?;
        }
        self.env.check_writable()?;
        let waits = self.env.lock_wait();
        // In the order of names: two lists that share devices cannot wait for each other.
        let mut names: Vec<_> = ops.iter().map(Op::name).collect();
        names.sort_unstable();
        names.dedup();
        let _locks = names
            .into_iter()
            .map(|name| self.lock_device(name, &waits))
            .collect::<Result<Vec<_>>>()?;
        let mut refused = None;
        let applied = self.commit_alone(&waits, |txn| {
            refused = None;
            let mut record = Vec::new();
            let mut batch = Batch::begin(txn)?;
            let mut all = Vec::with_capacity(ops.len());
            for (index, op) in ops.iter().enumerate() {
                match apply_one(&mut batch, op, &mut record)? {
                    Ok(applied) => all.push(applied),
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
        applied.map_err(|error| ApplyError {
            index: refused,
            error,
        })
    }

    /// Makes each change by itself, as many in one commit as can share it.
    pub fn apply_each(&self, changes: &[Change]) -> Vec<Result<Applied>> {
        let ops: Vec<_> = changes.iter().map(Change::as_op).collect();
        self.apply_each_op(&ops)
    }

    /// Makes each of these borrowed changes by itself, as many in one commit as can share it.
    pub fn apply_each_op(&self, ops: &[Op<'_>]) -> Vec<Result<Applied>> {
        let mut waits = self.env.lock_wait();
        let mut results: Vec<Option<Result<Applied>>> = ops.iter().map(|_| None).collect();
        if ops.len() > 1 {
            self.apply_together(ops, &mut results, &mut waits);
        }
        ops.iter()
            .zip(results)
            .map(|(op, result)| {
                result.unwrap_or_else(|| {
                    waits.next_change();
                    self.commit_within(op, &waits)
                })
            })
            .collect()
    }

    /// Makes the changes of devices that nobody has locked, the first of each device. The others
    /// are left to be made one by one: only a change of a locked device waits for that device.
    fn apply_together(
        &self,
        ops: &[Op<'_>],
        results: &mut [Option<Result<Applied>>],
        waits: &mut LockWait,
    ) {
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
        let done = self.commit_together(&ready, waits);
        for ((index, _), result) in locked.iter().zip(done) {
            results[*index] = Some(result);
        }
    }
}
