//! LMDB cannot go on once the write of a meta page has failed: the first thread that reads then
//! reopens its environment.

use super::common::peer::Peer;
use super::common::{add, check, devices, error_of, options, place, sys, SetOnDrop};
use super::{assert_as_before, assert_stopped, is_io, opened_again, store};
use super::{with_failing, BEHIND_META_PAGES};
use crate::assert_error;
use pool_metadata::{Error, PoolMetadata};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// An open walk keeps its snapshot, so the environment cannot be opened again until it ends.
#[test]
fn open_walk_goes_on_and_new_reads_wait_for_its_end() {
    let (_directory, path) = place();
    store(&path).0.close().unwrap();
    let (store, before) = opened_again(&path, &options(200));
    let mut walk = store.walk().unwrap();
    let fail = || error_of(store.mark_faulty("a"));
    let error = with_failing(sys::WRITES, BEHIND_META_PAGES, fail);
    assert!(is_io(&error), "{error:?}");
    assert_error!(store.get_device("a"), Error::Timeout { .. });
    assert_eq!(walk.next().unwrap().unwrap(), before[0]);
    assert_eq!(walk.count(), 2);
    assert_eq!(store.get_device("a").unwrap(), before[0]);
    store.close().unwrap();
    assert_as_before(&path, &before);
}

/// The environment is opened again by its path, where another file may be by then.
#[test]
fn another_file_at_the_path_is_not_read_for_the_store() {
    let (directory, path) = place();
    let other = directory.path().join("other.db");
    let theirs = PoolMetadata::open(&other).unwrap();
    add(&theirs, "theirs");
    theirs.close().unwrap();
    let store = store(&path).0;
    let fail = || error_of(store.mark_faulty("a"));
    let error = with_failing(sys::WRITES, BEHIND_META_PAGES, fail);
    assert!(is_io(&error), "{error:?}");
    std::fs::rename(&other, &path).unwrap();
    let error = error_of(store.get_device("theirs"));
    let message = error.to_string();
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
    assert!(message.contains(path.to_str().unwrap()), "{message}");
    assert!(message.contains("replaced"), "{message}");
    assert_error!(store.get_device("a"), Error::Io { .. });
    assert_error!(store.get_device_names(), Error::Io { .. });
    assert_error!(store.verify(), Error::Io { .. });
    store.close().unwrap();
    let store = PoolMetadata::open(&path).unwrap();
    assert_eq!(store.get_device_names().unwrap(), [b"theirs"]);
    check(&store);
}

#[test]
fn reads_during_a_reopen_wait_for_it() {
    let (_directory, path) = place();
    store(&path).0.close().unwrap();
    for _ in 0..40 {
        let (store, _) = opened_again(&path, &options(60_000));
        let done = AtomicBool::new(false);
        let read = || {
            while !done.load(Ordering::Relaxed) {
                assert_eq!(store.walk().unwrap().count(), 3);
                assert_eq!(store.get_device("b").unwrap().device_id, 2);
                assert_eq!(store.stats().unwrap().devices, 3);
                assert_error!(store.get_device(""), Error::NotFound { .. });
            }
        };
        thread::scope(|scope| {
            let end = SetOnDrop(&done);
            let readers: Vec<_> = (0..4).map(|_| scope.spawn(read)).collect();
            let fail = || error_of(store.mark_faulty("a"));
            let error = with_failing(sys::WRITES, BEHIND_META_PAGES, fail);
            assert!(is_io(&error), "{error:?}");
            thread::sleep(Duration::from_millis(5));
            // Writes during the reopen are refused for the same reason as after it.
            assert_stopped(&store);
            drop(end);
            readers
                .into_iter()
                .for_each(|reader| reader.join().unwrap());
        });
        store.close().unwrap();
    }
}

/// A close during the reopen waits for it, as all readers do; then the store is closed.
#[test]
fn close_during_a_reopen_waits_for_it() {
    let (_directory, path) = place();
    store(&path).0.close().unwrap();
    let mut before = Vec::new();
    for round in 0..40 {
        let store;
        (store, before) = opened_again(&path, &options(60_000));
        let (closing, done) = (AtomicBool::new(false), AtomicBool::new(false));
        let read = || {
            let mut error = None;
            while error.is_none() && !done.load(Ordering::Relaxed) {
                let seen = store.walk().map(Iterator::count);
                match seen.and_then(|count| Ok((count, store.get_device("b")?))) {
                    Ok((count, device)) => assert_eq!((count, &device), (3, &before[1])),
                    Err(found) => error = Some(found),
                }
            }
            assert!(matches!(error, None | Some(Error::Closed)), "{error:?}");
            assert!(closing.load(Ordering::Relaxed));
        };
        thread::scope(|scope| {
            let _end = SetOnDrop(&done);
            for _ in 0..4 {
                scope.spawn(read);
            }
            let fail = || error_of(store.mark_faulty("a"));
            let error = with_failing(sys::WRITES, BEHIND_META_PAGES, fail);
            thread::sleep(Duration::from_micros(round * 20));
            closing.store(true, Ordering::Relaxed);
            store.close().unwrap();
            assert!(is_io(&error), "{error:?}");
        });
    }
    assert_as_before(&path, &before);
}

/// A reader that finds the environment poisoned releases its slot. The reopen needs one again,
/// which another process may have taken in between.
#[test]
fn reopen_with_a_full_reader_table_waits_for_a_slot() {
    let (_directory, path) = place();
    store(&path).0.close().unwrap();
    let mut before = Vec::new();
    let mut peer = Peer::start("flush::crowd", &path);
    for _ in 0..10 {
        let store;
        (store, before) = opened_again(&path, &options(60_000));
        assert_eq!(store.get_device("a").unwrap(), before[0]);
        peer.tell("take all");
        peer.expect("full");
        let fail = || error_of(store.mark_faulty("a"));
        let error = with_failing(sys::WRITES, BEHIND_META_PAGES, fail);
        assert!(is_io(&error), "{error:?}");
        assert_eq!(store.get_device("a").unwrap(), before[0]);
        peer.expect("released");
        assert_eq!(devices(&store), before);
        store.close().unwrap();
    }
    peer.finish();
    assert_as_before(&path, &before);
}

/// If the reopen fails, the store is closed and holds its file no longer.
#[test]
fn store_that_a_failed_reopen_has_closed_can_be_opened_at_once() {
    let (_directory, path) = place();
    let (store, before) = store(&path);
    let update = store.begin_update("b").unwrap();
    let fail = || error_of(store.mark_faulty("a"));
    let error = with_failing(sys::WRITES, BEHIND_META_PAGES, fail);
    assert!(is_io(&error), "{error:?}");
    let read = || error_of(store.get_device("a"));
    let error = with_failing(&[libc::SYS_openat], None, read);
    assert!(is_io(&error), "{error:?}");
    assert!(matches!(store.get_device("a"), Err(Error::Closed)));
    assert_as_before(&path, &before);
    assert!(matches!(update.commit(), Err(Error::Closed)));
    assert!(matches!(store.close(), Err(Error::Closed)));
}
