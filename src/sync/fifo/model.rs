//! Every interleaving of a few threads; `make loom` runs it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use loom::sync::atomic::{AtomicBool, AtomicUsize};
use loom::thread;

use super::*;
use crate::sync::primitives::ENDLESS;

/// A wait that can end at any moment.
const SHORT: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Store {
    line: Mutex<Line>,
    held: AtomicBool,
    turns: AtomicUsize,
}

impl Store {
    /// Takes the lock and gives it back; whether there was a turn.
    fn turn(&self, wait: Duration) -> bool {
        let got = acquire(&self.line, &Deadline::after(wait), |line| line).is_some();
        if got {
            assert!(
                !self.held.swap(true, Ordering::SeqCst),
                "two threads have the lock"
            );
            self.turns.fetch_add(1, Ordering::SeqCst);
            self.held.store(false, Ordering::SeqCst);
            release(&self.line, Line::hand_off);
        }
        got
    }
}

/// Three threads, each of which waits for so long.
fn explore(waits: [Duration; 3]) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let store = Arc::new(Store::default());
        let others = [waits[1], waits[2]].map(|wait| {
            let store = Arc::clone(&store);
            thread::spawn(move || (wait, store.turn(wait)))
        });
        let mut ended = vec![(waits[0], store.turn(waits[0]))];
        ended.extend(others.map(|other| other.join().unwrap()));
        for (wait, got) in &ended {
            assert!(*got || *wait < ENDLESS, "a wait without end has ended");
        }
        let turns = ended.iter().filter(|(_, got)| *got).count();
        assert_eq!(store.turns.load(Ordering::SeqCst), turns);
        let line = lock(&store.line);
        assert!(!line.is_held() && line.waiting() == 0, "the lock is lost");
    });
}

#[test]
fn threads_that_wait_without_end_all_get_the_lock() {
    explore([ENDLESS; 3]);
}

#[test]
fn thread_that_times_out_leaves_the_lock_to_the_others() {
    explore([ENDLESS, SHORT, ENDLESS]);
    explore([ENDLESS, SHORT, SHORT]);
    explore([SHORT, Duration::ZERO, ENDLESS]);
}
