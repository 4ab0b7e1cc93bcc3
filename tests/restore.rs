//! Backups put back: how that fails, and that one of the two stores is there at every moment. What
//! is checked first, and what is kept, is in `meaning/restore.rs`.

mod common;

use common::pages::{self, Pages, Tree};
use common::peer::{self, Peer};
use common::{add, check, devices, error_of, files_with, options, place, raw, sys};
use pool_metadata::{BackupOptions, DeviceInfo, Error, PoolMetadata};
use std::os::unix::fs::MetadataExt;
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

/// Restores the backup, and returns where the file before it is kept.
fn restore(backup: &Path, path: &Path) -> Result<Option<PathBuf>, Error> {
    Ok(options(100).restore(backup, path)?.kept)
}

#[test]
fn disk_that_is_full_or_fails_leaves_the_store_as_it_was() {
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
        let error = error_of(sys::with_errno(calls, errno, None, || {
            restore(&backup, &path)
        }));
        assert_eq!(error.os_error(), Some(errno), "{error:?}");
        assert!(std::fs::read(&path).unwrap() == before);
        assert_eq!(files_with(&path, ".restoring"), Vec::<PathBuf>::new());
        assert!(!with(&path, ".before-restore").exists(), "{error:?}");
    }
    assert_eq!(has(&path), "new");
    restore(&backup, &path).unwrap();
}

#[test]
fn lock_file_that_a_killed_process_left_does_no_harm() {
    let (_directory, path, backup) = two();
    // The lock file knows a commit number far beyond the backup's.
    let mut peer = Peer::start("restore::hold", &path);
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

#[test]
fn restore_killed_at_any_moment_leaves_one_of_the_two() {
    let (_directory, path, backup) = two();
    let whole = std::fs::read(&path).unwrap();
    let kept = with(&path, ".before-restore");
    let (mut seen, mut left, mut temporary) = ([0, 0], 0, 0);
    let mut round = 0;
    // A slow machine takes more rounds until the process has been killed at every moment.
    while round < 80 || ((seen.contains(&0) || temporary == 0) && round < 800) {
        std::fs::write(&path, &whole).unwrap();
        peer::start_and_kill(
            "restore::restore_on",
            &path,
            round * 577 % (12_000 << (round / 80)),
        );
        round += 1;
        seen[usize::from(has(&path) == "old")] += 1;
        temporary += files_with(&path, ".restoring").len();
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
        // The files that it has left do not keep the next restore from succeeding.
        std::fs::remove_file(restore(&backup, &path).unwrap().unwrap()).unwrap();
        assert_eq!(has(&path), "old");
        assert_eq!(files_with(&path, ".restoring"), Vec::<PathBuf>::new());
    }
    println!("old, new: {seen:?}; {left} kept and {temporary} temporary files were left");
    assert!(seen[0] > 0 && seen[1] > 0 && temporary > 0);
}

/// Opening waits for the end of a restore, and never meets the lock file of the store before.
#[test]
fn store_is_opened_while_it_is_restored() {
    let (_directory, path, backup) = two();
    let mut peers: Vec<_> = (0..2)
        .map(|_| Peer::start("restore::open_on", &path))
        .collect();
    for peer in &mut peers {
        peer.expect("ready");
    }
    let (mut restored, mut refused) = (0, 0);
    while restored < 30 || (refused == 0 && restored < 3000) {
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
fn long_text_comes_back_whole() {
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

/// Whatever became of the store, the backup takes its place. The old file is kept.
#[test]
fn backup_replaces_whatever_damage_made_of_the_store() {
    const PAGE: usize = pages::PAGE;
    let (_directory, path, backup) = two();
    let sound = Pages::read(&path);
    let root = sound.root(Tree::Main);
    let node = (0..3).find(|at| sound.key(root, *at) == b"header");
    let magic = sound.value_at(root, node.unwrap());
    let flips = [16, 20, 21, PAGE + 16, PAGE + 20, magic, magic + 7]
        .into_iter()
        .chain([sound.record(Tree::Main) + pages::DEPTH])
        .chain([sound.record(Tree::Main) + pages::ROOT])
        .chain((0..4).map(|row| sound.node_at(root, row) + 8));
    let flipped = flips.map(|at| {
        let mut pages = sound.clone();
        pages.0[at] ^= 4;
        pages.0
    });
    let wiped = [0, 0xa5].map(|junk| {
        let mut pages = sound.clone();
        pages.0[..2 * PAGE].fill(junk);
        pages.0
    });
    let zeros = [1, sound.0.len()].map(|len| vec![0; len]);
    for (case, damaged) in flipped.chain(wiped).chain(zeros).enumerate() {
        std::fs::write(&path, &damaged).unwrap();
        let kept = restore(&backup, &path);
        let kept = kept
            .unwrap_or_else(|error| panic!("{case}: {error}"))
            .unwrap();
        assert!(std::fs::read(&kept).unwrap() == damaged, "{case}");
        assert_eq!(has(&path), "old", "{case}");
        std::fs::remove_file(kept).unwrap();
    }
    // What was never a store is not this library's to replace.
    let mut zeros_and_text = vec![0; 4 * PAGE];
    zeros_and_text.extend(b"text");
    for other in [raw::bbolt_file(), b"text".to_vec(), zeros_and_text] {
        std::fs::write(&path, &other).unwrap();
        error_of(restore(&backup, &path));
        assert!(std::fs::read(&path).unwrap() == other);
    }
}
