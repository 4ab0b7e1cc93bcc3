//! What processes that have a store open have counted of it, as others find it.

#[allow(dead_code)]
#[path = "children/counts.rs"]
mod child;
mod common;

use child::own_line;
use common::peer::{in_new_pid_namespace, Peer};
use common::{add, check, place, skipped, sys, wait_until};
use pool_metadata::{Error, PoolMetadata, ProcessCounts, Uncounted};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// What another process finds, as the line in which a process says what it counts.
fn found_line(counts: &ProcessCounts) -> String {
    let histograms = (counts.commit_operations, counts.commit_nanoseconds);
    let numbers = [
        counts.flushes,
        counts.undone_commits,
        counts.deferred_commits,
    ];
    format!("{histograms:?} {numbers:?}")
}

/// The processes that have the store open.
fn found(path: &Path) -> Vec<(u32, Result<ProcessCounts, Uncounted>)> {
    let processes = PoolMetadata::processes(path).unwrap().into_iter();
    processes
        .map(|process| (process.pid, process.counts))
        .collect()
}

/// What the one process has counted that has the store open.
fn counts_of(pid: u32, path: &Path) -> ProcessCounts {
    match found(path)[..] {
        [(one, Ok(counts))] if one == pid => counts,
        ref other => panic!("not {pid} alone: {other:?}"),
    }
}

/// Gives the writer an order, and compares what it counts with what is found.
fn order(writer: &mut Peer, path: &Path, order: &str) -> ProcessCounts {
    writer.tell(order);
    let line = writer.hear();
    let counts = counts_of(writer.id(), path);
    assert_eq!(found_line(&counts), line, "{order}");
    counts
}

#[test]
fn counts_of_another_process_are_exact() {
    let (_directory, path) = place();
    let mut writer = Peer::start("counts::writer", &path);
    let line = writer.hear();
    let first = counts_of(writer.id(), &path);
    assert_eq!(found_line(&first), line);
    assert_eq!((first.flushes, first.commit_operations.count), (0, 0));
    order(&mut writer, &path, "add");
    for _ in 0..5 {
        order(&mut writer, &path, "change");
    }
    let counts = order(&mut writer, &path, "list");
    let operations = counts.commit_operations;
    assert_eq!((operations.count, operations.sum), (7, 9));
    assert_eq!(operations.buckets[..3], [6, 0, 1]);
    assert_eq!(counts.commit_nanoseconds.count, 7);
    assert_eq!((counts.flushes, counts.undone_commits), (7, 0));
    for _ in 0..4 {
        order(&mut writer, &path, "defer");
    }
    let counts = order(&mut writer, &path, "defer");
    // The second made the flush that deferred commits need.
    assert_eq!((counts.flushes, counts.deferred_commits), (8, 4));
    assert_eq!(counts.commit_operations.count, 12);
    let counts = order(&mut writer, &path, "sync");
    assert_eq!((counts.flushes, counts.deferred_commits), (9, 0));
    assert!(counts.open_for > first.open_for);
    writer.kill();
    assert_eq!(found(&path), []);
    check(&PoolMetadata::open(&path).unwrap());
}

#[test]
fn counts_go_on_after_a_failed_flush_a_reopened_environment_and_a_larger_map() {
    let (_directory, path) = place();
    let mut writer = Peer::start("counts::writer", &path);
    writer.hear();
    order(&mut writer, &path, "add");
    let failed = order(&mut writer, &path, "fail to flush");
    assert_eq!(
        (failed.commit_operations.count, failed.undone_commits),
        (1, 1)
    );
    order(&mut writer, &path, "change");
    let grown = order(&mut writer, &path, "grow");
    assert_eq!(
        (grown.commit_operations.count, grown.undone_commits),
        (3, 1)
    );
    assert!(grown.flushes > failed.flushes);
    // The store takes no more writes, and reopens LMDB's environment to be read.
    order(&mut writer, &path, "fail to write the meta page");
    let reopened = order(&mut writer, &path, "read");
    assert_eq!(reopened.commit_operations, grown.commit_operations);
    writer.finish();
}

#[test]
fn deferred_commits_that_another_process_flushes_are_counted_no_more() {
    let (_directory, path) = place();
    let mut writer = Peer::start("counts::writer", &path);
    writer.hear();
    order(&mut writer, &path, "add");
    for _ in 0..3 {
        order(&mut writer, &path, "defer");
    }
    let store = PoolMetadata::open(&path).unwrap();
    store.sync().unwrap();
    let settled = || {
        let counts = found(&path)
            .into_iter()
            .find(|(pid, _)| *pid == writer.id());
        counts.unwrap().1.unwrap().deferred_commits == 0
    };
    wait_until("the writer to notice", settled);
    writer.finish();
}

#[test]
fn process_that_the_system_gives_no_shared_memory_works_and_is_named() {
    let (_directory, path) = place();
    let mut writer = Peer::start("counts::writer_without_memfd", &path);
    writer.expect("open");
    assert_eq!(found(&path), [(writer.id(), Err(Uncounted::NotPublished))]);
    writer.finish();
    assert_eq!(found(&path), []);
}

#[test]
fn process_that_only_reads_is_named_beside_one_that_writes() {
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    add(&store, "a");
    let mut reader = Peer::start("counts::reader", &path);
    reader.expect("in place");
    let mut expected = [
        (std::process::id(), None),
        (reader.id(), Some(Uncounted::ReadsOnly)),
    ];
    expected.sort_by_key(|process| process.0);
    let why = found(&path).into_iter();
    let why: Vec<_> = why.map(|(pid, counts)| (pid, counts.err())).collect();
    assert_eq!(why, expected);
    reader.finish();
}

#[test]
fn stores_of_one_process_are_told_apart_until_they_are_closed() {
    let (directory, path) = place();
    let other_path = directory.path().join("other.db");
    let (store, other) = (
        PoolMetadata::open(&path).unwrap(),
        PoolMetadata::open(&other_path).unwrap(),
    );
    add(&store, "a");
    add(&other, "a");
    add(&other, "b");
    let this = std::process::id();
    for (store, path) in [(&store, &path), (&other, &other_path)] {
        let counts = counts_of(this, path);
        assert_eq!(found_line(&counts), own_line(&store.stats().unwrap()));
    }
    store.close().unwrap();
    assert_eq!(found(&path), []);
    // The closed handle is still there.
    let again = PoolMetadata::open(&path).unwrap();
    assert_eq!(counts_of(this, &path).flushes, 0);
    assert_eq!(counts_of(this, &other_path).flushes, 2);
    drop((store, again, other));
    assert_eq!([found(&path), found(&other_path)], [[], []]);
}

#[test]
fn forked_child_has_no_part_in_the_counts_of_its_parent() {
    let (_directory, path) = place();
    let mut parent = Peer::start("counts::forks", &path);
    let child = parent.hear();
    assert_ne!(child, parent.id().to_string());
    let before = counts_of(parent.id(), &path);
    assert_eq!((before.flushes, before.commit_operations.count), (2, 2));
    parent.order("drop", "dropped");
    let after = counts_of(parent.id(), &path);
    assert_eq!(found_line(&after), found_line(&before));
    parent.finish();
    assert_eq!(found(&path), []);
}

#[test]
fn process_in_another_pid_namespace_is_found_from_outside_whatever_its_name() {
    for role in ["counts::writer", "counts::oddly_named_writer"] {
        let (_directory, path) = place();
        let Some(mut writer) = in_new_pid_namespace(role, &path) else {
            return;
        };
        writer.hear();
        writer.tell("add");
        let line = writer.hear();
        let found = found(&path);
        assert_eq!(found.len(), 1, "{found:?}");
        // There it is process 1.
        assert_ne!(found[0].0, 1);
        assert_eq!(found_line(&found[0].1.unwrap()), line);
        writer.finish();
    }
}

#[test]
fn process_that_this_user_may_not_look_into_is_named() {
    if fs::read_to_string("/proc/locks").is_err() {
        return skipped("/proc/locks");
    }
    let (directory, path) = place();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut writer = Peer::start("counts::hidden_writer", &path);
    writer.hear();
    writer.tell("add");
    let line = writer.hear();
    let mut looker = Peer::start("counts::look_as_nobody", &path);
    looker.expect(&format!("{} Err(NotPermitted)", writer.id()));
    assert_eq!(looker.try_hear(), None);
    looker.finish();
    if sys::is_root() {
        assert_eq!(found_line(&counts_of(writer.id(), &path)), line);
    }
    writer.finish();
}

#[test]
fn store_that_is_not_there_has_no_processes() {
    let (directory, path) = place();
    for absent in [path, directory.path().join("no/pool.db")] {
        assert_error!(PoolMetadata::processes(&absent), Error::NoSuchFile { .. });
    }
    assert_error!(PoolMetadata::processes(""), Error::InvalidPath { .. });
    // Any file will do: a damaged store can be open as well.
    let file = directory.path().join("file");
    fs::write(&file, "x").unwrap();
    assert_eq!(found(&file), []);
}
