//! A full disk: a write that does not fit fails and changes nothing, reads go on, and so do writes
//! once there is space again.

#[allow(dead_code)]
#[path = "children/disk_full.rs"]
mod child;
mod common;

use child::{fill_with_devices, no_room, write_on_a_full_disk, write_with_room};
use common::peer::{self, Peer};
use common::{check, device, devices, directory, place, skipped, sys};
use pool_metadata::PoolMetadata;

/// Has the kernel refuse every write of a thread as a full disk would, even where the file has
/// space.
fn refused_writes(errno: i32) {
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    fill_with_devices(&store);
    for _ in 0..2 {
        let full = || {
            write_on_a_full_disk(&store);
            no_room(&store, &|| store.remove_device("5"));
            no_room(&store, &|| store.mark_faulty("5"));
            no_room(&store, &|| store.add_device(&mut device("small")));
        };
        sys::with_errno(sys::WRITES, errno, None, full);
        write_with_room(&store);
    }
    store.close().unwrap();
    let store = PoolMetadata::open(&path).unwrap();
    assert_eq!(devices(&store).len(), 20);
    check(&store);
}

/// Runs a role with a disk of 4 MiB at its directory.
fn on_a_small_disk(role: &str) {
    let directory = directory();
    let mut command = peer::command(role, directory.path());
    sys::with_small_disk(&mut command, directory.path(), 4 << 20);
    match Peer::spawn(&mut command) {
        Ok(peer) => peer.finish(),
        Err(error) => skipped(&format!(
            "a mount namespace, by a user namespace or as root ({error})"
        )),
    }
}

#[test]
fn full_disk_refuses_writes_until_there_is_space() {
    on_a_small_disk("disk_full::small_disk");
}

#[test]
fn full_disk_leaves_reader_slots_usable() {
    on_a_small_disk("disk_full::reader_table");
}

#[test]
fn writes_that_the_kernel_refuses_change_nothing() {
    refused_writes(libc::ENOSPC);
    refused_writes(libc::EDQUOT);
}

#[test]
fn file_size_limit_is_not_reported_as_a_full_disk() {
    let (_directory, path) = place();
    Peer::start("disk_full::size_limit", &path).finish();
    check(&PoolMetadata::open(&path).unwrap());
}
