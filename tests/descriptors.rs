//! Descriptors: those of the standard streams are nobody's, none is left open by a call that fails,
//! and no program that the process starts inherits one.

mod common;

use common::peer::{command, Peer};
use common::seccomp::without_inherited_descriptors;
use common::{add, check, device, devices, place, raw, SetOnDrop};
use pool_metadata::{BackupOptions, DeviceInfo, OpenOptions, PoolMetadata, RepairOptions};
use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

#[test]
fn program_with_closed_standard_streams_does_not_print_into_the_store() {
    let (_directory, path) = place();
    Peer::start("descriptors::closed_streams", &path).finish();
    check(&PoolMetadata::open(&path).unwrap());
}

#[test]
fn process_with_few_descriptors_loses_none() {
    let (_directory, path) = place();
    add(&PoolMetadata::open(&path).unwrap(), "base");
    Peer::start("descriptors::few", &path).finish();
    check(&PoolMetadata::open(&path).unwrap());
}

/// Everything that opens files: creating a store, writing to it until its map grows, copies of it,
/// and what replaces it.
fn open_every_file(path: &Path) {
    let beside = |name| path.with_file_name(name);
    let [copy, salvaged, imported] = ["copy.db", "salvaged.db", "imported.db"].map(beside);
    let store = OpenOptions::new().map_size(1 << 20).open(path).unwrap();
    add(&store, "gone");
    let mut large = device("large");
    large.error = vec![b'e'; 1 << 20];
    store.add_device(&mut large).unwrap();
    store.remove_device("gone").unwrap();
    check(&store);
    for compact in [false, true] {
        let mut how = BackupOptions::new();
        let how = how.compact(compact).overwrite(true);
        store.backup(&copy, how).unwrap();
    }
    let (contents, ids) = (devices(&store), store.walk().unwrap().ids().unwrap());
    store.close().unwrap();
    let mut options = OpenOptions::new();
    check(&options.read_only(true).open(path).unwrap());
    let options = OpenOptions::new();
    options.restore(&copy, path).unwrap().kept.unwrap();
    raw::edit(path, |txn, tables| {
        let free_id = raw::keys(txn, tables.ids).remove(0);
        txn.del(tables.ids, &free_id, None).unwrap();
    });
    assert!(!options.check_file(path, 9).unwrap().is_sound());
    let repaired = options.repair(path, &RepairOptions::new()).unwrap();
    assert!(repaired.after.is_sound() && repaired.backup.is_some());
    options.salvage(path, &salvaged, 9).unwrap();
    check(&PoolMetadata::open(&salvaged).unwrap());
    let store = PoolMetadata::open(imported).unwrap();
    let contents: Vec<_> = contents.iter().map(DeviceInfo::as_ref).collect();
    store.import(&contents, &ids).unwrap();
    check(&store);
}

#[test]
fn every_descriptor_is_close_on_exec_from_its_first_moment() {
    const NOT_CLOSED: i32 = libc::EBADE;
    let (_directory, path) = place();
    without_inherited_descriptors(NOT_CLOSED, || {
        open_every_file(&path);
        // The filter works, also for calls that no part of the library makes.
        let other = File::open(&path).unwrap();
        let refused = common::sys::duplicate(&other).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(NOT_CLOSED));
    });
}

/// Programs started while another thread creates stores, opens and closes them.
#[test]
fn programs_started_while_stores_are_opened_inherit_no_descriptor() {
    let (directory, path) = place();
    for create in [true, false] {
        let stop = AtomicBool::new(false);
        let open = || {
            while !stop.load(Ordering::Relaxed) {
                if create {
                    let _ = fs::remove_file(&path);
                    let _ = fs::remove_file(raw::lock_path(&path));
                }
                PoolMetadata::open(&path).unwrap().close().unwrap();
            }
        };
        let children = thread::scope(|scope| {
            let end = SetOnDrop(&stop);
            let opener = scope.spawn(open);
            let start = || command("descriptors::inherited", directory.path()).output();
            let children = (0..common::campaign(150, 5000)).map(|_| start());
            let children = children.collect::<std::io::Result<Vec<_>>>();
            drop(end);
            opener.join().unwrap();
            children.unwrap()
        });
        for child in children {
            let inherited = String::from_utf8_lossy(&child.stdout);
            assert_eq!((&*inherited, child.status.success()), ("", true));
        }
    }
}
