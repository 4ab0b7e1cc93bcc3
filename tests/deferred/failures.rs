//! What a flush that fails leaves of deferred commits, and what comes next.

use super::*;

#[test]
fn durable_write_whose_flush_fails_is_undone_and_the_deferred_ones_stay() {
    // The second one flushes the first, with its anchors.
    for (deferring, unflushed) in [(0, 0), (1, 1), (2, 1), (3, 2)] {
        for errno in [libc::EIO, libc::ENOSPC] {
            let (_directory, path) = place();
            let store = patient().open(&path).unwrap();
            let deferred = store.deferred();
            add(&store, "a");
            for number in 0..deferring {
                add(&deferred, format!("deferred-{number}"));
            }
            let before = devices(&store);
            let error = sys::with_errno(sys::FLUSHES, errno, None, || {
                error_of(store.add_device(&mut device("new")))
            });
            assert_eq!(error.os_error(), Some(errno), "{error:?}");
            assert_eq!(devices(&store), before);
            check(&store);
            assert_eq!(stats(&store).deferred_commits, unflushed);
            // The next one makes all of it durable, or nothing.
            add(&deferred, "next");
            add(&store, "last");
            assert_eq!(stats(&store).deferred_commits, 0);
            check(&store);
            store.close().unwrap();
            assert_eq!(left(&path).len(), before.len() + 2);
        }
    }
}

#[test]
fn failed_flush_of_what_was_deferred_is_made_up_for() {
    type Flushing = fn(&PoolMetadata) -> pool_metadata::Result<()>;
    let at_bound: Flushing = |store| {
        store
            .deferred()
            .change_device_state("a", DeviceState::Created)
    };
    let flushing: [(Flushing, bool); 3] = [
        (PoolMetadata::sync, false),
        (PoolMetadata::close, true),
        (at_bound, false),
    ];
    for (number, (flush, closes)) in flushing.into_iter().enumerate() {
        for deferring in 1..5 {
            let (_directory, path) = place();
            let mut options = patient();
            if !closes && number == 2 {
                // The second one is flushed with the first.
                options.deferred_commits(deferring.max(2) - 1);
            }
            let store = options.open(&path).unwrap();
            add(&store, "a");
            for number in 1..deferring {
                add(&store.deferred(), format!("deferred-{number}"));
            }
            let before = devices(&store);
            let failed = sys::with_errno(sys::FLUSHES, libc::EIO, None, || flush(&store));
            match (number, deferring) {
                // There was nothing to flush.
                (1, 1) => failed.unwrap(),
                _ => assert_eq!(error_of(failed).os_error(), Some(libc::EIO)),
            }
            if closes {
                assert_error!(store.get_device("a"), Error::Closed);
            } else {
                assert_eq!(devices(&store), before);
                store.sync().unwrap();
                add(&store, "next");
                check(&store);
                store.close().unwrap();
            }
            assert_eq!(left(&path).len(), before.len() + usize::from(!closes));
        }
    }
}

/// Defers as many adds. The thread that is to flush them starts in the first one, where flushes
/// fail, and so its own do, too: they stay deferred however long a test takes.
fn defer(store: &PoolMetadata, deferring: usize) {
    let add = |number| drop(add(&store.deferred(), format!("deferred-{number}")));
    if deferring > 0 {
        sys::with_errno(sys::FLUSHES, libc::EIO, None, || add(0));
    }
    (1..deferring).for_each(add);
}

/// What is deferred stays unflushed then, and closing the store makes up for it.
#[test]
fn close_flushes_what_a_failed_flush_has_left() {
    for deferring in 1..4 {
        let (_directory, path) = place();
        // Longer than a flush of the thread, which holds the store.
        let mut options = options(1000);
        options.deferred_age(Duration::from_secs(3600));
        let store = options.open(&path).unwrap();
        add(&store, "a");
        defer(&store, deferring);
        sys::with_errno(sys::FLUSHES, libc::EIO, None, || {
            error_of(store.add_device(&mut device("new")));
            // The walk keeps it from being closed.
            let _walk = store.walk().unwrap();
            error_of(store.close());
        });
        assert!(has_anchors(&path), "nothing has flushed it yet");
        store.close().unwrap();
        assert!(!has_anchors(&path), "{deferring}");
        assert_eq!(left(&path).len(), 1 + deferring);
    }
}

/// Nothing flushes what is deferred in a store that takes no more writes.
#[test]
fn close_of_a_store_that_has_stopped_reports_what_is_not_flushed() {
    for deferring in [0, 1, 3] {
        let (_directory, path) = place();
        let store = patient().open(&path).unwrap();
        add(&store, "a");
        defer(&store, deferring);
        sys::with_errno(sys::FLUSHES, libc::EIO, None, || {
            while !stats(&store).writes_stopped {
                error_of(store.add_device(&mut device("new")));
            }
        });
        let unflushed = stats(&store).deferred_commits;
        assert_eq!(unflushed > 0, deferring > 0);
        match store.close() {
            Ok(()) => assert_eq!(unflushed, 0),
            Err(error) => assert!(matches!(error, Error::WritesStopped { .. }) && unflushed > 0),
        }
        assert_error!(store.close(), Error::Closed);
        assert_eq!(left(&path).len(), 1 + deferring);
    }
}

/// The thread tries a flush again that has failed, and is not the one to use up all attempts.
#[test]
fn disk_that_fails_for_a_moment_does_not_stop_writes() {
    let (_directory, path) = place();
    let mut options = options(10_000);
    options.deferred_age(Duration::ZERO);
    let store = options.open(&path).unwrap();
    // The thread starts here, and so its flushes fail, too.
    sys::with_errno(sys::FLUSHES, libc::EIO, None, || {
        add(&store.deferred(), "a");
    });
    wait_until("a flush has failed", || stats(&store).flushes > 0);
    std::thread::sleep(Duration::from_millis(200));
    add(&store, "b");
    check(&store);
}

/// The commit after one that failed is announced, in the place of the announcement of one that is
/// not flushed yet.
#[test]
fn deferred_write_after_one_that_failed_flushes_those_before_it() {
    let (_directory, path) = place();
    let store = patient().open(&path).unwrap();
    add(&store, "a");
    let deferred = store.deferred();
    // The second one flushes the first, with its anchors.
    for number in 0..3 {
        add(&deferred, format!("deferred-{number}"));
    }
    assert_eq!(stats(&store).deferred_commits, 2);
    add(&deferred, "deferred-3");
    assert_eq!(stats(&store).deferred_commits, 3, "nothing has failed");
    let error = sys::with_errno(sys::WRITES, libc::EIO, None, || {
        error_of(deferred.add_device(&mut device("new")))
    });
    assert_eq!(error.os_error(), Some(libc::EIO), "{error:?}");
    add(&deferred, "next");
    assert_eq!(stats(&store).deferred_commits, 1);
    check(&store);
    store.close().unwrap();
    assert_eq!(left(&path).len(), 6);
}

/// The copy, which a power cut could leave of the store, has all its devices and takes writes.
fn assert_goes_on(store: &PoolMetadata, copy: PoolMetadata, path: &Path, count: usize) {
    assert_eq!(devices(&copy), devices(store));
    assert_eq!(names(&copy).len(), count);
    add(&copy, "next");
    check(&copy);
    copy.close().unwrap();
    assert_eq!(left(path).len(), count + 1);
}

/// The next write makes up for the flush, and then removes the anchors. If the process is killed or
/// the power cut there, the mark of the flush that failed is left without them.
#[test]
fn store_whose_anchors_were_removed_after_a_failed_flush_is_opened_again() {
    type Failing = fn(&PoolMetadata) -> pool_metadata::Result<()>;
    let write: Failing = |store| store.add_device(&mut device("new"));
    for (failing, deferring) in [(write, 2), (write, 4), (PoolMetadata::sync, 3)] {
        let (directory, path) = place();
        let store = patient().open(&path).unwrap();
        add(&store, "a");
        defer(&store, deferring);
        sys::with_errno(sys::FLUSHES, libc::EIO, None, || error_of(failing(&store)));
        let mut bytes = std::fs::read(&path).unwrap();
        raw::remove_anchors(&mut bytes);
        let cut = directory.path().join("cut.db");
        std::fs::write(&cut, bytes).unwrap();
        let opened = patient().open(&cut).unwrap();
        assert_goes_on(&store, opened, &cut, deferring + 1);
    }
}

/// A power cut, or a write that failed, can leave an earlier mark than the last, which names a
/// commit that is in neither meta page any more.
#[test]
fn flush_that_fails_where_the_newest_mark_is_missing_is_made_up_for() {
    for deferring in 2..6 {
        let (directory, path) = place();
        let store = patient().open(&path).unwrap();
        add(&store, "a");
        for number in 0..deferring {
            add(&store.deferred(), format!("deferred-{number}"));
        }
        let mut bytes = std::fs::read(&path).unwrap();
        raw::remove_mark_of_deferral(&mut bytes);
        let cut = directory.path().join("cut.db");
        std::fs::write(&cut, bytes).unwrap();
        let opened = sys::with_errno(sys::FLUSHES, libc::EIO, None, || patient().open(&cut));
        assert_goes_on(&store, opened.unwrap(), &cut, deferring + 1);
    }
}
