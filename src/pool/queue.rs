//! The commit queue: of all threads that want to write, one leads, and commits for those who came meanwhile.
//!
//! Who finds no leader leads. Who finds one hands its work in and waits, on a condition of its own, until it
//! is told the result or that the lead is its now. There is no thread in the background, and a writer that is
//! alone takes one lock and gives it back.

use crate::env::Deadline;
use crate::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Work `W` on its way to a result `R`.
pub(crate) struct Queue<W, R> {
    state: Mutex<State<W, R>>,
    /// Told when work arrives while a leader gathers.
    arrived: Condvar,
    /// How many wait for another to do their work, for the statistics.
    waiters: AtomicUsize,
    /// The result of work whose leader died over it.
    lost: fn() -> R,
}

struct State<W, R> {
    led: bool,
    waiting: VecDeque<Arc<Request<W, R>>>,
    /// How many the leader would like to be waiting; 0 while nobody gathers.
    wanted: usize,
    /// How many, besides the leader, the last commit was for.
    last: usize,
}

/// Work that was handed in.
pub(crate) struct Request<W, R> {
    pub work: W,
    stage: Mutex<Stage<R>>,
    changed: Condvar,
}

enum Stage<R> {
    /// In the queue.
    Waiting,
    /// In a leader's hands: it can no longer be withdrawn.
    Taken,
    /// Its owner leads now; the work is still to be done.
    Leads,
    /// Done, with this result.
    Done(R),
}

/// How a visit to the queue begins.
pub(crate) enum Entered<'q, W, R> {
    /// The caller leads.
    Leader(Lead<'q, W, R>),
    /// Another has done the work.
    Done(R),
    /// The deadline came while the work was still waiting; it has been withdrawn.
    TimedOut,
}

/// The lead of the queue. Dropped, it goes to the next in line.
pub(crate) struct Lead<'q, W, R> {
    queue: &'q Queue<W, R>,
    /// Taken and not answered yet.
    taken: Vec<Arc<Request<W, R>>>,
    /// How many, besides the leader, this commit is for.
    followers: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl<W, R> Queue<W, R> {
    pub fn new(lost: fn() -> R) -> Queue<W, R> {
        Queue {
            state: Mutex::new(State {
                led: false,
                waiting: VecDeque::new(),
                wanted: 0,
                last: 0,
            }),
            arrived: Condvar::new(),
            waiters: AtomicUsize::new(0),
            lost,
        }
    }

    /// Leads, or hands work in and waits. The work is only made if it is to be handed in.
    pub fn enter(&self, deadline: &Deadline, make: impl FnOnce() -> W) -> Entered<'_, W, R> {
        if self.try_lead() {
            return Entered::Leader(self.lead());
        }
        let request = Arc::new(Request {
            work: make(),
            stage: Mutex::new(Stage::Waiting),
            changed: Condvar::new(),
        });
        let mut state = lock(&self.state);
        if !state.led {
            state.led = true;
            drop(state);
            return Entered::Leader(self.lead());
        }
        state.waiting.push_back(Arc::clone(&request));
        let enough = state.wanted > 0 && state.waiting.len() >= state.wanted;
        drop(state);
        if enough {
            self.arrived.notify_one();
        }
        self.waiters.fetch_add(1, Ordering::Relaxed);
        let entered = self.wait(&request, deadline);
        self.waiters.fetch_sub(1, Ordering::Relaxed);
        entered
    }

    /// How many threads wait for the lead or for another to do their work.
    pub fn waiting(&self) -> usize {
        self.waiters.load(Ordering::Relaxed)
    }

    fn try_lead(&self) -> bool {
        let mut state = lock(&self.state);
        !std::mem::replace(&mut state.led, true)
    }

    fn lead(&self) -> Lead<'_, W, R> {
        Lead {
            queue: self,
            taken: Vec::new(),
            followers: 0,
        }
    }

    fn wait(&self, request: &Arc<Request<W, R>>, deadline: &Deadline) -> Entered<'_, W, R> {
        let mut stage = lock(&request.stage);
        loop {
            match std::mem::replace(&mut *stage, Stage::Taken) {
                Stage::Done(result) => return Entered::Done(result),
                Stage::Leads => return Entered::Leader(self.lead()),
                // A leader has it: the result comes once its flush is over.
                Stage::Taken => stage = wait(&request.changed, stage),
                Stage::Waiting => {
                    *stage = Stage::Waiting;
                    let left = deadline.left();
                    if !left.is_zero() {
                        stage = wait_timeout(&request.changed, stage, left);
                        continue;
                    }
                    drop(stage);
                    if self.withdraw(request) {
                        return Entered::TimedOut;
                    }
                    stage = lock(&request.stage);
                    // Taken from the queue at this very moment; whoever did says so next.
                    if matches!(*stage, Stage::Waiting) {
                        stage = wait(&request.changed, stage);
                    }
                }
            }
        }
    }

    /// Takes a request out of the queue; false if it is not there any more.
    fn withdraw(&self, request: &Arc<Request<W, R>>) -> bool {
        let mut state = lock(&self.state);
        let found = state
            .waiting
            .iter()
            .position(|other| Arc::ptr_eq(other, request));
        if let Some(at) = found {
            state.waiting.remove(at);
        }
        found.is_some()
    }
}

impl<W, R> Lead<'_, W, R> {
    /// Waits a little while as many come as came last time: those whom that commit released are on their way.
    ///
    /// It ends once all are there, once nobody has come for a while, and at the latest after `longest`.
    pub fn gather(&self, longest: Duration) {
        const SILENCE: Duration = Duration::from_micros(100);
        let mut state = lock(&self.queue.state);
        state.wanted = state.last;
        let end = Instant::now() + longest;
        while state.waiting.len() < state.wanted {
            let before = state.waiting.len();
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = wait_timeout(&self.queue.arrived, state, left.min(SILENCE));
            if state.waiting.len() == before {
                break;
            }
        }
        state.wanted = 0;
    }

    /// Takes work off the queue, oldest first, as long as `fits` agrees.
    pub fn take(&mut self, mut fits: impl FnMut(&W) -> bool) -> &[Arc<Request<W, R>>] {
        let mut state = lock(&self.queue.state);
        while let Some(request) = state.waiting.pop_front() {
            if !fits(&request.work) {
                state.waiting.push_front(request);
                break;
            }
            self.taken.push(request);
        }
        drop(state);
        for request in &self.taken {
            *lock(&request.stage) = Stage::Taken;
        }
        self.followers = self.taken.len();
        &self.taken
    }

    /// Passes the lead on and tells every follower its result, in the order in which they were taken.
    pub fn finish(mut self, results: Vec<R>) {
        let taken = std::mem::take(&mut self.taken);
        // The next leader first: its commit is what the others would wait for next.
        drop(self);
        for (request, result) in taken.into_iter().zip(results) {
            request.tell(Stage::Done(result));
        }
    }
}

impl<W, R> Drop for Lead<'_, W, R> {
    fn drop(&mut self) {
        let mut state = lock(&self.queue.state);
        state.last = self.followers;
        let next = state.waiting.pop_front();
        state.led = next.is_some();
        drop(state);
        if let Some(next) = next {
            next.tell(Stage::Leads);
        }
        for request in std::mem::take(&mut self.taken) {
            request.tell(Stage::Done((self.queue.lost)()));
        }
    }
}

impl<W, R> Request<W, R> {
    fn tell(&self, stage: Stage<R>) {
        *lock(&self.stage) = stage;
        self.changed.notify_one();
    }
}

fn wait<'a, T>(condition: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condition
        .wait(guard)
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn wait_timeout<'a, T>(
    condition: &Condvar,
    guard: MutexGuard<'a, T>,
    left: Duration,
) -> MutexGuard<'a, T> {
    match condition.wait_timeout(guard, left) {
        Ok((guard, _)) => guard,
        Err(poisoned) => poisoned.into_inner().0,
    }
}

#[cfg(all(test, loom))]
mod model;
#[cfg(all(test, not(loom)))]
mod tests;
