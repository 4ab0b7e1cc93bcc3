//! The commit queue: of all threads that want to write, one leads, and commits for those who came
//! meanwhile.
//!
//! Who finds no leader leads. Who finds one hands its work in and waits, until it is told the
//! result or that the lead is its now. There is no thread in the background, and a writer that is
//! alone takes one lock and gives it back.
//!
//! Where commits are short, as without a disk, putting a thread to sleep and waking it costs more
//! than the commit that it waits for. There, who waits looks for the result a while before it
//! sleeps, and a leader whose next in line sleeps leads on for a few rounds and does its work.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::sync;
use crate::sync::deadline::Deadline;
use crate::sync::{clock, hint, Arc, AtomicBool, Condvar, Mutex, MutexGuard};

/// Commits are short if the typical one takes no longer than this.
const SHORT: Duration = Duration::from_micros(60);
/// How long a thread waits awake, at the most.
const AWAKE: Duration = Duration::from_micros(20);

/// Work `W` on its way to a result `R`.
pub(crate) struct Queue<W, R> {
    state: Mutex<State<W, R>>,
    /// Told when work arrives while a leader gathers.
    arrived: Condvar,
    /// How many wait for another to do their work, for the statistics.
    waiters: AtomicUsize,
    /// The result of work whose leader died over it.
    lost: fn() -> R,
    /// Whether two threads can run at the same moment: else nobody waits awake.
    parallel: bool,
}

struct State<W, R> {
    led: bool,
    waiting: VecDeque<Arc<Request<W, R>>>,
    /// How many the leader would like to be waiting; 0 while nobody gathers.
    wanted: usize,
    /// How many, besides the leader, the last commit was for.
    last: usize,
    /// How long commits take, smoothed; known once several threads have met.
    typical: Option<Duration>,
}

impl<W, R> State<W, R> {
    fn short(&self) -> bool {
        self.typical.is_some_and(|typical| typical <= SHORT)
    }
}

/// Work that was handed in.
pub(crate) struct Request<W, R> {
    pub work: W,
    slot: Mutex<Slot<R>>,
    /// There is something to be found in the slot.
    told: AtomicBool,
    changed: Condvar,
}

struct Slot<R> {
    news: News<R>,
    /// Whether the owner sleeps, or is about to, and has to be woken.
    sleeps: bool,
}

enum News<R> {
    None,
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
    /// When the commit began, if anybody is there whom it concerns how long it takes.
    began: Option<Instant>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl<W, R> Queue<W, R> {
    pub fn new(lost: fn() -> R) -> Queue<W, R> {
        let processors = std::thread::available_parallelism();
        Queue {
            state: Mutex::new(State {
                led: false,
                waiting: VecDeque::new(),
                wanted: 0,
                last: 0,
                typical: None,
            }),
            arrived: Condvar::new(),
            waiters: AtomicUsize::new(0),
            lost,
            parallel: processors.is_ok_and(|count| count.get() > 1),
        }
    }

    /// Leads, or hands work in and waits. The work is only made if it is to be handed in.
    #[inline]
    pub fn enter(&self, deadline: &Deadline, make: impl FnOnce() -> W) -> Entered<'_, W, R> {
        if self.try_lead() {
            return Entered::Leader(self.lead());
        }
        self.hand_in(deadline, make())
    }

    #[inline(never)]
    fn hand_in(&self, deadline: &Deadline, work: W) -> Entered<'_, W, R> {
        let request = Arc::new(Request {
            work,
            slot: Mutex::new(Slot {
                news: News::None,
                sleeps: false,
            }),
            told: AtomicBool::new(false),
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
        let short = state.short();
        drop(state);
        if enough {
            self.arrived.notify_one();
        }
        self.waiters.fetch_add(1, Ordering::Relaxed);
        if short && self.parallel {
            request.watch();
        }
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
            began: None,
        }
    }

    /// Waits until as many wait as did last time. It ends once all are there, and once nobody has
    /// come for a while. Short commits are not worth waiting for.
    fn gather<'s>(
        &'s self,
        mut state: MutexGuard<'s, State<W, R>>,
        longest: Duration,
    ) -> MutexGuard<'s, State<W, R>> {
        const SILENCE: Duration = Duration::from_micros(100);
        if longest.is_zero() || state.short() {
            return state;
        }
        state.wanted = state.last;
        let longest = state
            .typical
            .map_or(longest, |typical| typical.min(longest));
        let end = Instant::now() + longest;
        while state.waiting.len() < state.wanted {
            let before = state.waiting.len();
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = sync::doze(&self.arrived, &self.state, state, left.min(SILENCE));
            if state.waiting.len() == before {
                break;
            }
        }
        state.wanted = 0;
        state
    }

    fn wait(&self, request: &Arc<Request<W, R>>, deadline: &Deadline) -> Entered<'_, W, R> {
        let mut slot = lock(&request.slot);
        // Once a leader has it, the result comes when its flush is over, whatever the deadline.
        let mut in_line = true;
        loop {
            match std::mem::replace(&mut slot.news, News::None) {
                News::Done(result) => return Entered::Done(result),
                News::Leads => return Entered::Leader(self.lead()),
                News::None => {}
            }
            slot.sleeps = true;
            if !in_line {
                slot = wait(&request.changed, slot);
                continue;
            }
            let left = deadline.left();
            if !left.is_zero() {
                slot = wait_timeout(&request.changed, slot, left);
                continue;
            }
            drop(slot);
            if self.withdraw(request) {
                return Entered::TimedOut;
            }
            in_line = false;
            slot = lock(&request.slot);
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
    /// Takes work off the queue, oldest first, as long as `fits` agrees; the commit begins now.
    ///
    /// Before that it waits, for up to `longest`, while as many come as came last time: those whom
    /// that commit released are on their way.
    pub fn take(
        &mut self,
        longest: Duration,
        mut fits: impl FnMut(&W) -> bool,
    ) -> &[Arc<Request<W, R>>] {
        let queue = self.queue;
        let mut state = lock(&queue.state);
        if state.waiting.len() < state.last {
            state = queue.gather(state, longest);
        }
        let alone = state.waiting.is_empty() && state.last == 0;
        while let Some(request) = state.waiting.pop_front() {
            if !fits(&request.work) {
                state.waiting.push_front(request);
                break;
            }
            self.taken.push(request);
        }
        drop(state);
        self.began = if alone { None } else { clock() };
        self.followers = self.taken.len();
        &self.taken
    }

    /// Whether the next in line sleeps, so that its work is done sooner by who leads now.
    pub fn next_sleeps(&self) -> bool {
        let state = lock(&self.queue.state);
        state.short()
            && state
                .waiting
                .front()
                .is_some_and(|next| lock(&next.slot).sleeps)
    }

    /// Tells every follower its result, in the order in which they were taken, and keeps the lead.
    pub fn answer(&mut self, results: impl IntoIterator<Item = R>) {
        self.note(&mut lock(&self.queue.state));
        tell_all(std::mem::take(&mut self.taken), results, self.queue.lost);
    }

    /// Passes the lead on and tells every follower its result.
    pub fn finish(mut self, results: impl IntoIterator<Item = R>) {
        let (taken, lost) = (std::mem::take(&mut self.taken), self.queue.lost);
        // The next leader first: its commit is what the others would wait for next.
        drop(self);
        tell_all(taken, results, lost);
    }

    /// Keeps for the next commit what this one was like.
    fn note(&self, state: &mut State<W, R>) {
        state.last = self.followers;
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
        self.note(&mut state);
        let next = state.waiting.pop_front();
        state.led = next.is_some();
        drop(state);
        if let Some(next) = next {
            next.tell(News::Leads);
        }
        for request in std::mem::take(&mut self.taken) {
            request.tell(News::Done((self.queue.lost)()));
        }
    }
}

/// Tells each its result. Should there be too few of them, the rest are lost: nobody is left
/// waiting for ever.
fn tell_all<W, R>(
    taken: Vec<Arc<Request<W, R>>>,
    results: impl IntoIterator<Item = R>,
    lost: fn() -> R,
) {
    let mut results = results.into_iter();
    for request in taken {
        request.tell(News::Done(results.next().unwrap_or_else(lost)));
    }
}

impl<W, R> Request<W, R> {
    fn tell(&self, news: News<R>) {
        let mut slot = lock(&self.slot);
        slot.news = news;
        let sleeps = slot.sleeps;
        drop(slot);
        // After the slot is free: who watches takes it next.
        self.told.store(true, Ordering::Release);
        if sleeps {
            self.changed.notify_one();
        }
    }

    /// Looks for news, for a while.
    fn watch(&self) {
        const LOOKS: u32 = 8;
        let end = clock().map(|now| now + AWAKE);
        loop {
            for _ in 0..LOOKS {
                if self.told.load(Ordering::Acquire) {
                    return;
                }
                hint::spin_loop();
            }
            if end.is_none_or(|end| Instant::now() >= end) {
                return;
            }
        }
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
