//! Whose files are written to, and what a directory must allow: in one that all may write to,
//! another user can have taken a file's name; without read permission, a directory cannot be
//! flushed.

mod common;

use common::peer::Peer;
use common::{add, assorted, check, device, lone_reader_shares, place, raw};
use pool_metadata::{BackupOptions, Error, OpenOptions, PoolMetadata, RepairOptions};
use std::fs;
use std::os::unix::fs::{chown, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

const NOBODY: u32 = 65534;
const SOMEBODY: u32 = 4711;

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A directory that all may write to, and the path of a store there; none without root, who alone
/// can make files of others.
fn shared_place() -> Option<(tempfile::TempDir, PathBuf)> {
    let (directory, path) = place();
    mode(directory.path(), 0o1777);
    if chown(directory.path(), Some(0), Some(0)).is_err() {
        common::skipped("root");
        return None;
    }
    Some((directory, path))
}

/// Another user's file at `path`.
fn leave(path: &Path, owner: u32) {
    fs::write(path, "").unwrap();
    chown(path, Some(owner), Some(owner)).unwrap();
    mode(path, 0o666);
}

/// The error names the file and its owner, and the file is as it was.
fn refused<T>(result: Result<T, Error>, file: &Path, owner: u32) {
    let error = common::error_of(result);
    assert!(matches!(error, Error::OtherOwner { .. }), "{error:?}");
    let message = error.to_string();
    for part in [file.to_str().unwrap(), &owner.to_string()] {
        assert!(message.contains(part), "{message}");
    }
    let found = file.metadata().unwrap();
    assert_eq!((found.len(), found.uid()), (0, owner));
}

#[test]
fn temporary_file_of_another_user_is_refused() {
    let Some((directory, path)) = shared_place() else {
        return;
    };
    let temporary = directory.path().join("pool.db.new");
    leave(&temporary, NOBODY);
    refused(PoolMetadata::open(&path), &temporary, NOBODY);
    assert!(!path.exists());
    fs::remove_file(&temporary).unwrap();
    check(&PoolMetadata::open(&path).unwrap());
}

#[test]
fn lock_file_of_another_user_is_refused() {
    let Some((_directory, path)) = shared_place() else {
        return;
    };
    let lock = raw::lock_path(&path);
    leave(&lock, NOBODY);
    refused(PoolMetadata::open(&path), &lock, NOBODY);
    assert!(!path.exists());
    fs::remove_file(&lock).unwrap();
    add(&PoolMetadata::open(&path).unwrap(), "a");
    fs::remove_file(&lock).unwrap();
    leave(&lock, NOBODY);
    for read_only in [false, true] {
        let open = OpenOptions::new().read_only(read_only).open(&path);
        if read_only && !lone_reader_shares(&path) {
            assert!(open.unwrap().stats().unwrap().is_copy);
        } else {
            refused(open, &lock, NOBODY);
        }
    }
    // The owner of the store can change it anyway; so can root, for whoever else opens it.
    chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    check(&PoolMetadata::open(&path).unwrap());
    Peer::start("rights::opens_as_nobody", &path).finish();
    chown(&lock, Some(0), Some(0)).unwrap();
    Peer::start("rights::opens_as_nobody", &path).finish();
    fs::remove_file(&lock).unwrap();
    leave(&lock, SOMEBODY);
    Peer::start("rights::refused_as_nobody", &path).finish();
    assert_eq!(lock.metadata().unwrap().len(), 0);
}

#[test]
fn directory_that_cannot_be_read_gets_no_store_and_no_backup() {
    let (directory, _) = place();
    let closed = directory.path().join("closed");
    fs::create_dir(&closed).unwrap();
    // Root needs no permission: its child drops its rights.
    for path in [directory.path(), &closed] {
        let _ = chown(path, Some(NOBODY), Some(NOBODY));
    }
    mode(&closed, 0o300);
    Peer::start("rights::refused_without_read_permission", &closed).finish();
    mode(&closed, 0o700);
    assert_eq!(fs::read_dir(&closed).unwrap().count(), 0);
    let path = closed.join("pool.db");
    Peer::start("rights::opens_as_nobody", &path).finish();
    // A store that is there already is used without it.
    mode(&closed, 0o300);
    Peer::start("rights::opens_as_nobody", &path).finish();
    mode(&closed, 0o700);
}

/// A process whose LMDB has another layout of the lock file says so in the file's second word.
#[test]
fn store_that_another_release_of_lmdb_has_open_is_refused() {
    let (_directory, path) = place();
    let mut peer = Peer::start("open_twice::open_and_wait", &path);
    peer.expect("open");
    let lock = raw::lock_path(&path);
    let file = fs::File::options().write(true).read(true).open(&lock);
    let file = file.unwrap();
    let mut word = [0; 4];
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut word, 4).unwrap();
    let put = |word: u32| {
        std::os::unix::fs::FileExt::write_all_at(&file, &word.to_le_bytes(), 4).unwrap();
    };
    let format = u32::from_le_bytes(word);
    put(format + 1);
    for read_only in [false, true] {
        let error = common::error_of(OpenOptions::new().read_only(read_only).open(&path));
        assert!(matches!(error, Error::OtherLmdb { .. }), "{error:?}");
        let message = error.to_string();
        for part in [path.to_str().unwrap(), "another release", "0.9.24"] {
            assert!(message.contains(part), "{message}");
        }
    }
    put(format);
    let store = PoolMetadata::open(&path).unwrap();
    store.add_device(&mut device("b")).unwrap();
    peer.finish();
    check(&store);
}

/// Gives the file to another user, with that mode; false without root.
fn given_away(path: &Path, permissions: u32) -> bool {
    if chown(path, Some(NOBODY), Some(SOMEBODY)).is_err() {
        common::skipped("root");
        return false;
    }
    mode(path, permissions);
    true
}

fn access(path: &Path) -> (u32, u32, u32) {
    let found = path.metadata().unwrap();
    (found.uid(), found.gid(), found.mode() & 0o7777)
}

/// Whatever root does with a user's store, that user can go on using all of its files.
#[test]
fn files_made_beside_a_store_have_its_owner_and_mode() {
    let (directory, path) = assorted();
    let lock = raw::lock_path(&path);
    raw::edit(&path, |txn, tables| {
        txn.del(tables.ids, &[0, 0, 0, 0, 3], None).unwrap();
    });
    fs::remove_file(&lock).unwrap();
    if !given_away(&path, 0o640) {
        return;
    }
    let follows = |path: &Path| assert_eq!(access(path), (NOBODY, SOMEBODY, 0o640), "{path:?}");
    let repaired = OpenOptions::new().repair(&path, &RepairOptions::new());
    follows(&repaired.unwrap().backup.unwrap());
    follows(&lock);
    fs::remove_file(&lock).unwrap();
    let store = PoolMetadata::open(&path).unwrap();
    follows(&lock);
    let backup = directory.path().join("backup.db");
    store.backup(&backup, &BackupOptions::new()).unwrap();
    follows(&backup);
    store.close().unwrap();
    let salvaged = directory.path().join("salvaged.db");
    OpenOptions::new().salvage(&path, &salvaged, 9).unwrap();
    follows(&salvaged);
    let restored = PoolMetadata::restore(&backup, &path).unwrap();
    let kept = restored.kept.unwrap();
    follows(&kept);
    follows(&path);
    let fresh = directory.path().join("fresh.db");
    PoolMetadata::restore(&backup, &fresh).unwrap();
    follows(&fresh);
    mode(directory.path(), 0o777);
    for path in [&path, &backup, &salvaged, &kept, &fresh] {
        Peer::start("rights::opens_as_nobody", path).finish();
        // Not the mode: that user is not in the store's group.
        assert_eq!(access(&raw::lock_path(path)).0, NOBODY);
    }
}

/// A file that is replaced says who may use what takes its place.
#[test]
fn file_that_a_backup_overwrites_passes_its_owner_and_mode_on() {
    let (directory, path) = assorted();
    let backup = directory.path().join("backup.db");
    let store = PoolMetadata::open(&path).unwrap();
    store.backup(&backup, &BackupOptions::new()).unwrap();
    assert_eq!(access(&backup), access(&path));
    if !given_away(&backup, 0o644) {
        return;
    }
    let mut replace = BackupOptions::new();
    store.backup(&backup, replace.overwrite(true)).unwrap();
    assert_eq!(access(&backup), (NOBODY, SOMEBODY, 0o644));
}

#[test]
fn lock_file_follows_the_store_whatever_the_umask() {
    for permissions in [0o600, 0o660, 0o644, 0o400] {
        let (_directory, path) = assorted();
        let lock = raw::lock_path(&path);
        fs::remove_file(&lock).unwrap();
        mode(&path, permissions);
        // Only root opens a file for writing that its owner may not write.
        if fs::File::options().write(true).open(&path).is_err() {
            common::skipped("root");
            continue;
        }
        Peer::start("rights::opens_with_umask", &path).finish();
        assert_eq!(access(&lock).2, permissions | 0o600);
    }
}

/// A lock file of its own would keep the store's owner out: the owner's processes refuse it.
#[test]
fn user_who_may_write_another_users_store_makes_no_lock_file_for_it() {
    let (directory, path) = assorted();
    let lock = raw::lock_path(&path);
    fs::remove_file(&lock).unwrap();
    mode(directory.path(), 0o777);
    mode(&path, 0o666);
    if chown(&path, Some(SOMEBODY), None).is_err() {
        common::skipped("root");
        return;
    }
    Peer::start("rights::makes_no_lock_file_as_nobody", &path).finish();
    assert!(!lock.exists());
    // Once the owner, or root, has made it, that user can write.
    check(&PoolMetadata::open(&path).unwrap());
    assert_eq!(access(&lock), access(&path));
    Peer::start("rights::opens_as_nobody", &path).finish();
}

/// What a user saves of another's store is his own, and allows nobody else more.
#[test]
fn backup_by_a_user_who_only_may_read_the_store_is_his_own() {
    let (directory, path) = assorted();
    mode(directory.path(), 0o777);
    mode(&path, 0o664);
    mode(&raw::lock_path(&path), 0o666);
    if chown(&path, Some(SOMEBODY), Some(SOMEBODY)).is_err() {
        common::skipped("root");
        return;
    }
    Peer::start("rights::backs_up_as_nobody", &path).finish();
    let backup = path.with_extension("backup");
    assert_eq!(access(&backup), (NOBODY, NOBODY, 0o604));
}
