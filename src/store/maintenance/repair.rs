//! Violations in a store, reported as data, and fixed if that needs no guessing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::audit::{audit, Plan, Report};
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::file::destination::Destination;
use crate::file::temp_file::{Purpose, TempFile};
use crate::format::id_row;
use crate::format::id_row::IdState;
use crate::format::table::Table;
use crate::lmdb::config::{Config, Sharing};
use crate::lmdb::env::Env;
use crate::lmdb::snapshot::Snapshot;
use crate::lmdb::write::{Step, WriteTxn};
use crate::store::options::OpenOptions;
use crate::store::verify::check_level;
use crate::store::PoolMetadata;
use crate::sync::deadline::Deadline;
use crate::verify::Level;

/// How a store is repaired.
#[derive(Clone, Debug)]
pub struct RepairOptions {
    backup: Option<PathBuf>,
    limit: usize,
    dry_run: bool,
}

impl Default for RepairOptions {
    fn default() -> RepairOptions {
        RepairOptions {
            backup: None,
            limit: PoolMetadata::DEFAULT_FINDINGS,
            dry_run: false,
        }
    }
}

impl RepairOptions {
    /// The default options.
    pub fn new() -> RepairOptions {
        RepairOptions::default()
    }

    /// Where the copy of the file is to be that is made first; there must be nothing. By default it
    /// is `<path>.before-repair-<n>`, with the lowest number that is not taken.
    pub fn backup(&mut self, path: impl AsRef<Path>) -> &mut RepairOptions {
        self.backup = Some(path.as_ref().into());
        self
    }

    /// Only say what is wrong, and what would fix it: as [`OpenOptions::check_file`] does.
    pub fn dry_run(&mut self, dry_run: bool) -> &mut RepairOptions {
        self.dry_run = dry_run;
        self
    }

    /// How many findings are kept for the report.
    pub fn limit(&mut self, findings: usize) -> &mut RepairOptions {
        self.limit = findings;
        self
    }
}

/// What a repair has done. A dry run has done nothing: it leaves all that was wrong before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repaired {
    /// What was wrong before.
    pub before: Report,
    /// What still is: after a repair, only what cannot be fixed.
    pub after: Report,
    /// Where the file is kept as it was; nowhere if nothing was to be fixed.
    pub backup: Option<PathBuf>,
}

/// What the file is called that is kept before a repair, but for its number.
const BEFORE_REPAIR: &str = ".before-repair-";

impl PoolMetadata {
    /// How many findings a report keeps if nothing else is asked for.
    pub const DEFAULT_FINDINGS: usize = 1000;

    /// Reads the whole store, as of this moment, and reports every violation of the invariants:
    /// what it is about, and what would fix it. The first `limit` findings are kept, all are
    /// counted; the memory it takes is bounded by that, by twelve mebibytes for the ids, and by
    /// what is damaged of their table.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the file's structure is damaged, so that its rows cannot be read; else
    /// those of [`get_device`](Self::get_device).
    pub fn check(&self, limit: usize) -> Result<Report> {
        Ok(audit(&readable(&self.pool.env)?, limit)?.report)
    }
}

impl OpenOptions {
    /// Checks a store as [`PoolMetadata::check`] does, without a handle: also one that
    /// [`open`](Self::open) refuses for what its rows say. Nothing is changed. Other processes may
    /// have the store open; of the options, only the lock wait counts.
    ///
    /// # Errors
    /// Those of [`open`](Self::open): a file that is no store, or whose structure is damaged,
    /// cannot be checked.
    pub fn check_file(&self, path: impl AsRef<Path>, limit: usize) -> Result<Report> {
        let env = self.open_damaged(path.as_ref(), Sharing::Many, true)?;
        Ok(audit(&readable(&env)?, limit)?.report)
    }

    /// Fixes what is wrong with the rows of a store that no process has open, as far as that
    /// needs no guessing, in one transaction, and says what it found and what it could not fix.
    ///
    /// - The header (counters, last id, digest) is computed again from the rows.
    /// - Records are right: an id that a device has is not free. An id that is free and faulty is
    ///   faulty.
    /// - An id that no device has becomes faulty, so that it is not given out.
    /// - Rows of the table of ids that are damaged, or of no id that there is, are removed, and so
    ///   are damaged rows of the journal.
    /// - Records are never touched. Two with the same id, a damaged one, and one whose numbers are
    ///   impossible stay as they are, and the store is still refused: [`salvage`](Self::salvage)
    ///   makes a new one without them.
    ///
    /// The file is copied first, if there is anything to fix. Of the options, only the lock wait
    /// counts.
    ///
    /// # Errors
    /// [`Error::AlreadyOpen`] if the store is open, here or in another process;
    /// [`Error::FileExists`] if something is where the copy was to be; those of
    /// [`check_file`](Self::check_file) and of every write. The store is as it was then, unless
    /// what was fixed could not be read back: [`check_file`](Self::check_file) finds out.
    pub fn repair(&self, path: impl AsRef<Path>, options: &RepairOptions) -> Result<Repaired> {
        let unchanged = |report: Report| Repaired {
            after: report.clone(),
            before: report,
            backup: None,
        };
        if options.dry_run {
            return self.check_file(path, options.limit).map(unchanged);
        }
        let env = self.open_damaged(path.as_ref(), Sharing::Alone, false)?;
        let found = audit(&readable(&env)?, options.limit)?;
        if found.report.total == found.report.unfixable {
            return Ok(unchanged(found.report));
        }
        let deadline = env.deadline();
        let backup = keep_copy(&env, options.backup.as_deref(), &deadline)?;
        let waits = env.lock_wait();
        let writing = env.begin_writing(&waits)?;
        writing.run(|txn| carry_out(txn, &found.plan))?;
        drop(writing);
        // Rows that did not add up before cannot show after a power cut that this commit is whole:
        // the note that it was flushed must be on the disk.
        env.sync()?;
        let after = audit(&Snapshot::open(&env)?, options.limit)?.report;
        Ok(Repaired {
            before: found.report,
            after,
            backup: Some(backup),
        })
    }

    fn open_damaged(&self, path: &Path, sharing: Sharing, read_only: bool) -> Result<Arc<Env>> {
        let config = Config {
            read_only,
            sharing,
            check: Some(Level::Structure),
            damaged_header: true,
            max_pinned_growth: 0,
            ..self.config()?
        };
        Ok(Arc::new(Env::open(path, config)?))
    }
}

/// A view of the rows, once it is known that LMDB can read them.
fn readable(env: &Arc<Env>) -> Result<Snapshot> {
    env.check_usable()?;
    check_level(env, Level::Structure)?;
    Snapshot::open(env)
}

/// Copies the file as it is.
fn keep_copy(env: &Env, path: Option<&Path>, deadline: &Deadline) -> Result<PathBuf> {
    let destination = match path {
        Some(path) => Destination::empty(path, deadline)?,
        None => Destination::numbered(env.path(), BEFORE_REPAIR, deadline)?,
    };
    let temp = TempFile::create(destination.path(), Purpose::Copy, deadline)?;
    temp.copy_file(env.file(), env.path())?;
    temp.put_in_place(&destination, &env.access()?)?;
    Ok(destination.path().into())
}

fn carry_out(txn: &mut WriteTxn<'_>, plan: &Plan) -> Step<()> {
    txn.create_missing_tables()?;
    for (table, key) in &plan.remove {
        txn.del(*table, key)?;
    }
    for id in plan.not_free.iter() {
        let (key, _) = id_row::row(IdState::Free, id as u32);
        txn.del(Table::Ids, &key)?;
    }
    for id in plan.faulty.iter() {
        let (key, value) = id_row::row(IdState::Faulty, id as u32);
        txn.put(Table::Ids, &key, &value)?;
    }
    let mut header = Vec::new();
    plan.header.encode(&mut header)?;
    txn.put_header(plan.header.clone(), &header)
}
