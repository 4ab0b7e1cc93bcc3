//! Reading on after LMDB has given up.
//!
//! When writing a meta page fails, LMDB writes its old number back and marks the environment: every
//! transaction of it fails from then on, reads too (mdb.c, `MDB_FATAL_ERROR`). What was committed
//! before is as sound as it was, so the environment is closed and opened anew for reading; writes
//! stay refused until the store is opened again.

use std::mem::ManuallyDrop;
use std::sync::atomic::Ordering;

use crate::error::{Error, Result};
use crate::file::fs::check_same;
use crate::lmdb::env::Env;
use crate::lmdb::open::{open_lmdb, open_tables};
use crate::sync::deadline::Deadline;
use crate::sync::primitives::unpoisoned;
use crate::verify::head;

/// Closes the store when it is dropped: LMDB's old environment is gone, and there is no new one.
struct Unfinished<'e>(&'e Env);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.0.state.close();
        self.0.let_files_go();
    }
}

impl Env {
    /// Opens LMDB's environment anew, once no transaction of the old one is in use.
    pub(crate) fn renew(&self, deadline: &Deadline) -> Result<()> {
        let writer = self.writer.acquire(deadline)?;
        let no_walk = self.snapshots.block(deadline)?;
        let _quiet = self.quiet(&writer, &no_walk, deadline)?;
        if !self.has_given_up() {
            return Ok(()); // another thread has been here
        }
        self.writes_stopped.store(true, Ordering::Relaxed);
        let opened = self
            .file
            .metadata()
            .map_err(|e| Error::io("opening", &self.path, e))?;
        check_same(&self.path, &opened)?;
        let held = unpoisoned(self.held.lock());
        if let Some(held) = &*held {
            held.check_in_place(&self.path)?;
        }
        drop(held);
        let head = head::identify(&self.file, &self.path, deadline)?;
        // Who comes meanwhile waits. This is dropped before what keeps them waiting.
        let unfinished = Unfinished(self);
        // SAFETY: the environment is quiet and not closed.
        unsafe { self.release() };
        let lmdb = open_lmdb(&self.path, &self.config, &head)?;
        // In the same order as before, so that their handles are the same numbers. Others may have
        // taken the places that this process had.
        open_tables(&lmdb, &self.path, deadline)?;
        // SAFETY: as above; the old environment was dropped in place.
        unsafe { self.lmdb.get().write(ManuallyDrop::new(lmdb)) };
        std::mem::forget(unfinished);
        let _ = self.close_on_exec();
        Ok(())
    }

    /// Whether LMDB refuses all transactions. The caller has kept everybody out. Where the reader
    /// table is full nothing can be told by it: then it is not known not to.
    pub(crate) fn has_given_up(&self) -> bool {
        matches!(
            self.lmdb().begin_ro_txn().map(drop),
            Err(lmdb::Error::Panic | lmdb::Error::ReadersFull)
        )
    }

    /// The same for who keeps all other writers out, of other processes too, and can tell without a
    /// place in that table.
    pub(crate) fn has_given_up_writing(&self) -> bool {
        matches!(
            self.lmdb().begin_rw_txn().map(drop),
            Err(lmdb::Error::Panic)
        )
    }
}
