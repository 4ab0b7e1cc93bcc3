//! One writer at a time in this process.

use std::cell::{Ref, RefCell};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};

use crate::error::Result;
use crate::sync::deadline::Deadline;

/// Lets one writer of this process through at a time, and has each find what the one before it has
/// left.
#[derive(Default)]
pub(crate) struct WriterGate<T> {
    state: Mutex<State<T>>,
    freed: Condvar,
}

#[derive(Default)]
struct State<T> {
    busy: bool,
    /// What the last writer has left, while there is none.
    left: T,
    /// Who waits, first come first. The gate is passed on and not let go, so that a thread that
    /// writes again at once does not come before who waits to close the store.
    waiting: VecDeque<u64>,
    tickets: u64,
}

/// This thread is the process's writer until this is dropped.
pub(crate) struct Writer<'a, T: Default> {
    gate: &'a WriterGate<T>,
    left: RefCell<T>,
}

impl<T: Default> WriterGate<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// How many threads wait for their turn.
    pub fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    pub fn acquire(&self, deadline: &Deadline) -> Result<Writer<'_, T>> {
        let mut state = self.lock();
        if !state.busy {
            state.busy = true;
            return Ok(self.writer(state));
        }
        let mine = state.tickets;
        state.tickets += 1;
        state.waiting.push_back(mine);
        // Whoever had it has taken this ticket out of the line: it is ours.
        while state.waiting.contains(&mine) {
            let left = deadline.left();
            if left.is_zero() {
                state.waiting.retain(|ticket| *ticket != mine);
                return Err(deadline.expired("another writer of this process"));
            }
            state = match self.freed.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        Ok(self.writer(state))
    }

    fn writer(&self, mut state: MutexGuard<'_, State<T>>) -> Writer<'_, T> {
        Writer {
            gate: self,
            left: RefCell::new(std::mem::take(&mut state.left)),
        }
    }
}

impl<T: Default> Writer<'_, T> {
    /// What the last writer has left, or this one since.
    pub fn left(&self) -> Ref<'_, T> {
        self.left.borrow()
    }

    /// Leaves something for the next writer.
    pub fn leave(&self, left: T) {
        self.left.replace(left);
    }
}

impl<T: Default> Drop for Writer<'_, T> {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        state.left = self.left.take();
        let next = state.waiting.pop_front();
        state.busy = next.is_some();
        drop(state);
        // The line is short: the queue's leader, and who closes or flushes the store or fits its
        // map.
        if next.is_some() {
            self.gate.freed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_waits_comes_before_who_was_there_before() {
        let gate = WriterGate::default();
        let held = gate.acquire(&Deadline::after(Duration::ZERO)).unwrap();
        held.leave(7);
        let looked = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| {
                let got = gate.acquire(&Deadline::after(Duration::from_secs(60)));
                while !looked.load(Ordering::Relaxed) {
                    std::thread::yield_now();
                }
                got.is_ok_and(|writer| *writer.left() == 7)
            });
            while gate.lock().waiting.is_empty() {
                std::thread::yield_now();
            }
            drop(held);
            let refused = gate.acquire(&Deadline::after(Duration::ZERO)).is_err();
            looked.store(true, Ordering::Relaxed);
            assert!(refused && waits.join().unwrap());
        });
        let again = gate.acquire(&Deadline::after(Duration::ZERO));
        assert!(again.is_ok_and(|writer| *writer.left() == 7));
        assert!(!gate.lock().busy && gate.lock().waiting.is_empty());
    }
}
