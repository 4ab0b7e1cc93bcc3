//! Every interleaving of a few threads; `make loom` runs it. Waits have no end there, or none at
//! all.

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use super::*;

const LOST: usize = usize::MAX;
const LATE: usize = usize::MAX - 1;

struct Store {
    queue: Queue<usize, usize>,
    /// What the store's gate is: a leader holds it, and so does who closes the store.
    gate: Mutex<bool>,
    done: AtomicUsize,
    /// How long a leader waits for as many as came last time.
    gather: Duration,
}

/// How long commits take, as the queue sees it; without a clock, it does not learn otherwise. If
/// they are short, who waits looks before it sleeps, and a leader goes on once for who sleeps.
const PACES: [Option<Duration>; 2] = [None, Some(Duration::ZERO)];

impl Store {
    fn new(pace: Option<Duration>) -> Arc<Store> {
        Arc::new(Store::at_pace(pace))
    }

    /// One whose last commit was for `last` others, so that the next leader waits for as many.
    fn gathering(last: usize) -> Arc<Store> {
        let mut store = Store::at_pace(None);
        store.gather = LONG;
        lock(&store.queue.state).last = last;
        Arc::new(store)
    }

    fn at_pace(pace: Option<Duration>) -> Store {
        let mut queue = Queue::new(|| LOST);
        queue.parallel = true;
        lock(&queue.state).typical = pace;
        Store {
            queue,
            gate: Mutex::new(true),
            done: AtomicUsize::new(0),
            gather: Duration::ZERO,
        }
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
                self.done.fetch_add(1, Ordering::SeqCst);
                let mut results = self.followers(&mut lead, most);
                if lead.next_sleeps() {
                    lead.answer(results);
                    results = self.followers(&mut lead, most);
                }
                drop(open);
                lead.finish(results);
                10 * number
            }
        }
    }

    fn followers(&self, lead: &mut Lead<'_, usize, usize>, most: usize) -> Vec<usize> {
        let mut room = most;
        let taken = lead.take(self.gather, |_| {
            room = room.wrapping_sub(1);
            room < most
        });
        self.done.fetch_add(taken.len(), Ordering::SeqCst);
        taken.iter().map(|r| 10 * r.work).collect()
    }

    fn check_idle(&self) {
        let state = lock(&self.queue.state);
        assert!(!state.led && state.waiting.is_empty() && state.wanted == 0);
    }
}

fn explore_paces(body: impl Fn(Option<Duration>) + Copy + Sync + Send + 'static) {
    for pace in PACES {
        explore(move || body(pace));
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
    let cases = [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)];
    for (most, pace) in cases {
        explore(move || {
            let store = Store::new(PACES[pace]);
            let threads: Vec<_> = (1..=2)
                .map(|number| {
                    let store = Arc::clone(&store);
                    thread::spawn(move || assert_eq!(store.write(number, LONG, most), 10 * number))
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
    explore_paces(|pace| {
        let store = Store::new(pace);
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
fn who_gathers_waits_for_nobody_for_ever_and_passes_nobody_over() {
    for (last, most, wait) in [
        (1, 2, LONG),
        (2, 2, LONG),
        (2, 1, LONG),
        (2, 2, Duration::ZERO),
    ] {
        explore(move || {
            let store = Store::gathering(last);
            let threads = [(1, LONG), (2, wait)].map(|(number, wait)| {
                let store = Arc::clone(&store);
                thread::spawn(move || (number, store.write(number, wait, most)))
            });
            assert_eq!(store.write(3, LONG, most), 30);
            let mut done = 1;
            for thread in threads {
                let (number, result) = thread.join().unwrap();
                let late = result == LATE && wait.is_zero() && number == 2;
                assert!(late || result == 10 * number);
                done += usize::from(!late);
            }
            assert_eq!(store.done.load(Ordering::SeqCst), done);
            store.check_idle();
        });
    }
}

#[test]
fn a_lead_that_is_dropped_goes_on_and_loses_only_what_it_took() {
    explore_paces(|pace| {
        let store = Store::new(pace);
        let other = Arc::clone(&store);
        let other = thread::spawn(move || other.write(1, LONG, 2));
        match store.queue.enter(&Deadline::after(LONG), || 2) {
            Entered::Leader(mut lead) => {
                let taken = lead.take(Duration::ZERO, |_| true).len();
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
    explore_paces(|pace| {
        let store = Store::new(pace);
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
