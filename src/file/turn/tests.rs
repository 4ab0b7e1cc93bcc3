use std::fs::File;
use std::path::Path;

use super::*;
use crate::sync::deadline::Deadline;

/// A process: what it has locked, and whom it passes over.
struct Process {
    locks: DescriptorLocks,
    passed_over: PassedOver,
}

fn open(path: &Path) -> Process {
    let file = File::options().read(true).write(true).open(path).unwrap();
    Process {
        locks: DescriptorLocks::new(file),
        passed_over: PassedOver::default(),
    }
}

impl Process {
    fn contest(&self, patience: Duration) -> Contest<'_> {
        Contest::new(&self.locks, &self.passed_over, patience)
    }

    /// Whether it gets the writer lock at once, which it releases then.
    fn writes_at_once(&self) -> bool {
        let got = self.contest(MINUTE).attempt().unwrap().is_break();
        if got {
            self.locks.unlock();
        }
        got
    }

    /// Writes once, with as much patience as there is by default.
    fn write(&self) {
        let minute = Deadline::after(MINUTE);
        let mut contest = self.contest(PATIENCE);
        let got = minute.poll_paced("the lock", || Ok(contest.attempt().unwrap()));
        got.unwrap();
        self.locks.unlock();
    }
}

/// The wait of a process for the writer lock, which another holds at first. It has the turn.
fn waiter<'p>(process: &'p Process, holder: &Process) -> Contest<'p> {
    assert!(holder.locks.try_flock().unwrap());
    let mut contest = process.contest(Duration::ZERO);
    // A turn that is held already is passed over at its second sight, without patience.
    while contest.turn.is_none() {
        assert!(contest.attempt().unwrap().is_continue());
    }
    holder.locks.unlock();
    contest
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn waiting_process_writes_before_the_one_that_just_wrote() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let [a, b, c] = [(); 3].map(|()| open(file.path()));
    let mut waits = waiter(&b, &a);
    assert!(!a.writes_at_once() && !c.writes_at_once());
    assert!(waits.attempt().unwrap().is_break());
    drop(waits);
    b.locks.unlock();
    assert!(a.writes_at_once() && c.writes_at_once());
}

/// A stopped process is waited for once, and not before every write.
#[test]
fn stopped_turn_holder_is_passed_over_from_then_on() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let [a, b, c] = [(); 3].map(|()| open(file.path()));
    let _stopped = waiter(&b, &a);
    assert!(!a.writes_at_once());
    a.write();
    assert!(a.writes_at_once());
    // The others still take turns.
    let mut waits = waiter(&c, &a);
    assert!(!a.writes_at_once());
    assert!(waits.attempt().unwrap().is_break());
    c.locks.unlock();
    drop(waits);
    assert!(a.writes_at_once());
}

#[test]
fn turn_holder_that_goes_on_is_waited_for_again() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let [a, b] = [(); 2].map(|()| open(file.path()));
    let mut stopped = waiter(&b, &a);
    a.write();
    assert!(a.locks.try_flock().unwrap());
    std::thread::sleep(RENEWAL);
    assert!(stopped.attempt().unwrap().is_continue());
    a.locks.unlock();
    assert!(!a.writes_at_once());
    assert!(stopped.attempt().unwrap().is_break());
}

/// A live process is waited for as long as it takes, since it comes as soon as it can.
#[test]
fn turn_holder_that_runs_is_never_passed_over() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let [a, b] = [(); 2].map(|()| open(file.path()));
    let mut waits = waiter(&b, &a);
    let mut contest = a.contest(PATIENCE);
    let start = Instant::now();
    while start.elapsed() < PATIENCE * 4 {
        std::thread::sleep(RENEWAL);
        waits.renew();
        assert!(contest.attempt().unwrap().is_continue());
    }
}

/// More processes can be stopped than there are turns.
#[test]
fn stopped_holders_of_every_turn_do_not_block_writers() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (a, others) = (open(file.path()), [(); LANES].map(|()| open(file.path())));
    let _stopped: Vec<_> = others.iter().map(|other| waiter(other, &a)).collect();
    a.write();
    assert!(a.writes_at_once());
    let last = open(file.path());
    assert!(a.locks.try_flock().unwrap());
    let mut contest = last.contest(Duration::ZERO);
    for _ in 0..2 * LANES {
        assert!(contest.attempt().unwrap().is_continue());
    }
    assert!(contest.turn.is_none());
    a.locks.unlock();
    assert!(contest.attempt().unwrap().is_break());
}

#[test]
fn turn_that_a_forked_child_has_inherited_is_passed_over() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let [a, b] = [(); 2].map(|()| open(file.path()));
    // The child keeps the lock though its parent was killed.
    let _child = b.locks.inherited();
    std::mem::forget(waiter(&b, &a));
    drop(b);
    assert!(!a.writes_at_once());
    a.write();
    assert!(a.writes_at_once());
}
