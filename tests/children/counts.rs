//! Roles of `tests/counts`.

use crate::common::{add, child, device, options, sys};
use pool_metadata::{Change, DeviceState, OpenOptions, PoolMetadata, Stats};
use std::path::Path;
use std::time::Duration;

/// What a process counts by its own statistics, as one line.
pub fn own_line(stats: &Stats) -> String {
    let histograms = (stats.commit_operations, stats.commit_nanoseconds);
    let numbers = [stats.flushes, stats.undone_commits, stats.deferred_commits];
    format!("{histograms:?} {numbers:?}")
}

/// Options with which nothing that is deferred is flushed by itself.
fn unhurried() -> OpenOptions {
    let mut options = options(10_000);
    options.map_size(1 << 20);
    options.deferred_age(Duration::from_secs(3600));
    options
}

fn change(store: &PoolMetadata) -> pool_metadata::Result<()> {
    store.change_device_state("a", DeviceState::Suspended)
}

/// Writes as the parent orders, and says each time what it has counted.
pub fn writer(path: &Path) {
    let store = unhurried().open(path).unwrap();
    child::say(&own_line(&store.stats().unwrap()));
    while let Some(order) = child::listen() {
        match order.as_str() {
            "add" => drop(add(&store, "a")),
            "change" => change(&store).unwrap(),
            "list" => {
                let add = |name| Change::Add(device(name));
                store.apply(&["b", "c", "d"].map(add)).unwrap();
            }
            "defer" => change(&store.deferred()).unwrap(),
            "sync" => store.sync().unwrap(),
            "fail to flush" => {
                let write = || change(&store).is_err();
                assert!(sys::with_errno(sys::FLUSHES, libc::EIO, None, write));
            }
            "fail to write the meta page" => {
                let meta_pages = store.stats().unwrap().page_size as u32 * 2;
                let write = || change(&store).is_err();
                assert!(sys::with_errno(
                    sys::WRITES,
                    libc::EIO,
                    Some(meta_pages),
                    write
                ));
            }
            "read" => assert_eq!(store.get_device("a").unwrap().device_id, 1),
            "grow" => {
                let before = store.stats().unwrap().map_size;
                let mut large = device("large");
                large.error = vec![b'e'; 1 << 20];
                store.add_device(&mut large).unwrap();
                assert!(store.stats().unwrap().map_size > before);
            }
            other => panic!("no order {other}"),
        }
        child::say(&own_line(&store.stats().unwrap()));
    }
}

/// As one whose name is no UTF-8, like one that the system has cut in the middle of a letter.
pub fn oddly_named_writer(path: &Path) {
    std::fs::write("/proc/self/comm", b"pool-metadata\xc3").unwrap();
    writer(path);
}

/// As one that others may not look into.
pub fn hidden_writer(path: &Path) {
    sys::forbid_others_to_look();
    writer(path);
}

/// Where the system gives no memory that others can read. The store works all the same.
pub fn writer_without_memfd(path: &Path) {
    let open = || unhurried().open(path).unwrap();
    let calls = [libc::SYS_memfd_create];
    let store = sys::with_errno(&calls, libc::EPERM, None, open);
    add(&store, "a");
    change(&store).unwrap();
    let stats = store.stats().unwrap();
    assert_eq!((stats.flushes, stats.commit_operations.count), (2, 2));
    child::say("open");
    child::listen();
}

/// Has the store open for reading.
pub fn reader(path: &Path) {
    let store = options(10_000).read_only(true).open(path).unwrap();
    let copy = store.stats().unwrap().is_copy;
    child::say(if copy { "copy" } else { "in place" });
    child::listen();
}

/// Forks a child, which keeps what it has inherited until the parent's parent has looked.
///
/// Needs a process of its own, since no other thread should run during a fork.
pub fn forks(path: &Path) {
    let store = unhurried().open(path).unwrap();
    add(&store, "a");
    change(&store).unwrap();
    let good = sys::in_forked_child(move || {
        child::say(&std::process::id().to_string());
        child::listen();
        let refused = change(&store).is_err();
        drop(store);
        child::say("dropped");
        child::listen();
        refused
    });
    assert!(good, "in the child");
}

/// Says what a user without rights finds.
pub fn look_as_nobody(path: &Path) {
    sys::become_nobody();
    for process in PoolMetadata::processes(path).unwrap() {
        let counts = process.counts.map(|counts| counts.flushes);
        child::say(&format!("{} {counts:?}", process.pid));
    }
}
