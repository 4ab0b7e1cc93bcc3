use std::fs::File;

use super::*;
use crate::file::process_lock::FileLock;
use crate::format::table::Table;
use crate::lmdb::open::tests::open_with_age;

/// Commits a row without a flush.
fn defer(env: &Env) {
    let waits = env.lock_wait();
    let writing = env.begin_writing(&waits).unwrap();
    writing.defer(true);
    writing
        .run(|txn| txn.put(Table::Ids, b"key", b"row"))
        .unwrap();
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < end, "waiting: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The other process may have been stopped. The reads of this one that need a larger map, its
/// writes, and the thread that closes the store are in line for the gate.
#[test]
fn flush_that_waits_for_another_process_lets_other_threads_of_its_own_through() {
    let directory = tempfile::tempdir().unwrap();
    let env = open_with_age(&directory, Duration::from_millis(50));
    env.permit_deferral();
    let other = FileLock::new(File::open(env.path()).unwrap());
    let held = loop {
        defer(&env);
        let held = other.lock_writer(env.path(), &env.deadline()).unwrap();
        if env.count_unflushed() > 0 {
            break held;
        }
        // The thread was faster.
    };
    wait_until("the thread waits", || env.process_lock.waiting() > 0);
    let half = Deadline::after(env.config.lock_wait / 2);
    let writer = env.writer.acquire(&half);
    assert!(
        writer.is_ok(),
        "the thread keeps the gate for its lock wait"
    );
    assert!(env.count_unflushed() > 0);
    drop((writer, held));
    wait_until("the thread has flushed", || env.count_unflushed() == 0);
}
