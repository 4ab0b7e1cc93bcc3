//! The store compared with its pool, and brought in step with it.

use std::collections::BTreeSet;

#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::format::id_row::{self, IdState};
use crate::format::journal_row::JournalRow;
use crate::format::record;
use crate::format::table::Table;
use crate::lmdb::snapshot::{self, Snapshot};
use crate::lmdb::write::{Fault, Step};
use crate::reconcile::{Difference, PoolState, Reconciler, Reconciliation, StoreAction};
use crate::store::write::apply::{apply_one, check_generation};
use crate::store::write::batch::Batch;
use crate::store::write::op::Op;
use crate::store::write::pool::Pool;
use crate::store::PoolMetadata;

impl PoolMetadata {
    /// Compares the store, as of this moment, with what is known of its pool and of the
    /// snapshotter: what is in one of them only, and what would bring the store in step. Nothing is
    /// changed.
    ///
    /// A device that belongs to no snapshot is to be taken out of the store, and its id kept out of
    /// use unless the pool is known not to have it. A device that a snapshot has and the pool lacks
    /// is only reported. One that is marked as removed is left alone, since its removal is pending,
    /// unless the pool lacks it.
    ///
    /// If the store is in use meanwhile, read [`Stats::commits`](crate::Stats::commits) before the
    /// lists are made, and pass it too: see [`PoolState::commit`].
    ///
    /// # Errors
    /// [`Error::NothingToCompare`], [`Error::InvalidId`] for an id of more than 24 bits,
    /// [`Error::ListedTwice`]; and those of [`get_device`](Self::get_device).
    pub fn reconcile(&self, pool: &PoolState) -> Result<Reconciliation> {
        let mut reconciler = Reconciler::new(pool)?;
        let snapshot = Snapshot::open(&self.pool.env)?;
        let compared = || -> Result<Reconciliation> {
            let header = snapshot::header(&snapshot)?;
            snapshot.each_row(Table::Devices, |name, value| {
                reconciler.device(&record::decode(name, value)?);
                Ok(())
            })?;
            let mut faulty = BTreeSet::new();
            snapshot.each_row(Table::Ids, |key, value| {
                if let (IdState::Faulty, id) = id_row::decode(key, value)? {
                    faulty.insert(id);
                }
                Ok(())
            })?;
            snapshot.each_row(Table::Journal, |key, value| {
                if let JournalRow::Removal {
                    commit,
                    device_id,
                    name,
                    ..
                } = JournalRow::decode(key, value)?
                {
                    reconciler.removed(name, device_id, commit);
                }
                Ok(())
            })?;
            Ok(reconciler.finish(header.commit, &faulty))
        };
        compared().map_err(|e| e.at(snapshot.env().path()))
    }

    /// Does the store's part of a plan in one commit, all of it or nothing, and returns how many
    /// differences it has dealt with. What the pool has to do comes after it, if anything:
    /// [`Difference::pool_commands`](crate::Difference::pool_commands).
    ///
    /// Differences can be taken out of the plan first.
    ///
    /// # Errors
    /// [`Error::Conflict`] or [`Error::NotFound`] if a device was written or removed since,
    /// [`Error::IdInUse`] or [`Error::IdNotFaulty`] if an id was: compare again. And those of every
    /// write.
    pub fn apply_reconciliation(&self, plan: &Reconciliation) -> Result<u64> {
        self.pool.apply_differences(&plan.differences)
    }
}

impl Pool {
    fn apply_differences(&self, differences: &[Difference]) -> Result<u64> {
        self.check_not_in_update()?;
        self.env.check_writable()?;
        let ops: Vec<_> = differences
            .iter()
            .filter_map(|difference| Some((difference, operation(difference)?)))
            .collect();
        for (_, op) in &ops {
            op.check()?;
        }
        let waits = self.env.lock_wait();
        let _locks = self.lock_devices(ops.iter().map(|(_, op)| op), &waits)?;
        self.commit_alone(&waits, |txn| {
            let mut record = Vec::new();
            let mut batch = Batch::begin(txn)?;
            for (difference, op) in &ops {
                carry_out(&mut batch, difference, op, &mut record)?;
            }
            if batch.txn.writes() > 0 {
                batch.finish()?;
            }
            Ok(ops.len() as u64)
        })
    }
}

/// What a difference asks of the store; keeping the id of a removed record comes after it.
fn operation(difference: &Difference) -> Option<Op<'_>> {
    let name = difference.name.as_deref().unwrap_or_default();
    let device_id = difference.device_id?;
    match difference.action {
        StoreAction::Nothing => None,
        StoreAction::FreeId => Some(Op::FreeId { device_id }),
        StoreAction::MarkIdFaulty => Some(Op::MarkIdsFaulty {
            ids: std::slice::from_ref(difference.device_id.as_ref()?),
        }),
        StoreAction::RemoveRecord | StoreAction::RemoveRecordKeepId => Some(Op::Remove { name }),
    }
}

fn carry_out(
    batch: &mut Batch<'_, '_>,
    difference: &Difference,
    op: &Op<'_>,
    record: &mut Vec<u8>,
) -> Step<()> {
    if !op.name().is_empty() {
        check_generation(batch, op.name(), difference.generation)?;
    }
    let done = apply_one(batch, op, record)?.map_err(Fault::Error)?;
    if difference.action == StoreAction::RemoveRecordKeepId {
        let ids = &[done.device_id];
        apply_one(batch, &Op::MarkIdsFaulty { ids }, record)?.map_err(Fault::Error)?;
    }
    Ok(())
}
