//! Backups put back: what is checked first, and what is kept.

use crate::common::peer::Peer;
use crate::common::{files_with, lone_reader_shares, place, raw, sys};
use crate::in_step::InStep;
use crate::subject::*;
use crate::through_rust_and_c;
use pool_metadata::capi::*;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

through_rust_and_c!(
    backup_takes_the_place_of_the_store_which_is_kept,
    restore_says_how_old_the_backup_and_the_replaced_store_are,
    backup_is_restored_where_nothing_or_a_damaged_store_is,
    restored_file_has_the_owner_and_permissions_of_the_old_one,
    store_or_backup_in_use_is_refused,
    backup_that_is_not_sound_changes_nothing,
    backup_under_the_name_of_the_temporary_file_is_left_as_it_is,
    file_that_is_no_store_is_not_replaced,
);

/// A backup with a device "old" and 200 more, and the store with "new", as it went on; both closed.
fn two<S: Maintenance>() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let (directory, path) = place();
    let backup = directory.path().join("backup");
    let store = open::<S>(&path);
    add(&store, "old");
    for n in 0..200 {
        add(&store, format!("device-{n}"));
    }
    store.mark_faulty(b"device-7").unwrap();
    store.remove(b"device-8").unwrap();
    store.backup(&backup, 0).unwrap();
    store.remove(b"old").unwrap();
    add(&store, "new");
    store.close().unwrap();
    (directory, path, backup)
}

/// Restores the backup over a store, and returns where that is kept.
#[track_caller]
fn restore<S: Maintenance>(backup: &Path, path: &Path) -> PathBuf {
    S::restore(backup, path).unwrap().1.unwrap()
}

fn has<S: Store>(path: &Path) -> String {
    let store = open::<S>(path);
    check(&store);
    let names = store.names().unwrap();
    let found = |name: &&str| names.iter().any(|n| n == name.as_bytes());
    let which = ["old", "new"].into_iter().filter(found);
    which.collect::<Vec<_>>().join("+")
}

fn backup_takes_the_place_of_the_store_which_is_kept<S: Maintenance>() {
    let (_directory, path, backup) = two::<S>();
    let [before, copy] = [&path, &backup].map(|path| fs::read(path).unwrap());
    let kept = restore::<S>(&backup, &path);
    assert_eq!(kept, with(&path, ".before-restore"));
    assert!(fs::read(&kept).unwrap() == before);
    assert!(fs::read(&backup).unwrap() == copy);
    assert!(files_with(&path, ".restoring").is_empty() && !raw::lock_path(&path).exists());
    assert_eq!(
        (has::<S>(&path), has::<S>(&kept)),
        ("old".into(), "new".into())
    );
    let store = open::<S>(&path);
    assert_eq!(add(&store, "next").device_id, 10, "the id of device-8");
    check(&store);
    store.close().unwrap();
    // A second restore leaves what the first has kept alone.
    let second = restore::<S>(&backup, &path);
    assert_eq!(second, with(&path, ".before-restore.1"));
    assert_eq!(
        (has::<S>(&path), has::<S>(&kept)),
        ("old".into(), "new".into())
    );
    get(&open::<S>(&second), "next");
    // The store that was kept can be put back in turn.
    let third = restore::<S>(&kept, &path);
    assert_eq!(third, with(&path, ".before-restore.2"));
    assert_eq!(has::<S>(&path), "new");
}

fn backup_is_restored_where_nothing_or_a_damaged_store_is<S: Maintenance>() {
    let (directory, path, backup) = two::<S>();
    let fresh = directory.path().join("fresh");
    assert_eq!(S::restore(&backup, &fresh).unwrap().1, None);
    assert_eq!(has::<S>(&fresh), "old");
    assert_eq!(fs::metadata(&fresh).unwrap().mode() & 0o7777, 0o600);
    let whole = fs::read(&path).unwrap();
    let no_root = |file: &mut Vec<u8>| file[8192..].fill(0xff);
    let cut = |file: &mut Vec<u8>| file.truncate(5000);
    let empty = |file: &mut Vec<u8>| file.clear();
    for damage in [&no_root as &dyn Fn(&mut Vec<u8>), &cut, &empty] {
        let mut damaged = whole.clone();
        damage(&mut damaged);
        fs::write(&path, &damaged).unwrap();
        let kept = restore::<S>(&backup, &path);
        assert!(fs::read(kept).unwrap() == damaged);
        assert_eq!(has::<S>(&path), "old");
    }
    // The store of a newer release is replaced too, so that a user can go back to an older one.
    raw::edit(&path, |txn, tables| {
        raw::rewrite(txn, tables.main, b"header", |value| {
            value[8] = 3;
            raw::seal(b"header", value);
        });
    });
    refused(S::open(&path, &DEFAULTS), PM_ERR_NEWER_FORMAT);
    let failure = refused(S::restore(&path, &fresh), PM_ERR_NEWER_FORMAT);
    failure.says(&[path.to_str().unwrap()]);
    restore::<S>(&backup, &path);
    assert_eq!(has::<S>(&path), "old");
}

fn restore_says_how_old_the_backup_and_the_replaced_store_are<S: Maintenance + InStep>() {
    let (directory, path, backup) = two::<S>();
    let at_copy = stats_of::<S>(&backup);
    let more = open::<S>(&path);
    (0..5).for_each(|n| drop(add(&more, format!("more-{n}"))));
    more.close().unwrap();
    let at_end = stats_of::<S>(&path);
    assert!(at_copy.0 < at_end.0 && at_copy.1 < at_end.1);
    let numbers = |path: &Path| {
        let found = S::restore(&backup, path).unwrap().0;
        let replaced = (found.replaced_commits, found.replaced_last_id);
        ((found.commits, found.last_id), replaced)
    };
    assert_eq!(numbers(&path), (at_copy, at_end));
    // The ids that were given out since are kept out of use by these numbers alone.
    let store = open::<S>(&path);
    store.mark_ids_faulty_up_to(at_end.1).unwrap();
    assert_eq!(add(&store, "next").device_id, at_end.1 + 1);
    check(&store);
    store.close().unwrap();
    // A store whose tables are damaged has a header; without that, nothing is known of it.
    let newest = stats_of::<S>(&path);
    raw::edit(&path, |txn, tables| {
        raw::rewrite(txn, tables.devices, b"next", |value| value[2] ^= 1);
    });
    assert_eq!(numbers(&path), (at_copy, newest));
    let mut bytes = fs::read(&path).unwrap();
    bytes[8192..].fill(0xff);
    fs::write(&path, bytes).unwrap();
    assert_eq!(numbers(&path), (at_copy, (0, 0)));
    assert_eq!(numbers(&directory.path().join("new")), (at_copy, (0, 0)));
}

/// The numbers of commits and of the highest id that was given out.
fn stats_of<S: Store>(path: &Path) -> (u64, u32) {
    let store = open::<S>(path);
    let stats = store.stats().unwrap();
    store.close().unwrap();
    (stats.commits, stats.last_id as u32)
}

fn restored_file_has_the_owner_and_permissions_of_the_old_one<S: Maintenance>() {
    let (_directory, path, backup) = two::<S>();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    let root = std::os::unix::fs::chown(&path, Some(12), Some(34)).is_ok();
    S::restore(&backup, &path).unwrap();
    let facts = fs::metadata(&path).unwrap();
    assert_eq!(facts.mode() & 0o7777, 0o640);
    assert!(!root || (facts.uid(), facts.gid()) == (12, 34));
}

fn store_or_backup_in_use_is_refused<S: Maintenance>() {
    let (directory, path, backup) = two::<S>();
    let link = directory.path().join("link");
    fs::hard_link(&path, &link).unwrap();
    let assert_in_use = |which: &Path| {
        let before = fs::metadata(&path).unwrap().ino();
        let failure = refused(S::restore(&backup, &path), PM_ERR_ALREADY_OPEN);
        assert!(failure.message.starts_with(which.to_str().unwrap()));
        assert_eq!(fs::metadata(&path).unwrap().ino(), before);
        assert_nothing_is_left(&path);
    };
    for (opened, in_use) in [(&path, &path), (&link, &path), (&backup, &backup)] {
        for options in [&DEFAULTS, &READ_ONLY] {
            // In a container, a handle that only reads has a private copy, which nobody minds.
            if options.flags == PM_OPEN_READ_ONLY && !lone_reader_shares(opened) {
                continue;
            }
            let store = S::open(opened, options).unwrap();
            assert_in_use(in_use);
            store.close().unwrap();
        }
        let mut peer = Peer::start("restore::hold", opened);
        peer.expect("open");
        assert_in_use(in_use);
        // A process that is killed has nothing open any more.
        peer.kill();
        fs::remove_file(raw::lock_path(opened)).unwrap();
    }
    for same in [&path, &link] {
        refused(S::restore(same, &path), PM_ERR_INVALID_PATH).says(&["the same file"]);
    }
    S::restore(&backup, &path).unwrap();
    assert_eq!(has::<S>(&path), "old");
}

/// Fails if a restore that was refused has left a file.
#[track_caller]
fn assert_nothing_is_left(path: &Path) {
    assert!(files_with(path, ".restoring").is_empty() && !with(path, ".before-restore").exists());
}

fn backup_that_is_not_sound_changes_nothing<S: Maintenance>() {
    let (directory, path, backup) = two::<S>();
    let whole = fs::read(&backup).unwrap();
    let before = fs::read(&path).unwrap();
    let bad = directory.path().join("bad");
    type Damage = fn(&Path, Vec<u8>);
    let damages: [(i32, Damage); 7] = [
        (PM_ERR_CORRUPT, |bad, file| {
            fs::write(bad, file).unwrap();
            raw::edit(bad, |txn, tables| {
                raw::rewrite(txn, tables.devices, b"device-9", |value| value[2] ^= 1)
            });
        }),
        (PM_ERR_CORRUPT, |bad, file| {
            fs::write(bad, file).unwrap();
            raw::edit(bad, |txn, tables| {
                txn.del(tables.devices, b"device-9", None).unwrap()
            });
        }),
        (PM_ERR_CORRUPT, |bad, file| {
            fs::write(bad, &file[..file.len() / 2]).unwrap();
        }),
        (PM_ERR_NOT_A_STORE, |bad, _| fs::write(bad, "").unwrap()),
        (PM_ERR_NOT_A_STORE, |bad, _| {
            fs::write(bad, "this is not a store at all, it is a text").unwrap()
        }),
        (PM_ERR_BBOLT_FILE, |bad, _| {
            fs::write(bad, raw::bbolt_file()).unwrap()
        }),
        (PM_ERR_FOREIGN_LMDB, |bad, _| {
            fs::remove_file(bad).unwrap();
            raw::foreign(bad, |environment| {
                raw::put_rows(environment, [(b"k".to_vec(), b"v".to_vec())]);
            });
        }),
    ];
    for (status, damage) in damages {
        damage(&bad, whole.clone());
        let _ = fs::remove_file(raw::lock_path(&bad));
        let failure = refused(S::restore(&bad, &path), status);
        assert!(
            failure.message.starts_with(bad.to_str().unwrap()),
            "{failure:?}"
        );
        assert!(fs::read(&path).unwrap() == before);
        assert_nothing_is_left(&path);
    }
    refused(
        S::restore(&with(&bad, "-absent"), &path),
        PM_ERR_NO_SUCH_FILE,
    );
    refused(S::restore(directory.path(), &path), PM_ERR_NOT_REGULAR_FILE);
    assert_eq!(has::<S>(&path), "new");
}

/// A file of that name is removed before the next temporary file is made.
fn backup_under_the_name_of_the_temporary_file_is_left_as_it_is<S: Maintenance>() {
    let (_directory, path, backup) = two::<S>();
    let temporary = with(&path, ".restoring-0123456789abcdef");
    fs::rename(&backup, &temporary).unwrap();
    let before = fs::read(&temporary).unwrap();
    refused(S::restore(&temporary, &path), PM_ERR_INVALID_PATH);
    assert!(fs::read(&temporary).unwrap() == before);
    assert_eq!(has::<S>(&path), "new");
}

fn file_that_is_no_store_is_not_replaced<S: Maintenance>() {
    let (directory, _path, backup) = two::<S>();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("text"), "this is not a store at all, it is a text").unwrap();
    fs::write(at("bbolt"), raw::bbolt_file()).unwrap();
    raw::foreign(&at("foreign"), |environment| {
        raw::put_rows(environment, [(b"k".to_vec(), b"v".to_vec())]);
    });
    sys::make_fifo(&at("fifo"));
    refused(S::restore(&backup, &at("text")), PM_ERR_NOT_A_STORE);
    refused(S::restore(&backup, &at("bbolt")), PM_ERR_BBOLT_FILE);
    refused(S::restore(&backup, &at("foreign")), PM_ERR_FOREIGN_LMDB);
    refused(S::restore(&backup, &at("fifo")), PM_ERR_NOT_REGULAR_FILE);
    refused(
        S::restore(&backup, directory.path()),
        PM_ERR_NOT_REGULAR_FILE,
    );
    refused(S::restore(&backup, &at("no/where")), PM_ERR_NO_SUCH_FILE);
    refused(S::restore(&backup, Path::new("")), PM_ERR_INVALID_PATH);
    fs::write(
        with(&at("fresh"), "-lock"),
        "a file that is no lock file at all",
    )
    .unwrap();
    refused(S::restore(&backup, &at("fresh")), PM_ERR_INVALID_PATH);
    assert!(!at("fresh").exists());
}
