//! Every interleaving of a few threads; `make loom` runs it.

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use super::*;
use crate::sync::primitives::ENDLESS;

const LOST: usize = usize::MAX;
const LATE: usize = usize::MAX - 1;

/// A wait that can end at any moment.
const SHORT: Duration = Duration::from_secs(1);

struct Store {
    queue: Queue<usize, usize>,
    /// Stands for the store's writer gate, which a leader holds, as does a thread that closes the
    /// store: whether the store is open.
    gate: Mutex<bool>,
    done: AtomicUsize,
    /// Longest group-commit delay.
    delay: Duration,
}

impl Store {
    fn new() -> Arc<Store> {
        Arc::new(Store::with_delay(Duration::ZERO))
    }

    /// A store whose last commit had so many followers, so that the next leader waits for as many.
    fn delaying(last: usize) -> Arc<Store> {
        let store = Store::with_delay(SHORT);
        lock(&store.queue.state).last = last;
        Arc::new(store)
    }

    fn with_delay(delay: Duration) -> Store {
        Store {
            queue: Queue::new(|| LOST),
            gate: Mutex::new(true),
            done: AtomicUsize::new(0),
            delay,
        }
    }

    fn write(&self, number: usize, wait: Duration, most: usize) -> usize {
        match self
            .queue
            .enter(&Deadline::after(wait), || false, || number)
        {
            Some(Entered::Done(result)) => result,
            None => LATE,
            Some(Entered::Leader(mut lead)) => {
                let open = lock(&self.gate);
                if !*open {
                    return LOST;
                }
                let mut left = most;
                let followers = lead.drain(self.delay, |_| {
                    left = left.wrapping_sub(1);
                    left < most
                });
                let results: Vec<_> = followers.into_iter().map(|work| 10 * work).collect();
                self.done.fetch_add(1 + results.len(), Ordering::SeqCst);
                drop(open);
                lead.finish(results);
                10 * number
            }
        }
    }

    fn check_idle(&self) {
        let state = lock(&self.queue.state);
        assert!(!state.line.is_held() && state.line.waiting() == 0 && state.wanted == 0);
    }
}

fn explore(body: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(body);
}

#[test]
fn every_thread_gets_its_own_result_once() {
    for most in 0..=2 {
        explore(move || {
            let store = Store::new();
            let threads: Vec<_> = (1..=2)
                .map(|number| {
                    let store = Arc::clone(&store);
                    thread::spawn(move || {
                        assert_eq!(store.write(number, ENDLESS, most), 10 * number)
                    })
                })
                .collect();
            assert_eq!(store.write(3, ENDLESS, most), 30);
            for thread in threads {
                thread.join().unwrap();
            }
            assert_eq!(store.done.load(Ordering::SeqCst), 3);
            store.check_idle();
        });
    }
}

#[test]
fn thread_that_times_out_is_done_or_withdrawn_and_never_both() {
    for wait in [Duration::ZERO, SHORT] {
        explore(move || {
            let store = Store::new();
            let hasty = Arc::clone(&store);
            let hasty = thread::spawn(move || hasty.write(1, wait, 2));
            let other = Arc::clone(&store);
            let other = thread::spawn(move || assert_eq!(other.write(2, ENDLESS, 2), 20));
            assert_eq!(store.write(3, ENDLESS, 2), 30);
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
}

#[test]
fn group_commit_delay_ends_and_passes_no_thread_over() {
    for (last, most, wait) in [
        (1, 2, ENDLESS),
        (2, 2, ENDLESS),
        (2, 1, ENDLESS),
        (2, 2, Duration::ZERO),
    ] {
        explore(move || {
            let store = Store::delaying(last);
            let threads = [(1, ENDLESS), (2, wait)].map(|(number, wait)| {
                let store = Arc::clone(&store);
                thread::spawn(move || (number, store.write(number, wait, most)))
            });
            assert_eq!(store.write(3, ENDLESS, most), 30);
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
fn dropped_lead_is_handed_off_and_loses_only_what_it_drained() {
    explore(|| {
        let store = Store::new();
        let other = Arc::clone(&store);
        let other = thread::spawn(move || other.write(1, ENDLESS, 2));
        match store.queue.enter(&Deadline::after(ENDLESS), || false, || 2) {
            Some(Entered::Leader(mut lead)) => {
                let drained = lead.drain(Duration::ZERO, |_| true).len();
                drop(lead);
                assert_eq!(other.join().unwrap(), if drained == 1 { LOST } else { 10 });
            }
            Some(Entered::Done(result)) => {
                assert_eq!(result, 20);
                assert_eq!(other.join().unwrap(), 10);
            }
            None => panic!("the wait is long"),
        }
        store.check_idle();
    });
}

#[test]
fn thread_that_enters_alone_leads() {
    explore(|| {
        let store = Store::new();
        let threads = [1, 2].map(|number| {
            let store = Arc::clone(&store);
            thread::spawn(move || assert_eq!(store.write(number, ENDLESS, 2), 10 * number))
        });
        match store.queue.enter_alone(&Deadline::after(ENDLESS), || false) {
            Some(Entered::Leader(lead)) => lead.finish([]),
            _ => panic!("nobody else can do its work"),
        }
        for thread in threads {
            thread.join().unwrap();
        }
        store.check_idle();
    });
}

#[test]
fn closing_meets_no_deadlock() {
    explore(|| {
        let store = Store::new();
        let other = Arc::clone(&store);
        let other = thread::spawn(move || other.write(1, ENDLESS, 2));
        let closer = Arc::clone(&store);
        let closer = thread::spawn(move || *lock(&closer.gate) = false);
        let results = [store.write(2, ENDLESS, 2), other.join().unwrap()];
        closer.join().unwrap();
        assert!([20, LOST].contains(&results[0]) && [10, LOST].contains(&results[1]));
        store.check_idle();
    });
}
