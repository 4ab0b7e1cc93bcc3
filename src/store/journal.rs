//! What the store keeps beside its devices: the identity of its pool, changes of the pool that have
//! begun, and the devices that were removed.

use crate::error::{Error, Result};
use crate::format::journal_row::{identity_key, IntentRow, JournalRow};
use crate::format::table::Table;
use crate::journal::{Intent, Removal, Removals};
use crate::limits::MAX_IDENTITY_LEN;
use crate::lmdb::snapshot::{self, Snapshot};
use crate::store::walk::Walk;
use crate::store::write::batch::Batch;
use crate::store::write::journal;
use crate::store::write::op::Op;
use crate::store::write::pool::Pool;
use crate::store::PoolMetadata;

impl PoolMetadata {
    /// Notes, on disk, that a change of the pool is about to be made: call this before the message
    /// to the kernel, and [`finish_intent`](Self::finish_intent) after it. Returns the number of
    /// the intent.
    ///
    /// What had begun when the system went down is then found with [`intents`](Self::intents), to
    /// be finished or undone in the pool. The number and the commit in `intent` are ignored. The
    /// transaction id is kept as it is, to be compared with the pool's later on: the store sends
    /// nothing to the pool. The device need not be in the store.
    ///
    /// # Errors
    /// [`Error::InvalidName`], [`Error::InvalidId`], [`Error::TooManyIntents`], and those of every
    /// write.
    pub fn begin_intent(&self, intent: &Intent) -> Result<u64> {
        let begun = self.pool.commit(&Op::BeginIntent(IntentRow::of(intent)))?;
        Ok(begun.number)
    }

    /// Notes that a change of the pool has ended, made or given up.
    ///
    /// # Errors
    /// [`Error::NoSuchIntent`], and those of every write.
    pub fn finish_intent(&self, number: u64) -> Result<()> {
        self.pool.commit(&Op::FinishIntent { number }).map(drop)
    }

    /// The changes of the pool that have begun and are not finished, in the order of their numbers.
    ///
    /// # Errors
    /// Those of [`get_device`](Self::get_device).
    pub fn intents(&self) -> Result<Vec<Intent>> {
        let snapshot = Snapshot::open(&self.pool.env)?;
        let mut intents = Vec::new();
        let read = snapshot.each_row(Table::Journal, |key, value| {
            if let JournalRow::Intent(intent) = JournalRow::decode(key, value)? {
                intents.push(intent.to_owned());
            }
            Ok(())
        });
        read.map_err(|e| e.at(snapshot.env().path()))?;
        Ok(intents)
    }

    /// The identity of the pool that the store belongs to, if it was ever given: see
    /// [`OpenOptions::identity`](crate::OpenOptions::identity).
    ///
    /// # Errors
    /// Those of [`get_device`](Self::get_device).
    pub fn identity(&self) -> Result<Option<Vec<u8>>> {
        self.pool.identity()
    }

    /// Gives the store another identity, or none: the pool was moved, or made anew.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] if the identity is empty or longer than 255 bytes, and those of
    /// every write.
    pub fn set_identity(&self, identity: Option<&[u8]>) -> Result<()> {
        identity.map_or(Ok(()), check_identity)?;
        self.pool
            .set_identity(identity.unwrap_or_default(), false)?;
        Ok(())
    }
}

/// Refuses an identity that no store can have.
pub(crate) fn check_identity(identity: &[u8]) -> Result<()> {
    match identity.len() {
        1..=MAX_IDENTITY_LEN => Ok(()),
        _ => Err(Error::InvalidOption {
            option: "identity",
            why: "1 to 255 bytes",
        }),
    }
}

impl Pool {
    fn identity(&self) -> Result<Option<Vec<u8>>> {
        let key = identity_key();
        self.env.read_row(Table::Journal, &key, |row| {
            let Some(value) = row else {
                return Ok(None);
            };
            match JournalRow::decode(&key, value).map_err(|e| e.at(self.env.path()))? {
                JournalRow::Identity(identity) => Ok(Some(identity.to_vec())),
                _ => Ok(None),
            }
        })
    }

    /// Makes sure that the store belongs to this pool: it is stored if there is none so far and the
    /// store can be written.
    pub fn claim_identity(&self, identity: &[u8]) -> Result<()> {
        let found = match self.identity()? {
            None if self.env.check_writable().is_ok() => self.set_identity(identity, true)?,
            found => found,
        };
        match found {
            Some(found) if found != identity => Err(Error::OtherPool {
                path: self.env.path().into(),
                found: found.into(),
                expected: identity.into(),
            }),
            _ => Ok(()),
        }
    }

    fn set_identity(&self, identity: &[u8], first: bool) -> Result<Option<Vec<u8>>> {
        self.check_not_in_update()?;
        self.env.check_writable()?;
        self.commit_alone(&self.env.lock_wait(), |txn| {
            let mut batch = Batch::begin(txn)?;
            let found = journal::set_identity(&mut batch, identity, first)?;
            if batch.txn.writes() > 0 {
                batch.finish()?;
            }
            Ok(found)
        })
    }
}

impl Walk {
    /// The commit that the walk shows the store as of: every device that is written later has a
    /// higher generation.
    ///
    /// # Errors
    /// Those of [`Walk::next_ref`].
    pub fn commit(&self) -> Result<u64> {
        Ok(snapshot::header(self.snapshot())?.commit)
    }

    /// The devices that were removed after the commit `since`, as of the moment when the walk
    /// began. With [`WalkFilter::since`](crate::WalkFilter::since) the walk itself shows those that
    /// were written.
    ///
    /// # Errors
    /// Those of [`Walk::next_ref`].
    pub fn removals(&self, since: u64) -> Result<Removals> {
        let snapshot = self.snapshot();
        let header = snapshot::header(snapshot)?;
        let mut removals = Removals {
            complete: since >= header.removals_since,
            commit: header.commit,
            removed: Vec::new(),
        };
        let read = snapshot.each_row(Table::Journal, |key, value| {
            match JournalRow::decode(key, value)? {
                JournalRow::Removal {
                    commit,
                    device_id,
                    name,
                    ..
                } if commit > since => removals.removed.push(Removal {
                    name: name.to_vec(),
                    device_id,
                    commit,
                }),
                _ => {}
            }
            Ok(())
        });
        read.map_err(|e| e.at(snapshot.env().path()))?;
        Ok(removals)
    }
}
