//! Flushes and page writes that fail: the write is an error without effect, and the store goes on
//! once the disk does.

#[path = "../common/mod.rs"]
mod common;
mod reopen;

use common::peer::Peer;
use common::{add, check, device, devices, error_of, options, place, raw, sys, wait_until};
use pool_metadata::{DeviceInfo, DeviceState, Error, OpenOptions, PoolMetadata};
use std::path::Path;
use std::thread;

/// Where a store's data pages begin. LMDB writes the two meta pages before them last, and cannot
/// go on with its environment when it fails to.
const BEHIND_META_PAGES: Option<u32> = Some(2 * 4096);
/// What a system call can fail with.
const ERRORS: [i32; 6] = [
    libc::EIO,
    libc::EROFS,
    libc::EPERM,
    libc::ENOMEM,
    libc::ENOSPC,
    libc::EDQUOT,
];

/// Whether the disk is full, which is no failure of the disk.
fn is_full(errno: i32) -> bool {
    [libc::ENOSPC, libc::EDQUOT].contains(&errno)
}

/// Runs `work` in a thread in which those calls fail with EIO.
fn with_failing<R: Send>(
    calls: &[libc::c_long],
    below: Option<u32>,
    work: impl FnOnce() -> R + Send,
) -> R {
    sys::with_errno(calls, libc::EIO, below, work)
}

fn store(path: &Path) -> (PoolMetadata, Vec<DeviceInfo>) {
    let store = options(10_000).open(path).unwrap();
    for name in ["a", "b", "c"] {
        add(&store, name);
    }
    let before = devices(&store);
    (store, before)
}

/// Opens the store again, and makes its first commit, before which the library writes to a meta
/// page by itself.
fn opened_again(path: &Path, options: &OpenOptions) -> (PoolMetadata, Vec<DeviceInfo>) {
    let store = options.open(path).unwrap();
    let changed = store.change_device_state("c", DeviceState::Suspended);
    changed.unwrap();
    let before = devices(&store);
    (store, before)
}

fn is_io(error: &Error) -> bool {
    matches!(error, Error::Io { .. }) && error.os_error() == Some(libc::EIO)
}

/// Every kind of write is refused because writes are stopped.
fn assert_stopped(store: &PoolMetadata) {
    let refused = [
        store.add_device(&mut device("new")),
        store.update_device("a", |_| panic!("the callback of a write that is refused")),
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

/// A store that is opened again holds what it held, and takes writes.
fn assert_as_before(path: &Path, before: &[DeviceInfo]) {
    let store = PoolMetadata::open(path).unwrap();
    assert_eq!(devices(&store), before);
    check(&store);
    add(&store, "new");
    check(&store);
}

#[test]
fn write_whose_flush_fails_is_undone_and_the_next_one_is_made() {
    for errno in ERRORS {
        let (_directory, path) = place();
        let (store, before) = store(&path);
        let update = store.begin_update("b").unwrap();
        let error = sys::with_errno(sys::FLUSHES, errno, None, || {
            let mut new = device("new");
            let error = error_of(store.add_device(&mut new));
            assert_eq!(new, device("new"), "the caller's device is unchanged");
            error
        });
        assert_eq!(error.os_error(), Some(errno), "{error:?}");
        assert_eq!(matches!(error, Error::DiskFull { .. }), is_full(errno));
        let message = error.to_string();
        assert!(message.contains(path.to_str().unwrap()), "{message}");
        // Reads see no trace of the write, and writes go on.
        assert_eq!(devices(&store), before);
        assert_error!(store.get_device("new"), Error::NotFound { .. });
        check(&store);
        update.commit().unwrap();
        add(&store, "new");
        check(&store);
        store.sync().unwrap();
        store.close().unwrap();
        let store = PoolMetadata::open(&path).unwrap();
        assert_eq!(devices(&store).len(), before.len() + 1);
    }
}

/// A power cut can take the note of the last flush with it, so a commit that no note names may have
/// been acknowledged.
#[test]
fn acknowledged_write_without_a_note_stays_when_the_next_flush_fails() {
    for errno in ERRORS {
        let (_directory, path) = place();
        let (store, before) = store(&path);
        store.close().unwrap();
        raw::clear_marks(&path);
        let store = sys::with_errno(sys::FLUSHES, errno, None, || {
            let store = options(10_000).open(&path).unwrap();
            assert_eq!(devices(&store), before);
            let error = error_of(store.mark_faulty("a"));
            assert_eq!(error.os_error(), Some(errno), "{error:?}");
            assert_eq!(devices(&store), before);
            store
        });
        // It is flushed before the next one is written.
        let flushes = || store.stats().unwrap().flushes;
        let failed = flushes();
        add(&store, "new");
        assert_eq!(flushes(), failed + 2);
        check(&store);
        store.close().unwrap();
        let store = PoolMetadata::open(&path).unwrap();
        assert_eq!(devices(&store).len(), before.len() + 1);
    }
}

/// Whoever has read the record of a commit that was undone must not take another one for it.
#[test]
fn generation_of_an_undone_write_is_not_given_again() {
    let (_directory, path) = place();
    let (store, _) = store(&path);
    let commits = || store.stats().unwrap().commits;
    let before = commits();
    with_failing(sys::FLUSHES, None, || error_of(store.mark_faulty("a")));
    assert_eq!(commits(), before);
    let name = add(&store, "new").name;
    assert_eq!(store.get_device(name).unwrap().generation, before + 2);
    add(&store, "next");
    assert_eq!(commits(), before + 3);
}

#[test]
fn flushes_that_fail_again_and_again_stop_writes_until_the_store_is_reopened() {
    let (_directory, path) = place();
    let (store, before) = store(&path);
    let failures = with_failing(sys::FLUSHES, None, || {
        let mut failures = 0;
        loop {
            match error_of(store.remove_device("a")) {
                Error::WritesStopped { .. } => break failures,
                error => assert!(is_io(&error), "{error:?}"),
            }
            assert_eq!(devices(&store), before);
            failures += 1;
        }
    });
    assert_eq!(failures, 8);
    assert_stopped(&store);
    assert_eq!(devices(&store), before);
    check(&store);
    store.close().unwrap();
    assert_as_before(&path, &before);
}

/// What one process undoes, no other sees, also if that was the one that wrote before.
#[test]
fn undone_write_is_seen_by_no_other_process() {
    let (_directory, path) = place();
    let (store, before) = store(&path);
    let mut other = Peer::start("flush::other", &path);
    let mut ask = |what: &str| {
        other.tell(what);
        other.hear()
    };
    assert_eq!(ask("count"), before.len().to_string());
    let error = with_failing(sys::FLUSHES, None, || error_of(store.remove_device("a")));
    assert!(is_io(&error), "{error:?}");
    assert_eq!(ask("count"), before.len().to_string());
    assert_eq!(ask("add"), "added");
    assert_eq!(devices(&store).len(), before.len() + 1);
    add(&store, "new");
    check(&store);
}

#[test]
fn failed_flush_fails_every_write_of_its_group_commit() {
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
        // Holds writers up, as another process that writes would.
        let other = std::fs::File::open(&path).unwrap();
        sys::flock(&other);
        let write = &write;
        let writers: Vec<_> = (0..WRITERS)
            .map(|thread| scope.spawn(move || write(thread)))
            .collect();
        wait_until("all writers to be queued", || {
            store.stats().unwrap().writers_waiting == WRITERS as u64
        });
        drop(other);
        writers.into_iter().map(|w| w.join().unwrap()).collect()
    });
    assert!(errors.iter().all(is_io), "{errors:?}");
    assert_eq!(devices(&store), before);
    check(&store);
    store.close().unwrap();
    assert_as_before(&path, &before);
}

#[test]
fn meta_page_that_can_never_be_written_stops_writes() {
    for errno in ERRORS {
        let (_directory, path) = place();
        let (store, before) = store(&path);
        let change = || error_of(store.change_device_state("a", DeviceState::Removed));
        let error = sys::with_errno(sys::WRITES, errno, BEHIND_META_PAGES, change);
        assert!(matches!(error, Error::Io { .. }), "{error:?}");
        assert_eq!(error.os_error(), Some(errno), "{error:?}");
        assert_stopped(&store);
        assert_eq!(devices(&store), before);
        check(&store);
        store.close().unwrap();
        assert_as_before(&path, &before);
    }
}

/// Nothing refers to the pages of a commit before its meta page is written.
#[test]
fn failed_write_of_a_page_changes_nothing() {
    for errno in ERRORS {
        let (_directory, path) = place();
        let (store, before) = store(&path);
        let remove = || error_of(store.remove_device("a"));
        let error = sys::with_errno(sys::WRITES, errno, None, remove);
        assert_eq!(error.os_error(), Some(errno), "{error:?}");
        assert_eq!(devices(&store), before);
        check(&store);
        store.remove_device("a").unwrap();
        check(&store);
    }
}

/// The store notices a poisoned environment although the reader table is full.
#[test]
fn failed_write_of_a_meta_page_stops_writes_with_a_full_reader_table() {
    let (_directory, path) = place();
    store(&path).0.close().unwrap();
    // Longer than the reads of tests beside this one: the reopen waits for those as well.
    let mut options = options(3000);
    options.max_readers(OpenOptions::MIN_MAX_READERS);
    let (store, before) = opened_again(&path, &options);
    let mut walks = Vec::new();
    let full = loop {
        match store.walk() {
            Ok(walk) => walks.push(walk),
            Err(error) => break error,
        }
    };
    assert!(matches!(full, Error::ReadersFull { .. }), "{full:?}");
    let write = || error_of(store.mark_faulty("a"));
    let error = sys::with_errno(sys::WRITES, libc::ENOSPC, BEHIND_META_PAGES, write);
    assert_eq!(error.os_error(), Some(libc::ENOSPC), "{error:?}");
    assert_error!(store.mark_faulty("b"), Error::WritesStopped { .. });
    drop(walks);
    assert_stopped(&store);
    assert_eq!(devices(&store), before);
    store.close().unwrap();
    assert_as_before(&path, &before);
}

#[test]
fn store_that_cannot_be_flushed_or_named_is_not_created() {
    // Every flush, the one of the file before it gets its name, and the renaming.
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
