//! Full and failing disks, damaged and closed stores, files in the way, kills.

use super::*;

/// Runs `work` in a thread in which those calls fail with `errno`.
fn failing<R: Send>(calls: &[libc::c_long], errno: i32, work: impl FnOnce() -> R + Send) -> R {
    let run = || {
        sys::fail_in_this_thread(calls, errno, None);
        work()
    };
    thread::scope(|scope| scope.spawn(run).join().unwrap())
}

#[test]
fn a_disk_that_is_full_or_fails_leaves_nothing_behind() {
    let (directory, path) = place();
    let store = lived_in(&path);
    let copy = directory.path().join("copy");
    for options in [plain(), compact()] {
        for (calls, errno) in [
            (sys::WRITES, libc::ENOSPC),
            (sys::WRITES, libc::EDQUOT),
            (sys::WRITES, libc::EIO),
            (sys::FLUSHES, libc::EIO),
            (&[libc::SYS_renameat2][..], libc::EIO),
            (&[libc::SYS_openat][..], libc::EMFILE),
        ] {
            let error = error_of(failing(calls, errno, || store.backup(&copy, &options)));
            assert_eq!(error.os_error(), Some(errno), "{error:?}");
            let full = matches!(errno, libc::ENOSPC | libc::EDQUOT);
            assert_eq!(full, matches!(error, Error::DiskFull { .. }), "{error:?}");
            assert!(
                error.to_string().contains(copy.to_str().unwrap()),
                "{error}"
            );
            assert_nothing_at(&copy);
        }
        // The store does not suffer from it.
        add(&store, format!("after-{options:?}"));
    }
    check(&store);
    store.backup(&copy, &plain()).unwrap();
}

#[test]
fn a_damaged_store_is_backed_up_only_unchecked() {
    let (directory, path) = place();
    lived_in(&path).close().unwrap();
    raw::edit(&path, |txn, tables| {
        raw::rewrite(txn, tables.devices, b"device-005", |value| value[3] ^= 1);
    });
    let mut level = OpenOptions::new();
    let store = level.verify(Verify::None).open(&path).unwrap();
    for mut options in [plain(), compact()] {
        let copy = directory.path().join("copy");
        let error = error_of(store.backup(&copy, &options));
        assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
        let message = error.to_string();
        assert!(message.contains(path.to_str().unwrap()), "{message}");
        assert!(message.contains("device-005"), "{message}");
        assert_nothing_at(&copy);
        store.backup(&copy, options.verify(false)).unwrap();
        assert_error!(PoolMetadata::open(&copy), Error::Corrupt { .. });
        std::fs::remove_file(&copy).unwrap();
        std::fs::remove_file(raw::lock_path(&copy)).unwrap();
    }
}

#[test]
fn a_closed_store_and_a_forked_child() {
    let (directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    let copy = directory.path().join("copy");
    assert!(sys::in_forked_child(|| {
        matches!(store.backup(&copy, &plain()), Err(Error::Forked))
    }));
    store.close().unwrap();
    assert_error!(store.backup(&copy, &plain()), Error::Closed);
    assert_nothing_at(&copy);
}

#[test]
fn a_read_only_store_is_backed_up() {
    let (directory, path) = place();
    lived_in(&path).close().unwrap();
    let store = OpenOptions::new().read_only(true).open(&path).unwrap();
    for (name, options) in [("plain", plain()), ("compact", compact())] {
        let copy = directory.path().join(name);
        store.backup(&copy, &options).unwrap();
        let copied = PoolMetadata::open(&copy).unwrap();
        assert_eq!(contents(&copied), contents(&store));
    }
}

#[test]
fn drafts_that_are_in_the_way() {
    let (directory, path) = place();
    let store = options(50).open(&path).unwrap();
    add(&store, "base");
    let copy = directory.path().join("copy");
    let draft = with(&copy, ".partial");
    // A file of somebody's is not, whatever its name.
    let notes = "notes that somebody has made, and nowhere else";
    std::fs::write(&draft, notes).unwrap();
    let error = error_of(store.backup(&copy, &plain()));
    assert!(
        matches!(&error, Error::InvalidPath { path, .. } if **path == *draft),
        "{error:?}"
    );
    assert!(std::fs::read(&draft).unwrap() == notes.as_bytes() && !copy.exists());
    // What a killed process has left is taken over: its meta pages are the first that it writes, or
    // the last.
    std::fs::write(&draft, vec![0; 3 << 20]).unwrap();
    store.backup(&copy, &plain()).unwrap();
    let begun = &std::fs::read(&copy).unwrap()[..5000];
    std::fs::write(&draft, [begun, &[7; 3 << 20]].concat()).unwrap();
    std::fs::remove_file(&copy).unwrap();
    std::fs::set_permissions(&draft, PermissionsExt::from_mode(0o644)).unwrap();
    store.backup(&copy, &plain()).unwrap();
    let facts = std::fs::metadata(&copy).unwrap();
    assert!(facts.len() < 1 << 20 && facts.permissions().mode() & 0o7777 == 0o600);
    check(&PoolMetadata::open(&copy).unwrap());
    std::fs::remove_file(&copy).unwrap();
    // A store of that name is not, nor anything that is no file.
    let other = PoolMetadata::open(&draft).unwrap();
    assert_error!(store.backup(&copy, &plain()), Error::Timeout { .. });
    add(&other, "other");
    other.close().unwrap();
    assert_error!(store.backup(&copy, &plain()), Error::InvalidPath { .. });
    check(&PoolMetadata::open(&draft).unwrap());
    std::fs::remove_file(&draft).unwrap();
    std::fs::remove_file(raw::lock_path(&draft)).unwrap();
    std::fs::create_dir(&draft).unwrap();
    assert_error!(store.backup(&copy, &plain()), Error::Io { .. });
    std::fs::remove_dir(&draft).unwrap();
    std::os::unix::fs::symlink(&path, &draft).unwrap();
    assert_error!(store.backup(&copy, &plain()), Error::InvalidPath { .. });
    check(&store);
    // A lock file's name that something else has.
    std::fs::remove_file(&draft).unwrap();
    std::fs::write(
        raw::lock_path(&copy),
        "not a lock file, and nobody's to remove",
    )
    .unwrap();
    assert_error!(store.backup(&copy, &plain()), Error::InvalidPath { .. });
    assert!(raw::lock_path(&copy).exists() && !copy.exists());
}

#[test]
fn killed_at_any_moment_there_is_nothing_or_a_whole_backup() {
    let (_directory, path) = place();
    lived_in(&path).close().unwrap();
    let copy = with(&path, ".copy");
    let (mut none, mut whole, mut drafts) = (0, 0, 0);
    let mut round = 0;
    // A slow machine takes longer: sooner or later it is killed at every moment.
    while round < 60 || ((whole == 0 || drafts == 0) && round < 600) {
        peer::start_and_kill(
            "backup::back_up_on",
            &path,
            round * 997 % (40_000 << (round / 60)),
        );
        round += 1;
        drafts += usize::from(with(&copy, ".partial").exists());
        if copy.exists() {
            let copied = PoolMetadata::open(&copy).unwrap();
            check(&copied);
            assert_eq!(copied.get_device("longest").unwrap().error.len(), 1 << 20);
            whole += 1;
            copied.close().unwrap();
            std::fs::remove_file(&copy).unwrap();
        } else {
            none += 1;
        }
    }
    println!("{none} without, {whole} with a backup, {drafts} drafts");
    assert!(whole > 0 && drafts > 0);
    check(&PoolMetadata::open(&path).unwrap());
}
