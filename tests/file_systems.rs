//! Full disks with the file systems that a node can have, each in an image of its own. They differ
//! in what they need space for: XFS refuses to allocate blocks that are allocated already.

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
    [("xfs", 300), ("ext4", 40)]
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
