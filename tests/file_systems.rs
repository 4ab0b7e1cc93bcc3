//! Full disks with the file systems that a node can have, each in an image of its own. They differ
//! in what they need space for: XFS refuses to allocate blocks that are allocated already, and
//! btrfs writes what is overwritten to new blocks.

#[allow(dead_code)]
#[path = "children/file_systems.rs"]
mod child;
mod common;

use common::mounts::{Disk, Filler};
use common::peer::Peer;
use common::{add, check, devices, options, raw, sys};
use pool_metadata::{Error, PoolMetadata};
use std::fs;

/// A file system of each kind, mounted where that is possible.
fn disks() -> impl Iterator<Item = (&'static str, Disk)> {
    [("xfs", 300), ("btrfs", 150), ("ext4", 40)]
        .into_iter()
        .filter_map(|(kind, megabytes)| Some((kind, Disk::mount(kind, megabytes, "noatime")?)))
}

#[test]
fn store_in_use_is_read_while_the_disk_is_full_and_opened_again() {
    for (kind, disk) in disks() {
        let path = disk.path().join("pool.db");
        let mut peer = Peer::start("file_systems::full", &path);
        peer.expect("open");
        let full: Filler = disk.fill();
        peer.tell("full");
        assert_eq!(
            peer.try_hear().as_deref(),
            Some("read and reopened"),
            "{kind}"
        );
        drop(full);
        peer.tell("space");
        peer.finish();
        check(&PoolMetadata::open(&path).unwrap());
    }
}

/// btrfs, which needs new blocks for whatever is overwritten, may refuse.
#[test]
fn full_disk_refuses_adds_and_makes_every_removal_and_change_of_state() {
    for (kind, disk) in disks() {
        let role = match kind {
            "btrfs" => "file_systems::removals_as_far_as_possible",
            _ => "file_systems::removals",
        };
        let path = disk.path().join("pool.db");
        let mut peer = Peer::start(role, &path);
        peer.expect("open");
        let full = disk.fill();
        peer.tell("full");
        assert_eq!(peer.try_hear().as_deref(), Some("removed"), "{kind}");
        drop(full);
        peer.tell("space");
        peer.finish();
        check(&PoolMetadata::open(&path).unwrap());
    }
}

/// XFS shuts down when its log cannot be written; ext4 turns read-only, and, where it journals data
/// too, refuses to dirty pages of maps then.
#[test]
fn store_is_read_on_once_its_file_system_takes_no_more_writes() {
    let failing = [
        ("xfs", 300, "noatime", "xfs_io -x -c shutdown"),
        ("ext4", 40, "data=journal", "mount -o remount,abort"),
        ("ext4", 40, "noatime", "xfs_io -x -c shutdown"),
    ];
    for (kind, megabytes, options, fail) in failing {
        let Some(disk) = Disk::mount(kind, megabytes, options) else {
            continue;
        };
        let path = disk.path().join("pool.db");
        let mut peer = Peer::start("file_systems::shut_down", &path);
        peer.expect("open");
        // What it says of itself does not matter: the child sees whether it was done.
        let _ = disk.command(fail);
        peer.tell("shut down");
        assert_eq!(
            peer.try_hear().as_deref(),
            Some("closed"),
            "{kind} {options}"
        );
        peer.finish();
        let disk = disk.mount_again();
        let store = PoolMetadata::open(disk.path().join("pool.db")).unwrap();
        assert_eq!(devices(&store).len(), 20);
        check(&store);
    }
}

/// As a quota does, even for blocks that the file has.
#[test]
fn lock_file_with_all_its_blocks_is_opened_though_none_are_given() {
    let (_directory, path) = common::place();
    add(&PoolMetadata::open(&path).unwrap(), "a");
    for errno in [libc::ENOSPC, libc::EDQUOT] {
        for read_only in [false, true] {
            let open = || options(1000).read_only(read_only).open(&path).unwrap();
            let store = sys::with_errno(&[libc::SYS_fallocate], errno, None, open);
            assert_eq!(devices(&store).len(), 1);
        }
    }
    // One with holes is not.
    let lock = fs::File::options().write(true).open(raw::lock_path(&path));
    let len = lock.as_ref().unwrap().metadata().unwrap().len();
    lock.as_ref().unwrap().set_len(0).unwrap();
    lock.unwrap().set_len(len).unwrap();
    let open = || common::error_of(PoolMetadata::open(&path));
    let error = sys::with_errno(&[libc::SYS_fallocate], libc::EDQUOT, None, open);
    assert!(matches!(error, Error::DiskFull { .. }), "{error:?}");
}

/// As a release without the flag has left it, and as one whose file system is used by other means.
#[test]
fn lock_file_on_btrfs_is_overwritten_in_place_once_nobody_uses_it() {
    let Some(disk) = Disk::mount("btrfs", 150, "noatime") else {
        return;
    };
    let path = disk.path().join("pool.db");
    let lock = raw::lock_path(&path);
    let in_place = || sys::is_overwritten_in_place(&lock);
    let store = PoolMetadata::open(&path).unwrap();
    add(&store, "a");
    assert!(in_place());
    store.close().unwrap();
    fs::write(disk.path().join("copy"), fs::read(&lock).unwrap()).unwrap();
    fs::rename(disk.path().join("copy"), &lock).unwrap();
    assert!(!in_place());
    // A reader cannot make sure that it is alone.
    let viewer = options(1000).read_only(true).open(&path).unwrap();
    let walk = viewer.walk().unwrap();
    let mut peer = Peer::start("file_systems::open_and_add", &path);
    peer.expect("added");
    assert!(!in_place());
    assert_eq!(walk.count(), 1, "the reader table was left alone");
    peer.tell("end");
    peer.finish();
    viewer.close().unwrap();
    let store = PoolMetadata::open(&path).unwrap();
    assert!(in_place());
    assert_eq!(devices(&store).len(), 2);
    check(&store);
}
