//! Processes that have lost LMDB's locks on the `-lock` file, and those that are dead.

use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::file::lmdb_lock_file::Held;
use crate::file::lost_locks::process_without_locks;
use crate::file::process_lock::FileLock;
use crate::lmdb::env::Env;
use crate::lmdb::raw::Environment;
use crate::sync::deadline::Deadline;
use crate::sync::primitives::unpoisoned;

impl Env {
    /// Lets other processes see that this one has LMDB's locks.
    pub(super) fn mark_lmdb_open(&self) -> Result<()> {
        let marked = self.process_lock.mark_lmdb_open();
        marked.map_err(|e| Error::io("opening", &self.path, e))
    }

    /// Takes that back before LMDB is closed, which drops its locks. Nothing is read any more.
    pub(super) fn unmark_lmdb_open(&self) {
        // It cannot fail: the descriptor is open, and nothing is waited for.
        let _ = self.process_lock.unmark_lmdb_open();
    }

    /// Frees the reader slots of processes that died; how many those were. The caller keeps the
    /// environment open.
    ///
    /// LMDB takes a process for dead that has lost its locks. Its slots stay, and so do those of
    /// the dead while there is such a process.
    pub(crate) fn clear_dead_readers(&self) -> Result<u32> {
        let held = unpoisoned(self.held.lock());
        let lock_file = held.as_ref().and_then(|held| held.lock_file.clone());
        drop(held);
        if let Some(lock_file) = lock_file {
            let lost = process_without_locks(&self.process_lock, &lock_file);
            if lost.is_ok_and(|lost| lost.is_some()) {
                return Ok(0);
            }
        }
        let cleared = self.lmdb()?.clear_dead_readers();
        cleared.map_err(|e| self.lmdb_error("clearing dead readers", e))
    }
}

/// Whether the reader table has slots of this process's id, though this process has no read yet.
/// They are left over from a process that had the same id, as the first process of a container has
/// each time, and LMDB takes them for those of this one.
pub(super) fn has_own_slots(lmdb: &Environment) -> bool {
    let (own, mut found) = (std::process::id(), false);
    lmdb.each_slot(|process, _| found |= process == own);
    found
}

/// Refuses a store that another process has open without LMDB's locks: opening it would give the
/// pages that the process reads to writers.
pub(super) fn refuse_lost_locks(path: &Path, data_file: &FileLock, held: &Held) -> Result<()> {
    /// Whatever the lock wait is: a process that closes the store while this one looks is without
    /// locks for a moment.
    const CLOSING: Duration = Duration::from_secs(1);
    let Some(lock_file) = &held.lock_file else {
        return Ok(());
    };
    let mut lost = None;
    let found = Deadline::after(CLOSING).poll("a process that closes the store", || {
        lost = process_without_locks(data_file, lock_file)
            .map_err(|e| Error::io("looking for processes without locks", path, e))?;
        Ok(lost.is_none().then_some(()))
    });
    match lost {
        Some(pid) => Err(Error::LocksLost {
            path: path.into(),
            pid,
        }),
        None => found,
    }
}
