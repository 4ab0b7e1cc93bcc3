//! The bounds of deferred commits: a thread flushes them once they are old enough, and closing the
//! store flushes them too.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::lmdb::deferral::{Deferral, Deferred, Unflushed};
use crate::lmdb::env::Env;
use crate::lmdb::flusher::Chore;
use crate::lmdb::one_flush::OneFlush;
use crate::sync::deadline::Deadline;
use crate::sync::primitives::unpoisoned;

/// The least pause after a flush that has failed, and how often it doubles with each further one.
/// So a disk that fails for a moment stops no writes.
const LEAST_PAUSE: Duration = Duration::from_millis(100);
const MOST_DOUBLINGS: u32 = 8;

impl Chore for Env {
    fn look(&self) -> Option<Instant> {
        self.look_after_deferred()
    }
}

impl Env {
    /// Makes sure that the thread will flush what is deferred in time; false if it cannot.
    pub(super) fn watch_deferred(&self, one_flush: &OneFlush, unflushed: &mut Unflushed) -> bool {
        if !unflushed.watched {
            unflushed.watched = one_flush.flusher.wake_after(self.config.deferred_age);
        }
        unflushed.watched
    }

    /// Flushes deferred commits that are old enough, and ends a deferral that is not used any more.
    /// Returns when to check again, if at all. The thread calls this.
    pub(super) fn look_after_deferred(&self) -> Option<Instant> {
        let one_flush = self.one_flush.as_ref()?;
        let age = self.config.deferred_age;
        self.check_writable().ok()?;
        let again = || {
            let failures = one_flush.failures.load(Ordering::Relaxed);
            let pause = LEAST_PAUSE * (1 << failures.min(MOST_DOUBLINGS));
            Instant::now().checked_add(age.max(pause))
        };
        let waits = self.lock_wait();
        let Ok(_writing) = self.begin_writing(&waits) else {
            return again();
        };
        let _flushing = self.begin_flushing();
        let newest = one_flush.newest_commit();
        let (is_anchored, due) = {
            let mut deferred = unpoisoned(one_flush.deferred.lock());
            if self.is_ready(one_flush, &deferred) {
                deferred.unflushed.watched = false;
                return None;
            }
            let unflushed = &deferred.unflushed;
            let since = match unflushed.count {
                0 => unflushed.last,
                _ => unflushed.first,
            };
            let is_anchored = match &deferred.state {
                Deferral::None => None,
                Deferral::First(_) => Some(false),
                Deferral::Anchored(_) => Some(unflushed.count > 0),
            };
            (is_anchored, since.checked_add(age)?)
        };
        if is_anchored.is_some() && due > Instant::now() {
            return Some(due);
        }
        if is_anchored == Some(true) {
            match self.flush_anchored(one_flush, newest, false) {
                Some(Ok(())) => return Instant::now().checked_add(age),
                Some(Err(_)) => return again(),
                None => {}
            }
        }
        self.end_deferral(one_flush);
        let settled = match one_flush.pages.is_marked(newest) {
            true => Ok(()),
            false => self.settle_newest(one_flush, newest, &waits),
        };
        if settled.is_err() {
            return again();
        }
        unpoisoned(one_flush.deferred.lock()).unflushed.watched = false;
        if one_flush.expects_deferral.load(Ordering::Relaxed) {
            self.get_ready(one_flush);
        }
        None
    }

    /// Whether nothing is unflushed, and what was made ready for deferred writes stays so.
    fn is_ready(&self, one_flush: &OneFlush, deferred: &Deferred) -> bool {
        one_flush.expects_deferral.load(Ordering::Relaxed)
            && matches!(deferred.state, Deferral::Anchored(_))
            && deferred.unflushed.count == 0
    }

    /// Gets ready for deferred writes, in a store that was just opened, and stays so while nobody
    /// writes.
    pub fn expect_deferral(&self) {
        let Some(one_flush) = &self.one_flush else {
            return;
        };
        one_flush.expects_deferral.store(true, Ordering::Relaxed);
        let now = Deadline::over(Duration::ZERO);
        if let Ok(_lock) = self.process_lock.lock_writer(&self.path, &now) {
            let _flushing = self.begin_flushing();
            self.get_ready(one_flush);
        }
    }

    /// Flushes what this process has deferred, where the store is about to be closed. The caller
    /// is the process's writer.
    pub(super) fn settle_at_close(&self, deadline: &Deadline) -> Result<Result<()>> {
        let Some(one_flush) = &self.one_flush else {
            return Ok(Ok(()));
        };
        let is_none = || matches!(unpoisoned(one_flush.deferred.lock()).state, Deferral::None);
        let has_stopped = self.writes_stopped.load(Ordering::Relaxed);
        if !one_flush.owes_a_flush() && (has_stopped || is_none()) {
            return Ok(Ok(()));
        }
        if has_stopped {
            return Ok(Err(self.stopped()));
        }
        let _lock = self.process_lock.lock_writer(&self.path, deadline)?;
        let _flushing = self.begin_flushing();
        self.end_deferral(one_flush);
        let newest = one_flush.newest_commit();
        Ok(match one_flush.pages.is_marked(newest) {
            true => Ok(()),
            false => self.settle_newest(one_flush, newest, &self.lock_wait()),
        })
    }

    /// Permits this environment to defer commits: the thread that flushes them gets to know it.
    pub fn permit_deferral(self: &Arc<Env>) {
        if let Some(one_flush) = &self.one_flush {
            let env: Arc<dyn Chore> = Arc::clone(self) as _;
            one_flush.flusher.serve(Arc::downgrade(&env));
        }
    }

    /// Flushes what was deferred, once no thread writes through this environment any more.
    pub fn finish_deferral(&self) {
        let Some(one_flush) = &self.one_flush else {
            return;
        };
        if !self.handle.is_own_process() {
            return;
        }
        one_flush.flusher.stop();
        let deadline = self.deadline();
        let Ok(_writer) = self.writer.acquire(&deadline) else {
            return;
        };
        if self.check_usable().is_ok() {
            // No call is left that could return the error.
            let _ = self.settle_at_close(&deadline);
        }
    }
}
