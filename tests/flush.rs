//! Flushes and page writes that fail: the write is an error without effect, and as nobody knows
//! then what the disk really has, the store takes no writes until it is opened again.

mod common;

use common::peer::Peer;
use common::{add, check, device, devices, error_of, options, place, sys, wait_until};
use pool_metadata::{DeviceInfo, DeviceState, Durability, Error, OpenOptions, PoolMetadata};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Runs `work` in a thread in which those calls fail.
fn with_failing<R: Send>(
    calls: &[libc::c_long],
    below: Option<u32>,
    work: impl FnOnce() -> R + Send,
) -> R {
    let run = || {
        sys::fail_in_this_thread(calls, libc::EIO, below);
        work()
    };
    thread::scope(|scope| scope.spawn(run).join().unwrap())
}

fn store(path: &Path, durability: Durability) -> (PoolMetadata, Vec<DeviceInfo>) {
    let store = options(10_000).durability(durability).open(path).unwrap();
    for name in ["a", "b", "c"] {
        add(&store, name);
    }
    let before = devices(&store);
    (store, before)
}

fn is_io(error: &Error) -> bool {
    matches!(error, Error::Io { .. }) && error.os_error() == Some(libc::EIO)
}

/// Every write says that writes are stopped, in whatever thread.
fn assert_stopped(store: &PoolMetadata) {
    let refused = [
        store.add_device(&mut device("new")),
        store.update_device("a", |_| panic!("the callback of a write that cannot be")),
        store.begin_update("a").map(drop),
        store.change_device_state("a", DeviceState::Removed),
        store.mark_faulty("a"),
        store.remove_device("a"),
        store.sync(),
    ];
    for result in refused {
        let error = error_of(result);
        assert!(matches!(error, Error::WritesStopped { .. }), "{error:?}");
        let message = error.to_string();
        assert!(
            message.contains(store.path().to_str().unwrap()),
            "{message}"
        );
    }
}

/// Opened again, it has what it had, and takes writes.
fn assert_as_before(path: &Path, before: &[DeviceInfo]) {
    let store = PoolMetadata::open(path).unwrap();
    assert_eq!(devices(&store), before);
    check(&store);
    add(&store, "new");
    check(&store);
}

#[test]
fn a_flush_that_fails_stops_the_writes() {
    let (_directory, path) = place();
    let (store, before) = store(&path, Durability::Full);
    let update = store.begin_update("b").unwrap();
    let error = with_failing(sys::FLUSHES, None, || {
        let mut new = device("new");
        let error = error_of(store.add_device(&mut new));
        assert_eq!(new, device("new"), "nothing is handed back");
        error
    });
    assert!(is_io(&error), "{error:?}");
    assert!(
        error.to_string().contains(path.to_str().unwrap()),
        "{error}"
    );
    assert_stopped(&store);
    assert_error!(update.commit(), Error::WritesStopped { .. });
    // Reading goes on, and sees no trace of it.
    assert_eq!(devices(&store), before);
    assert_error!(store.get_device("new"), Error::NotFound { .. });
    check(&store);
    store.close().unwrap();
    assert_as_before(&path, &before);
}

#[test]
fn a_flush_that_fails_is_an_error_for_everyone_who_shared_it() {
    const WRITERS: usize = 8;
    let (_directory, path) = place();
    let store = options(60_000).open(&path).unwrap();
    let before = vec![add(&store, "a"), add(&store, "b")];
    let write = |thread: usize| {
        with_failing(sys::FLUSHES, None, || {
            error_of(store.add_device(&mut device(format!("new-{thread}"))))
        })
    };
    let errors: Vec<Error> = thread::scope(|scope| {
        // As another process that writes.
        let other = std::fs::File::open(&path).unwrap();
        sys::flock(&other);
        let write = &write;
        let writers: Vec<_> = (0..WRITERS)
            .map(|thread| scope.spawn(move || write(thread)))
            .collect();
        wait_until("a leader and those behind it", || {
            store.stats().unwrap().writers_waiting == WRITERS as u64
        });
        drop(other);
        writers.into_iter().map(|w| w.join().unwrap()).collect()
    });
    // One flush, and not one that failed and seven writes that were refused after it.
    assert!(errors.iter().all(is_io), "{errors:?}");
    assert_stopped(&store);
    assert_eq!(devices(&store), before);
    check(&store);
    store.close().unwrap();
    assert_as_before(&path, &before);
}

#[test]
fn pages_that_cannot_be_written_stop_the_writes() {
    let (_directory, path) = place();
    let (store, before) = store(&path, Durability::Full);
    let error = with_failing(sys::WRITES, None, || error_of(store.remove_device("a")));
    assert!(is_io(&error), "{error:?}");
    assert_stopped(&store);
    assert_eq!(devices(&store), before);
    check(&store);
    drop(store);
    assert_as_before(&path, &before);
}

#[test]
fn a_meta_page_that_cannot_be_written_stops_the_writes() {
    let (_directory, path) = place();
    let (store, before) = store(&path, Durability::Full);
    // The two meta pages are the first; LMDB writes them last, and gives up for good when it
    // cannot.
    let error = with_failing(sys::WRITES, Some(2 * 4096), || {
        error_of(store.change_device_state("a", DeviceState::Removed))
    });
    assert!(is_io(&error), "{error:?}");
    assert_stopped(&store);
    assert_eq!(devices(&store), before);
    check(&store);
    store.close().unwrap();
    assert_as_before(&path, &before);
}

/// Whether LMDB has given up is seen though there is no place for one more read.
#[test]
fn a_full_disk_and_a_full_reader_table_stop_the_writes_too() {
    let (_directory, path) = place();
    store(&path, Durability::Full).0.close().unwrap();
    // Longer than reads of the tests beside it may take: LMDB is opened anew once they have ended,
    // too.
    let store = options(3000)
        .max_readers(OpenOptions::MIN_MAX_READERS)
        .open(&path)
        .unwrap();
    let before = devices(&store);
    let mut walks = Vec::new();
    let full = loop {
        match store.walk() {
            Ok(walk) => walks.push(walk),
            Err(error) => break error,
        }
    };
    assert!(matches!(full, Error::ReadersFull { .. }), "{full:?}");
    let write = || {
        sys::fail_in_this_thread(sys::WRITES, libc::ENOSPC, Some(2 * 4096));
        error_of(store.mark_faulty("a"))
    };
    let error = thread::scope(|scope| scope.spawn(write).join().unwrap());
    assert_eq!(error.os_error(), Some(libc::ENOSPC), "{error:?}");
    assert_error!(store.mark_faulty("b"), Error::WritesStopped { .. });
    drop(walks);
    assert_stopped(&store);
    assert_eq!(devices(&store), before);
    store.close().unwrap();
    assert_as_before(&path, &before);
}

/// Says so when it is dropped, so that nobody waits for a test that has failed.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// LMDB has given up then, and is opened anew by the first who wants to read. The others wait for
/// that.
#[test]
fn reads_that_meet_the_moment_in_which_lmdb_is_opened_anew_wait_for_it() {
    let (_directory, path) = place();
    store(&path, Durability::Full).0.close().unwrap();
    for _ in 0..40 {
        let store = options(60_000).open(&path).unwrap();
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
            let _done = Done(&done);
            let readers: Vec<_> = (0..4).map(|_| scope.spawn(read)).collect();
            let fail = || error_of(store.mark_faulty("a"));
            let error = with_failing(sys::WRITES, Some(2 * 4096), fail);
            assert!(is_io(&error), "{error:?}");
            thread::sleep(Duration::from_millis(5));
            // Who wants to write is told the reason in that moment too.
            assert_stopped(&store);
            done.store(true, Ordering::Relaxed);
            readers
                .into_iter()
                .for_each(|reader| reader.join().unwrap());
        });
        store.close().unwrap();
    }
}

/// Whoever closes the store in that moment waits as well, and so does everybody else: only then is
/// it closed.
#[test]
fn a_store_is_closed_while_lmdb_is_opened_anew() {
    let (_directory, path) = place();
    let (store, before) = store(&path, Durability::Full);
    store.close().unwrap();
    for round in 0..40 {
        let store = options(60_000).open(&path).unwrap();
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
            let _done = Done(&done);
            for _ in 0..4 {
                scope.spawn(read);
            }
            let fail = || error_of(store.mark_faulty("a"));
            let error = with_failing(sys::WRITES, Some(2 * 4096), fail);
            thread::sleep(Duration::from_micros(round * 20));
            closing.store(true, Ordering::Relaxed);
            store.close().unwrap();
            assert!(is_io(&error), "{error:?}");
        });
    }
    assert_as_before(&path, &before);
}

/// The reader that finds that LMDB has given up gives its place back, and opening anew needs one.
#[test]
fn reads_go_on_though_their_place_is_taken_while_lmdb_is_opened_anew() {
    let (_directory, path) = place();
    let (store, before) = store(&path, Durability::Full);
    store.close().unwrap();
    let mut peer = Peer::start("flush::crowd", &path);
    for _ in 0..10 {
        let store = options(60_000).open(&path).unwrap();
        assert_eq!(store.get_device("a").unwrap(), before[0]);
        peer.tell("take all");
        peer.expect("full");
        let fail = || error_of(store.mark_faulty("a"));
        let error = with_failing(sys::WRITES, Some(2 * 4096), fail);
        assert!(is_io(&error), "{error:?}");
        assert_eq!(store.get_device("a").unwrap(), before[0]);
        peer.expect("given back");
        assert_eq!(devices(&store), before);
        store.close().unwrap();
    }
    peer.finish();
    assert_as_before(&path, &before);
}

/// Where LMDB cannot be opened anew, the store is closed, and its file is given up with it.
#[test]
fn a_store_that_a_failure_has_closed_can_be_opened_at_once() {
    let (_directory, path) = place();
    let (store, before) = store(&path, Durability::Full);
    let update = store.begin_update("b").unwrap();
    let fail = || error_of(store.mark_faulty("a"));
    let error = with_failing(sys::WRITES, Some(2 * 4096), fail);
    assert!(is_io(&error), "{error:?}");
    let read = || error_of(store.get_device("a"));
    let error = with_failing(&[libc::SYS_openat], None, read);
    assert!(is_io(&error), "{error:?}");
    assert!(matches!(store.get_device("a"), Err(Error::Closed)));
    assert_as_before(&path, &before);
    assert!(matches!(update.commit(), Err(Error::Closed)));
    assert!(matches!(store.close(), Err(Error::Closed)));
}

#[test]
fn creating_a_store_that_cannot_be_flushed_or_named_leaves_nothing() {
    // LMDB's own flush, the last one before the store gets its name, and the name.
    for calls in [sys::FLUSHES, &[libc::SYS_fsync], &[libc::SYS_renameat2]] {
        let (directory, path) = place();
        let error = with_failing(calls, None, || error_of(PoolMetadata::open(&path)));
        assert!(is_io(&error), "{error:?}");
        let message = error.to_string();
        assert!(message.contains(path.to_str().unwrap()), "{message}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        assert_as_before(&path, &[]);
    }
}

#[test]
fn with_relaxed_durability_what_is_written_is_there_and_sync_flushes_it() {
    let (_directory, path) = place();
    let (store, before) = store(&path, Durability::Relaxed);
    store.sync().unwrap();
    check(&store);
    let error = with_failing(sys::FLUSHES, None, || error_of(store.sync()));
    assert!(is_io(&error), "{error:?}");
    assert_stopped(&store);
    assert_eq!(devices(&store), before);
    store.close().unwrap();
    assert_as_before(&path, &before);
}
