//! What deferred commits leave in the file: for the next opening, for copies, for other programs.

use super::*;
use pool_metadata::WalkFilter;

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

/// The next commit leaves out numbers then. Changes since an earlier one are the same.
#[test]
fn changes_since_a_commit_before_a_kill_are_complete() {
    let (_directory, path) = place();
    let store = patient().open(&path).unwrap();
    add(&store, "old");
    let since = store.walk().unwrap().commit().unwrap();
    drop(store);
    let mut killed = Peer::start("processes::remote", &path);
    killed.expect("ready");
    for number in 0..3 {
        killed.tell(&format!("defer {number}"));
        killed.expect("ok");
    }
    killed.kill();
    let store = patient().open(&path).unwrap();
    add(&store, "new");
    store.remove_device("old").unwrap();
    let walk = store.walk().unwrap();
    let commit = walk.commit().unwrap();
    assert!(commit > since + 1000, "{commit}");
    assert_eq!(stats(&store).commits, commit);
    let removals = walk.removals(since).unwrap();
    assert!(removals.complete);
    assert_eq!(removals.removed[0].name, b"old");
    assert_eq!(removals.removed[0].commit, commit);
    let filter = WalkFilter {
        since,
        ..WalkFilter::default()
    };
    let changed = store.walk_filtered(&filter).unwrap();
    let changed: Vec<_> = changed.map(|device| device.unwrap().name).collect();
    assert_eq!(changed, [&b"0"[..], b"1", b"2", b"new"]);
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
