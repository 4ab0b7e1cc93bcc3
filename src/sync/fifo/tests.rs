//! The lock with real threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;

type Lock = Mutex<Line>;

fn take(lock: &Lock, wait: Duration) -> bool {
    acquire(lock, &Deadline::after(wait), |line| line).is_some()
}

fn give_back(lock: &Lock) {
    release(lock, Line::hand_off);
}

const MINUTE: Duration = Duration::from_secs(60);

fn waiting(state: &Lock) -> usize {
    lock(state).waiting()
}

#[test]
fn threads_get_the_lock_in_the_order_in_which_they_came() {
    let (line, order) = (Lock::default(), Mutex::new(Vec::new()));
    assert!(take(&line, Duration::ZERO));
    std::thread::scope(|scope| {
        for number in 0..20 {
            let (line, order) = (&line, &order);
            scope.spawn(move || {
                assert!(take(line, MINUTE));
                lock(order).push(number);
                give_back(line);
            });
            while waiting(line) <= number {
                std::thread::yield_now();
            }
        }
        // A thread that times out leaves the line as it was.
        assert!(!take(&line, Duration::ZERO));
        assert_eq!(waiting(&line), 20);
        give_back(&line);
    });
    assert_eq!(*lock(&order), (0..20).collect::<Vec<_>>());
    assert!(!lock(&line).is_held());
}

#[test]
fn waiting_thread_gets_the_lock_before_the_thread_that_releases_it() {
    let line = Lock::default();
    assert!(take(&line, Duration::ZERO));
    let refused = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let got = take(&line, MINUTE);
            while !refused.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            got
        });
        while waiting(&line) == 0 {
            std::thread::yield_now();
        }
        give_back(&line);
        let again = take(&line, Duration::ZERO);
        refused.store(true, Ordering::Relaxed);
        assert!(!again && waits.join().unwrap());
    });
    give_back(&line);
    assert!(!lock(&line).is_held());
}

/// With waits that end about when the lock is released, none is handed to a thread that has left,
/// and none is lost.
#[test]
fn deadline_at_the_moment_of_a_handoff_loses_no_lock() {
    let (line, holders) = (Lock::default(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (line, holders) = (&line, &holders);
            scope.spawn(move || {
                for round in 0..500_u64 {
                    let wait = Duration::from_micros((round * 7 + thread) % 40);
                    if take(line, wait) {
                        assert!(!holders.swap(true, Ordering::SeqCst), "two hold it");
                        if round % 3 == 0 {
                            std::thread::sleep(Duration::from_micros(round % 20));
                        }
                        holders.store(false, Ordering::SeqCst);
                        give_back(line);
                    }
                }
            });
        }
    });
    assert!(take(&line, Duration::ZERO), "it was lost");
    assert_eq!(waiting(&line), 0);
}
