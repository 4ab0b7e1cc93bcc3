//! A full disk: a write that does not fit fails and changes nothing, reads go on, and so do writes
//! once there is space again.

#[allow(dead_code)]
#[path = "children/disk_full.rs"]
mod child;
mod common;

use child::{fill_with_devices, no_room, write_on_a_full_disk, write_with_room};
use common::peer::{self, Peer};
use common::{check, device, devices, directory, place, sys};
use pool_metadata::PoolMetadata;
use std::thread;

/// Has the kernel refuse every write of a thread as a full disk would, even where the file has
/// space.
fn refused_writes(errno: i32) {
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    fill_with_devices(&store);
    for _ in 0..2 {
        let full = || {
            sys::fail_in_this_thread(sys::WRITES, errno, None);
            write_on_a_full_disk(&store);
            no_room(&store, &|| store.remove_device("5"));
            no_room(&store, &|| store.mark_faulty("5"));
            no_room(&store, &|| store.add_device(&mut device("small")));
        };
        thread::scope(|scope| scope.spawn(full).join().unwrap());
        write_with_room(&store);
    }
    store.close().unwrap();
    let store = PoolMetadata::open(&path).unwrap();
    assert_eq!(devices(&store).len(), 20);
    check(&store);
}

#[test]
fn a_full_disk() {
    let directory = directory();
    let mut command = peer::command("disk_full::small_disk", directory.path());
    sys::with_small_disk(&mut command, directory.path(), 4 << 20);
    match Peer::spawn(&mut command) {
        Ok(peer) => peer.finish(),
        Err(error) => {
            // Containers may forbid it even to root. The kernel's refusal is the same to the store.
            eprintln!("no disk can be mounted here ({error}): writes are refused instead");
            refused_writes(libc::ENOSPC);
        }
    }
}

#[test]
fn a_full_disk_and_places_in_the_reader_table() {
    let directory = directory();
    let mut command = peer::command("disk_full::reader_table", directory.path());
    sys::with_small_disk(&mut command, directory.path(), 4 << 20);
    match Peer::spawn(&mut command) {
        Ok(peer) => peer.finish(),
        Err(error) => eprintln!("no disk can be mounted here ({error})"),
    }
}

#[test]
fn writes_that_the_kernel_refuses_for_want_of_room_or_quota() {
    refused_writes(libc::ENOSPC);
    refused_writes(libc::EDQUOT);
}

#[test]
fn a_file_that_the_process_may_not_make_larger() {
    let (_directory, path) = place();
    Peer::start("disk_full::size_limit", &path).finish();
    check(&PoolMetadata::open(&path).unwrap());
}
