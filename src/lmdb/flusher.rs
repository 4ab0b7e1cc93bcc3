//! The thread that flushes deferred commits, so that a store to which nothing more is written does
//! not stay unflushed, and ends pins that are of no use any more. It is started by the first
//! deferred commit of a process, or by opening the store where such are expected, and ends with the
//! store.

use std::sync::{Arc, Condvar, Mutex, OnceLock, Weak};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, SigmaskHow};

use crate::sync::primitives::unpoisoned;

/// What the thread does.
pub(super) trait Chore: Send + Sync {
    /// Flushes what is due. Returns when to check again, if at all.
    fn flush_due(&self) -> Option<Instant>;
}

/// The thread, if it was started, and when it is to check again.
#[derive(Default)]
pub(super) struct Flusher {
    /// What the thread does, while the environment lives; none where nothing may be deferred.
    chore: OnceLock<Weak<dyn Chore>>,
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
    /// Sets what the thread does.
    pub fn serve(&self, chore: Weak<dyn Chore>) {
        let _ = self.chore.set(chore);
    }

    /// Has the thread check after that time, and starts it if need be; false if that fails.
    pub fn wake_after(&self, time: Duration) -> bool {
        let Some(chore) = self.chore.get() else {
            return false;
        };
        let mut thread = unpoisoned(self.thread.lock());
        let mut state = unpoisoned(self.alarm.state.lock());
        if state.stopped {
            return false;
        }
        if thread.is_none() {
            *thread = start(Weak::clone(chore), Arc::clone(&self.alarm));
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
fn start(chore: Weak<dyn Chore>, alarm: Arc<Alarm>) -> Option<JoinHandle<()>> {
    let own = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK).ok()?;
    let builder = Builder::new().name("pool-metadata".to_owned());
    let thread = builder.spawn(move || run(&chore, &alarm)).ok();
    let _ = own.thread_set_mask();
    thread
}

fn run(chore: &Weak<dyn Chore>, alarm: &Alarm) {
    while alarm.sleep() {
        let Some(chore) = chore.upgrade() else {
            return;
        };
        let next = chore.flush_due();
        let mut state = unpoisoned(alarm.state.lock());
        // A write may have asked for an earlier check meanwhile.
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
