//! How operations come to their commits. Every write of the store goes through here.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::lmdb::write::{Step, WriteTxn, Writing};
use crate::store::write::apply::{apply, apply_one};
use crate::store::write::batch::Batch;
use crate::store::write::device_locks::DeviceLock;
use crate::store::write::op::{Applied, Op};
use crate::store::write::pool::Pool;
use crate::store::write::queue::{CommitLead, Submitted};
use crate::sync::commit_queue::Entered;
use crate::sync::lock_wait::{LockWait, WaitFor};

impl Pool {
    /// Commits one operation and returns once it is durable.
    pub fn commit(&self, op: &Op<'_>) -> Result<Applied> {
        self.commit_within(op, &self.env.lock_wait())
    }

    /// Commits one operation, for a call that may have waited before.
    pub fn commit_within(&self, op: &Op<'_>, waits: &LockWait) -> Result<Applied> {
        self.check(op)?;
        let name = op.name();
        let _lock = match name.is_empty() {
            true => None,
            false => Some(self.lock_device(name, waits)?),
        };
        self.submit(op, waits)
    }

    /// Commits one operation, for a caller that holds the device's lock.
    pub fn commit_locked(&self, op: &Op<'_>) -> Result<Applied> {
        self.check(op)?;
        self.submit(op, &self.env.lock_wait())
    }

    /// Refuses an operation before anything is waited for: the locks of a closed store, or of a
    /// forked child's, may never be released.
    fn check(&self, op: &Op<'_>) -> Result<()> {
        self.check_not_in_update()?;
        op.check()?;
        self.env.check_writable()
    }

    pub fn lock_device(&self, name: &[u8], waits: &LockWait) -> Result<DeviceLock> {
        waits.wait_for(WaitFor::Device, |deadline| {
            self.locks.lock(name, deadline, || self.env.waits_on())
        })
    }

    /// Locks the devices of these operations, in the order of names: two calls that share devices
    /// cannot wait for each other.
    pub fn lock_devices<'o>(
        &self,
        ops: impl IntoIterator<Item = &'o Op<'o>>,
        waits: &LockWait,
    ) -> Result<Vec<DeviceLock>> {
        let mut names: Vec<_> = ops.into_iter().map(Op::name).collect();
        names.sort_unstable();
        names.dedup();
        names.retain(|name| !name.is_empty());
        let locks = names.into_iter().map(|name| self.lock_device(name, waits));
        locks.collect()
    }

    /// Leads, or submits the operation to a thread that does.
    fn submit(&self, op: &Op<'_>, waits: &LockWait) -> Result<Applied> {
        loop {
            let entered = waits.wait_for(WaitFor::Turn, |deadline| {
                let submit = || Submitted {
                    change: op.to_change(),
                    deferred: self.deferred,
                };
                let entered = self.queue.enter(deadline, || self.env.waits_on(), submit);
                entered.ok_or_else(|| deadline.expired("the commits of other threads"))
            })?;
            match entered {
                Entered::Leader(lead) => return self.lead(lead, op, waits),
                Entered::Done(Err(Error::Timeout { .. })) if waits.retry_after_leader() => {}
                Entered::Done(result) => return result,
            }
        }
    }

    /// Commits the leader's own operation, and with it those that other threads have submitted.
    fn lead(&self, mut lead: CommitLead<'_>, own: &Op<'_>, waits: &LockWait) -> Result<Applied> {
        // Released before the lead is handed off.
        let writing = self.env.begin_writing(waits)?;
        let mut budget = BatchBudget::default();
        budget.fits(own);
        let followers = lead.drain(GROUP_COMMIT_DELAY, |work| budget.fits(&work.change.as_op()));
        if self.deferred {
            // What several threads share is flushed if any of them needs that.
            writing.defer(followers.iter().all(|work| work.deferred));
        }
        if followers.is_empty() {
            return write_one(&writing, own);
        }
        let followers = followers.into_iter().map(|work| work.change.as_op());
        let ops: Vec<_> = std::iter::once(*own).chain(followers).collect();
        let mut results = write_batch(&writing, &ops).into_iter();
        let own = results.next().unwrap_or(Err(Error::Internal {
            what: "a leader's own operation has no result",
        }));
        drop(writing);
        lead.finish(results);
        own
    }

    /// Does work in a commit that it shares with no other.
    pub fn commit_alone<R>(
        &self,
        waits: &LockWait,
        work: impl FnMut(&mut WriteTxn<'_>) -> Step<R>,
    ) -> Result<R> {
        self.write_alone(waits, |writing| writing.run(work))?
    }

    /// Commits operations whose devices the caller has locked, in commits that they share with no
    /// others, and returns a result for each.
    pub fn commit_together(
        &self,
        mut ops: &[Op<'_>],
        waits: &mut LockWait,
    ) -> Vec<Result<Applied>> {
        let mut results = Vec::with_capacity(ops.len());
        while !ops.is_empty() {
            let mut budget = BatchBudget::default();
            let fit = ops.iter().take_while(|op| budget.fits(op)).count().max(1);
            let (batch, rest) = ops.split_at(fit);
            waits.next_change();
            match self.write_alone(waits, |writing| write_batch(writing, batch)) {
                Ok(applied) => results.extend(applied),
                Err(error) => {
                    // What comes after them would only wait for the same.
                    results.extend(ops.iter().map(|_| Err(error.clone())));
                    break;
                }
            }
            ops = rest;
        }
        results
    }

    /// Waits for the lead, and keeps it while `work` writes.
    fn write_alone<R>(&self, waits: &LockWait, work: impl FnOnce(&Writing<'_>) -> R) -> Result<R> {
        let entered = waits.wait_for(WaitFor::Turn, |deadline| {
            let entered = self.queue.enter_alone(deadline, || self.env.waits_on());
            entered.ok_or_else(|| deadline.expired("the commits of other threads"))
        })?;
        match entered {
            // Dropped, and so handed off, after the writer's locks.
            Entered::Leader(_lead) => {
                let writing = self.env.begin_writing(waits)?;
                writing.defer(self.deferred);
                Ok(work(&writing))
            }
            Entered::Done(_) => Err(Error::Internal {
                what: "another thread did work that shares its commit with no other",
            }),
        }
    }
}

/// Most operations, and most bytes of texts, that share a commit. What comes after them waits for
/// the next.
const BATCH_OPS: usize = 256;
const BATCH_BYTES: usize = 1 << 20;

/// How much of that a commit has used.
#[derive(Default)]
struct BatchBudget {
    ops: usize,
    bytes: usize,
}

impl BatchBudget {
    /// Counts one more operation; whether it still fits into the commit.
    fn fits(&mut self, op: &Op<'_>) -> bool {
        self.ops += 1;
        self.bytes += op.bytes();
        self.ops <= BATCH_OPS && self.bytes <= BATCH_BYTES
    }
}

/// The largest memory for encoding rows that is kept for the next write. Most rows have 100 bytes.
const MOST_KEPT: usize = 4096;

/// Longest that a leader waits for the threads that the last commit has released.
const GROUP_COMMIT_DELAY: Duration = Duration::from_micros(500);

/// Writes operations in one commit, and returns a result for each.
fn write_batch(writing: &Writing<'_>, ops: &[Op<'_>]) -> Vec<Result<Applied>> {
    match writing.run(|txn| apply_all(txn, ops)) {
        Ok(results) => results
            .into_iter()
            .map(|result| result.map_err(|e| e.at(writing.path())))
            .collect(),
        Err(error) if ends_all(&error) => ops.iter().map(|_| Err(error.clone())).collect(),
        // One of them may have caused it, which must not fail the others: each is tried alone.
        Err(_) => ops.iter().map(|op| write_one(writing, op)).collect(),
    }
}

/// Writes an operation in a commit of its own.
fn write_one(writing: &Writing<'_>, op: &Op<'_>) -> Result<Applied> {
    writing.run(|txn| {
        let mut buffer = std::mem::take(&mut txn.buffer);
        let mut batch = Batch::begin(txn)?;
        let applied = apply(&mut batch, op, &mut buffer)?;
        // Ids may already be as they are to be.
        if batch.txn.writes() > 0 {
            batch.finish_in(&mut buffer)?;
        }
        if buffer.capacity() <= MOST_KEPT {
            txn.buffer = buffer;
        }
        Ok(applied)
    })
}

/// Whether the failure is the store's, and not one that an operation could have brought about, as
/// one that needs a larger map brings about a timeout.
fn ends_all(error: &Error) -> bool {
    matches!(
        error,
        Error::Io { .. } | Error::WritesStopped { .. } | Error::Closed
    )
}

/// Applies each operation, in the order of names, so that those on one page come together.
fn apply_all(txn: &mut WriteTxn<'_>, ops: &[Op<'_>]) -> Step<Vec<Result<Applied>>> {
    let mut results: Vec<Option<Result<Applied>>> = ops.iter().map(|_| None).collect();
    let mut order: Vec<usize> = (0..ops.len()).collect();
    order.sort_unstable_by_key(|&at| ops[at].name());
    let mut batch = Batch::begin(txn)?;
    let mut record = Vec::new();
    for at in order {
        results[at] = Some(apply_one(&mut batch, &ops[at], &mut record)?);
    }
    if batch.txn.writes() > 0 {
        batch.finish_in(&mut record)?;
    }
    Ok(results.into_iter().flatten().collect())
}

#[cfg(all(test, not(loom)))]
mod tests;
