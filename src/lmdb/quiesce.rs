//! Keeping reads away from LMDB's environment while it is closed or opened anew, or while its map
//! is replaced.
//!
//! A thread that does one of these holds the writer gate, so that there is one at a time, and keeps
//! walks from being open. Short reads look at the state once they have a read permit.

use crate::error::{Error, Result};
use crate::lmdb::env::{Env, Writer};
use crate::sync::deadline::Deadline;
use crate::sync::exclusion::{NoWalks, OPEN, QUIESCED};
use crate::sync::read_permits::{wait_for_reads, ReadPermit};

/// Nothing uses LMDB's environment, and nothing begins to, until this is dropped.
pub(crate) struct Quiet<'e>(&'e Env);

impl Quiet<'_> {
    /// Closes the environment and gives its files up.
    pub fn close(self) {
        self.0.state.close();
        // SAFETY: nothing uses it, and closed it stays; it was open until now.
        unsafe { self.0.release() };
        self.0.let_files_go();
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        // Unless it is closed.
        self.0.state.change(QUIESCED, OPEN);
    }
}

impl Env {
    /// Waits for the reads in flight, and keeps new ones waiting.
    pub(crate) fn quiet<'e>(
        &'e self,
        _writer: &'e Writer<'_>,
        _no_walk: &'e NoWalks<'_>,
        deadline: &Deadline,
    ) -> Result<Quiet<'e>> {
        self.check_usable()?;
        if !self.state.change(OPEN, QUIESCED) {
            return Err(Error::Closed);
        }
        let quiet = Quiet(self);
        wait_for_reads(deadline)?;
        Ok(quiet)
    }

    /// A read permit, with the environment open for as long as it is held.
    pub(crate) fn enter(&self, deadline: &Deadline) -> Result<ReadPermit> {
        loop {
            let permit = ReadPermit::acquire(deadline)?;
            self.check_usable()?;
            if self.state.is_open() {
                return Ok(permit);
            }
            drop(permit);
            self.wait_until_open(deadline)?;
        }
    }

    /// Waits, without a permit, until the environment is not quiesced any more.
    pub(crate) fn wait_until_open(&self, deadline: &Deadline) -> Result<()> {
        deadline.poll("a change of the map's size, or the store's end", || {
            self.check_usable()?;
            Ok(self.state.is_open().then_some(()))
        })
    }
}
