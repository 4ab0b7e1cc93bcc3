//! Backups put back: what is checked first, what is kept, and that one of the two stores is there
//! at every moment.

#[path = "../common/mod.rs"]
mod common;
mod trouble;

use common::peer::{self, Peer};
use common::{add, check, devices, error_of, options, place, raw, sys};
use pool_metadata::{BackupOptions, DeviceInfo, Error, OpenOptions, PoolMetadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A backup with a device "old" and 200 more, and the store with "new", as it went on; both closed.
fn two() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let (directory, path) = place();
    let backup = directory.path().join("backup");
    let store = PoolMetadata::open(&path).unwrap();
    add(&store, "old");
    for n in 0..200 {
        add(&store, format!("device-{n}"));
    }
    store.mark_faulty("device-7").unwrap();
    store.remove_device("device-8").unwrap();
    store.backup(&backup, &BackupOptions::new()).unwrap();
    store.remove_device("old").unwrap();
    add(&store, "new");
    store.close().unwrap();
    (directory, path, backup)
}

fn has(path: &Path) -> String {
    let store = PoolMetadata::open(path).unwrap();
    check(&store);
    let names = store.get_device_names().unwrap();
    let found = |name: &&str| names.iter().any(|n| n == name.as_bytes());
    let which = ["old", "new"].into_iter().filter(found);
    which.collect::<Vec<_>>().join("+")
}

fn restore(backup: &Path, path: &Path) -> Result<Option<PathBuf>, Error> {
    options(100).restore(backup, path)
}

#[test]
fn a_backup_takes_the_place_of_the_store_which_is_kept() {
    let (_directory, path, backup) = two();
    let [before, copy] = [&path, &backup].map(|path| std::fs::read(path).unwrap());
    let kept = restore(&backup, &path).unwrap().unwrap();
    assert_eq!(kept, with(&path, ".before-restore"));
    assert!(std::fs::read(&kept).unwrap() == before);
    assert!(std::fs::read(&backup).unwrap() == copy);
    assert!(!with(&path, ".restoring").exists() && !raw::lock_path(&path).exists());
    assert_eq!((has(&path), has(&kept)), ("old".into(), "new".into()));
    let store = PoolMetadata::open(&path).unwrap();
    assert_eq!(add(&store, "next").device_id, 10, "the id of device-8");
    check(&store);
    store.close().unwrap();
    // Again: what was kept before is never touched.
    let second = restore(&backup, &path).unwrap().unwrap();
    assert_eq!(second, with(&path, ".before-restore.1"));
    assert_eq!((has(&path), has(&kept)), ("old".into(), "new".into()));
    assert!(PoolMetadata::open(&second)
        .unwrap()
        .get_device("next")
        .is_ok());
    // And the other way about.
    let third = restore(&kept, &path).unwrap().unwrap();
    assert_eq!(third, with(&path, ".before-restore.2"));
    assert_eq!(has(&path), "new");
}

#[test]
fn where_nothing_is_and_in_place_of_a_damaged_store() {
    let (directory, path, backup) = two();
    let fresh = directory.path().join("fresh");
    assert_eq!(PoolMetadata::restore(&backup, &fresh).unwrap(), None);
    assert_eq!(has(&fresh), "old");
    assert_eq!(std::fs::metadata(&fresh).unwrap().mode() & 0o7777, 0o600);
    let whole = std::fs::read(&path).unwrap();
    let no_root = |file: &mut Vec<u8>| file[8192..].fill(0xff);
    let cut = |file: &mut Vec<u8>| file.truncate(5000);
    let empty = |file: &mut Vec<u8>| file.clear();
    for damage in [&no_root as &dyn Fn(&mut Vec<u8>), &cut, &empty] {
        let mut damaged = whole.clone();
        damage(&mut damaged);
        std::fs::write(&path, &damaged).unwrap();
        let kept = restore(&backup, &path).unwrap().unwrap();
        assert!(std::fs::read(kept).unwrap() == damaged);
        assert_eq!(has(&path), "old");
    }
    // A newer release's store is somebody's to go back from.
    raw::edit(&path, |txn, tables| {
        raw::rewrite(txn, tables.main, b"header", |value| {
            value[8] = 2;
            raw::seal(b"header", value);
        });
    });
    assert_error!(PoolMetadata::open(&path), Error::NewerFormat { .. });
    assert_error!(restore(&path, &fresh), Error::NewerFormat { path: p, .. } if *p == *path);
    restore(&backup, &path).unwrap().unwrap();
    assert_eq!(has(&path), "old");
}

#[test]
fn the_new_file_has_the_owner_and_permissions_of_the_old_one() {
    let (_directory, path, backup) = two();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    let root = std::os::unix::fs::chown(&path, Some(12), Some(34)).is_ok();
    restore(&backup, &path).unwrap();
    let facts = std::fs::metadata(&path).unwrap();
    assert_eq!(facts.mode() & 0o7777, 0o640);
    assert!(!root || (facts.uid(), facts.gid()) == (12, 34));
}

#[test]
fn neither_of_the_two_may_be_in_use() {
    let (directory, path, backup) = two();
    let link = directory.path().join("link");
    std::fs::hard_link(&path, &link).unwrap();
    let assert_in_use = |which: &Path| {
        let before = std::fs::metadata(&path).unwrap().ino();
        let error = error_of(restore(&backup, &path));
        assert!(
            matches!(&error, Error::AlreadyOpen { path, .. } if **path == *which),
            "{error:?}"
        );
        assert_eq!(std::fs::metadata(&path).unwrap().ino(), before);
        assert!(!with(&path, ".restoring").exists());
        assert!(!with(&path, ".before-restore").exists());
    };
    let mut read_only = OpenOptions::new();
    read_only.read_only(true);
    for (open, told) in [(&path, &path), (&link, &path), (&backup, &backup)] {
        for options in [&OpenOptions::new(), &read_only] {
            let store = options.open(open).unwrap();
            assert_in_use(told);
            store.close().unwrap();
            std::fs::remove_file(raw::lock_path(open)).unwrap();
        }
        let mut peer = Peer::start("restore::hold", open);
        peer.expect("open");
        assert_in_use(told);
        // A process that is killed has nothing open any more.
        peer.kill();
        std::fs::remove_file(raw::lock_path(open)).unwrap();
    }
    for same in [&path, &link] {
        let error = error_of(restore(same, &path));
        assert!(error.to_string().contains("the same file"), "{error}");
        assert_error!(Err::<(), _>(error), Error::InvalidPath { .. });
    }
    restore(&backup, &path).unwrap();
    assert_eq!(has(&path), "old");
}

#[test]
fn a_backup_that_is_not_sound_changes_nothing() {
    let (directory, path, backup) = two();
    let whole = std::fs::read(&backup).unwrap();
    let before = std::fs::read(&path).unwrap();
    let bad = directory.path().join("bad");
    type Damage = fn(&Path, Vec<u8>);
    let damages: [(&str, Damage); 7] = [
        ("a flipped bit in a record", |bad, file| {
            std::fs::write(bad, file).unwrap();
            raw::edit(bad, |txn, tables| {
                raw::rewrite(txn, tables.devices, b"device-9", |value| value[2] ^= 1)
            });
        }),
        ("a lost row", |bad, file| {
            std::fs::write(bad, file).unwrap();
            raw::edit(bad, |txn, tables| {
                txn.del(tables.devices, b"device-9", None).unwrap()
            });
        }),
        ("cut short", |bad, file| {
            std::fs::write(bad, &file[..file.len() / 2]).unwrap();
        }),
        ("empty", |bad, _| std::fs::write(bad, "").unwrap()),
        ("text", |bad, _| {
            std::fs::write(bad, "this is not a store at all, it is a text").unwrap()
        }),
        ("bbolt", |bad, _| {
            std::fs::write(bad, raw::bbolt_file()).unwrap()
        }),
        ("foreign", |bad, _| {
            std::fs::remove_file(bad).unwrap();
            raw::foreign(bad, |environment| {
                raw::put_rows(environment, [(b"k".to_vec(), b"v".to_vec())]);
            });
        }),
    ];
    for (what, damage) in damages {
        damage(&bad, whole.clone());
        let _ = std::fs::remove_file(raw::lock_path(&bad));
        let error = error_of(restore(&bad, &path));
        let expected = match what {
            "text" => matches!(error, Error::NotAStore { .. }),
            "bbolt" => matches!(error, Error::BboltFile { .. }),
            "foreign" => matches!(error, Error::ForeignLmdb { .. }),
            _ => matches!(error, Error::Corrupt { .. }),
        };
        assert!(expected, "{what}: {error:?}");
        let message = error.to_string();
        assert!(message.starts_with(bad.to_str().unwrap()), "{message}");
        assert!(std::fs::read(&path).unwrap() == before);
        assert!(!with(&path, ".restoring").exists() && !with(&path, ".before-restore").exists());
    }
    assert_error!(
        restore(&with(&bad, "-absent"), &path),
        Error::NoSuchFile { .. }
    );
    assert_error!(
        restore(directory.path(), &path),
        Error::NotRegularFile { .. }
    );
    assert_eq!(has(&path), "new");
}

/// As the one is that a killed restore has left: the copy of it would be made over it.
#[test]
fn a_backup_under_the_name_of_the_draft_is_left_as_it_is() {
    let (_directory, path, backup) = two();
    let draft = with(&path, ".restoring");
    std::fs::rename(&backup, &draft).unwrap();
    let before = std::fs::read(&draft).unwrap();
    assert_error!(restore(&draft, &path), Error::InvalidPath { .. });
    assert!(std::fs::read(&draft).unwrap() == before);
    assert_eq!(has(&path), "new");
}

#[test]
fn files_of_other_kinds_are_not_replaced() {
    let (directory, _path, backup) = two();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("text"), "this is not a store at all, it is a text").unwrap();
    std::fs::write(at("bbolt"), raw::bbolt_file()).unwrap();
    raw::foreign(&at("foreign"), |environment| {
        raw::put_rows(environment, [(b"k".to_vec(), b"v".to_vec())]);
    });
    sys::make_fifo(&at("fifo"));
    assert_error!(restore(&backup, &at("text")), Error::NotAStore { .. });
    assert_error!(restore(&backup, &at("bbolt")), Error::BboltFile { .. });
    assert_error!(restore(&backup, &at("foreign")), Error::ForeignLmdb { .. });
    assert_error!(restore(&backup, &at("fifo")), Error::NotRegularFile { .. });
    assert_error!(
        restore(&backup, directory.path()),
        Error::NotRegularFile { .. }
    );
    assert_error!(restore(&backup, &at("no/where")), Error::NoSuchFile { .. });
    assert_error!(restore(&backup, Path::new("")), Error::InvalidPath { .. });
    std::fs::write(
        with(&at("fresh"), "-lock"),
        "somebody's file that is no lock file at all",
    )
    .unwrap();
    assert_error!(restore(&backup, &at("fresh")), Error::InvalidPath { .. });
    assert!(!at("fresh").exists());
}
