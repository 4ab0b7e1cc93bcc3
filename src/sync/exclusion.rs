//! Keeping reads and walks away from what is closed or replaced.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::sync::deadline::Deadline;

pub(crate) const OPEN: u8 = 0;

/// Reads wait.
pub(crate) const QUIET: u8 = 1;

const CLOSED: u8 = 2;

/// Whether an environment is open, and can be read at the moment.
#[derive(Default)]
pub(crate) struct OpenState(AtomicU8);

impl OpenState {
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.0.load(Ordering::Relaxed) == CLOSED
    }

    /// Whether it can be read, for who holds a slot: then it stays so until the slot is given back.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.0.load(Ordering::SeqCst) == OPEN
    }

    pub fn change(&self, from: u8, to: u8) -> bool {
        self.0
            .compare_exchange(from, to, Ordering::SeqCst, Ordering::Relaxed)
            .is_ok()
    }

    /// For good. Only who has the environment quiet does this.
    pub fn close(&self) {
        self.0.store(CLOSED, Ordering::SeqCst);
    }
}

/// How many snapshots of one environment are open, and whether more may be opened.
#[derive(Default)]
pub(crate) struct WalkGate {
    state: Mutex<Walks>,
    changed: Condvar,
}

#[derive(Default)]
struct Walks {
    /// When each was opened, by its number: in the order in which they came.
    open: BTreeMap<u64, Instant>,
    opened: u64,
    /// How many wait for all to be closed.
    wanted: usize,
    blocked: bool,
}

/// No snapshot is open and none can be opened, until this is dropped.
pub(crate) struct NoWalks<'a>(&'a WalkGate);

impl WalkGate {
    fn lock(&self) -> MutexGuard<'_, Walks> {
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// How many are open, and how long the oldest of them has been.
    pub fn open(&self) -> (usize, Duration) {
        let state = self.lock();
        let oldest = state.open.values().next();
        (
            state.open.len(),
            oldest.map_or(Duration::ZERO, Instant::elapsed),
        )
    }

    /// WalkGates one more; its number.
    pub fn enter(&self, deadline: &Deadline) -> Result<u64> {
        let mut state = self.lock();
        if state.wanted > 0 {
            // Somebody waits for all snapshots to end, and gets there only if no new ones begin.
            // But it could be waiting for one that this thread has open, so this is a
            // courtesy, and not for the whole wait.
            let courtesy = Deadline::after(deadline.left() / 8);
            let gone = self.wait_while(state, &courtesy, "", |s| s.wanted > 0);
            state = gone.unwrap_or_else(|_| self.lock());
        }
        let mut state =
            self.wait_while(state, deadline, "a change of the map's size", |s| s.blocked)?;
        state.opened += 1;
        let number = state.opened;
        state.open.insert(number, Instant::now());
        Ok(number)
    }

    pub fn leave(&self, number: u64) {
        self.lock().open.remove(&number);
        self.changed.notify_all();
    }

    /// Waits until no snapshot is open, and keeps it that way.
    pub fn block(&self, deadline: &Deadline) -> Result<NoWalks<'_>> {
        let mut state = self.lock();
        state.wanted += 1;
        let waited = self.wait_while(state, deadline, "walks that are open", |s| {
            !s.open.is_empty() || s.blocked
        });
        let (mut state, failed) = match waited {
            Ok(state) => (state, None),
            Err(error) => (self.lock(), Some(error)),
        };
        state.wanted -= 1;
        state.blocked |= failed.is_none();
        drop(state);
        self.changed.notify_all();
        match failed {
            None => Ok(NoWalks(self)),
            Some(error) => Err(error),
        }
    }

    fn wait_while<'a>(
        &'a self,
        mut state: MutexGuard<'a, Walks>,
        deadline: &Deadline,
        what: &str,
        condition: impl Fn(&Walks) -> bool,
    ) -> Result<MutexGuard<'a, Walks>> {
        while condition(&state) {
            let left = deadline.left();
            if left.is_zero() {
                return Err(deadline.expired(what));
            }
            state = match self.changed.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        Ok(state)
    }
}

impl Drop for NoWalks<'_> {
    fn drop(&mut self) {
        self.0.lock().blocked = false;
        self.0.changed.notify_all();
    }
}
