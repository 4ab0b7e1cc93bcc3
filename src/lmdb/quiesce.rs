//! Keeping reads away from LMDB's environment while it is closed or reopened, or while its map is
//! replaced.
//!
//! The thread that does one of these holds the writer gate, so that there is one at a time, and
//! keeps walks from being open. Short reads look at the state once they have a permit: see
//! `sync/read_permits.rs`.

use std::time::Duration;

use crate::error::Result;
use crate::lmdb::env::{Env, Writer};
use crate::lmdb::raw;
use crate::sync::callbacks::CallbackScope;
use crate::sync::deadline::Deadline;
use crate::sync::exclusion::NoWalks;
use crate::sync::read_permits::ReadPermit;

/// Nothing uses LMDB's environment, and nothing begins to, until this is dropped.
pub(crate) struct Quiesced<'e> {
    env: &'e Env,
    pub(super) handle: raw::Quiesced<'e>,
}

impl Quiesced<'_> {
    /// Closes the store and releases its files.
    pub fn close(self) {
        self.env.unmark_lmdb_open();
        self.handle.close();
        self.env.release_files();
    }
}

impl Env {
    /// Waits until no walk is open, and keeps it that way. A wait for a walk whose callback this
    /// thread is in could not end, so it times out at once.
    pub(crate) fn block_walks(&self, deadline: &Deadline) -> Result<NoWalks<'_>> {
        if CallbackScope::is_inside(self) {
            return Err(Deadline::over(Duration::ZERO)
                .expired("the end of the walk from whose callback this call comes"));
        }
        self.snapshots.block(deadline)
    }

    /// Waits for the reads in flight, and keeps new ones waiting.
    pub(crate) fn quiesce<'e>(
        &'e self,
        _writer: &'e Writer<'_>,
        _no_walk: &'e NoWalks<'_>,
        deadline: &Deadline,
    ) -> Result<Quiesced<'e>> {
        let handle = self.handle.quiesce(deadline)?;
        Ok(Quiesced { env: self, handle })
    }

    /// A read permit, with the environment open for as long as it is held.
    pub(crate) fn enter(&self, deadline: &Deadline) -> Result<ReadPermit> {
        loop {
            let permit = ReadPermit::acquire(deadline)?;
            self.check_usable()?;
            if self.handle.is_open() {
                return Ok(permit);
            }
            drop(permit);
            self.wait_until_open(deadline)?;
        }
    }

    /// Waits, without a permit, for the thread that has the environment quiesced.
    pub(crate) fn wait_until_open(&self, deadline: &Deadline) -> Result<()> {
        deadline.poll("a change of the map's size, or the store's end", || {
            self.check_usable()?;
            Ok(self.handle.is_open().then_some(()))
        })
    }
}
