//! Deferred writes: which flushes are made, by whom and when, and what a flush that fails leaves.
//! What a power cut leaves of them is in `tests/powercut`.

#[path = "common/mod.rs"]
mod common;

use common::peer::Peer;
use common::rng::Rng;
use common::{add, check, device, devices, error_of, options, place, raw, sys, wait_until};
use pool_metadata::{Change, DeviceInfo, DeviceState, Durability, Error, OpenOptions};
use pool_metadata::{PoolMetadata, Stats};
use std::path::Path;
use std::time::Duration;

/// Options with which nothing is flushed before its time.
fn patient() -> OpenOptions {
    let mut options = options(10_000);
    options.deferred_age(Duration::from_secs(3600));
    options
}

fn stats(store: &PoolMetadata) -> Stats {
    store.stats().unwrap()
}

/// Flushes that `work` makes, and how many commits it leaves unflushed.
fn flushes(store: &PoolMetadata, work: impl FnOnce()) -> (u64, u64) {
    let before = stats(store).flushes;
    work();
    (stats(store).flushes - before, stats(store).deferred_commits)
}

/// Whether the file has anchors.
fn has_anchors(path: &Path) -> bool {
    let bytes = std::fs::read(path).unwrap();
    let mut without = bytes.clone();
    raw::remove_anchors(&mut without);
    bytes != without
}

fn names(store: &PoolMetadata) -> Vec<String> {
    let name = |device: DeviceInfo| String::from_utf8(device.name).unwrap();
    devices(store).into_iter().map(name).collect()
}

/// The names of a store that is opened again, which is sound.
fn left(path: &Path) -> Vec<String> {
    let store = PoolMetadata::open(path).unwrap();
    check(&store);
    names(&store)
}

#[test]
fn deferred_commits_are_flushed_by_the_next_one_that_is_not() {
    let (_directory, path) = place();
    let store = patient().open(&path).unwrap();
    let deferred = store.deferred();
    add(&store, "a");
    let defer = |name: &str| flushes(&store, || drop(add(&deferred, name)));
    assert_eq!(defer("b"), (0, 1), "the commit before it is in its place");
    assert!(!has_anchors(&path));
    assert_eq!(
        defer("c"),
        (1, 1),
        "that was flushed, and has an anchor now"
    );
    assert!(has_anchors(&path));
    for count in 2..20 {
        assert_eq!(defer(&format!("d{count}")), (0, count));
    }
    let list = [Change::Add(device("e")), Change::Add(device("f"))];
    let apply = || drop(deferred.apply(&list).unwrap());
    assert_eq!(flushes(&store, apply), (0, 20));
    assert_eq!(flushes(&store, || drop(add(&store, "g"))), (1, 0));
    assert_eq!(defer("h"), (0, 1));
    // What it finds done may be deferred.
    let again = || deferred.mark_faulty("h").unwrap();
    assert_eq!(flushes(&store, again), (0, 2));
    let ids = [stats(&store).last_id as u32];
    let nothing_new = || assert_eq!(store.mark_ids_faulty(&ids).unwrap(), 0);
    assert_eq!(flushes(&store, nothing_new), (1, 0));
    assert_eq!(defer("i"), (0, 1));
    assert_eq!(flushes(&store, || store.sync().unwrap()), (1, 0));
    assert_eq!(defer("j"), (0, 1));
    check(&store);
    let all = names(&store);
    store.close().unwrap();
    assert!(!has_anchors(&path));
    assert_eq!(left(&path), all);
}

#[test]
fn store_that_defers_everything_is_flushed_by_its_bounds_and_by_sync() {
    let (_directory, path) = place();
    let mut options = patient();
    options.durability(Durability::Relaxed).deferred_commits(10);
    let store = options.open(&path).unwrap();
    let write = |count: usize| {
        for _ in 0..count {
            add(&store, format!("{}", stats(&store).commits));
        }
    };
    assert_eq!(flushes(&store, || write(2)), (1, 1));
    assert_eq!(flushes(&store, || write(8)), (0, 9));
    assert_eq!(flushes(&store, || write(1)), (1, 0));
    assert_eq!(flushes(&store, || write(9)), (0, 9));
    assert_eq!(flushes(&store, || write(31)), (4, 0));
    assert_eq!(flushes(&store, || write(1)), (0, 1));
    assert_eq!(flushes(&store, || store.sync().unwrap()), (1, 0));
    drop(store);
    assert!(!has_anchors(&path));
    assert_eq!(left(&path).len(), 52);
}

#[test]
fn number_of_deferred_commits_cannot_be_zero() {
    let (_directory, path) = place();
    let opened = OpenOptions::new().deferred_commits(0).open(&path);
    assert_error!(opened, Error::InvalidOption { .. });
    assert!(!path.exists());
}

/// The first thing that is not used any more is the thread's to end.
#[test]
fn idle_store_is_flushed_and_keeps_no_pages() {
    let (_directory, path) = place();
    let mut options = options(10_000);
    options.deferred_age(Duration::from_millis(5));
    let store = options.open(&path).unwrap();
    let deferred = store.deferred();
    for round in 0..3 {
        for number in 0..3 {
            add(&deferred, format!("{round}-{number}"));
        }
        wait_until("what was deferred is flushed", || {
            stats(&store).deferred_commits == 0 && !has_anchors(&path)
        });
        add(&store, format!("{round}"));
        assert_eq!(
            flushes(&store, || drop(add(&store, format!("{round}-")))),
            (1, 0)
        );
    }
    store.close().unwrap();
    assert_eq!(left(&path).len(), 15);
}

/// The flush that the second deferred commit has otherwise is made before the first write.
#[test]
fn store_that_expects_deferred_commits_needs_no_flush_in_between() {
    let (_directory, path) = place();
    let mut options = patient();
    options.expect_deferred(true);
    for name in ["a", "b"] {
        let store = options.open(&path).unwrap();
        assert!(stats(&store).flushes >= 1 && has_anchors(&path));
        let deferred = store.deferred();
        for count in 1..4 {
            let defer = || drop(add(&deferred, format!("{name}-{count}")));
            assert_eq!(flushes(&store, defer), (0, count));
        }
        assert_eq!(flushes(&store, || drop(add(&store, name))), (1, 0));
        store.close().unwrap();
        assert!(!has_anchors(&path));
    }
    assert_eq!(left(&path).len(), 8);
    // It is of no use to one that does not write.
    let store = options.read_only(true).open(&path).unwrap();
    assert!(!has_anchors(&path) && names(&store).len() == 8);
}

/// The anchors of one that does not are removed by then: see the test above.
#[test]
fn idle_store_that_expects_deferred_commits_stays_ready_for_them() {
    let (_directory, path) = place();
    let mut options = options(10_000);
    options
        .deferred_age(Duration::from_millis(5))
        .expect_deferred(true);
    let store = options.open(&path).unwrap();
    for round in 0..3 {
        add(&store.deferred(), format!("{round}-0"));
        add(&store.deferred(), format!("{round}-1"));
        wait_until("what was deferred is flushed", || {
            stats(&store).deferred_commits == 0
        });
        std::thread::sleep(Duration::from_millis(100));
        assert!(has_anchors(&path));
    }
    drop(store);
    assert_eq!(left(&path).len(), 6);
}

/// Pins are no reads that anybody could end.
#[test]
fn pins_are_not_listed_as_running_reads() {
    let (_directory, path) = place();
    let store = patient().open(&path).unwrap();
    let deferred = store.deferred();
    for number in 0..10 {
        add(&deferred, format!("{number}"));
    }
    add(&store, "a");
    add(&deferred, "b");
    assert_eq!(store.running_reads().unwrap(), []);
    assert_eq!(
        (stats(&store).readers_active, stats(&store).walks_open),
        (0, 0)
    );
    let walk = store.walk().unwrap();
    add(&deferred, "c");
    let reads = store.running_reads().unwrap();
    assert_eq!((reads.len(), reads[0].commits_behind), (1, 1));
    assert!(reads[0].age.is_some());
    drop(walk);
    // They do not keep the map from growing, or the store from being closed.
    let mut large = device("large");
    large.error = vec![b'e'; 1 << 20];
    deferred.add_device(&mut large).unwrap();
    store.close().unwrap();
}

#[test]
fn map_grows_while_commits_are_deferred() {
    let (_directory, path) = place();
    let store = patient().map_size(1 << 20).open(&path).unwrap();
    let deferred = store.deferred();
    for number in 0..40 {
        let mut large = device(format!("{number}"));
        large.error = vec![b'e'; 100_000];
        deferred.add_device(&mut large).unwrap();
    }
    assert!(stats(&store).map_size > 4 << 20);
    check(&store);
    drop((store, deferred));
    assert_eq!(left(&path).len(), 40);
}

/// Each process flushes what the other has deferred before it writes.
#[test]
fn processes_that_defer_in_turn_flush_for_each_other() {
    let (_directory, path) = place();
    let store = patient().open(&path).unwrap();
    let deferred = store.deferred();
    let mut other = Peer::start("processes::remote", &path);
    other.expect("ready");
    let mut all = Vec::new();
    for round in 0..4 {
        for number in 0..round {
            all.push(add(&deferred, format!("{round}-own-{number}")));
        }
        for number in 0..4 - round {
            other.tell(&format!("defer {round}-other-{number}"));
            other.expect("ok");
        }
        assert_eq!(
            stats(&store).deferred_commits,
            0,
            "the other has flushed it"
        );
        let own = || drop(add(&store, format!("{round}-durable")));
        assert_eq!(flushes(&store, own).1, 0);
        check(&store);
    }
    add(&deferred, "last");
    add(&deferred, "really-last");
    let all = names(&store);
    other.tell("add other-last");
    other.expect("ok");
    drop((store, deferred));
    drop(other);
    assert_eq!(left(&path).len(), all.len() + 1);
}

#[test]
fn durable_write_whose_flush_fails_is_undone_and_the_deferred_ones_stay() {
    for deferring in 0..4 {
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

/// What is deferred stays unflushed then, and closing the store makes up for it.
#[test]
fn close_flushes_what_a_failed_flush_has_left() {
    for deferring in 1..4 {
        let (_directory, path) = place();
        let mut options = options(100);
        options.deferred_age(Duration::from_secs(3600));
        let store = options.open(&path).unwrap();
        add(&store, "a");
        for number in 0..deferring {
            add(&store.deferred(), format!("deferred-{number}"));
        }
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

/// By the anchors, a store that is opened knows that the next commit has to leave out numbers. So
/// the mark that says so is flushed before they are removed, after what was deferred.
#[test]
fn opening_flushes_the_mark_before_it_removes_the_anchors() {
    let (directory, path) = place();
    let store = patient().open(&path).unwrap();
    for number in 0..3 {
        add(&store.deferred(), format!("{number}"));
    }
    let left = directory.path().join("left.db");
    std::fs::copy(&path, &left).unwrap();
    let opened = patient().open(&left).unwrap();
    assert_eq!(stats(&opened).flushes, 3);
    assert!(!has_anchors(&left));
    assert_eq!(names(&opened), names(&store));
    check(&opened);
}

/// After a process was killed, the next commit leaves out as many numbers as could be deferred.
#[test]
fn number_of_deferred_commits_can_be_as_large_as_any() {
    let (directory, path) = place();
    let mut options = patient();
    let store = options.deferred_commits(u64::MAX).open(&path).unwrap();
    for number in 0..3 {
        add(&store.deferred(), format!("{number}"));
    }
    let left = directory.path().join("left.db");
    std::fs::copy(&path, &left).unwrap();
    for round in 3..6 {
        let store = options.open(&left).unwrap();
        for number in 0..3 {
            add(&store.deferred(), format!("{round}-{number}"));
        }
        check(&store);
        std::fs::copy(&left, &path).unwrap();
        drop(store);
        std::fs::copy(&path, &left).unwrap();
    }
}

/// What a process has deferred that was killed is there, and is flushed before the next write.
#[test]
fn killed_process_loses_nothing_that_it_has_deferred() {
    for count in [1, 2, 20] {
        let (_directory, path) = place();
        let mut killed = Peer::start("processes::remote", &path);
        killed.expect("ready");
        for number in 0..count {
            killed.tell(&format!("defer {number}"));
            killed.expect("ok");
        }
        let beside = options(10_000).read_only(true).open(&path).unwrap();
        assert_eq!(names(&beside).len(), count);
        killed.kill();
        assert_eq!(names(&beside).len(), count);
        drop(beside);
        assert_eq!(has_anchors(&path), count > 1);
        let store = patient().open(&path).unwrap();
        assert_eq!((names(&store).len(), store.undone_at_open()), (count, None));
        assert!(!has_anchors(&path), "opening it has flushed it");
        check(&store);
        assert_eq!(flushes(&store, || drop(add(&store, "next"))), (1, 0));
    }
}

#[test]
fn backup_of_a_store_that_defers_has_no_anchors() {
    let (directory, path) = place();
    let store = patient().open(&path).unwrap();
    let deferred = store.deferred();
    for number in 0..5 {
        add(&deferred, format!("{number}"));
    }
    assert!(has_anchors(&path));
    for compact in [false, true] {
        let backup = directory.path().join(format!("backup-{compact}"));
        let mut how = pool_metadata::BackupOptions::new();
        store.backup(&backup, how.compact(compact)).unwrap();
        assert!(!has_anchors(&backup));
        assert_eq!(left(&backup), names(&store));
    }
}

/// Tools of LMDB know nothing of anchors.
#[test]
fn lmdb_reads_a_store_that_has_deferred() {
    use lmdb::Transaction;
    let (_directory, path) = place();
    let store = patient().open(&path).unwrap();
    for number in 0..5 {
        add(&store.deferred(), format!("{number}"));
    }
    let rows = || {
        let environment = raw::readers(&path);
        let devices = environment.open_db(Some("devices")).unwrap();
        let txn = environment.begin_ro_txn().unwrap();
        txn.stat(devices).unwrap().entries()
    };
    drop(store);
    assert_eq!(rows(), 5);
}

/// With commits one after the other there is no moment without one, in which what a power cut may
/// have left could be looked at; and there is no need for one.
#[test]
fn store_is_opened_beside_a_process_that_defers_without_a_pause() {
    let (_directory, path) = place();
    let mut busy = Peer::start("processes::defer_on", &path);
    busy.expect("ready");
    for round in 0..20 {
        let read_only = round % 2 == 0;
        let store = options(20_000).read_only(read_only).open(&path).unwrap();
        assert_eq!(names(&store), ["a"]);
        if !read_only {
            store
                .change_device_state("a", DeviceState::Suspended)
                .unwrap();
        }
        store.verify().unwrap();
    }
    busy.tell("stop");
    busy.expect("stopped");
    drop(busy);
    assert_eq!(left(&path), ["a"]);
}

/// What a process that deferred has left, with one bit flipped somewhere: it is refused, or what is
/// in force is one of its commits, no older than the last that was flushed. One that is not the
/// newest is reported.
#[test]
fn damage_to_deferred_commits_is_refused_or_undoes_them_and_says_so() {
    let (directory, path) = place();
    let store = patient().open(&path).unwrap();
    let deferred = store.deferred();
    for number in 0..60 {
        add(&deferred, format!("old-{number}"));
    }
    add(&store, "flushed");
    let mut states = vec![devices(&store)];
    for number in 0..12 {
        let mut large = device(format!("new-{number}"));
        large.error = vec![b'e'; number * 700];
        deferred.add_device(&mut large).unwrap();
        states.push(devices(&store));
    }
    let sound = std::fs::read(&path).unwrap();
    let used = stats(&store).map_used;
    let damaged_path = directory.path().join("damaged.db");
    let mut rng = Rng::of(1, &[]);
    let (mut refused, mut undone, mut whole) = (0, 0, 0);
    for _ in 0..400 {
        let mut damaged = sound.clone();
        // Half of the flips are in the meta pages, where the anchors are.
        let at = match rng.below(2) {
            0 => rng.below(2) * 4096 + rng.below(700),
            _ => rng.below(used),
        };
        damaged[at as usize] ^= 1 << rng.below(8);
        std::fs::write(&damaged_path, damaged).unwrap();
        let _ = std::fs::remove_file(directory.path().join("damaged.db-lock"));
        let Ok(opened) = patient().open(&damaged_path) else {
            refused += 1;
            continue;
        };
        let found = devices(&opened);
        let state = states.iter().position(|state| *state == found);
        let state = state.unwrap_or_else(|| panic!("byte {at}: a state that never was"));
        let is_newest = state + 1 == states.len();
        assert_eq!(opened.undone_at_open().is_some(), !is_newest, "byte {at}");
        check(&opened);
        match is_newest {
            true => whole += 1,
            false => undone += 1,
        }
    }
    println!("{refused} refused, {undone} undone, {whole} whole");
    assert!(refused > 0 && undone > 10 && whole > 100);
}
