//! Backups of an open store: what they hold, and what they replace.

use crate::common::peer::Peer;
use crate::common::{device, files_with, place, raw, sys};
use crate::subject::*;
use crate::through_rust_and_c;
use pool_metadata::capi::*;
use pool_metadata::DeviceInfo;
use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::{Path, PathBuf};

through_rust_and_c!(
    backup_is_a_store_with_the_same_contents,
    compact_backup_is_smaller,
    backup_of_an_empty_store_can_be_filled,
    backup_is_made_inside_a_callback,
    file_that_is_no_store_is_not_replaced,
    path_that_can_name_no_backup_is_refused,
    name_without_room_for_that_of_its_temporary_file_is_refused,
    store_is_replaced_only_if_asked_and_not_in_use,
    damaged_store_is_backed_up_only_unchecked,
);

const PLAIN: u32 = 0;
const COMPACT: u32 = PM_BACKUP_COMPACT;
const OVERWRITE: u32 = PM_BACKUP_OVERWRITE;
const UNCHECKED: u32 = PM_BACKUP_UNCHECKED;

/// A store with all that a store can hold: free and faulty ids, a faulty device, and texts on pages
/// of their own.
fn lived_in<S: Store>(path: &Path) -> S {
    let store: S = open(path);
    for n in 0..300 {
        add(&store, format!("device-{n:03}"));
    }
    for n in (0..300).step_by(7) {
        store.remove(format!("device-{n:03}").as_bytes()).unwrap();
    }
    store.mark_faulty(b"device-001").unwrap();
    store.mark_faulty(b"device-002").unwrap();
    add(&store, "device-002");
    for (name, len) in [("long", 100_000), ("longest", 1 << 20)] {
        let mut device = DeviceInfo::new(name);
        device.error = vec![b'e'; len];
        store.add(&mut device).unwrap();
    }
    check(&store);
    store
}

/// Fails if a file is at the path, or beside it.
#[track_caller]
fn assert_nothing_at(path: &Path) {
    for suffix in ["", "-lock"] {
        assert!(!with(path, suffix).exists(), "{suffix:?} is there");
    }
    assert_eq!(files_with(path, ".partial"), Vec::<PathBuf>::new());
}

fn backup_is_a_store_with_the_same_contents<S: Maintenance>() {
    let (directory, path) = place();
    let store: S = lived_in(&path);
    let copy = directory.path().join("copy");
    for flags in [PLAIN, COMPACT, UNCHECKED, COMPACT | UNCHECKED] {
        assert_nothing_at(&copy);
        store.backup(&copy, flags).unwrap();
        let mode = fs::metadata(&copy).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert!(!with(&copy, "-lock").exists() && files_with(&copy, ".partial").is_empty());
        let copied: S = open(&copy);
        check(&copied);
        assert_eq!(contents(&copied), contents(&store));
        // Both go on, each by itself.
        let ids = [&store, &copied].map(|store| add(store, "next").device_id);
        assert_eq!(ids[0], ids[1]);
        for n in 0..100 {
            add(&copied, format!("more-{n}"));
        }
        check(&copied);
        copied.close().unwrap();
        check(&open::<S>(&copy));
        refused(store.get(b"more-1"), PM_ERR_NOT_FOUND);
        store.remove(b"next").unwrap();
        fs::remove_file(&copy).unwrap();
        fs::remove_file(raw::lock_path(&copy)).unwrap();
    }
    check(&store);
}

fn compact_backup_is_smaller<S: Maintenance>() {
    let (directory, path) = place();
    let store: S = lived_in(&path);
    for name in store.names().unwrap() {
        if name != b"long" {
            store.remove(&name).unwrap();
        }
    }
    let [a, b] = ["a", "b"].map(|name| directory.path().join(name));
    store.backup(&a, PLAIN).unwrap();
    store.backup(&b, COMPACT).unwrap();
    let [a, b] = [a, b].map(|path| fs::metadata(path).unwrap().len());
    assert!(b < 200_000 && b < a / 2, "{b} bytes of {a}");
}

fn backup_of_an_empty_store_can_be_filled<S: Maintenance>() {
    let (directory, store) = new_store::<S>(&DEFAULTS);
    for (name, flags) in [("plain", PLAIN), ("compact", COMPACT)] {
        let copy = directory.path().join(name);
        store.backup(&copy, flags).unwrap();
        let copied: S = open(&copy);
        assert_eq!(add(&copied, "first").device_id, 1);
        check(&copied);
    }
}

fn backup_is_made_inside_a_callback<S: Maintenance>() {
    let (directory, store) = new_store::<S>(&DEFAULTS);
    add(&store, "base");
    let copy = directory.path().join("copy");
    let back_up = &mut |_: &mut DeviceInfo| {
        store.backup(&copy, PLAIN).unwrap();
        Ok(())
    };
    store.update(b"base", back_up).unwrap();
    check(&open::<S>(&copy));
}

fn file_that_is_no_store_is_not_replaced<S: Maintenance>() {
    let (directory, store) = new_store::<S>(&DEFAULTS);
    let at = |name: &str| directory.path().join(name);
    fs::write(at("text"), "some text that is long enough to be looked at").unwrap();
    fs::write(at("bbolt"), raw::bbolt_file()).unwrap();
    raw::foreign(&at("foreign"), |environment| {
        raw::put_rows(environment, [(b"k".to_vec(), b"v".to_vec())]);
    });
    fs::create_dir(at("directory")).unwrap();
    sys::make_fifo(&at("fifo"));
    for (name, status) in [
        ("text", PM_ERR_NOT_A_STORE),
        ("bbolt", PM_ERR_BBOLT_FILE),
        ("foreign", PM_ERR_FOREIGN_LMDB),
        ("directory", PM_ERR_NOT_REGULAR_FILE),
        ("fifo", PM_ERR_NOT_REGULAR_FILE),
    ] {
        let path = at(name);
        let before = path.is_file().then(|| fs::read(&path).unwrap());
        for (flags, status) in [(PLAIN, PM_ERR_FILE_EXISTS), (OVERWRITE, status)] {
            refused(store.backup(&path, flags), status).says(&[path.to_str().unwrap()]);
        }
        assert!(before.is_none_or(|before| fs::read(&path).unwrap() == before));
    }
}

fn path_that_can_name_no_backup_is_refused<S: Maintenance>() {
    let (directory, store) = new_store::<S>(&DEFAULTS);
    let at = |name: &str| directory.path().join(name);
    symlink("nowhere", at("link")).unwrap();
    for flags in [PLAIN, OVERWRITE] {
        for path in [Path::new(""), &at("link"), &at(&"n".repeat(300))] {
            refused(store.backup(path, flags), PM_ERR_INVALID_PATH);
        }
        let failure = refused(store.backup(&at("no/where"), flags), PM_ERR_NO_SUCH_FILE);
        assert_eq!(failure.os_error, libc::ENOENT);
    }
}

fn name_without_room_for_that_of_its_temporary_file_is_refused<S: Maintenance>() {
    let (directory, path) = place();
    let store: S = open(&path);
    let copy = directory.path().join("copy.db");
    store.backup(&copy, PLAIN).unwrap();
    let long = |len: usize| directory.path().join("n".repeat(len));
    store.backup(&long(225), PLAIN).unwrap();
    let failure = refused(store.backup(&long(226), PLAIN), PM_ERR_INVALID_PATH);
    failure.says(&["4,065 bytes", "225"]);
    S::restore(&copy, &long(223)).unwrap();
    let failure = refused(S::restore(&copy, &long(224)), PM_ERR_INVALID_PATH);
    failure.says(&["4,063 bytes", "223"]);
    let salvaged = S::salvage(&copy, &long(224), 1);
    refused(salvaged, PM_ERR_INVALID_PATH).says(&["4,063 bytes", "223"]);
    for len in [224, 226] {
        assert_nothing_at(&long(len));
    }
}

fn store_is_replaced_only_if_asked_and_not_in_use<S: Maintenance>() {
    let (directory, store) = new_store::<S>(&DEFAULTS);
    add(&store, "base");
    let path = directory.path().join("pool.db");
    refused(store.backup(&path, PLAIN), PM_ERR_FILE_EXISTS);
    refused(store.backup(&path, OVERWRITE), PM_ERR_ALREADY_OPEN);
    let target = directory.path().join("target");
    let other: S = open(&target);
    refused(store.backup(&target, OVERWRITE), PM_ERR_ALREADY_OPEN);
    add(&other, "other");
    other.close().unwrap();
    let mut peer = Peer::start("backup::write_on", &target);
    peer.expect("ready");
    refused(store.backup(&target, OVERWRITE), PM_ERR_ALREADY_OPEN);
    peer.kill();
    refused(store.backup(&target, PLAIN), PM_ERR_FILE_EXISTS);
    // Its lock file goes with it.
    store.backup(&target, OVERWRITE).unwrap();
    assert!(!raw::lock_path(&target).exists());
    let other: S = open(&target);
    assert_eq!(devices(&other), devices(&store));
    other.close().unwrap();
    // A damaged store is replaced, too.
    let file = fs::File::options().write(true).open(&target).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    store.backup(&target, OVERWRITE).unwrap();
    check(&open::<S>(&target));
}

fn damaged_store_is_backed_up_only_unchecked<S: Maintenance>() {
    let (directory, path) = place();
    let store: S = open(&path);
    for n in 0..9 {
        store.add(&mut device(format!("device-{n}"))).unwrap();
    }
    store.close().unwrap();
    raw::edit(&path, |txn, tables| {
        raw::rewrite(txn, tables.devices, b"device-5", |value| value[3] ^= 1);
    });
    let store = S::open(&path, &verifying(PM_VERIFY_NONE)).unwrap();
    let copy = directory.path().join("copy");
    for flags in [PLAIN, COMPACT] {
        let failure = refused(store.backup(&copy, flags), PM_ERR_CORRUPT);
        failure.says(&[path.to_str().unwrap(), "device-5"]);
        assert_nothing_at(&copy);
        store.backup(&copy, flags | UNCHECKED).unwrap();
        refused(S::open(&copy, &DEFAULTS), PM_ERR_CORRUPT);
        // Such a backup is not put back.
        let new = directory.path().join("new");
        refused(S::restore(&copy, &new), PM_ERR_CORRUPT).says(&[copy.to_str().unwrap()]);
        assert!(!new.exists());
        fs::remove_file(&copy).unwrap();
        let _ = fs::remove_file(raw::lock_path(&copy));
    }
}
