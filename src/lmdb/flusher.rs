//! The thread that flushes what was deferred, so that a store on which nobody works any more does
//! not stay unflushed. It is started by the first deferred commit of a process, and ends with the
//! store.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, OnceLock, Weak};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, SigmaskHow};

use crate::error::Result;
use crate::lmdb::deferred::{Deferral, Deferred, Unflushed};
use crate::lmdb::env::Env;
use crate::lmdb::one_flush::OneFlush;
use crate::sync::deadline::Deadline;
use crate::sync::primitives::unpoisoned;

/// How long the thread waits at least before it tries again what has failed: so much, and twice as
/// long after each flush that fails, so often. A disk that fails for a moment stops no writes.
const LEAST_PAUSE: Duration = Duration::from_millis(100);
const MOST_DOUBLINGS: u32 = 8;

/// The thread, if it was started, and when it is to look again.
#[derive(Default)]
pub(super) struct Flusher {
    /// The environment that it flushes; none where nothing may be deferred.
    env: OnceLock<Weak<Env>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    alarm: Arc<Alarm>,
}

/// When the thread wakes.
#[derive(Default)]
struct Alarm {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stopped: bool,
    due: Option<Instant>,
}

impl Flusher {
    /// Says which environment it flushes.
    pub fn serve(&self, env: &Arc<Env>) {
        let _ = self.env.set(Arc::downgrade(env));
    }

    /// Has the thread look after that time; false if there is none and it cannot be started.
    pub fn wake_after(&self, time: Duration) -> bool {
        let Some(env) = self.env.get() else {
            return false;
        };
        let mut thread = unpoisoned(self.thread.lock());
        let mut state = unpoisoned(self.alarm.state.lock());
        if state.stopped {
            return false;
        }
        if thread.is_none() {
            *thread = start(Weak::clone(env), Arc::clone(&self.alarm));
        }
        state.due = Instant::now().checked_add(time);
        drop(state);
        self.alarm.changed.notify_one();
        thread.is_some()
    }

    /// Ends the thread, once a flush that it has begun is done. The caller holds no lock that it
    /// may wait for.
    pub fn stop(&self) {
        unpoisoned(self.alarm.state.lock()).stopped = true;
        self.alarm.changed.notify_one();
        let thread = unpoisoned(self.thread.lock()).take();
        if let Some(thread) = thread {
            // It does not panic; if it did, it would be at its end as well.
            let _ = thread.join();
        }
    }
}

/// Starts the thread. The program's signals are for its own threads.
fn start(env: Weak<Env>, alarm: Arc<Alarm>) -> Option<JoinHandle<()>> {
    let own = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK).ok()?;
    let builder = Builder::new().name("pool-metadata".to_owned());
    let thread = builder.spawn(move || run(&env, &alarm)).ok();
    let _ = own.thread_set_mask();
    thread
}

fn run(env: &Weak<Env>, alarm: &Alarm) {
    while alarm.sleep() {
        let Some(env) = env.upgrade() else {
            return;
        };
        let next = env.look_after_deferred();
        let mut state = unpoisoned(alarm.state.lock());
        // A write may have asked for an earlier look meanwhile.
        state.due = [state.due, next].into_iter().flatten().min();
    }
}

impl Alarm {
    /// Sleeps until it is due; false once the thread is to end.
    fn sleep(&self) -> bool {
        let mut state = unpoisoned(self.state.lock());
        loop {
            if state.stopped {
                return false;
            }
            let left = state
                .due
                .map(|due| due.saturating_duration_since(Instant::now()));
            state = match left {
                None => unpoisoned(self.changed.wait(state)),
                Some(Duration::ZERO) => {
                    state.due = None;
                    return true;
                }
                Some(left) => unpoisoned(self.changed.wait_timeout(state, left)).0,
            };
        }
    }
}

impl Env {
    /// Makes sure that the thread looks after what is deferred.
    pub(super) fn watch_deferred(&self, one_flush: &OneFlush, unflushed: &mut Unflushed) -> bool {
        if !unflushed.watched {
            unflushed.watched = one_flush.flusher.wake_after(self.config.deferred_age);
        }
        unflushed.watched
    }

    /// Flushes what was deferred for as long as it may be, and ends a deferral that nobody uses any
    /// more; when to look again, if that is to be. The thread calls this.
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
        if self.writes_stopped.load(Ordering::Relaxed) || is_none() && !one_flush.owes_a_flush() {
            return Ok(Ok(()));
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

    /// Says that this environment may defer commits: what flushes them can reach it.
    pub fn permit_deferral(self: &Arc<Env>) {
        if let Some(one_flush) = &self.one_flush {
            one_flush.flusher.serve(self);
        }
    }

    /// Flushes what was deferred, once nobody writes through this environment any more.
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
            // Nobody is left who could be told.
            let _ = self.settle_at_close(&deadline);
        }
    }
}
