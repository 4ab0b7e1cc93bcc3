use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::*;

fn open(path: &Path) -> FileLock {
    let file = File::options().read(true).write(true).open(path).unwrap();
    FileLock::new(file)
}

#[test]
fn second_writer_waits_until_its_deadline() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (a, b) = (open(file.path()), open(file.path()));
    let soon = || Deadline::after(Duration::from_millis(20));
    let held = a.lock_writer(file.path(), &soon()).unwrap();
    assert!(matches!(
        b.lock_writer(file.path(), &soon()),
        Err(Error::Timeout { .. })
    ));
    drop(held);
    drop(b.lock_writer(file.path(), &soon()).unwrap());
    drop(a.lock_writer(file.path(), &soon()).unwrap());
}

/// The wait of a process for the writer lock, which another holds at first. It has the turn.
fn waiter<'l>(process: &'l FileLock, holder: &FileLock) -> Contest<'l> {
    assert!(holder.locks.try_flock().unwrap());
    let mut contest = Contest::new(&process.locks, &process.passed_over, PATIENCE);
    assert!(contest.attempt().unwrap().is_continue());
    holder.locks.unlock();
    contest
}

#[test]
fn stopped_turn_holder_does_not_block_writers() {
    for wait in [Duration::from_millis(10), Duration::from_secs(60)] {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (a, b) = (open(file.path()), open(file.path()));
        let _stopped = waiter(&b, &a);
        drop(a.lock_writer(file.path(), &Deadline::after(wait)).unwrap());
        // It has been waited for once. A wait that is over gets what is free.
        for _ in 0..3 {
            a.checked.store(NEVER, Ordering::Relaxed);
            drop(a.lock_writer(file.path(), &Deadline::over(wait)).unwrap());
        }
    }
}

/// A process checks for others once a tick, and then leaves the lock to them.
#[test]
fn process_that_writes_without_a_pause_lets_another_in() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (a, b) = (open(file.path()), open(file.path()));
    let minute = || Deadline::after(Duration::from_secs(60));
    drop(a.lock_writer(file.path(), &minute()).unwrap());
    let mut waits = waiter(&b, &a);
    let (stop, start) = (AtomicBool::new(false), Instant::now());
    let yielded = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                drop(a.lock_writer(file.path(), &minute()).unwrap());
            }
        });
        let mut yielded = false;
        while !yielded && start.elapsed() < Duration::from_secs(60) {
            waits.renew();
            yielded = a.waiting() == 1;
        }
        stop.store(true, Ordering::Relaxed);
        drop(waits);
        yielded
    });
    assert!(yielded, "it never checked again");
}

#[test]
fn file_is_shared_by_many_or_held_alone() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (a, b, c) = (open(file.path()), open(file.path()), open(file.path()));
    assert!(a.claim_use().unwrap() && b.claim_use().unwrap());
    assert!(a.claim_identity(7).unwrap());
    assert!(c.used_elsewhere().unwrap() && !c.claim_alone().unwrap());
    b.release();
    assert!(!c.claim_alone().unwrap());
    a.release();
    assert!(!c.used_elsewhere().unwrap() && c.claim_alone().unwrap());
    assert!(!a.claim_use().unwrap() && !b.claim_alone().unwrap());
    c.release();
    // A use without the first byte keeps it from being held alone, too.
    assert!(a.claim_identity(0).unwrap());
    assert!(!c.claim_alone().unwrap());
}

#[test]
fn dropped_lock_is_released_though_a_child_has_the_descriptor() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (a, b) = (open(file.path()), open(file.path()));
    assert!(a.claim_use().unwrap());
    // A child that has not reached its `exec` has such a copy.
    let copy = a.locks.inherited();
    drop(a);
    assert!(b.claim_alone().unwrap());
    drop(copy);
}

#[test]
fn different_identities_exclude_each_other() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (a, b, c) = (open(file.path()), open(file.path()), open(file.path()));
    let claim = |lock: &FileLock, inode| lock.claim_identity(inode).unwrap();
    for inode in [0, 7, u64::MAX] {
        assert!(claim(&a, inode) && claim(&b, inode));
        assert!(!claim(&c, inode.wrapping_add(5)));
        assert!(!claim(&a, inode));
        c.release();
        assert!(claim(&a, inode));
        for lock in [&a, &b, &c] {
            lock.locks.set(libc::F_UNLCK, 0, 0).unwrap();
        }
    }
}

#[test]
fn processes_of_two_c_libraries_exclude_each_other() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (a, b, c) = (open(file.path()), open(file.path()), open(file.path()));
    let claim = |lock: &FileLock, library| lock.claim_c_library(library).unwrap();
    assert!(claim(&a, CLibrary::Glibc) && claim(&b, CLibrary::Glibc));
    assert!(!claim(&c, CLibrary::Musl));
    c.release();
    assert!(claim(&a, CLibrary::Glibc));
    a.release();
    b.release();
    assert!(claim(&c, CLibrary::Musl) && !claim(&a, CLibrary::Glibc));
    a.release();
    // It excludes nothing else.
    assert!(a.claim_use().unwrap() && c.claim_use().unwrap());
}
