//! One writer at a time in this process.

use super::Deadline;
use crate::error::Result;
use std::sync::{Condvar, Mutex, MutexGuard};

/// Lets one writer of this process through at a time.
#[derive(Default)]
pub(super) struct WriterGate {
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Default)]
struct State {
    busy: bool,
    /// How many wait: waking costs a system call even where nobody does.
    waiting: usize,
}

/// This thread is the process's writer until this is dropped.
pub(super) struct Writer<'a>(&'a WriterGate);

impl WriterGate {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn acquire(&self, deadline: &Deadline) -> Result<Writer<'_>> {
        let mut state = self.lock();
        while state.busy {
            let left = deadline.left();
            if left.is_zero() {
                return Err(deadline.expired("another writer of this process"));
            }
            state.waiting += 1;
            state = match self.freed.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
            state.waiting -= 1;
        }
        state.busy = true;
        Ok(Writer(self))
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.busy = false;
        let wake = state.waiting > 0;
        drop(state);
        if wake {
            self.0.freed.notify_one();
        }
    }
}
