//! Keeping reads and walks away from a store that is being closed or replaced.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::sync::deadline::Deadline;
use crate::sync::primitives::{lock, wait_timeout, Condvar, Mutex, MutexGuard};

const OPEN: u8 = 0;
const QUIESCED: u8 = 1;
const CLOSED: u8 = 2;

/// Whether an environment is open, and can be read at the moment.
#[derive(Default)]
pub(crate) struct OpenState(AtomicU8);

impl OpenState {
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.0.load(Ordering::Relaxed) == CLOSED
    }

    /// Whether the environment can be read. For a thread that holds a read permit it stays so until
    /// the permit is released.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.0.load(Ordering::SeqCst) == OPEN
    }

    /// Has new reads wait; false if the environment is not open.
    pub fn quiesce(&self) -> bool {
        self.change(OPEN, QUIESCED)
    }

    /// Lets reads go on, unless the environment has been closed.
    pub fn resume(&self) {
        self.change(QUIESCED, OPEN);
    }

    fn change(&self, from: u8, to: u8) -> bool {
        self.0
            .compare_exchange(from, to, Ordering::SeqCst, Ordering::Relaxed)
            .is_ok()
    }

    /// Closes the environment for good. Called only while it is quiesced.
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
    /// Each snapshot by its number: in the order in which they were opened.
    open: BTreeMap<u64, OpenWalk>,
    opened: u64,
    /// How many threads wait for all snapshots to be closed.
    wanted: usize,
    blocked: bool,
}

/// A snapshot that is open.
struct OpenWalk {
    since: Instant,
    /// The commit that it sees, once it sees one.
    commit: Option<u64>,
}

/// No snapshot is open and none can be opened, until this is dropped.
pub(crate) struct NoWalks<'a>(&'a WalkGate);

impl WalkGate {
    /// How many snapshots are open, and for how long the oldest of them has been.
    pub fn open(&self) -> (usize, Duration) {
        let state = lock(&self.state);
        let oldest = state.open.values().next();
        (
            state.open.len(),
            oldest.map_or(Duration::ZERO, |walk| walk.since.elapsed()),
        )
    }

    /// The snapshots that see a commit, in the order in which they were opened: the commit, and for
    /// how long each has been open.
    pub fn ages(&self) -> Vec<(u64, Duration)> {
        let state = lock(&self.state);
        let walks = state.open.values();
        walks
            .filter_map(|walk| Some((walk.commit?, walk.since.elapsed())))
            .collect()
    }

    /// Says which commit the snapshot of this number sees.
    pub fn sees(&self, number: u64, commit: u64) {
        if let Some(walk) = lock(&self.state).open.get_mut(&number) {
            walk.commit = Some(commit);
        }
    }

    /// Counts one more snapshot as open, and returns its number.
    pub fn enter(&self, deadline: &Deadline) -> Result<u64> {
        let mut state = lock(&self.state);
        if state.wanted > 0 {
            // Somebody waits for all snapshots to end, and gets there only if no new ones begin.
            // But it could be waiting for one that this thread has open, so this is a
            // courtesy, and not for the whole wait.
            let courtesy = Deadline::after(deadline.left() / 8);
            let gone = self.wait_while(state, &courtesy, "", |s| s.wanted > 0);
            state = gone.unwrap_or_else(|_| lock(&self.state));
        }
        let mut state =
            self.wait_while(state, deadline, "a change of the map's size", |s| s.blocked)?;
        state.opened += 1;
        let number = state.opened;
        let since = Instant::now();
        let commit = None;
        state.open.insert(number, OpenWalk { since, commit });
        Ok(number)
    }

    /// Counts the snapshot of this number as closed.
    pub fn leave(&self, number: u64) {
        lock(&self.state).open.remove(&number);
        self.changed.notify_all();
    }

    /// Waits until no snapshot is open, and keeps it that way.
    pub fn block(&self, deadline: &Deadline) -> Result<NoWalks<'_>> {
        let mut state = lock(&self.state);
        state.wanted += 1;
        let waited = self.wait_while(state, deadline, "walks that are open", |s| {
            !s.open.is_empty() || s.blocked
        });
        let (mut state, failed) = match waited {
            Ok(state) => (state, None),
            Err(error) => (lock(&self.state), Some(error)),
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
            state = wait_timeout(&self.changed, &self.state, state, left);
        }
        Ok(state)
    }
}

impl Drop for NoWalks<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).blocked = false;
        self.0.changed.notify_all();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn closed_state_is_neither_quiesced_nor_resumed() {
        let state = OpenState::default();
        assert!(state.is_open() && state.quiesce());
        assert!(!state.quiesce(), "it is quiesced already");
        assert!(!state.is_open() && !state.is_closed());
        state.resume();
        assert!(state.is_open() && state.quiesce());
        state.close();
        state.resume();
        assert!(state.is_closed() && !state.quiesce());
    }
}
