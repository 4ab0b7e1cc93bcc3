//! The commit queue: group commit by a leader and its followers.
//!
//! A thread that finds no leader leads. A thread that finds one submits its work and waits, until
//! the leader has done it or the lead is handed off to this thread. There is no thread in the
//! background, and a writer that is alone takes one lock and gives it back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::sync::deadline::Deadline;
use crate::sync::fifo::{Line, Ticket, Withdrawal};
use crate::sync::primitives::{lock, now, wait_timeout, Arc, Condvar, Mutex, MutexGuard};

/// Work `W` on its way to a result `R`.
pub(crate) struct Queue<W, R> {
    state: Mutex<State<W, R>>,
    /// Notified when work arrives during a group-commit delay.
    arrived: Condvar,
    /// How many threads wait for the lead or for another to do their work, for the statistics.
    waiters: AtomicUsize,
    /// Makes the result of work whose leader panicked.
    lost: fn() -> R,
}

struct State<W, R> {
    /// The lead, and the threads that wait for it or for their results.
    line: Line<Option<W>, Outcome<R>>,
    /// How many followers the leader waits for; 0 if it does not.
    wanted: usize,
    /// How many followers the last commit had.
    last: usize,
    /// How long commits take, smoothed; known once several threads have met.
    typical: Option<Duration>,
}

/// A thread's place in the queue, with its work; without work, it waits only for the lead.
type Request<W, R> = Ticket<Option<W>, Outcome<R>>;

/// How a wait in the queue ends.
enum Outcome<R> {
    /// The lead was handed off to the thread, whose work is still to be done.
    Leads,
    /// Another thread has done the work, with this result.
    Done(R),
}

/// How a visit to the queue begins.
pub(crate) enum Entered<'q, W, R> {
    /// The caller leads.
    Leader(Lead<'q, W, R>),
    /// Another thread has done the work.
    Done(R),
}

/// The lead of the queue. Dropped, it is handed off to the next thread.
pub(crate) struct Lead<'q, W, R> {
    queue: &'q Queue<W, R>,
    /// The requests of the followers, which are to be answered.
    followers: Vec<Arc<Request<W, R>>>,
    /// How many followers the commit has.
    count: usize,
    /// When the commit began, if its duration is of use to other threads.
    began: Option<Instant>,
}

impl<W, R> Queue<W, R> {
    pub fn new(lost: fn() -> R) -> Queue<W, R> {
        Queue {
            state: Mutex::new(State {
                line: Line::default(),
                wanted: 0,
                last: 0,
                typical: None,
            }),
            arrived: Condvar::new(),
            waiters: AtomicUsize::new(0),
            lost,
        }
    }

    /// Leads, or submits work and waits. The work is only made if it is submitted. `None` if the
    /// deadline came while it was still in the queue; it has been withdrawn then. The wait begins
    /// anew where `patient` says so at its end.
    #[inline]
    pub fn enter(
        &self,
        deadline: &Deadline,
        patient: impl Fn() -> bool,
        make: impl FnOnce() -> W,
    ) -> Option<Entered<'_, W, R>> {
        if self.try_lead() {
            return Some(Entered::Leader(self.lead()));
        }
        self.submit(deadline, patient, Some(make()))
    }

    /// Leads, or waits for the lead, for work that shares its commit with no other. `None` if the
    /// deadline came first. The wait begins anew where `patient` says so at its end.
    pub fn enter_alone(
        &self,
        deadline: &Deadline,
        patient: impl Fn() -> bool,
    ) -> Option<Entered<'_, W, R>> {
        if self.try_lead() {
            return Some(Entered::Leader(self.lead()));
        }
        self.submit(deadline, patient, None)
    }

    #[inline(never)]
    fn submit(
        &self,
        deadline: &Deadline,
        patient: impl Fn() -> bool,
        work: Option<W>,
    ) -> Option<Entered<'_, W, R>> {
        let request = Ticket::new(work);
        let mut state = lock(&self.state);
        if state.line.try_acquire() {
            drop(state);
            return Some(Entered::Leader(self.lead()));
        }
        state.line.join(&request);
        let enough = state.wanted > 0 && state.line.waiting() >= state.wanted;
        drop(state);
        if enough {
            self.arrived.notify_one();
        }
        self.waiters.fetch_add(1, Ordering::Relaxed);
        // Once a leader has taken the work, its commit brings the result, whatever the deadline.
        let outcome = request.wait(deadline, || {
            let mut state = lock(&self.state);
            match patient() {
                true => Withdrawal::Later,
                false => state.line.withdraw(&request),
            }
        });
        self.waiters.fetch_sub(1, Ordering::Relaxed);
        Some(match outcome? {
            Outcome::Leads => Entered::Leader(self.lead()),
            Outcome::Done(result) => Entered::Done(result),
        })
    }

    /// How many threads wait for the lead or for another to do their work.
    pub fn waiting(&self) -> usize {
        self.waiters.load(Ordering::Relaxed)
    }

    fn try_lead(&self) -> bool {
        lock(&self.state).line.try_acquire()
    }

    fn lead(&self) -> Lead<'_, W, R> {
        Lead {
            queue: self,
            followers: Vec::new(),
            count: 0,
            began: None,
        }
    }

    /// The group-commit delay: waits for as many followers as the last commit had, or until
    /// arrivals stop. The threads that the last commit released are on their way back.
    fn delay<'s>(
        &'s self,
        mut state: MutexGuard<'s, State<W, R>>,
        longest: Duration,
    ) -> MutexGuard<'s, State<W, R>> {
        const SILENCE: Duration = Duration::from_micros(100);
        // Linux lets a timer fire 50 us late. Where a commit takes no longer, as without a disk,
        // the delay would cost more than the commit that it saves.
        const SHORTEST: Duration = Duration::from_micros(60);
        let longest = state.typical.map_or(longest, |it| it.min(longest));
        if longest <= SHORTEST {
            return state;
        }
        state.wanted = state.last;
        let end = Instant::now() + longest;
        while state.line.waiting() < state.wanted {
            let before = state.line.waiting();
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = wait_timeout(&self.arrived, &self.state, state, left.min(SILENCE));
            if state.line.waiting() == before {
                break;
            }
        }
        state.wanted = 0;
        state
    }
}

impl<W, R> Lead<'_, W, R> {
    /// Takes work off the queue, oldest first, as long as `fits` agrees; the commit begins now.
    ///
    /// If fewer threads wait than the last commit had followers, it waits for more first, for up to
    /// `longest`.
    pub fn drain(&mut self, longest: Duration, mut fits: impl FnMut(&W) -> bool) -> Vec<&W> {
        let queue = self.queue;
        let mut state = lock(&queue.state);
        if state.line.waiting() < state.last {
            state = queue.delay(state, longest);
        }
        let alone = state.line.waiting() == 0 && state.last == 0;
        let mut follows = |work: &Option<W>| work.as_ref().is_some_and(&mut fits);
        while let Some(request) = state.line.pop_if(&mut follows) {
            self.followers.push(request);
        }
        drop(state);
        self.began = if alone { None } else { now() };
        self.count = self.followers.len();
        let work = self.followers.iter().map(|request| &request.work);
        work.flatten().collect()
    }

    /// Hands the lead off, and completes each follower's work with its result, in the order in
    /// which it was drained.
    pub fn finish(mut self, results: impl IntoIterator<Item = R>) {
        let (followers, lost) = (std::mem::take(&mut self.followers), self.queue.lost);
        // The next leader first: its commit is what the others would wait for next.
        drop(self);
        complete_all(followers, results, lost);
    }

    /// Keeps for the next commit what this one was like.
    fn record(&self, state: &mut State<W, R>) {
        state.last = self.count;
        if let Some(began) = self.began {
            let took = began.elapsed();
            state.typical = Some(
                state
                    .typical
                    .map_or(took, |typical| (7 * typical + took) / 8),
            );
        }
    }
}

impl<W, R> Drop for Lead<'_, W, R> {
    fn drop(&mut self) {
        let mut state = lock(&self.queue.state);
        self.record(&mut state);
        let next = state.line.hand_off();
        drop(state);
        if let Some(next) = next {
            next.answer(Outcome::Leads);
        }
        // There are some only if the leader panicked.
        let lost = std::mem::take(&mut self.followers);
        complete_all(lost, [], self.queue.lost);
    }
}

/// Gives each thread its result. Should there be too few of them, the rest are lost, so that no
/// thread is left waiting for ever.
fn complete_all<W, R>(
    followers: Vec<Arc<Request<W, R>>>,
    results: impl IntoIterator<Item = R>,
    lost: fn() -> R,
) {
    let mut results = results.into_iter();
    for request in followers {
        request.answer(Outcome::Done(results.next().unwrap_or_else(lost)));
    }
}

#[cfg(all(test, loom))]
mod model;
#[cfg(all(test, not(loom)))]
mod tests;
