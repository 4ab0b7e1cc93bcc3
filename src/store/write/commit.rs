//! How operations come to their commits, and the one function through which every write of the
//! store goes.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::lmdb::write::{Step, WriteTxn, Writing};
use crate::store::write::apply::{apply, apply_one, Written};
use crate::store::write::batch::Batch;
use crate::store::write::op::{Op, OwnedOp};
use crate::store::write::pool::Pool;
use crate::store::write::queue::CommitLead;
use crate::sync::commit_queue::Entered;
use crate::sync::deadline::Deadline;

impl Pool {
    /// Commits one operation and returns once it is durable. Every write goes through here.
    pub fn commit(&self, op: &Op<'_>) -> Result<Written> {
        let deadline = self.env.deadline();
        self.commit_until(op, &deadline, &deadline, &deadline)
    }

    /// The same for a caller that has waited before: for a device, for its turn, and for a larger
    /// map.
    pub fn commit_until(
        &self,
        op: &Op<'_>,
        device: &Deadline,
        turn: &Deadline,
        growth: &Deadline,
    ) -> Result<Written> {
        self.check_not_in_update()?;
        op.check()?;
        // Before anything is waited for: a closed store's, or a forked child's, locks may never be
        // given back.
        self.env.check_writable()?;
        let _lock = self.locks.lock(op.name(), device)?;
        self.submit(op, turn, growth)
    }

    /// The same for a caller that holds the device's lock.
    pub fn commit_locked(&self, op: &Op<'_>, deadline: &Deadline) -> Result<Written> {
        self.check_not_in_update()?;
        op.check()?;
        self.env.check_writable()?;
        self.submit(op, deadline, deadline)
    }

    /// Leads, or hands a sound operation in. Who leads looks once more whether the store can be
    /// written.
    fn submit(&self, op: &Op<'_>, deadline: &Deadline, growth: &Deadline) -> Result<Written> {
        let patient = || !deadline.left().is_zero() && !growth.left().is_zero();
        loop {
            return match self.queue.enter(deadline, || op.into_owned()) {
                Entered::Leader(lead) => self.lead(lead, op, deadline, growth),
                // It was the leader's wait that has come to its end, and not this one's.
                Entered::Done(Err(Error::Timeout { .. })) if patient() => continue,
                Entered::Done(result) => result,
                Entered::TimedOut => Err(deadline.expired("the commits of other threads")),
            };
        }
    }

    /// Does work in a commit that it shares with no other: it leads, or waits until it does.
    pub fn commit_alone<R>(
        &self,
        deadline: &Deadline,
        work: impl FnMut(&mut WriteTxn<'_>) -> Step<R>,
    ) -> Result<R> {
        self.write_alone(deadline, deadline, |writing| writing.run(work))?
    }

    /// Commits operations whose devices the caller has locked, in commits that they share with no
    /// others, and says for each how it ended.
    pub fn commit_together(&self, mut ops: &[Op<'_>]) -> Vec<Result<Written>> {
        let mut results = Vec::with_capacity(ops.len());
        let mut spent = None;
        while !ops.is_empty() {
            // Of its own: the commits before were no wait.
            let deadline = self.env.deadline();
            let growth = spent.as_ref().unwrap_or(&deadline);
            let mut budget = BatchBudget::default();
            let fit = ops.iter().take_while(|op| budget.fits(op)).count().max(1);
            let (batch, rest) = ops.split_at(fit);
            match self.write_alone(&deadline, growth, |writing| write_batch(writing, batch)) {
                Ok(written) => {
                    // What was waited for in vain, a larger map, is not waited for again.
                    let late = |result| matches!(result, &Err(Error::Timeout { .. }));
                    if spent.is_none() && written.iter().any(late) {
                        spent = Some(deadline);
                    }
                    results.extend(written);
                }
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

    fn write_alone<R>(
        &self,
        deadline: &Deadline,
        growth: &Deadline,
        work: impl FnOnce(&Writing<'_>) -> R,
    ) -> Result<R> {
        match self.queue.enter_alone(deadline) {
            Entered::Leader(_lead) => {
                // Released before the lead is handed off.
                let writing = self.env.begin_writing(deadline)?;
                Ok(work(&writing.growing_within(growth)))
            }
            Entered::Done(_) => Err(Error::Internal {
                what: "another thread did work that shares its commit with no other",
            }),
            Entered::TimedOut => Err(deadline.expired("the commits of other threads")),
        }
    }

    /// Commits the leader's own operation, and with it those that other threads have submitted.
    fn lead(
        &self,
        mut lead: CommitLead<'_>,
        own: &Op<'_>,
        deadline: &Deadline,
        growth: &Deadline,
    ) -> Result<Written> {
        let writing = self.env.begin_writing(deadline)?.growing_within(growth);
        let mut budget = BatchBudget::default();
        budget.fits(own);
        let followers = lead.drain(GROUP_COMMIT_DELAY, |work| budget.fits(&work.as_op()));
        if followers.is_empty() {
            return write_one(&writing, own);
        }
        let followers = followers.into_iter().map(OwnedOp::as_op);
        let ops: Vec<_> = std::iter::once(*own).chain(followers).collect();
        let mut results = write_batch(&writing, &ops).into_iter();
        let own = results.next().unwrap_or(Err(Error::Internal {
            what: "a leader's own operation has no result",
        }));
        // Released before the lead is handed off.
        drop(writing);
        lead.finish(results);
        own
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

/// Bytes that most rows have room in.
const COMMON_ROW: usize = 256;

/// Longest that a leader waits for the threads that the last commit has released.
const GROUP_COMMIT_DELAY: Duration = Duration::from_micros(500);

/// Writes operations in one commit, and says for each how it ended.
fn write_batch(writing: &Writing<'_>, ops: &[Op<'_>]) -> Vec<Result<Written>> {
    match writing.run(|txn| apply_all(txn, ops)) {
        Ok(results) => results
            .into_iter()
            .map(|result| result.map_err(|e| e.at(writing.path())))
            .collect(),
        Err(error) if ends_all(&error) => ops.iter().map(|_| Err(error.clone())).collect(),
        // Something went wrong with one of them: none of the others shall suffer for it.
        Err(_) => ops.iter().map(|op| write_one(writing, op)).collect(),
    }
}

/// Writes an operation in a commit of its own.
fn write_one(writing: &Writing<'_>, op: &Op<'_>) -> Result<Written> {
    writing.run(|txn| {
        let mut batch = Batch::begin(txn)?;
        let mut buffer = Vec::with_capacity(COMMON_ROW);
        let done = apply(&mut batch, op, &mut buffer)?;
        batch.finish_in(&mut buffer)?;
        Ok(done)
    })
}

/// Whether the failure is the store's, and not one that an operation could have brought about, as
/// one that needs a larger map brings about a wait in vain.
fn ends_all(error: &Error) -> bool {
    matches!(
        error,
        Error::Io { .. } | Error::WritesStopped { .. } | Error::Closed
    )
}

/// Applies each operation, in the order of names, so that those on one page come together.
fn apply_all(txn: &mut WriteTxn<'_>, ops: &[Op<'_>]) -> Step<Vec<Result<Written>>> {
    let mut results: Vec<Option<Result<Written>>> = ops.iter().map(|_| None).collect();
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
