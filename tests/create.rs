//! Creating a store: a whole one or none, never two, never over another program's file; and missing
//! permissions.

mod common;

use common::peer::Peer;
use common::{add, check, devices, directory, error_of, options, place, raw, sys};
use pool_metadata::{Error, OpenOptions, PoolMetadata};
use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::Path;

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn processes_that_create_one_store_at_once_share_it() {
    let directory = directory();
    let mut peers: Vec<Peer> = (0..3)
        .map(|_| Peer::start("create::create_in_child", directory.path()))
        .collect();
    peers.iter_mut().for_each(|peer| peer.expect("ready"));
    for round in 0..40 {
        let name = format!("pool-{round}");
        if round % 2 == 1 {
            fs::write(directory.path().join(&name), "").unwrap();
        }
        peers.iter_mut().for_each(|peer| peer.tell(&name));
        peers.iter_mut().for_each(|peer| peer.expect("done"));
        let path = directory.path().join(&name);
        let store = PoolMetadata::open(&path).unwrap();
        assert_eq!(devices(&store).len(), 3, "all are in the one store");
        check(&store);
        store.close().unwrap();
        fs::remove_file(&path).unwrap();
        fs::remove_file(raw::lock_path(&path)).unwrap();
    }
    peers.into_iter().for_each(Peer::finish);
    assert_eq!(
        names_in(directory.path()),
        [""; 0],
        "nothing is left behind"
    );
}

#[test]
fn temporary_file_of_a_dead_creator_is_taken_over() {
    let begun = [&raw::META_START[..], &[0xaa; 1 << 20]].concat();
    for rubbish in [&b""[..], &[0; 7], &[0; 8192], &begun] {
        let (directory, path) = place();
        let temporary = directory.path().join("pool.db.new");
        fs::write(&temporary, rubbish).unwrap();
        fs::set_permissions(&temporary, fs::Permissions::from_mode(0o644)).unwrap();
        let store = PoolMetadata::open(&path).unwrap();
        add(&store, "a");
        check(&store);
        assert_eq!(names_in(directory.path()), ["pool.db", "pool.db-lock"]);
        let metadata = fs::metadata(&path).unwrap();
        assert!(metadata.len() <= 512 << 10);
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn store_with_the_name_of_a_temporary_file_is_left_alone() {
    let (directory, path) = place();
    let other = directory.path().join("pool.db.new");
    let theirs = PoolMetadata::open(&other).unwrap();
    let refused = || {
        let error = common::error_of(PoolMetadata::open(&path));
        assert!(matches!(error, Error::InvalidPath { .. }), "{error:?}");
        assert!(error.to_string().contains("pool.db.new"), "{error}");
        assert!(!path.exists());
    };
    // Open and still empty; then with a device, and without its -lock file.
    refused();
    add(&theirs, "precious");
    theirs.close().unwrap();
    fs::remove_file(raw::lock_path(&other)).unwrap();
    refused();
    let theirs = PoolMetadata::open(&other).unwrap();
    theirs.get_device("precious").unwrap();
    check(&theirs);
}

#[test]
fn file_with_the_name_of_a_temporary_file_is_left_alone() {
    for theirs in [b"notes, kept nowhere else".to_vec(), raw::bbolt_file()] {
        let (directory, path) = place();
        let temporary = directory.path().join("pool.db.new");
        fs::write(&temporary, &theirs).unwrap();
        let error = common::error_of(PoolMetadata::open(&path));
        assert!(
            matches!(&error, Error::InvalidPath { path, .. } if **path == *temporary),
            "{error:?}"
        );
        assert!(fs::read(&temporary).unwrap() == theirs && !path.exists());
    }
}

/// What is no file is not even opened, and the message says which name is in the way.
#[test]
fn stray_with_the_name_of_a_temporary_file_is_left_alone() {
    let strays: [&dyn Fn(&Path); 4] = [
        &|at| fs::create_dir(at).unwrap(),
        &|at| sys::make_fifo(at),
        &|at| symlink(at.with_file_name("nowhere"), at).unwrap(),
        &|at| symlink("/dev/null", at).unwrap(),
    ];
    for leave in strays {
        let (directory, path) = place();
        let temporary = directory.path().join("pool.db.new");
        leave(&temporary);
        let kind = temporary.symlink_metadata().unwrap().file_type();
        let error = common::error_of(PoolMetadata::open(&path));
        let message = error.to_string();
        assert!(matches!(error, Error::InvalidPath { .. }), "{error:?}");
        assert!(message.contains("pool.db.new") && message.contains("move it"));
        assert_eq!(temporary.symlink_metadata().unwrap().file_type(), kind);
        assert_eq!(names_in(directory.path()), ["pool.db.new"]);
    }
}

#[test]
fn file_without_permission_is_refused() {
    let directory = directory();
    let mode = |name: &str, mode: u32| {
        let path = directory.path().join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    fs::create_dir(directory.path().join("closed-directory")).unwrap();
    for name in [
        "closed.db",
        "closed-lock.db",
        "readable.db",
        "closed-directory/pool.db",
    ] {
        add(
            &PoolMetadata::open(directory.path().join(name)).unwrap(),
            "a",
        );
    }
    mode("closed.db", 0o000);
    mode("closed-lock.db", 0o666);
    mode("closed-lock.db-lock", 0o000);
    mode("readable.db", 0o444);
    mode("readable.db-lock", 0o666);
    mode("closed-directory", 0o000);
    mode("", 0o555);
    let before = names_in(directory.path());
    Peer::start("create::no_permission", directory.path()).finish();
    assert_eq!(names_in(directory.path()), before);
    mode("", 0o755);
    mode("closed-directory", 0o755);
    mode("closed.db", 0o600);
    mode("closed-lock.db-lock", 0o600);
    for name in [
        "closed.db",
        "closed-lock.db",
        "readable.db",
        "closed-directory/pool.db",
    ] {
        let store = OpenOptions::new()
            .read_only(true)
            .open(directory.path().join(name))
            .unwrap();
        check(&store);
    }
}

#[test]
fn little_address_space_makes_the_map_smaller() {
    let (_directory, path) = place();
    Peer::start("create::little_address_space", &path).finish();
    check(&PoolMetadata::open(&path).unwrap());
}

/// Opens stores as on a disk that has space for a store and none for the blocks of its lock file.
fn without_blocks_for_lock_files<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    sys::with_errno(&[libc::SYS_fallocate], libc::ENOSPC, None, work)
}

#[test]
fn failed_open_removes_what_it_made_and_nothing_else() {
    let full = |path: &Path| {
        let open = || PoolMetadata::open(path);
        let error = common::error_of(without_blocks_for_lock_files(open));
        assert!(matches!(error, Error::DiskFull { .. }), "{error:?}");
    };
    let (directory, path) = place();
    full(&path);
    assert_eq!(names_in(directory.path()), [""; 0]);
    let lock = raw::lock_path(&path);
    fs::write(&lock, "").unwrap();
    full(&path);
    assert_eq!(names_in(directory.path()), ["pool.db-lock"]);
    PoolMetadata::open(&path).unwrap().close().unwrap();
    fs::remove_file(&lock).unwrap();
    full(&path);
    assert_eq!(names_in(directory.path()), ["pool.db"]);
    // A look needs no lock file.
    let look = || OpenOptions::new().read_only(true).open(&path);
    check(&without_blocks_for_lock_files(look).unwrap());
    assert_eq!(names_in(directory.path()), ["pool.db"]);
}

/// Another creator's file can be in the way when the store is to get its name, and gone a moment
/// later, because its creator could not open it: then there is nothing yet to be opened.
#[test]
fn file_that_comes_and_goes_under_a_creators_hands_is_waited_for() {
    let (_directory, path) = place();
    let naming = [
        libc::SYS_renameat2,
        libc::SYS_linkat,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_link,
    ];
    let open = || options(100).open(&path);
    let error = error_of(sys::with_errno(&naming, libc::EEXIST, None, open));
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
    assert_eq!(names_in(path.parent().unwrap()), [""; 0]);
    open().unwrap();
}

#[test]
fn failed_open_leaves_the_store_to_others_who_open_it() {
    let directory = directory();
    let mut peers: Vec<Peer> = (0..2)
        .map(|_| Peer::start("create::create_in_child", directory.path()))
        .collect();
    peers.iter_mut().for_each(|peer| peer.expect("ready"));
    let mut failed = 0;
    for round in 0..100 {
        let name = format!("pool-{round}");
        let path = directory.path().join(&name);
        peers.iter_mut().for_each(|peer| peer.tell(&name));
        let opened = without_blocks_for_lock_files(|| PoolMetadata::open(&path));
        failed += u32::from(opened.is_err());
        drop(opened);
        peers.iter_mut().for_each(|peer| peer.expect("done"));
        let store = PoolMetadata::open(&path).unwrap();
        assert_eq!(devices(&store).len(), 2, "round {round}");
        check(&store);
    }
    assert!(failed > 0, "no open has failed");
    peers.into_iter().for_each(Peer::finish);
}
