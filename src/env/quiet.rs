//! Keeping reads away from LMDB's environment while it is closed or opened anew, or while its map
//! is replaced.
//!
//! Who does one of these holds the writer gate, so that there is one at a time, and keeps walks
//! from being open. Short reads look at the state once they have a slot; see `slots.rs`.

use super::slots::{wait_for_reads, Slot};
use super::snapshot::Blocked;
use super::write::Writer;
use super::{Deadline, Env};
use crate::error::{Error, Result};
use std::sync::atomic::{AtomicU8, Ordering};

const OPEN: u8 = 0;
/// Reads wait.
const QUIET: u8 = 1;
const CLOSED: u8 = 2;

/// Whether an environment is open, and can be read at the moment.
#[derive(Default)]
pub(super) struct State(AtomicU8);

impl State {
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.0.load(Ordering::Relaxed) == CLOSED
    }

    /// Whether it can be read, for who holds a slot: then it stays so until the slot is given back.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.0.load(Ordering::SeqCst) == OPEN
    }

    fn change(&self, from: u8, to: u8) -> bool {
        self.0
            .compare_exchange(from, to, Ordering::SeqCst, Ordering::Relaxed)
            .is_ok()
    }

    /// For good. Only who has the environment quiet does this.
    pub fn close(&self) {
        self.0.store(CLOSED, Ordering::SeqCst);
    }
}

/// Nothing uses LMDB's environment, and nothing begins to, until this is dropped.
pub(super) struct Quiet<'e>(&'e Env);

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
        self.0.state.change(QUIET, OPEN);
    }
}

impl Env {
    /// Waits for the reads in flight, and keeps new ones waiting.
    pub(super) fn quiet<'e>(
        &'e self,
        _writer: &'e Writer<'_>,
        _no_walk: &'e Blocked<'_>,
        deadline: &Deadline,
    ) -> Result<Quiet<'e>> {
        self.check_usable()?;
        if !self.state.change(OPEN, QUIET) {
            return Err(Error::Closed);
        }
        let quiet = Quiet(self);
        wait_for_reads(deadline)?;
        Ok(quiet)
    }

    /// A slot, with the environment open for as long as it is held.
    pub(super) fn enter(&self, deadline: &Deadline) -> Result<Slot> {
        loop {
            let slot = Slot::acquire(deadline)?;
            self.check_usable()?;
            if self.state.is_open() {
                return Ok(slot);
            }
            drop(slot);
            self.wait_until_open(deadline)?;
        }
    }

    /// Waits, without a slot, for who has the environment quiet.
    pub(super) fn wait_until_open(&self, deadline: &Deadline) -> Result<()> {
        deadline.poll("a change of the map's size, or the store's end", || {
            self.check_usable()?;
            Ok(self.state.is_open().then_some(()))
        })
    }
}
