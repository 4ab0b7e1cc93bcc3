//! LMDB knows processes by POSIX locks, which belong to the process and its id. What two copies of
//! the library in one process, code that closes the `-lock` file, and processes of one id would
//! make of that is refused.

#[path = "../common/mod.rs"]
mod common;
mod plugin;

use common::peer::{self, Peer};
use common::{add, check, devices, error_of, lone_reader_shares, options, place, raw, wait_until};
use plugin::Plugin;
use pool_metadata::capi::{PM_ERR_PID_IN_USE, PM_OPEN_READ_ONLY};
use pool_metadata::{DeviceState, Error, PoolMetadata};
use std::path::Path;

fn add_many(store: &PoolMetadata, prefix: char) {
    for number in 0..200 {
        add(store, format!("{prefix}{number}"));
    }
}

/// Writes that would use the pages again that a walk sees, if nothing held them.
fn churn(store: &PoolMetadata) {
    add_many(store, 'z');
    for _ in 0..100 {
        store
            .change_device_state("z1", DeviceState::Removed)
            .unwrap();
    }
}

#[test]
fn second_copy_of_the_library_in_a_process_is_refused_and_walks_stay_whole() {
    let (_directory, path) = place();
    let plugin = Plugin::load();
    let store = options(2000).open(&path).unwrap();
    add_many(&store, 'a');
    let walk = store.walk().unwrap();
    for flags in [0, PM_OPEN_READ_ONLY] {
        let (code, message) = plugin.open(&path, flags).unwrap_err();
        assert_eq!(code, PM_ERR_PID_IN_USE, "{message}");
        assert!(
            message.contains("another copy of this library"),
            "{message}"
        );
        assert!(message.contains(path.to_str().unwrap()), "{message}");
    }
    // The refused opens have cost this copy none of its locks.
    Peer::start("one_process::opens_and_churns", &path).finish();
    churn(&store);
    assert_eq!(walk.map(Result::unwrap).count(), 200);
    check(&store);
    store.close().unwrap();
    // Whichever copy has it open keeps the other out.
    let opened = plugin.open(&path, 0).unwrap();
    let error = error_of(options(2000).open(&path));
    assert!(matches!(error, Error::PidInUse { .. }), "{error}");
    let read = error_of(options(2000).read_only(true).open(&path));
    assert!(matches!(read, Error::PidInUse { .. }), "{read}");
    plugin.close(opened);
    check(&PoolMetadata::open(&path).unwrap());
}

#[test]
fn second_copy_is_refused_beside_a_store_opened_for_reading() {
    let (_directory, path) = place();
    PoolMetadata::open(&path).unwrap().close().unwrap();
    let plugin = Plugin::load();
    // In a container, a handle that only reads has a private copy of what nobody else has open.
    let beside = (!lone_reader_shares(&path)).then(|| {
        let mut beside = Peer::start("restore::hold", &path);
        beside.expect("open");
        beside
    });
    let reader = options(2000).read_only(true).open(&path).unwrap();
    assert!(!reader.stats().unwrap().is_copy);
    drop(beside);
    for flags in [0, PM_OPEN_READ_ONLY] {
        assert_eq!(plugin.open(&path, flags).unwrap_err().0, PM_ERR_PID_IN_USE);
    }
    // Another process is another matter.
    Peer::start("one_process::opens_and_churns", &path).finish();
    check(&reader);
}

#[test]
fn store_is_not_opened_beside_a_process_that_has_lost_its_locks() {
    let (_directory, path) = place();
    let beside = PoolMetadata::open(&path).unwrap();
    add_many(&beside, 'a');
    let mut peer = Peer::start("one_process::loses_its_locks", &path);
    peer.expect("walks");
    beside.close().unwrap();
    for read_only in [false, true] {
        let mut options = options(300);
        let opened = options.read_only(read_only).open(&path);
        if read_only && !lone_reader_shares(&path) {
            assert!(opened.unwrap().stats().unwrap().is_copy);
            continue;
        }
        let error = error_of(opened);
        let Error::LocksLost { pid, .. } = error else {
            panic!("{error:?}");
        };
        assert_eq!(pid, peer.id());
        let message = error.to_string();
        assert!(message.contains(&format!("process {pid}")), "{message}");
    }
    peer.tell("go on");
    peer.expect("200 devices");
    peer.finish();
    check(&PoolMetadata::open(&path).unwrap());
}

/// LMDB's locks end a moment before the rest of what a process has of a store that it closes.
#[test]
fn process_that_closes_the_store_keeps_none_from_opening_it_without_a_wait() {
    let (_directory, path) = place();
    let beside = PoolMetadata::open(&path).unwrap();
    let mut peer = Peer::start("one_process::opens_and_closes", &path);
    beside.close().unwrap();
    while peer.is_alive() {
        let store = options(0).open(&path);
        assert!(!matches!(store, Err(Error::LocksLost { .. })), "{store:?}");
    }
    peer.finish();
    check(&PoolMetadata::open(&path).unwrap());
}

#[test]
fn open_store_leaves_reads_of_a_process_that_has_lost_its_locks_alone() {
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    add_many(&store, 'a');
    let mut peer = Peer::start("one_process::loses_its_locks", &path);
    peer.expect("walks");
    let readers = || store.running_reads().unwrap().len();
    assert_eq!(readers(), 1);
    churn(&store);
    assert_eq!(readers(), 1);
    peer.tell("go on");
    peer.expect("200 devices");
    peer.finish();
    assert_eq!(readers(), 0);
    check(&store);
}

/// The descriptor of a forked child carries its parent's locks of the data file on, and none of
/// LMDB's.
#[test]
fn forked_child_of_a_dead_process_neither_keeps_others_out_nor_its_slots_in_use() {
    let (_directory, path) = place();
    let beside = PoolMetadata::open(&path).unwrap();
    add_many(&beside, 'a');
    let mut peer = Peer::start("one_process::leaves_its_locks_to_a_child", &path);
    peer.expect("walks");
    assert_eq!(beside.running_reads().unwrap().len(), 1);
    // The forked child has the other end of the pipe still, so its end is not waited for.
    peer.signal(libc::SIGKILL);
    wait_until("the death of the parent", || !peer.is_alive());
    assert_eq!(beside.running_reads().unwrap().len(), 0);
    Peer::start("one_process::opens_and_churns", &path).finish();
    beside.close().unwrap();
    let store = options(300).open(&path).unwrap();
    assert_eq!(devices(&store).len(), 400);
    check(&store);
}

fn refused_for_its_id(path: &Path) {
    let error = error_of(options(2000).open(path));
    assert!(matches!(error, Error::PidInUse { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains("another PID namespace"), "{message}");
    // To read, it needs no lock of LMDB's.
    let viewer = options(2000).read_only(true).open(path).unwrap();
    assert!(viewer.stats().unwrap().is_copy);
    check(&viewer);
}

#[test]
fn process_whose_id_another_process_uses_is_refused_with_the_reason() {
    let (_directory, path) = place();
    PoolMetadata::open(&path).unwrap().close().unwrap();
    let lock = raw::lock_path(&path);
    let mut peer = Peer::start("one_process::locks_an_id", &lock);
    peer.tell(&std::process::id().to_string());
    peer.expect("locked");
    refused_for_its_id(&path);
    peer.finish();
    check(&PoolMetadata::open(&path).unwrap());
}

#[test]
fn first_processes_of_two_containers_are_told_why_the_second_cannot_open() {
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    let role = |role| peer::in_new_pid_namespace(role, &path);
    let Some(mut first) = role("one_process::open_as_first") else {
        return;
    };
    first.expect("process 1 is open");
    role("one_process::refused_as_first").unwrap().finish();
    first.finish();
    check(&store);
}

#[test]
fn walk_of_a_killed_process_holds_nothing_once_its_id_is_used_again() {
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    let role = |role| peer::in_new_pid_namespace(role, &path);
    let Some(mut killed) = role("one_process::walk_as_first") else {
        return;
    };
    killed.expect("walks");
    killed.kill();
    let mut next = role("one_process::open_as_first").unwrap();
    next.expect("process 1 is open");
    // While it has the store open, LMDB takes every slot of its id for one that is in use.
    assert_eq!(store.running_reads().unwrap().len(), 0);
    next.finish();
    check(&store);
}
