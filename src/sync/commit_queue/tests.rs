//! The queue with real threads.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

type Numbers = Queue<usize, Option<usize>>;

/// Does one piece of work as the store does: alone, or with all that are waiting.
fn double(queue: &Numbers, number: usize, commits: &AtomicUsize) -> Option<usize> {
    match queue.enter(&Deadline::after(Duration::from_secs(60)), || number) {
        Entered::Done(result) => result,
        Entered::TimedOut => None,
        Entered::Leader(mut lead) => {
            let mut results = commit(&mut lead, commits);
            for _ in 0..3 {
                if lead.next_sleeps() {
                    lead.answer(results);
                    results = commit(&mut lead, commits);
                }
            }
            lead.finish(results);
            Some(2 * number)
        }
    }
}

/// Leads a queue in which nobody is.
fn first(queue: &Numbers) -> Lead<'_, usize, Option<usize>> {
    match queue.enter(&Deadline::after(Duration::ZERO), || 0) {
        Entered::Leader(lead) => lead,
        _ => panic!("nobody else is here"),
    }
}

fn commit(lead: &mut Lead<'_, usize, Option<usize>>, commits: &AtomicUsize) -> Vec<Option<usize>> {
    commits.fetch_add(1, Ordering::Relaxed);
    let taken = lead.take(Duration::from_micros(200), |_| true);
    taken.iter().map(|r| Some(2 * r.work)).collect()
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
    let mut lead = first(&queue);
    let commits = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (queue, commits) = (&queue, &commits);
        let first = scope.spawn(move || double(queue, 1, commits));
        while lock(&queue.state).waiting.is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(lead.take(Duration::ZERO, |_| true).len(), 1);
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
    let mut lead = first(&queue);
    let entered = queue.enter(&Deadline::after(Duration::from_millis(5)), || 1);
    assert!(matches!(entered, Entered::TimedOut));
    assert!(lead.take(Duration::ZERO, |_| true).is_empty());
}

/// Who leads while another waits, and how the queue takes the commits for: this long.
fn with_one_waiting(
    typical: Duration,
    then: impl FnOnce(Lead<'_, usize, Option<usize>>, &Numbers),
) {
    let queue = Numbers::new(|| None);
    let lead = first(&queue);
    lock(&queue.state).typical = Some(typical);
    let commits = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (queue, commits) = (&queue, &commits);
        let other = scope.spawn(move || double(queue, 1, commits));
        let sleeps = |state: &State<_, _>| {
            let next = state.waiting.front();
            next.is_some_and(|next| lock(&next.slot).sleeps)
        };
        while !sleeps(&lock(&queue.state)) {
            std::thread::yield_now();
        }
        then(lead, queue);
        assert_eq!(other.join().unwrap(), Some(2));
    });
    assert!(!lock(&queue.state).led && lock(&queue.state).waiting.is_empty());
}

#[test]
fn a_leader_goes_on_for_who_sleeps_if_commits_are_short() {
    with_one_waiting(Duration::ZERO, |mut lead, queue| {
        assert!(lead.next_sleeps());
        lead.answer([]);
        assert_eq!(lead.take(Duration::ZERO, |_| true).len(), 1);
        assert!(!lead.next_sleeps());
        lead.answer([Some(2)]);
        assert!(lock(&queue.state).led, "it leads on");
        lead.finish([]);
    });
}

#[test]
fn a_leader_passes_the_lead_on_if_commits_are_long() {
    with_one_waiting(Duration::from_secs(1), |lead, _| {
        assert!(!lead.next_sleeps());
        lead.finish([]);
    });
}

#[test]
fn the_queue_learns_how_long_commits_take() {
    with_one_waiting(Duration::from_secs(1), |mut lead, queue| {
        let start = Instant::now();
        while !lead.next_sleeps() {
            assert!(start.elapsed() < Duration::from_secs(60), "they are short");
            lead.take(Duration::ZERO, |_| false);
            lead.answer([]);
        }
        assert!(lock(&queue.state).short());
        lead.take(Duration::ZERO, |_| false);
        std::thread::sleep(10 * SHORT);
        lead.answer([]);
        assert!(!lead.next_sleeps(), "the last one was long");
        lead.finish([]);
    });
}

#[test]
fn what_does_not_fit_waits_for_the_next() {
    let queue = Numbers::new(|| None);
    let mut lead = first(&queue);
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
        let taken = lead.take(Duration::ZERO, |_| {
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

#[test]
fn who_has_no_result_is_told_that_it_is_lost() {
    let queue = Numbers::new(|| None);
    let mut lead = first(&queue);
    let commits = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (queue, commits) = (&queue, &commits);
        let other = scope.spawn(move || double(queue, 1, commits));
        while lock(&queue.state).waiting.is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(lead.take(Duration::ZERO, |_| true).len(), 1);
        lead.finish([]);
        assert_eq!(other.join().unwrap(), None);
    });
}
