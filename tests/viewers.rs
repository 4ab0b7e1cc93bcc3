//! Handles that only read, where they cannot share the lock file with writers: they read a private
//! copy, change nothing, and keep nobody from anything.

mod common;

use common::mounts::Overlay;
use common::peer::{self, Peer};
use common::{add, assorted, check, devices, options, raw};
use pool_metadata::{BackupOptions, OpenOptions, PoolMetadata};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// All that can be seen of the files of a directory, but for the times of access.
fn seen(directory: &Path) -> BTreeMap<String, (Vec<u8>, [i64; 6])> {
    let entries = fs::read_dir(directory).unwrap();
    let facts = |path: &Path| {
        let found = path.metadata().unwrap();
        let owner = [found.uid(), found.gid(), found.mode()].map(i64::from);
        let times = [found.mtime_nsec(), found.ctime_nsec(), found.ino() as i64];
        let mut facts = [0; 6];
        facts[..3].copy_from_slice(&owner);
        facts[3..].copy_from_slice(&times);
        (fs::read(path).unwrap(), facts)
    };
    entries
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, facts(&entry.path()))
        })
        .collect()
}

#[test]
fn look_at_a_closed_store_changes_nothing() {
    let (directory, path) = assorted();
    fs::remove_file(raw::lock_path(&path)).unwrap();
    let before = seen(directory.path());
    let store = OpenOptions::new().read_only(true).open(&path).unwrap();
    assert!(store.stats().unwrap().is_copy);
    assert_eq!(devices(&store).len(), 3);
    check(&store);
    assert!(OpenOptions::new().check_file(&path, 9).unwrap().is_sound());
    assert_eq!(seen(directory.path()), before);
    // What it shows stays, whatever is done with the store, in this process too.
    // Closing waits for reads of whatever store that other threads of this process make.
    let writer = options(10_000).open(&path).unwrap();
    add(&writer, "more");
    writer.close().unwrap();
    assert_eq!(devices(&store).len(), 3);
    let backup = path.with_extension("backup");
    store.backup(&backup, &BackupOptions::new()).unwrap();
    assert_eq!(devices(&PoolMetadata::open(&backup).unwrap()).len(), 3);
    assert_eq!(
        store.stats().unwrap().file_size,
        before["pool.db"].0.len() as u64
    );
    store.close().unwrap();
}

/// A user whom the modes let read the store, and not write to it.
#[test]
fn user_who_may_only_read_the_store_reads_a_copy() {
    let (directory, path) = assorted();
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(directory.path(), 0o755);
    mode(&path, 0o644);
    for lock_mode in [0o600, 0o644] {
        mode(&raw::lock_path(&path), lock_mode);
        let mut viewer = Peer::start("viewers::viewer_as_nobody", &path);
        viewer.expect("ready");
        let store = options(0).open(&path).unwrap();
        let count = devices(&store).len();
        // Another user than root may not have been dropped to.
        if common::sys::is_root() {
            viewer.order("open", &format!("copy of {count}"));
        }
        add(&store, format!("more-{lock_mode}"));
        check(&store);
        viewer.finish();
    }
}

/// Starts a child in that role, as the first process of a PID namespace.
fn in_container(role: &str, store: &Path) -> Option<Peer> {
    let mut peer = peer::in_new_pid_namespace(role, store)?;
    peer.expect("ready");
    Some(peer)
}

/// LMDB knows processes by their ids alone, and the first process of each container has id 1.
#[test]
fn viewer_in_another_container_is_not_taken_for_the_daemon() {
    let (_directory, path) = assorted();
    let Some(mut viewer) = in_container("viewers::viewer", &path) else {
        return;
    };
    // The viewer comes first, and stays.
    viewer.order("open", "copy of 3");
    let mut daemon = in_container("viewers::daemon", &path).unwrap();
    daemon.order("d", "process 1");
    viewer.order("read", "copy of 3");
    // And the other way round.
    viewer.order("open", "copy of 4");
    daemon.order("e", "process 1");
    viewer.order("read", "copy of 4");
    let mut next = in_container("viewers::viewer", &path).unwrap();
    next.order("open", "copy of 5");
    daemon.finish();
    next.finish();
    viewer.finish();
}

/// Beside the daemon in its own container, a viewer sees each commit.
#[test]
fn viewer_in_the_container_of_the_daemon_reads_in_place() {
    let (_directory, path) = assorted();
    let Some(mut daemon) = in_container("viewers::daemon_and_viewer", &path) else {
        return;
    };
    daemon.order("d", "live of 4");
    daemon.order("e", "live of 5");
    daemon.finish();
}

/// On overlayfs, a file that a process opens for writing is copied to the upper layer first. A map
/// of the old file goes on showing that, though its lock file tells of new commits.
#[test]
fn store_in_a_lower_layer_of_overlayfs_is_read_in_a_copy_until_somebody_has_it_open() {
    let (lower, path) = assorted();
    let Some(overlay) = Overlay::over(lower.path()) else {
        return;
    };
    let before = seen(lower.path());
    let path = overlay.path().join(path.file_name().unwrap());
    let mut viewer = Peer::start("viewers::viewer", &path);
    viewer.expect("ready");
    viewer.order("open", "copy of 3");
    assert_eq!(
        fs::read_dir(overlay.upper()).unwrap().count(),
        0,
        "a look copies no file up"
    );
    let store = options(0).open(&path).unwrap();
    for number in 4..9 {
        add(&store, number.to_string());
        viewer.order("read", "copy of 3");
    }
    // The file that it opens now is the one that is written.
    viewer.order("open", "live of 8");
    add(&store, "9");
    viewer.order("read", "live of 9");
    store.close().unwrap();
    viewer.order("read", "live of 9");
    let store = options(10_000).open(&path).unwrap();
    add(&store, "10");
    viewer.order("read", "live of 10");
    check(&store);
    store.close().unwrap();
    viewer.order("close", "closed");
    viewer.order("open", "copy of 10");
    viewer.finish();
    assert_eq!(seen(lower.path()), before);
}
