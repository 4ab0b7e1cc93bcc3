//! The line of those who wait for a place in LMDB's reader table, which is full: first come, first
//! served.
//!
//! Places are given back by other processes too, which tell nobody, so somebody has to look again
//! and again. That is who is first in the line; the others sleep until it is their turn.

use std::sync::atomic::Ordering;
use std::thread::{self};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::lmdb::env::Env;
use crate::sync::deadline::Deadline;
use crate::sync::read_permits;
use crate::sync::reader_queue::Turn;

/// How long the first in the line sleeps before it looks again, unless it is woken.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

impl Env {
    /// Gets into the line, for who found the table full, and returns when it is time to try again:
    /// with the turn in hand, which is kept until there is a place.
    pub(crate) fn wait_for_place<'e>(
        &'e self,
        deadline: &Deadline,
        turn: &mut Option<Turn<'e>>,
    ) -> Result<()> {
        let slot = self.enter(deadline)?;
        let dead = self.clear_dead_readers()?;
        drop(slot);
        if dead > 0 {
            return Ok(());
        }
        if turn.is_none() {
            *turn = Some(self.enter_line(deadline)?);
            return Ok(());
        }
        let left = deadline.left();
        if left.is_zero() {
            return Err(self.no_place());
        }
        thread::park_timeout(left.min(LOOK_AGAIN));
        Ok(())
    }

    /// Waits a moment in the line, for who has to begin from the start then.
    pub(crate) fn wait_for_places(&self, deadline: &Deadline) -> Result<()> {
        let mut turn = None;
        self.wait_for_place(deadline, &mut turn)?;
        self.wait_for_place(deadline, &mut turn)
    }

    /// Lets who waits for a place go first.
    #[inline]
    pub(crate) fn after_others<'e>(&'e self, deadline: &Deadline) -> Result<Option<Turn<'e>>> {
        if !self.places.busy.load(Ordering::Relaxed) {
            return Ok(None);
        }
        self.enter_line(deadline).map(Some)
    }

    fn enter_line(&self, deadline: &Deadline) -> Result<Turn<'_>> {
        read_permits::WAITS.fetch_add(1, Ordering::Relaxed);
        self.places.enter(deadline).ok_or_else(|| self.no_place())
    }

    #[cold]
    fn no_place(&self) -> Error {
        read_permits::REFUSALS.fetch_add(1, Ordering::Relaxed);
        match self.max_readers() {
            Ok(slots) => Error::ReadersFull { slots },
            Err(error) => error,
        }
    }
}
