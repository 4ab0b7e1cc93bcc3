//! The queue of threads that wait for a slot in LMDB's reader table.

use crate::sync::deadline::Deadline;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, Thread};

/// Those who wait for a place.
#[derive(Default)]
pub(crate) struct Line {
    state: Mutex<State>,
    /// Whether anybody waits.
    pub busy: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Who is first and looks.
    first: Option<Thread>,
    waiting: VecDeque<Arc<Waiter>>,
}

struct Waiter {
    thread: Thread,
    called: AtomicBool,
}

/// This thread is the first in the line until this is dropped.
pub(crate) struct Turn<'e>(&'e Line);

impl Line {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Waits until this thread is the first; `None` if that is not before the deadline.
    pub fn enter(&self, deadline: &Deadline) -> Option<Turn<'_>> {
        let mut state = self.lock();
        if state.first.is_none() {
            state.first = Some(thread::current());
            self.busy.store(true, Ordering::Relaxed);
            return Some(Turn(self));
        }
        let waiter = Arc::new(Waiter {
            thread: thread::current(),
            called: AtomicBool::new(false),
        });
        state.waiting.push_back(Arc::clone(&waiter));
        drop(state);
        while !waiter.called.load(Ordering::Acquire) {
            let left = deadline.left();
            if left.is_zero() {
                let mut state = self.lock();
                // Called at this very moment, perhaps: then the turn is to be passed on.
                if !waiter.called.load(Ordering::Acquire) {
                    state.waiting.retain(|other| !Arc::ptr_eq(other, &waiter));
                    return None;
                }
                break;
            }
            thread::park_timeout(left);
        }
        Some(Turn(self))
    }

    /// A place of this process's was given back: who is first need not sleep until it looks again.
    #[inline]
    pub fn given_back(&self) {
        if self.busy.load(Ordering::Relaxed) {
            if let Some(first) = &self.lock().first {
                first.unpark();
            }
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        let next = state.waiting.pop_front();
        state.first = next.as_ref().map(|next| next.thread.clone());
        self.0.busy.store(next.is_some(), Ordering::Relaxed);
        if let Some(next) = next {
            next.called.store(true, Ordering::Release);
            next.thread.unpark();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_gets_its_turn_in_the_order_in_which_it_came() {
        let line = Line::default();
        let order = Mutex::new(Vec::new());
        let minute = || Deadline::after(Duration::from_secs(60));
        let held = line.enter(&minute()).unwrap();
        thread::scope(|scope| {
            for number in 0..20 {
                let (line, order) = (&line, &order);
                scope.spawn(move || {
                    let turn = line.enter(&minute()).unwrap();
                    order.lock().unwrap().push(number);
                    drop(turn);
                });
                while line.lock().waiting.len() <= number {
                    thread::yield_now();
                }
            }
            // Who gives up leaves the line as it was.
            assert!(line.enter(&Deadline::after(Duration::ZERO)).is_none());
            assert_eq!(line.lock().waiting.len(), 20);
            drop(held);
        });
        assert_eq!(order.into_inner().unwrap(), (0..20).collect::<Vec<_>>());
        assert!(line.lock().first.is_none() && !line.busy.load(Ordering::Relaxed));
    }
}
