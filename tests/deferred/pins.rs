//! Pins, which keep the pages of deferred commits, are no reads that anybody could end: they are
//! told from those.

use super::*;

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

/// A process that defers, with its pin at a commit that others can see as well.
fn deferring(path: &Path) -> Peer {
    let mut peer = Peer::start("processes::remote", path);
    peer.expect("ready");
    defer(&mut peer, 0..1);
    peer
}

fn defer(peer: &mut Peer, numbers: std::ops::Range<u64>) {
    for number in numbers {
        peer.tell(&format!("defer {number}"));
        peer.expect("ok");
    }
}

/// The reads of other processes have no age, and so nothing but their process tells them.
#[test]
fn read_of_a_commit_that_a_killed_process_had_pinned_is_listed() {
    let (_directory, path) = place();
    let store = patient().open(&path).unwrap();
    let mut killed = deferring(&path);
    let mut viewer = Peer::start("viewers::viewer", &path);
    viewer.expect("ready");
    viewer.tell("open");
    viewer.expect("live of 1");
    viewer.tell("walk");
    viewer.expect("walking");
    let walk = store.walk().unwrap();
    defer(&mut killed, 1..3);
    let readers = || {
        let reads = store.running_reads().unwrap();
        let mut pids: Vec<_> = reads.iter().map(|read| read.pid).collect();
        pids.sort_unstable();
        (stats(&store).readers_active, pids)
    };
    let mut expected = vec![viewer.id(), std::process::id()];
    expected.sort_unstable();
    assert_eq!(readers(), (2, expected.clone()), "beside the pin");
    killed.kill();
    assert!(has_anchors(&path));
    assert_eq!(readers(), (2, expected), "without it");
    drop(walk);
    assert_eq!(readers(), (1, vec![viewer.id()]));
}

/// They last until the process that has them writes again.
#[test]
fn pins_that_another_process_has_made_needless_are_not_listed() {
    let (_directory, path) = place();
    let store = patient().open(&path).unwrap();
    for number in 0..3 {
        add(&store.deferred(), format!("own-{number}"));
    }
    let mut other = Peer::start("processes::remote", &path);
    other.expect("ready");
    other.tell("add other");
    other.expect("ok");
    assert!(!has_anchors(&path));
    assert_eq!(store.running_reads().unwrap(), []);
    assert_eq!(stats(&store).readers_active, 0);
    // The other process has pins now, too.
    defer(&mut other, 0..3);
    assert!(has_anchors(&path));
    assert_eq!(store.running_reads().unwrap(), []);
    assert_eq!(stats(&store).readers_active, 0);
}

/// After a power cut any process may read the commit of an anchor. That is no sign that the process
/// that has made the anchor lives.
#[test]
fn read_of_the_commit_of_an_anchor_does_not_hide_that_the_power_was_cut() {
    let (directory, path) = place();
    let store = patient().open(&path).unwrap();
    for number in 0..3 {
        add(&store.deferred(), format!("{number}"));
    }
    add(&store, "flushed");
    let left = directory.path().join("left.db");
    let lock_file = directory.path().join("left.db-lock");
    std::fs::copy(&path, &left).unwrap();
    std::fs::File::create(lock_file).unwrap();
    let mut viewer = Peer::start("viewers::viewer", &left);
    viewer.expect("ready");
    viewer.tell("open");
    viewer.expect("live of 4");
    viewer.tell("walk");
    viewer.expect("walking");
    let opened = patient().open(&left).unwrap();
    assert!(!has_anchors(&left));
    let before = stats(&opened).commits;
    add(&opened, "next");
    let left_out = stats(&opened).commits - before;
    assert!(left_out > 1000, "{left_out}");
}

/// A process that defers no more, or never has, may not write for long, and another one may write
/// all the time.
#[test]
fn pins_that_another_process_has_made_needless_end_though_their_process_is_idle() {
    for expected in [false, true] {
        let (_directory, path) = place();
        let store = patient().expect_deferred(expected).open(&path).unwrap();
        let deferring = if expected { 0 } else { 3 };
        for number in 0..deferring {
            add(&store.deferred(), format!("own-{number}"));
        }
        assert!(has_anchors(&path));
        let mut other = Peer::start("processes::remote", &path);
        other.expect("ready");
        other.tell("add other");
        other.expect("ok");
        for _ in 0..100 {
            other.tell("activate other");
            other.expect("ok");
        }
        wait_until("no pages are held", || {
            other.tell("activate other");
            other.expect("ok");
            stats(&store).pages_held < 100
        });
        assert!(
            !has_anchors(&path),
            "and is not made ready while another one writes"
        );
        assert_eq!(stats(&store).deferred_commits, 0);
        // It defers on as before.
        for number in 0..3 {
            add(&store.deferred(), format!("more-{number}"));
        }
        assert_eq!(stats(&store).deferred_commits, 2);
        store.close().unwrap();
    }
}
