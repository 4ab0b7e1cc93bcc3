//! Waiting for a slot in LMDB's reader table, which is full: first in, first out.
//!
//! Other processes release slots without a notice, so a thread has to look again and again. That is
//! the one that is first in the queue; the others sleep until it is their turn.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::lmdb::env::Env;
use crate::sync::deadline::Deadline;
use crate::sync::read_permits;
use crate::sync::reader_queue::FirstInQueue;

/// How long the first in the queue sleeps before it looks again, unless it is woken.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

impl Env {
    /// Waits after the reader table was found full, and returns when it is time to try again. From
    /// the first call on, this thread is the `first` in the queue, until that is dropped.
    pub(crate) fn wait_for_slot<'e>(
        &'e self,
        deadline: &Deadline,
        first: &mut Option<FirstInQueue<'e>>,
    ) -> Result<()> {
        let permit = self.enter(deadline)?;
        let dead = self.clear_dead_readers()?;
        drop(permit);
        if dead > 0 {
            return Ok(());
        }
        let Some(first) = first else {
            *first = Some(self.enter_queue(deadline)?);
            return Ok(());
        };
        let left = deadline.left();
        if left.is_zero() {
            return Err(self.no_slot());
        }
        first.wait_for_release(left.min(LOOK_AGAIN));
        Ok(())
    }

    /// Waits a moment in the queue, for a caller that has to begin from the start then.
    pub(crate) fn wait_in_queue(&self, deadline: &Deadline) -> Result<()> {
        let mut first = None;
        self.wait_for_slot(deadline, &mut first)?;
        self.wait_for_slot(deadline, &mut first)
    }

    /// Gets in line behind the threads that wait for a slot, if there are any.
    #[inline]
    pub(crate) fn wait_behind_queue<'e>(
        &'e self,
        deadline: &Deadline,
    ) -> Result<Option<FirstInQueue<'e>>> {
        if !self.reader_queue.is_busy() {
            return Ok(None);
        }
        self.enter_queue(deadline).map(Some)
    }

    fn enter_queue(&self, deadline: &Deadline) -> Result<FirstInQueue<'_>> {
        read_permits::WAITS.fetch_add(1, Ordering::Relaxed);
        self.reader_queue
            .enter(deadline)
            .ok_or_else(|| self.no_slot())
    }

    #[cold]
    fn no_slot(&self) -> Error {
        read_permits::REFUSALS.fetch_add(1, Ordering::Relaxed);
        match self.max_readers() {
            Ok(slots) => Error::ReadersFull { slots },
            Err(error) => error,
        }
    }
}
