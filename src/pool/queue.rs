//! The commit queue: of all threads that want to write, one leads, and commits for those who came meanwhile.
//!
//! Who finds no leader leads. Who finds one hands its work in and waits, on a condition of its own, until it
//! is told the result or that the lead is its now. There is no thread in the background, and a writer that is
//! alone takes one lock and gives it back.

use crate::env::Deadline;
use crate::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Work `W` on its way to a result `R`.
pub(crate) struct Queue<W, R> {
    state: Mutex<State<W, R>>,
    /// Told when work arrives while a leader gathers.
    arrived: Condvar,
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
        self.wait(&request, deadline)
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    type Numbers = Queue<usize, Option<usize>>;

    /// Does one piece of work as the store does: alone, or with all that are waiting.
    fn double(queue: &Numbers, number: usize, commits: &AtomicUsize) -> Option<usize> {
        match queue.enter(&Deadline::after(Duration::from_secs(60)), || number) {
            Entered::Done(result) => result,
            Entered::TimedOut => None,
            Entered::Leader(mut lead) => {
                lead.gather(Duration::from_micros(200));
                let results = lead
                    .take(|_| true)
                    .iter()
                    .map(|r| Some(2 * r.work))
                    .collect();
                commits.fetch_add(1, Ordering::Relaxed);
                lead.finish(results);
                Some(2 * number)
            }
        }
    }

    #[test]
    fn every_one_of_many_gets_its_own_result() {
        let (queue, commits) = (Numbers::new(|| None), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for thread in 0..16 {
                let (queue, commits) = (&queue, &commits);
                scope.spawn(move || {
                    for round in 0..500 {
                        let number = thread * 1000 + round;
                        assert_eq!(double(queue, number, commits), Some(2 * number));
                    }
                });
            }
        });
        let commits = commits.into_inner();
        assert!((1..=16 * 500).contains(&commits));
        assert!(!lock(&queue.state).led && lock(&queue.state).waiting.is_empty());
    }

    #[test]
    fn a_leader_that_panics_takes_down_only_what_it_had_taken() {
        let queue = Numbers::new(|| None);
        let Entered::Leader(mut lead) = queue.enter(&Deadline::after(Duration::ZERO), || 0) else {
            panic!("nobody else is here");
        };
        let commits = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let (queue, commits) = (&queue, &commits);
            let first = scope.spawn(move || double(queue, 1, commits));
            while lock(&queue.state).waiting.is_empty() {
                std::thread::yield_now();
            }
            assert_eq!(lead.take(|_| true).len(), 1);
            let second = scope.spawn(move || double(queue, 2, commits));
            while lock(&queue.state).waiting.is_empty() {
                std::thread::yield_now();
            }
            let dies = scope.spawn(move || {
                let _lead = lead;
                std::panic::resume_unwind(Box::new("on purpose"));
            });
            assert!(dies.join().is_err());
            assert_eq!(first.join().unwrap(), None, "it was lost with its leader");
            assert_eq!(second.join().unwrap(), Some(4), "it led itself");
        });
    }

    #[test]
    fn who_waits_too_long_withdraws_and_nobody_does_its_work() {
        let queue = Numbers::new(|| None);
        let Entered::Leader(mut lead) = queue.enter(&Deadline::after(Duration::ZERO), || 0) else {
            panic!("nobody else is here");
        };
        let entered = queue.enter(&Deadline::after(Duration::from_millis(5)), || 1);
        assert!(matches!(entered, Entered::TimedOut));
        assert!(lead.take(|_| true).is_empty());
    }

    #[test]
    fn what_does_not_fit_waits_for_the_next() {
        let queue = Numbers::new(|| None);
        let Entered::Leader(mut lead) = queue.enter(&Deadline::after(Duration::ZERO), || 0) else {
            panic!("nobody else is here");
        };
        let commits = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let (queue, commits) = (&queue, &commits);
            let threads: Vec<_> = (1..=3)
                .map(|number| scope.spawn(move || double(queue, number, commits)))
                .collect();
            while lock(&queue.state).waiting.len() < 3 {
                std::thread::yield_now();
            }
            let mut room = 2;
            let taken = lead.take(|_| {
                room -= 1;
                room >= 0
            });
            let results: Vec<_> = taken.iter().map(|r| Some(2 * r.work)).collect();
            assert_eq!(results.len(), 2);
            lead.finish(results);
            for (number, thread) in (1..=3).zip(threads) {
                assert_eq!(thread.join().unwrap(), Some(2 * number));
            }
            assert_eq!(commits.load(Ordering::Relaxed), 1, "the third led");
        });
    }
}

/// Every interleaving of a few threads; `make loom` runs it. Waits have no end there, or none at all.
#[cfg(all(test, loom))]
mod model {
    use super::*;
    use loom::sync::atomic::{AtomicUsize, Ordering};
    use loom::thread;

    const LOST: usize = usize::MAX;
    const LATE: usize = usize::MAX - 1;

    struct Store {
        queue: Queue<usize, usize>,
        /// What the store's gate is: a leader holds it, and so does who closes the store.
        gate: Mutex<bool>,
        done: AtomicUsize,
    }

    impl Store {
        fn new() -> Arc<Store> {
            Arc::new(Store {
                queue: Queue::new(|| LOST),
                gate: Mutex::new(true),
                done: AtomicUsize::new(0),
            })
        }

        fn write(&self, number: usize, wait: Duration, most: usize) -> usize {
            match self.queue.enter(&Deadline::after(wait), || number) {
                Entered::Done(result) => result,
                Entered::TimedOut => LATE,
                Entered::Leader(mut lead) => {
                    let open = lock(&self.gate);
                    if !*open {
                        return LOST;
                    }
                    let mut room = most;
                    let taken = lead.take(|_| {
                        room = room.wrapping_sub(1);
                        room < most
                    });
                    let results: Vec<_> = taken.iter().map(|r| 10 * r.work).collect();
                    self.done.fetch_add(1 + results.len(), Ordering::SeqCst);
                    drop(open);
                    lead.finish(results);
                    10 * number
                }
            }
        }

        fn check_idle(&self) {
            let state = lock(&self.queue.state);
            assert!(!state.led && state.waiting.is_empty());
        }
    }

    fn explore(body: impl Fn() + Sync + Send + 'static) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(body);
    }

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn everybody_gets_its_own_result_once() {
        for most in [0, 1, 2] {
            explore(move || {
                let store = Store::new();
                let threads: Vec<_> = (1..=2)
                    .map(|number| {
                        let store = Arc::clone(&store);
                        thread::spawn(move || {
                            assert_eq!(store.write(number, LONG, most), 10 * number)
                        })
                    })
                    .collect();
                assert_eq!(store.write(3, LONG, most), 30);
                for thread in threads {
                    thread.join().unwrap();
                }
                assert_eq!(store.done.load(Ordering::SeqCst), 3);
                store.check_idle();
            });
        }
    }

    #[test]
    fn who_does_not_wait_is_done_or_withdrawn_and_never_both() {
        explore(|| {
            let store = Store::new();
            let hasty = Arc::clone(&store);
            let hasty = thread::spawn(move || hasty.write(1, Duration::ZERO, 2));
            let other = Arc::clone(&store);
            let other = thread::spawn(move || assert_eq!(other.write(2, LONG, 2), 20));
            assert_eq!(store.write(3, LONG, 2), 30);
            other.join().unwrap();
            let done = match hasty.join().unwrap() {
                LATE => 2,
                result => {
                    assert_eq!(result, 10);
                    3
                }
            };
            assert_eq!(store.done.load(Ordering::SeqCst), done);
            store.check_idle();
        });
    }

    #[test]
    fn a_lead_that_is_dropped_goes_on_and_loses_only_what_it_took() {
        explore(|| {
            let store = Store::new();
            let other = Arc::clone(&store);
            let other = thread::spawn(move || other.write(1, LONG, 2));
            match store.queue.enter(&Deadline::after(LONG), || 2) {
                Entered::Leader(mut lead) => {
                    let taken = lead.take(|_| true).len();
                    drop(lead);
                    assert_eq!(other.join().unwrap(), if taken == 1 { LOST } else { 10 });
                }
                Entered::Done(result) => {
                    assert_eq!(result, 20);
                    assert_eq!(other.join().unwrap(), 10);
                }
                Entered::TimedOut => panic!("the wait is long"),
            }
            store.check_idle();
        });
    }

    #[test]
    fn closing_meets_no_deadlock() {
        explore(|| {
            let store = Store::new();
            let other = Arc::clone(&store);
            let other = thread::spawn(move || other.write(1, LONG, 2));
            let closer = Arc::clone(&store);
            let closer = thread::spawn(move || *lock(&closer.gate) = false);
            let results = [store.write(2, LONG, 2), other.join().unwrap()];
            closer.join().unwrap();
            assert!([20, LOST].contains(&results[0]) && [10, LOST].contains(&results[1]));
            store.check_idle();
        });
    }
}
