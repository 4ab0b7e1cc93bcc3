//! Roles of `tests/one_process`.

use crate::common::{add, check, child, error_of, options, raw, sys};
use pool_metadata::{DeviceState, Error, PoolMetadata};
use std::fs::File;
use std::path::Path;

/// Opens the store as any process may, and writes.
pub fn opens_and_churns(path: &Path) {
    let store = options(2000).open(path).unwrap();
    for number in 0..200 {
        add(&store, format!("child{number}"));
        store
            .change_device_state("child0", DeviceState::Activated)
            .unwrap();
    }
    check(&store);
}

/// Begins a walk, and then does what code that knows nothing of LMDB might do.
pub fn loses_its_locks(path: &Path) {
    let store = PoolMetadata::open(path).unwrap();
    let walk = store.walk().unwrap();
    drop(File::open(raw::lock_path(path)).unwrap());
    child::say("walks");
    child::listen();
    child::say(&format!("{} devices", walk.map(Result::unwrap).count()));
    child::listen();
}

/// Opens the store again and again, for reading and for writing, and closes it or lets it go.
pub fn opens_and_closes(path: &Path) {
    for round in 0..150 {
        let store = options(2000).read_only(round % 2 == 0).open(path).unwrap();
        if round % 3 == 0 {
            store.close().unwrap();
        }
    }
}

/// Begins a walk, and forks a child that does nothing until the pipe is closed.
pub fn leaves_its_locks_to_a_child(path: &Path) {
    let store = PoolMetadata::open(path).unwrap();
    let walk = store.walk().unwrap();
    child::say("walks");
    assert!(sys::in_forked_child(|| child::listen().is_none()));
    drop((walk, store));
}

/// Has LMDB's lock for a process id, which the parent says, on that lock file.
pub fn locks_an_id(lock_file: &Path) {
    let mut options = File::options();
    let file = options.read(true).write(true).open(lock_file).unwrap();
    sys::lock_byte(&file, child::listen().unwrap().parse().unwrap());
    child::say("locked");
    child::listen();
}

/// Keeps the store open, as the first process of a container.
pub fn open_as_first(path: &Path) {
    let store = PoolMetadata::open(path).unwrap();
    child::say(&format!("process {} is open", std::process::id()));
    child::listen();
    check(&store);
}

/// Is in a walk, as the first process of a container.
pub fn walk_as_first(path: &Path) {
    assert_eq!(std::process::id(), 1);
    let store = PoolMetadata::open(path).unwrap();
    let _walk = store.walk().unwrap();
    child::say("walks");
    child::listen();
}

/// The first process of another container.
pub fn refused_as_first(path: &Path) {
    assert_eq!(std::process::id(), 1);
    let error = error_of(options(2000).open(path));
    assert!(matches!(error, Error::PidInUse { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains("another PID namespace"), "{message}");
}
