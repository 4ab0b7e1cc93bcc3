//! The line of those who wait for a place in LMDB's reader table, which is full: first come, first
//! served.
//!
//! Places are given back by other processes too, which tell nobody, so somebody has to look again
//! and again. That is who is first in the line; the others sleep until it is their turn.

use super::{slots, Deadline, Env};
use crate::error::{Error, Result};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, Thread};
use std::time::Duration;

/// How long the first in the line sleeps before it looks again, unless it is woken.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Those who wait for a place.
#[derive(Default)]
pub(super) struct Line {
    state: Mutex<State>,
    /// Whether anybody waits.
    busy: AtomicBool,
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
pub(super) struct Turn<'e>(&'e Line);

impl Line {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Waits until this thread is the first; `None` if that is not before the deadline.
    fn enter(&self, deadline: &Deadline) -> Option<Turn<'_>> {
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

impl Env {
    /// Gets into the line, for who found the table full, and returns when it is time to try again:
    /// with the turn in hand, which is kept until there is a place.
    pub(super) fn wait_for_place<'e>(
        &'e self,
        deadline: &Deadline,
        turn: &mut Option<Turn<'e>>,
    ) -> Result<()> {
        let slot = self.enter(deadline)?;
        let dead = self.clear_dead_readers()?;
        drop(slot);
        if dead > 0 {
            return Ok(());
        }
        if turn.is_none() {
            *turn = Some(self.enter_line(deadline)?);
            return Ok(());
        }
        let left = deadline.left();
        if left.is_zero() {
            return Err(self.no_place());
        }
        thread::park_timeout(left.min(LOOK_AGAIN));
        Ok(())
    }

    /// Waits a moment in the line, for who has to begin from the start then.
    pub(super) fn wait_for_places(&self, deadline: &Deadline) -> Result<()> {
        let mut turn = None;
        self.wait_for_place(deadline, &mut turn)?;
        self.wait_for_place(deadline, &mut turn)
    }

    /// Lets who waits for a place go first.
    #[inline]
    pub(super) fn after_others<'e>(&'e self, deadline: &Deadline) -> Result<Option<Turn<'e>>> {
        if !self.places.busy.load(Ordering::Relaxed) {
            return Ok(None);
        }
        self.enter_line(deadline).map(Some)
    }

    fn enter_line(&self, deadline: &Deadline) -> Result<Turn<'_>> {
        slots::WAITS.fetch_add(1, Ordering::Relaxed);
        self.places.enter(deadline).ok_or_else(|| self.no_place())
    }

    #[cold]
    fn no_place(&self) -> Error {
        slots::REFUSALS.fetch_add(1, Ordering::Relaxed);
        match self.max_readers() {
            Ok(slots) => Error::ReadersFull { slots },
            Err(error) => error,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

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
