//! Closing a store, alone and under everybody: what is in flight finishes first, what comes later
//! finds it closed.

mod common;

use common::peer::Peer;
use common::{add, check, device, options, place, wait_until, SetOnDrop, SetOnPanic};
use pool_metadata::{Change, Error, PoolMetadata};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn close_waits_for_calls_in_flight() {
    let (_directory, path) = place();
    Peer::start("close::in_flight", &path).finish();
}

#[test]
fn busy_store_stays_open() {
    let (_directory, path) = place();
    Peer::start("close::busy", &path).finish();
}

/// Statistics are read from a walk's kind of snapshot and from a reader slot.
#[test]
fn statistics_do_not_keep_a_store_from_closing() {
    for _ in 0..200 {
        let (_directory, path) = place();
        let store = options(20_000).open(path).unwrap();
        let start = Instant::now();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let _end = SetOnPanic(&stop);
            for _ in 0..4 {
                scope.spawn(|| while store.stats().is_ok() && !stop.load(Ordering::Relaxed) {});
            }
            store.close().unwrap();
        });
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn walk_outlives_its_handle_and_keeps_the_file_open() {
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    add(&store, "a");
    add(&store, "b");
    let mut walk = store.walk().unwrap();
    drop(store);
    assert_eq!(walk.next().unwrap().unwrap().name, b"a");
    assert_error!(PoolMetadata::open(&path), Error::AlreadyOpen { .. });
    let last = thread::spawn(move || walk.next().unwrap().unwrap().name).join();
    assert_eq!(last.unwrap(), b"b");
    check(&PoolMetadata::open(&path).unwrap());
}

/// Threads that read the names of very many devices, again and again, one pass after the other and
/// each longer than a turn between two of them: there is always one that reads. `work` has to be
/// let in all the same.
fn among_readers(store: &PoolMetadata, work: impl FnOnce() -> Result<(), Error>) {
    let changes: Vec<_> = (0..20_000)
        .map(|number| Change::Add(device(format!("device-{number}"))))
        .collect();
    store.apply(&changes).unwrap();
    let (done, reads) = (AtomicBool::new(false), AtomicUsize::new(0));
    let read = || {
        while !done.load(Ordering::SeqCst) {
            match store.get_device_names() {
                Ok(names) => assert!(names.len() >= 20_000),
                // The call came after the close, or waited for it.
                Err(Error::Closed) => return,
                Err(other) => panic!("{other:?}"),
            }
            reads.fetch_add(1, Ordering::SeqCst);
        }
    };
    thread::scope(|scope| {
        let end = SetOnDrop(&done);
        for _ in 0..6 {
            scope.spawn(read);
            thread::sleep(Duration::from_millis(3));
        }
        wait_until("all read", || reads.load(Ordering::SeqCst) > 12);
        let worked = work();
        drop(end);
        worked.unwrap();
    });
}

/// A lock wait in milliseconds in which each of those readers finishes a pass, also on a loaded
/// machine. They read until the call has returned, so a call that they hold up would never return.
const PATIENCE: u64 = 60_000;

#[test]
fn store_that_is_read_all_the_time_is_closed() {
    let (_directory, path) = place();
    let store = options(PATIENCE).open(&path).unwrap();
    among_readers(&store, || store.close());
    assert_error!(store.stats(), Error::Closed);
    check(&PoolMetadata::open(&path).unwrap());
}

#[test]
fn map_of_a_store_that_is_read_all_the_time_grows() {
    let (_directory, path) = place();
    let store = options(PATIENCE).map_size(1 << 20).open(path).unwrap();
    among_readers(&store, || {
        let before = store.stats()?.map_size;
        for number in 0.. {
            if store.stats()?.map_size > before {
                break;
            }
            let mut large = device(format!("large-{number}"));
            large.error = vec![b'e'; pool_metadata::MAX_ERROR_LEN];
            store.add_device(&mut large)?;
        }
        Ok(())
    });
    check(&store);
}
