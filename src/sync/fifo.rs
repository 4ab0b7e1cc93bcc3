//! A first-in-first-out lock with a deadline.
//!
//! Each thread that waits has a ticket to wait on, so that only the thread that is next is woken.
//! The lock is handed off: it stays held while the next thread wakes up, so that a thread that
//! takes it over and over cannot get ahead of those that wait.
//!
//! A [`Line`] is the lock's state. Its owner keeps it under a mutex, beside what else the lock is
//! about, and takes the lock with [`acquire`] and gives it back with [`release`]. Neither a mutex
//! nor a condition variable of the standard library keeps a table for the whole process, so a fork
//! leaves nothing locked in the child but what belongs to this lock.

use std::collections::VecDeque;

use crate::sync::deadline::Deadline;
use crate::sync::primitives::{lock, wait, wait_timeout, Arc, Condvar, Mutex, MutexGuard};

/// Whether a lock is held, and the tickets of the threads that wait for it, oldest first. `W` is
/// what a ticket carries for the thread that holds the lock, `M` is the message that ends its wait.
pub(crate) struct Line<W = (), M = ()> {
    held: bool,
    waiting: VecDeque<Arc<Ticket<W, M>>>,
}

/// What one thread waits on.
pub(crate) struct Ticket<W = (), M = ()> {
    /// For the thread that holds the lock.
    pub work: W,
    message: Mutex<Option<M>>,
    arrived: Condvar,
}

/// What came of a ticket at its deadline.
pub(crate) enum Withdrawal {
    /// It is out of the line.
    Out,
    /// Another thread has taken it out, and answers it.
    Answered,
    /// It stays in the line, and its owner waits once more.
    Later,
}

impl<W, M> Default for Line<W, M> {
    fn default() -> Line<W, M> {
        Line {
            held: false,
            waiting: VecDeque::new(),
        }
    }
}

impl<W, M> Line<W, M> {
    /// Takes the lock; false if it is held.
    pub fn try_acquire(&mut self) -> bool {
        !std::mem::replace(&mut self.held, true)
    }

    /// Gets in line for a lock that is held.
    pub fn join(&mut self, ticket: &Arc<Ticket<W, M>>) {
        self.waiting.push_back(Arc::clone(ticket));
    }

    /// Passes the lock on: to the owner of the ticket that this returns, which has to be answered,
    /// or to nobody.
    #[must_use]
    pub fn hand_off(&mut self) -> Option<Arc<Ticket<W, M>>> {
        let next = self.waiting.pop_front();
        self.held = next.is_some();
        next
    }

    /// Takes the first ticket out of the line if `wanted` agrees. It has to be answered.
    pub fn pop_if(&mut self, wanted: impl FnOnce(&W) -> bool) -> Option<Arc<Ticket<W, M>>> {
        let first = self.waiting.front()?;
        if wanted(&first.work) {
            self.waiting.pop_front()
        } else {
            None
        }
    }

    /// Takes a ticket out of the line.
    pub fn withdraw(&mut self, ticket: &Arc<Ticket<W, M>>) -> Withdrawal {
        let found = self.waiting.iter().position(|t| Arc::ptr_eq(t, ticket));
        match found.and_then(|at| self.waiting.remove(at)) {
            Some(_) => Withdrawal::Out,
            None => Withdrawal::Answered,
        }
    }

    /// How many threads wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether a thread has the lock.
    #[cfg(test)]
    pub fn is_held(&self) -> bool {
        self.held
    }
}

impl<W, M> Ticket<W, M> {
    pub fn new(work: W) -> Arc<Ticket<W, M>> {
        Arc::new(Ticket {
            work,
            message: Mutex::new(None),
            arrived: Condvar::new(),
        })
    }

    /// Ends the wait of the ticket's owner, for the thread that took the ticket out of its line.
    pub fn answer(&self, message: M) {
        *lock(&self.message) = Some(message);
        self.arrived.notify_one();
    }

    /// Waits for the answer. At the deadline `withdraw` takes the ticket out of its line, and there
    /// is none; or it says that the wait begins anew. If another thread has taken the ticket out,
    /// that thread's answer is on its way.
    pub fn wait(&self, deadline: &Deadline, withdraw: impl Fn() -> Withdrawal) -> Option<M> {
        let mut message = lock(&self.message);
        loop {
            if message.is_some() {
                return message.take();
            }
            let left = deadline.left();
            if !left.is_zero() {
                message = wait_timeout(&self.arrived, &self.message, message, left);
                continue;
            }
            // The thread that answers holds the line's mutex before it takes this one.
            drop(message);
            match withdraw() {
                Withdrawal::Out => return None,
                Withdrawal::Answered => break,
                Withdrawal::Later => deadline.restart(),
            }
            message = lock(&self.message);
        }
        let mut message = lock(&self.message);
        while message.is_none() {
            message = wait(&self.arrived, message);
        }
        message.take()
    }
}

/// Takes the lock whose line is in `state`, at the place that `line` finds. `None` if its turn has
/// not come by the deadline.
pub(crate) fn acquire<'s, S>(
    state: &'s Mutex<S>,
    deadline: &Deadline,
    line: impl Fn(&mut S) -> &mut Line,
) -> Option<MutexGuard<'s, S>> {
    acquire_patiently(state, deadline, line, |_| false)
}

/// Takes the lock as [`acquire`] does, but the wait begins anew where `patient` says so at its end.
pub(crate) fn acquire_patiently<'s, S>(
    state: &'s Mutex<S>,
    deadline: &Deadline,
    line: impl Fn(&mut S) -> &mut Line,
    patient: impl Fn(&S) -> bool,
) -> Option<MutexGuard<'s, S>> {
    let mut locked = lock(state);
    if line(&mut locked).try_acquire() {
        return Some(locked);
    }
    wait_in_line(state, locked, deadline, line, patient)
}

#[cold]
fn wait_in_line<'s, S>(
    state: &'s Mutex<S>,
    mut locked: MutexGuard<'s, S>,
    deadline: &Deadline,
    line: impl Fn(&mut S) -> &mut Line,
    patient: impl Fn(&S) -> bool,
) -> Option<MutexGuard<'s, S>> {
    let ticket = Ticket::new(());
    line(&mut locked).join(&ticket);
    drop(locked);
    ticket.wait(deadline, || {
        let mut locked = lock(state);
        match patient(&locked) {
            true => Withdrawal::Later,
            false => line(&mut locked).withdraw(&ticket),
        }
    })?;
    Some(lock(state))
}

/// Gives a lock back: `hand_off` changes the state and passes the lock on with [`Line::hand_off`].
pub(crate) fn release<S>(state: &Mutex<S>, hand_off: impl FnOnce(&mut S) -> Option<Arc<Ticket>>) {
    let next = hand_off(&mut lock(state));
    if let Some(next) = next {
        next.answer(());
    }
}

#[cfg(all(test, loom))]
mod model;
#[cfg(all(test, not(loom)))]
mod tests;
