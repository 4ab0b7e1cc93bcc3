//! A store that is being replaced.

use std::time::Duration;

use crate::error::Error;
use crate::file::destination::Destination;
use crate::store::options::OpenOptions;
use crate::store::PoolMetadata;
use crate::sync::deadline::Deadline;

#[test]
fn opening_a_store_waits_while_this_process_replaces_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pool.db");
    PoolMetadata::open(&path).unwrap().close().unwrap();
    let deadline = Deadline::after(Duration::from_secs(60));
    let destination = Destination::store(&path, &deadline).unwrap();
    let open = |wait| OpenOptions::new().lock_wait(wait).open(&path);
    let early = open(Duration::ZERO);
    assert!(matches!(early, Err(Error::Timeout { .. })), "{early:?}");
    std::thread::scope(|scope| {
        let opened = scope.spawn(|| open(Duration::from_secs(60)));
        std::thread::sleep(Duration::from_millis(50));
        drop(destination);
        let store = opened.join().unwrap().unwrap();
        let again = Destination::store(&path, &deadline);
        assert!(matches!(again, Err(Error::AlreadyOpen { .. })));
        store.close().unwrap();
    });
}
