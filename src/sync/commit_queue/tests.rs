//! The queue with real threads.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

type Numbers = Queue<usize, Option<usize>>;

const MINUTE: Duration = Duration::from_secs(60);

/// Does one piece of work as the store does: alone, or with all that are waiting.
fn double(queue: &Numbers, number: usize, commits: &AtomicUsize) -> Option<usize> {
    match queue.enter(&Deadline::after(MINUTE), || false, || number) {
        Some(Entered::Done(result)) => result,
        None => None,
        Some(Entered::Leader(mut lead)) => {
            commits.fetch_add(1, Ordering::Relaxed);
            let work = lead.drain(Duration::from_micros(200), |_| true);
            let results: Vec<_> = work.into_iter().map(|number| Some(2 * number)).collect();
            lead.finish(results);
            Some(2 * number)
        }
    }
}

/// Leads a queue in which nobody is.
fn first(queue: &Numbers) -> Lead<'_, usize, Option<usize>> {
    match queue.enter(&Deadline::after(Duration::ZERO), || false, || 0) {
        Some(Entered::Leader(lead)) => lead,
        _ => panic!("nobody else is here"),
    }
}

fn in_line(queue: &Numbers) -> usize {
    lock(&queue.state).line.waiting()
}

fn await_in_line(queue: &Numbers, count: usize) {
    while in_line(queue) < count {
        std::thread::yield_now();
    }
}

fn is_idle(queue: &Numbers) -> bool {
    !lock(&queue.state).line.is_held() && in_line(queue) == 0
}

#[test]
fn each_of_many_threads_gets_its_own_result() {
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
    assert!(is_idle(&queue));
}

#[test]
fn leader_that_panics_loses_only_what_it_had_drained() {
    let queue = Numbers::new(|| None);
    let mut lead = first(&queue);
    let commits = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (queue, commits) = (&queue, &commits);
        let first = scope.spawn(move || double(queue, 1, commits));
        await_in_line(queue, 1);
        assert_eq!(lead.drain(Duration::ZERO, |_| true), [&1]);
        let second = scope.spawn(move || double(queue, 2, commits));
        await_in_line(queue, 1);
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
fn thread_that_times_out_withdraws_its_work() {
    let queue = Numbers::new(|| None);
    let mut lead = first(&queue);
    let entered = queue.enter(&Deadline::after(Duration::from_millis(5)), || false, || 1);
    assert!(entered.is_none());
    assert!(lead.drain(Duration::ZERO, |_| true).is_empty());
}

#[test]
fn work_that_does_not_fit_waits_for_the_next_commit() {
    let queue = Numbers::new(|| None);
    let mut lead = first(&queue);
    let commits = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (queue, commits) = (&queue, &commits);
        let threads: Vec<_> = (1..=3)
            .map(|number| scope.spawn(move || double(queue, number, commits)))
            .collect();
        await_in_line(queue, 3);
        let mut left = 2;
        let work = lead.drain(Duration::ZERO, |_| {
            left -= 1;
            left >= 0
        });
        let results: Vec<_> = work.into_iter().map(|number| Some(2 * number)).collect();
        assert_eq!(results.len(), 2);
        lead.finish(results);
        for (number, thread) in (1..=3).zip(threads) {
            assert_eq!(thread.join().unwrap(), Some(2 * number));
        }
        assert_eq!(commits.load(Ordering::Relaxed), 1, "the third led");
    });
}

#[test]
fn thread_that_enters_alone_is_never_a_follower() {
    let queue = Numbers::new(|| None);
    let mut lead = first(&queue);
    let commits = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (queue, commits) = (&queue, &commits);
        let before = scope.spawn(move || double(queue, 1, commits));
        await_in_line(queue, 1);
        let alone =
            scope.spawn(
                move || match queue.enter_alone(&Deadline::after(MINUTE), || false) {
                    Some(Entered::Leader(mut lead)) => lead.drain(Duration::ZERO, |_| false).len(),
                    _ => panic!("nobody could do its work"),
                },
            );
        await_in_line(queue, 2);
        let after = scope.spawn(move || double(queue, 2, commits));
        await_in_line(queue, 3);
        assert_eq!(lead.drain(Duration::ZERO, |_| true), [&1]);
        lead.finish([Some(2)]);
        assert_eq!(before.join().unwrap(), Some(2));
        assert_eq!(alone.join().unwrap(), 0);
        assert_eq!(after.join().unwrap(), Some(4));
        assert_eq!(commits.load(Ordering::Relaxed), 1, "the last led itself");
    });
    assert!(matches!(
        queue.enter_alone(&Deadline::after(Duration::ZERO), || false),
        Some(Entered::Leader(_))
    ));
    assert!(is_idle(&queue));
}

#[test]
fn work_without_a_result_is_lost() {
    let queue = Numbers::new(|| None);
    let mut lead = first(&queue);
    let commits = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (queue, commits) = (&queue, &commits);
        let other = scope.spawn(move || double(queue, 1, commits));
        await_in_line(queue, 1);
        assert_eq!(lead.drain(Duration::ZERO, |_| true).len(), 1);
        lead.finish([]);
        assert_eq!(other.join().unwrap(), None);
    });
}

#[test]
fn group_commit_delay_waits_for_as_many_as_last_time_unless_commits_are_short() {
    let queue = Numbers::new(|| None);
    let lead = first(&queue);
    lock(&queue.state).last = 1;
    let wait = |typical| {
        let mut state = lock(&queue.state);
        state.typical = typical;
        let start = Instant::now();
        drop(queue.delay(state, Duration::from_millis(20)));
        start.elapsed()
    };
    let silence = Duration::from_micros(100);
    assert!(wait(None) >= silence);
    assert!(wait(Some(Duration::from_secs(1))) >= silence);
    let shortest = (0..20).map(|_| wait(Some(Duration::from_micros(60)))).min();
    assert!(shortest < Some(silence), "{shortest:?}");
    drop(lead);
}
