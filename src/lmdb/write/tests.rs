use std::time::Duration;

use super::*;
use crate::lmdb::open::tests::open;

#[test]
fn write_behind_a_flush_that_stalls_does_not_time_out() {
    let directory = tempfile::tempdir().unwrap();
    let env = open(&directory);
    let writer = env.writer.acquire(&env.deadline()).unwrap();
    let flushing = env.begin_flushing();
    let soon = || LockWait::new(Duration::from_millis(20));
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| env.begin_writing(&soon()).map(drop).is_ok());
        std::thread::sleep(Duration::from_millis(300));
        assert!(!waits.is_finished());
        drop((flushing, writer));
        assert!(waits.join().unwrap());
        let _writer = env.writer.acquire(&env.deadline()).unwrap();
        assert!(env.begin_writing(&soon()).is_err(), "nothing flushes now");
    });
}
