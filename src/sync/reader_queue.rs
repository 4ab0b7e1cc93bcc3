//! The queue of threads that wait for a slot in LMDB's reader table.
//!
//! Other processes release slots without a notice, so a thread has to look at the table again and
//! again: the one that is first in the queue. The others sleep until it is their turn.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::sync::deadline::Deadline;
use crate::sync::fifo::{self, Line};
use crate::sync::primitives::{lock, wait_timeout, Condvar, Mutex};

/// The threads that wait for a reader slot, first in first out.
#[derive(Default)]
pub(crate) struct ReaderQueue {
    state: Mutex<State>,
    /// Notified when this process has released a slot.
    released: Condvar,
    /// Whether any thread waits, for threads that find a slot without a wait.
    busy: AtomicBool,
}

#[derive(Default)]
struct State {
    line: Line,
    /// Whether this process has released a slot since the first in the queue looked.
    released: bool,
}

/// This thread is the first in the queue until this is dropped.
pub(crate) struct FirstInQueue<'e>(&'e ReaderQueue);

impl ReaderQueue {
    /// Whether any thread waits.
    #[inline]
    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
    }

    /// Waits until this thread is the first; `None` if it is not by the deadline.
    pub fn enter(&self, deadline: &Deadline) -> Option<FirstInQueue<'_>> {
        let _state = fifo::acquire(&self.state, deadline, |state| &mut state.line)?;
        self.busy.store(true, Ordering::Relaxed);
        Some(FirstInQueue(self))
    }

    /// Wakes the first in the queue, after this process has released a slot.
    #[inline]
    pub fn notify_released(&self) {
        if self.is_busy() {
            lock(&self.state).released = true;
            self.released.notify_one();
        }
    }
}

impl FirstInQueue<'_> {
    /// Waits until this process releases a slot, for at most `longest`.
    pub fn wait_for_release(&self, longest: Duration) {
        let queue = self.0;
        let mut state = lock(&queue.state);
        if !state.released {
            state = wait_timeout(&queue.released, &queue.state, state, longest);
        }
        state.released = false;
    }
}

impl Drop for FirstInQueue<'_> {
    fn drop(&mut self) {
        let queue = self.0;
        fifo::release(&queue.state, |state| {
            let next = state.line.hand_off();
            queue.busy.store(next.is_some(), Ordering::Relaxed);
            next
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn released_slot_wakes_the_first_in_the_queue() {
        let queue = ReaderQueue::default();
        let first = queue.enter(&Deadline::after(Duration::ZERO)).unwrap();
        assert!(queue.is_busy());
        let start = Instant::now();
        queue.notify_released();
        first.wait_for_release(Duration::from_secs(60));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| {
                first.wait_for_release(Duration::from_secs(60));
                drop(first);
            });
            queue.notify_released();
            waits.join().unwrap();
        });
        assert!(start.elapsed() < Duration::from_secs(30));
        assert!(!queue.is_busy());
        queue.notify_released();
        assert!(!lock(&queue.state).released, "nobody waits");
    }
}
