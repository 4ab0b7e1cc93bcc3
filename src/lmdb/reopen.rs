//! Reading on after LMDB has poisoned its environment.
//!
//! If writing a meta page fails, LMDB writes the old number back and marks the environment: every
//! transaction of it fails from then on, reads too (mdb.c, `MDB_FATAL_ERROR`). What was committed
//! before is as sound as it was, so the environment is closed and reopened for reading; writes
//! stay refused until the store is opened again.

use std::sync::atomic::Ordering;

use crate::error::{Error, Result};
use crate::file::fs::check_same;
use crate::lmdb::config::{Config, Sharing};
use crate::lmdb::env::Env;
use crate::lmdb::open::open_watched;
use crate::lmdb::open_tables::open_tables;
use crate::lmdb::raw::{Environment, LmdbError, ReadTxn, WriteTxn};
use crate::sync::deadline::Deadline;
use crate::sync::primitives::unpoisoned;
use crate::verify::head;
use crate::verify::head::Head;

impl Env {
    /// Reopens LMDB's environment, once no transaction of the old one is in use.
    pub(crate) fn reopen(&self, deadline: &Deadline) -> Result<()> {
        let writer = self.writer.acquire(deadline)?;
        let no_walk = self.block_walks(deadline)?;
        let quiesced = self.quiesce(&writer, &no_walk, deadline)?;
        if !self.is_poisoned()? {
            return Ok(()); // another thread has done it
        }
        let goes_on = self.one_flush.is_some() && !self.handle.watch().is_detached();
        if !goes_on {
            self.writes_stopped.store(true, Ordering::Relaxed);
        }
        let opened = self
            .file
            .metadata()
            .map_err(|e| Error::io("opening", &self.path, e))?;
        check_same(&self.path, &opened)?;
        let held = unpoisoned(self.held.lock());
        if let Some(held) = &*held {
            held.check_in_place()?;
        }
        drop(held);
        let head = head::identify(&self.file, &self.path, deadline)?;
        let mut config = self.config.clone();
        self.unmark_lmdb_open();
        if let Some(one_flush) = &self.one_flush {
            // Its pins end with the environment.
            self.end_deferral(one_flush);
        }
        if self.handle.watch().is_detached() {
            // Nobody writes any more, and the lock file cannot be written to.
            config = Config {
                read_only: true,
                sharing: Sharing::Temporary,
                ..config
            };
        }
        let open = || self.open_lmdb_again(&config, &head, deadline);
        let reopened = quiesced.handle.replace(open);
        // Readers that come meanwhile wait until `quiesced` is dropped.
        reopened.inspect_err(|_| self.release_files())?;
        if let (true, Some(one_flush)) = (goes_on, &self.one_flush) {
            one_flush.poisoned.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    fn open_lmdb_again(
        &self,
        config: &Config,
        head: &Head,
        deadline: &Deadline,
    ) -> Result<Environment> {
        let mut lmdb = open_watched(&self.path, config, head, self.handle.watch())?;
        // In the order in which they were opened first, so that they get the same numbers. Other
        // processes may have taken the reader slots that this one had.
        open_tables(&mut lmdb, &self.path, deadline)?;
        if config.sharing != Sharing::Temporary {
            self.mark_lmdb_open()?;
        }
        Ok(lmdb)
    }

    /// Whether LMDB refuses every transaction. The caller has quiesced the environment. If the
    /// reader table is full the probe is inconclusive, so assume that the environment is poisoned.
    fn is_poisoned(&self) -> Result<bool> {
        let probe = ReadTxn::begin(&self.lmdb()?).map(drop);
        Ok(matches!(
            probe,
            Err(LmdbError::Panic | LmdbError::ReadersFull)
        ))
    }

    /// Whether LMDB refuses every transaction. The caller holds the writer lock between processes,
    /// and so can probe with a write, which needs no reader slot.
    pub(crate) fn is_poisoned_for_writing(&self) -> bool {
        self.lmdb().is_ok_and(|lmdb| {
            let probe = WriteTxn::begin(&lmdb, self.tables.devices).map(drop);
            matches!(probe, Err(LmdbError::Panic))
        })
    }
}
