//! Backups put back: what is checked first, what is kept, and that one of the two stores is there at every moment.

mod common;

use common::child::{self, Peer};
use common::{add, check, device, devices, error_of, options, place, raw, sys};
use pool_metadata::{BackupOptions, DeviceInfo, Error, OpenOptions, PoolMetadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

#[test]
fn child_entry() {
    child::entry(|role, argument| match role {
        "hold" => hold(argument.as_ref()),
        "restore" => restore_on(argument.as_ref()),
        "open" => open_on(argument.as_ref()),
        other => panic!("no role {other}"),
    });
}

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

/// Has the store open until told to end.
fn hold(path: &Path) {
    let _store = PoolMetadata::open(path).unwrap();
    child::say("open");
    child::listen();
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
        let mut peer = Peer::start("hold", open);
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

/// Runs `work` in a thread in which those calls fail with `errno`.
fn failing<R: Send>(calls: &[libc::c_long], errno: i32, work: impl FnOnce() -> R + Send) -> R {
    let run = || {
        sys::fail_in_this_thread(calls, errno, None);
        work()
    };
    thread::scope(|scope| scope.spawn(run).join().unwrap())
}

#[test]
fn a_disk_that_is_full_or_fails_leaves_the_store_as_it_was() {
    let (_directory, path, backup) = two();
    let before = std::fs::read(&path).unwrap();
    for (calls, errno) in [
        (sys::WRITES, libc::ENOSPC),
        (sys::WRITES, libc::EIO),
        (sys::FLUSHES, libc::EIO),
        (&[libc::SYS_linkat, libc::SYS_link][..], libc::EMLINK),
        (
            &[libc::SYS_rename, libc::SYS_renameat, libc::SYS_renameat2][..],
            libc::EIO,
        ),
        (&[libc::SYS_fchmod][..], libc::EIO),
        (&[libc::SYS_openat][..], libc::EMFILE),
    ] {
        let error = error_of(failing(calls, errno, || restore(&backup, &path)));
        assert_eq!(error.os_error(), Some(errno), "{error:?}");
        assert!(std::fs::read(&path).unwrap() == before);
        assert!(!with(&path, ".restoring").exists(), "{error:?}");
        assert!(!with(&path, ".before-restore").exists(), "{error:?}");
    }
    assert_eq!(has(&path), "new");
    restore(&backup, &path).unwrap();
}

#[test]
fn a_lock_file_that_a_killed_process_left_does_no_harm() {
    let (_directory, path, backup) = two();
    // The lock file knows a commit number far beyond the backup's.
    let mut peer = Peer::start("hold", &path);
    peer.expect("open");
    let store = PoolMetadata::open(&path).unwrap();
    for n in 0..101 {
        add(&store, format!("further-{n}"));
    }
    store.close().unwrap();
    peer.kill();
    assert!(raw::lock_path(&path).exists());
    restore(&backup, &path).unwrap();
    assert!(!raw::lock_path(&path).exists());
    let store = PoolMetadata::open(&path).unwrap();
    for n in 0..101 {
        add(&store, format!("further-{n}"));
        check(&store);
    }
}

/// Puts the backup beside the store back, again and again, until killed.
fn restore_on(path: &Path) {
    let backup = path.with_file_name("backup");
    child::say("ready");
    loop {
        let kept = options(5000).restore(&backup, path).unwrap();
        std::fs::remove_file(kept.unwrap()).unwrap();
    }
}

#[test]
fn killed_at_any_moment_one_of_the_two_is_there() {
    let (_directory, path, backup) = two();
    let whole = std::fs::read(&path).unwrap();
    let kept = with(&path, ".before-restore");
    let (mut seen, mut left, mut drafts) = ([0, 0], 0, 0);
    for round in 0..80_u64 {
        std::fs::write(&path, &whole).unwrap();
        let mut peer = Peer::start("restore", &path);
        peer.expect("ready");
        thread::sleep(Duration::from_micros(round * 577 % 12_000));
        peer.kill();
        seen[usize::from(has(&path) == "old")] += 1;
        drafts += usize::from(with(&path, ".restoring").exists());
        if kept.exists() {
            left += 1;
            // A second name of the store, or the store that was there before: whole in any case.
            let same = [&kept, &path].map(|path| std::fs::metadata(path).unwrap().ino());
            if same[0] != same[1] {
                has(&kept);
                let _ = std::fs::remove_file(raw::lock_path(&kept));
            }
            std::fs::remove_file(&kept).unwrap();
        }
        // What was left behind is in nobody's way.
        std::fs::remove_file(restore(&backup, &path).unwrap().unwrap()).unwrap();
        assert_eq!(has(&path), "old");
        assert!(!with(&path, ".restoring").exists());
    }
    println!("old, new: {seen:?}; {left} kept files and {drafts} drafts were left");
    assert!(seen[0] > 0 && seen[1] > 0 && drafts > 0);
}

/// Opens the store and adds to it, again and again, until there is a file that says to stop.
fn open_on(path: &Path) {
    child::say("ready");
    for n in 0_u64.. {
        if path.with_file_name("stop").exists() {
            break;
        }
        match options(5000).open(path) {
            Ok(store) => {
                store.verify().unwrap();
                let _ = store.add_device(&mut device(format!("by-{}-{n}", std::process::id())));
                store.verify().unwrap();
                store.close().unwrap();
            }
            // Looked at in the moment in which it was the restore's.
            Err(Error::AlreadyOpen { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
        thread::sleep(Duration::from_micros(n * 7919 % 9000));
    }
}

/// Opening waits for the end of a restore, and never meets the lock file of the store before.
#[test]
fn stores_are_opened_and_restored_at_once() {
    let (_directory, path, backup) = two();
    let mut peers: Vec<_> = (0..2).map(|_| Peer::start("open", &path)).collect();
    for peer in &mut peers {
        peer.expect("ready");
    }
    let (mut restored, mut refused) = (0, 0);
    while restored < 30 {
        match restore(&backup, &path) {
            Ok(kept) => {
                restored += 1;
                let kept = kept.unwrap();
                PoolMetadata::open(&kept).unwrap().close().unwrap();
                std::fs::remove_file(raw::lock_path(&kept)).unwrap();
                std::fs::remove_file(&kept).unwrap();
            }
            Err(Error::AlreadyOpen { .. }) => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
        thread::sleep(Duration::from_micros(300));
    }
    std::fs::write(path.with_file_name("stop"), "").unwrap();
    for peer in peers {
        peer.finish();
    }
    assert!(refused > 0);
    let store = PoolMetadata::open(&path).unwrap();
    check(&store);
    assert!(devices(&store).len() >= 200);
}

#[test]
fn long_texts_come_back_whole() {
    let (_directory, path, backup) = two();
    std::fs::remove_file(&backup).unwrap();
    let store = PoolMetadata::open(&path).unwrap();
    let mut long = DeviceInfo::new("long");
    long.error = vec![b'x'; 1 << 20];
    store.add_device(&mut long).unwrap();
    store
        .backup(&backup, BackupOptions::new().compact(true))
        .unwrap();
    store.remove_device("long").unwrap();
    store.close().unwrap();
    restore(&backup, &path).unwrap();
    assert_eq!(
        PoolMetadata::open(&path)
            .unwrap()
            .get_device("long")
            .unwrap(),
        long
    );
}
