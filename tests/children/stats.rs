//! Roles of `tests/stats`.

use crate::assert_error;
use crate::common::{add, child, options, Barrier};
use pool_metadata::{Error, PoolMetadata, Stats};
use std::path::Path;
use std::thread;

/// Keeps a snapshot until the parent says to release it.
pub fn look(path: &Path) {
    let store = options(1000).open(path).unwrap();
    let walk = store.walk().unwrap();
    child::say("looks");
    child::listen();
    drop(walk);
    child::say("done");
    child::listen();
}

pub fn readers(stats: &Stats) -> [u64; 3] {
    [
        stats.readers_active,
        stats.oldest_reader_commits,
        stats.walks_open,
    ]
}

/// Needs a process of its own: a test beside this one that closes a store would wait for this read.
pub fn short_read(path: &Path) {
    let store = PoolMetadata::open(path).unwrap();
    add(&store, "a");
    let inside = store.read_device("a", |_| {
        let look = || (store.stats().unwrap(), store.running_reads().unwrap());
        thread::scope(|scope| scope.spawn(look).join().unwrap())
    });
    let (stats, reads) = inside.unwrap();
    assert_eq!(readers(&stats), [1, 0, 0]);
    assert_eq!((reads.len(), reads[0].pid), (1, std::process::id()));
    assert_eq!((reads[0].commits_behind, reads[0].age), (0, None));
    assert_eq!(readers(&store.stats().unwrap()), [0, 0, 0]);
}

/// Needs a process of its own, since read permits and their counters are shared by the whole
/// process.
pub fn slots(path: &Path) {
    let store = options(50).max_readers(128).open(path).unwrap();
    add(&store, "a");
    let counts = || {
        let stats = store.stats().unwrap();
        (stats.reader_waits, stats.reader_refusals)
    };
    assert_eq!(counts(), (0, 0));
    let mut walks: Vec<_> = Vec::new();
    let full = loop {
        match store.walk() {
            Ok(walk) => walks.push(walk),
            Err(error) => break error,
        }
    };
    assert!(matches!(full, Error::ReadersFull { .. }), "{full:?}");
    assert!(walks.len() > 64, "{}", walks.len());
    walks.pop();
    assert_eq!(counts(), (1, 1), "the one that found no place");
    drop(walks);
    // Holds all read permits of the process: one more read times out.
    let (inside, release) = (Barrier::new(65), Barrier::new(65));
    thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                let read = store.read_device("a", |_| {
                    inside.wait();
                    release.wait();
                });
                read.unwrap();
            });
        }
        inside.wait();
        assert_error!(store.get_device("a"), Error::Timeout { .. });
        release.wait();
    });
    assert_eq!(counts(), (2, 2));
}
