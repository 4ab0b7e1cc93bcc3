//! Closing a store beside a process that keeps the writer lock between processes, as one does that
//! was stopped while it wrote.

use super::*;
use std::fs::File;

/// Options with a lock wait that is soon over.
fn impatient() -> OpenOptions {
    let mut options = options(100);
    options.deferred_age(Duration::from_secs(3600));
    options
}

/// Has another process keep the writer lock: held through another descriptor, it is another's.
fn keep_writers_out(path: &Path) -> File {
    let other = File::open(path).unwrap();
    sys::flock(&other);
    other
}

/// What is left to do there is the next writer's, as after a process that was killed.
#[test]
fn store_with_nothing_to_flush_is_closed_beside_a_stopped_writer() {
    type Prepare = fn(&PoolMetadata);
    let nothing: Prepare = |_| ();
    let flushed: Prepare = |store| {
        for name in ["b", "c", "d"] {
            add(&store.deferred(), name);
        }
        store.sync().unwrap();
    };
    for expects in [false, true] {
        for prepare in [nothing, flushed] {
            let (_directory, path) = place();
            let mut options = impatient();
            let store = options.expect_deferred(expects).open(&path).unwrap();
            add(&store, "a");
            prepare(&store);
            let all = names(&store);
            let other = keep_writers_out(&path);
            store.close().unwrap();
            drop(other);
            assert_eq!(left(&path), all);
            assert!(!has_anchors(&path));
        }
    }
}

/// The other process has flushed all before it wrote.
#[test]
fn store_whose_deferral_another_process_has_ended_is_closed_beside_a_stopped_writer() {
    for count in 1..4 {
        let (_directory, path) = place();
        let mut other = Peer::start("processes::remote", &path);
        other.expect("ready");
        let store = impatient().open(&path).unwrap();
        for number in 0..count {
            add(&store.deferred(), format!("{number}"));
        }
        other.order("add other", "ok");
        let held = keep_writers_out(&path);
        store.close().unwrap();
        drop(held);
        other.order("add later", "ok");
        drop(other);
        assert_eq!(left(&path).len(), count + 2);
    }
}

/// This one was stopped for real, with the lock.
#[test]
fn store_is_closed_beside_a_process_that_was_stopped_while_it_wrote() {
    let (_directory, path) = place();
    let mut busy = Peer::start("processes::defer_on", &path);
    busy.expect("ready");
    let store = patient().open(&path).unwrap();
    add(&store.deferred(), "own");
    wait_until("it has flushed that", || {
        stats(&store).deferred_commits == 0
    });
    wait_until("it is stopped with the lock", || {
        busy.halt();
        let has_lock = sys::try_flock(&File::open(&path).unwrap()).is_err();
        if !has_lock {
            busy.signal(libc::SIGCONT);
        }
        has_lock
    });
    store.close().unwrap();
    busy.signal(libc::SIGCONT);
    busy.order("stop", "stopped");
    drop(busy);
    assert_eq!(left(&path), ["a", "own"]);
}

/// A flush that fails has to be noted in the file, which only the process with the lock may do.
#[test]
fn store_with_deferred_commits_stays_open_beside_a_stopped_writer() {
    for count in 1..4 {
        let (_directory, path) = place();
        let store = impatient().open(&path).unwrap();
        for number in 0..count {
            add(&store.deferred(), format!("{number}"));
        }
        let unflushed = stats(&store).deferred_commits;
        let other = keep_writers_out(&path);
        let error = error_of(store.close());
        assert!(matches!(error, Error::Busy { .. }), "{error:?}");
        let said = error.to_string();
        assert!(said.contains("another process") && said.contains("deferred"));
        assert_eq!(names(&store).len(), count);
        assert_eq!(stats(&store).deferred_commits, unflushed);
        drop(other);
        store.close().unwrap();
        assert_eq!(left(&path).len(), count);
        assert!(!has_anchors(&path));
    }
}
