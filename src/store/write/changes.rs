//! Several changes in one call: as a whole, in one commit or not at all, or each by itself.

use std::collections::HashSet;

use crate::error::{Error, Result};
use crate::lmdb::write::{Fault, Step};
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
        check_count(ops)?;
        self.env.check_writable()?;
        let waits = self.env.lock_wait();
        let _locks = self.lock_devices(ops, &waits)?;
        let order = order(ops);
        let mut refused = None;
        let applied = self.commit_alone(&waits, |txn| {
            refused = None;
            let mut record = Vec::new();
            let mut batch = Batch::begin(txn)?;
            let mut all: Vec<Option<Applied>> = vec![None; ops.len()];
            for run in order.chunk_by(|&a, &b| commute(&ops[a], &ops[b])) {
                if let Some((index, error)) =
                    apply_run(&mut batch, ops, run, &mut all, &mut record)?
                {
                    refused = Some(index);
                    return Err(Fault::Error(error));
                }
            }
            if batch.txn.writes() > 0 {
                batch.finish()?;
            }
            Ok(all.into_iter().flatten().collect())
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
        let mut locked: Vec<(usize, Option<DeviceLock>)> = Vec::with_capacity(ops.len());
        for (index, op) in ops.iter().enumerate() {
            if op.check().is_err() || left.contains(op.name()) {
                continue;
            }
            if op.name().is_empty() {
                locked.push((index, None));
                continue;
            }
            match self.locks.try_lock(op.name()) {
                Some(lock) => locked.push((index, Some(lock))),
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

/// Most removals in a list that adds devices as well. LMDB keeps at most 131,071 changed pages of a
/// commit in memory, those that removals have emptied among them, and can write all others out
/// early. In the order of names it uses an emptied page for the next removal at once, but a list
/// that adds is made in its own order, in which each removal may empty a page.
const MOST_REMOVALS: usize = 100_000;

/// Refuses, before anything is waited for, a list that a commit may not be able to take.
fn check_count(ops: &[Op<'_>]) -> Result<()> {
    let adds = ops.iter().any(|op| matches!(op, Op::Add(_)));
    let removes = || ops.iter().filter(|op| matches!(op, Op::Remove { .. }));
    if adds && removes().count() > MOST_REMOVALS {
        return Err(Error::TooManyChanges {
            why: "a list that adds devices can remove 100,000 of them at most",
        });
    }
    Ok(())
}

/// Whether two changes, one after the other in the list, can be made in either order if they are of
/// different devices. An added device gets the lowest free id, which removals before it decide.
fn commute(one: &Op<'_>, other: &Op<'_>) -> bool {
    one.commutes() && other.commutes()
}

/// The positions of the changes in the order in which they are made: that of the list, but for runs
/// of changes that commute, which are made in the order of names.
fn order(ops: &[Op<'_>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..ops.len()).collect();
    for run in order.chunk_by_mut(|&a, &b| commute(&ops[a], &ops[b])) {
        // Stable: the changes of one device stay in the order of the list.
        run.sort_by_key(|&at| ops[at].name());
    }
    order
}

/// Makes a run of changes that commute; of those that are refused, the first of the list, with why.
fn apply_run(
    batch: &mut Batch<'_, '_>,
    ops: &[Op<'_>],
    run: &[usize],
    all: &mut [Option<Applied>],
    record: &mut Vec<u8>,
) -> Step<Option<(usize, Error)>> {
    let mut refused: Option<(usize, Error)> = None;
    for &at in run {
        // Only one that comes earlier in the list can still be the first.
        if refused.as_ref().is_some_and(|(first, _)| at > *first) {
            continue;
        }
        match apply_one(batch, &ops[at], record)? {
            Ok(applied) => all[at] = Some(applied),
            Err(error) => refused = Some((at, error)),
        }
    }
    Ok(refused)
}
