//! The bounds of deferred commits: a thread flushes them once they are old enough, and closing the
//! store flushes them too.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::file::turn::PATIENCE;
use crate::lmdb::deferral::{Deferral, Unflushed};
use crate::lmdb::env::Env;
use crate::lmdb::flusher::Chore;
use crate::lmdb::one_flush::OneFlush;
use crate::sync::deadline::Deadline;
use crate::sync::lock_wait::LockWait;
use crate::sync::primitives::unpoisoned;

/// The least pause after a flush that has failed, and how often it doubles with each further one.
/// So a disk that fails for a moment stops no writes.
const LEAST_PAUSE: Duration = Duration::from_millis(100);
const MOST_DOUBLINGS: u32 = 8;
/// How long the thread sleeps at most while commits are pinned.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long the thread waits for another process at a time, since it keeps the writer gate
/// meanwhile: threads that close the store or replace its map need that, and not the lock between
/// processes. It is enough to pass over the turn of a process that was stopped.
const SLICE: Duration = PATIENCE.saturating_mul(2);

impl Chore for Env {
    fn flush_due(&self) -> Option<Instant> {
        self.flush_deferred_in_time()
    }
}

impl Env {
    /// Makes sure that the thread will flush what is deferred in time; false if it cannot.
    pub(super) fn watch_deferred(&self, one_flush: &OneFlush, unflushed: &mut Unflushed) -> bool {
        if !unflushed.watched {
            let first = self.config.deferred_age.min(LONGEST_PAUSE);
            unflushed.watched = one_flush.flusher.wake_after(first);
        }
        unflushed.watched
    }

    /// Flushes deferred commits that are old enough, and ends a deferral that is not used any more,
    /// or that another process has ended. Returns when to check again, if at all. The thread calls
    /// this.
    pub(super) fn flush_deferred_in_time(&self) -> Option<Instant> {
        let one_flush = self.one_flush.as_ref()?;
        self.check_writable().ok()?;
        let age = self.config.deferred_age;
        let again = || {
            let failures = one_flush.failures.load(Ordering::Relaxed);
            let pause = LEAST_PAUSE * (1 << failures.min(MOST_DOUBLINGS));
            Instant::now().checked_add(age.max(pause))
        };
        if let Some(later) = self.next_check(one_flush) {
            return Some(later);
        }
        let waits = LockWait::new(SLICE.min(self.config.lock_wait));
        let Ok(_writing) = self.begin_writing(&waits) else {
            return Instant::now().checked_add(LEAST_PAUSE);
        };
        // It may have been flushed meanwhile.
        if let Some(later) = self.next_check(one_flush) {
            return Some(later);
        }
        let _flushing = self.begin_flushing();
        let newest = one_flush.newest_commit();
        let (is_taken_over, count) = {
            let deferred = unpoisoned(one_flush.deferred.lock());
            let is_taken_over = is_taken_over(one_flush, &deferred.state);
            (is_taken_over, deferred.unflushed.count)
        };
        if !is_taken_over && count > 0 {
            match self.flush_anchored(one_flush, newest, false) {
                Some(Ok(())) => return Instant::now().checked_add(age.min(LONGEST_PAUSE)),
                Some(Err(_)) => return again(),
                None => {}
            }
        }
        self.end_deferral(one_flush);
        // Another process that took over has flushed all of it, and may defer commits itself.
        let is_settled = is_taken_over && !one_flush.owes_a_flush();
        if !is_settled {
            let is_marked = one_flush.pages.is_marked(newest);
            if !is_marked && self.settle_newest(one_flush, newest, &waits).is_err() {
                return again();
            }
            if one_flush.expects_deferral.load(Ordering::Relaxed) {
                self.get_ready(one_flush);
            }
        }
        // Others read the count alone, and not who has flushed.
        self.counters.deferred.store(0, Ordering::Relaxed);
        let mut deferred = unpoisoned(one_flush.deferred.lock());
        deferred.unflushed.watched = false;
        match deferred.state {
            Deferral::None => None,
            _ => Instant::now().checked_add(LONGEST_PAUSE),
        }
    }

    /// When the thread has to check again, if nothing is due now: a second later at the latest,
    /// since another process may end the deferral and write on, and the pins of this one would keep
    /// all pages from being used again.
    fn next_check(&self, one_flush: &OneFlush) -> Option<Instant> {
        let mut deferred = unpoisoned(one_flush.deferred.lock());
        let now = Instant::now();
        let expects = one_flush.expects_deferral.load(Ordering::Relaxed);
        let since = match (&deferred.state, deferred.unflushed.count) {
            (Deferral::None, _) => return None,
            (state, _) if is_taken_over(one_flush, state) => return None,
            (Deferral::Anchored(_), 0) if expects => {
                // The next write that is deferred wakes the thread in time.
                deferred.unflushed.watched = false;
                return now.checked_add(LONGEST_PAUSE);
            }
            (_, 0) => deferred.unflushed.last,
            _ => deferred.unflushed.first,
        };
        let latest = now.checked_add(LONGEST_PAUSE)?;
        let due = since.checked_add(self.config.deferred_age);
        let due = due.map_or(latest, |due| due.min(latest));
        (due > now).then_some(due)
    }

    /// Gets ready for deferred writes, in a store that was just opened, and stays so while nobody
    /// writes.
    pub fn expect_deferral(&self) {
        let Some(one_flush) = &self.one_flush else {
            return;
        };
        let now = || Deadline::over(Duration::ZERO);
        let Ok(_writer) = self.writer.acquire(&now()) else {
            return;
        };
        one_flush.expects_deferral.store(true, Ordering::Relaxed);
        // Without the thread, pins could outlast their use.
        if !one_flush.flusher.wake_after(LONGEST_PAUSE) {
            return;
        }
        if let Ok(_lock) = self.process_lock.lock_writer(&self.path, &now()) {
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
        let owes = one_flush.owes_a_flush();
        if !owes && (has_stopped || is_none()) {
            return Ok(Ok(()));
        }
        if has_stopped {
            return Ok(Err(self.stopped()));
        }
        let now = Deadline::over(self.config.lock_wait);
        let wait = if owes { deadline } else { &now };
        let _lock = match self.process_lock.lock_writer(&self.path, wait) {
            // The next writer removes the anchors, as after a process that was killed.
            Err(Error::Timeout { .. }) if !owes => {
                self.end_deferral(one_flush);
                return Ok(Ok(()));
            }
            lock => lock?,
        };
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

/// Whether another process has ended this one's deferral: its anchors are gone. It may look so for
/// a moment while another process writes.
fn is_taken_over(one_flush: &OneFlush, state: &Deferral) -> bool {
    match state {
        Deferral::Anchored(own) => one_flush.pages.anchors() != own.anchors,
        _ => false,
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
