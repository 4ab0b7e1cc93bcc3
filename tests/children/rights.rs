//! Roles of `tests/rights`.

use crate::common::{add, check, error_of, options, sys};
use pool_metadata::{BackupOptions, Error, OpenOptions, PoolMetadata};
use std::path::Path;

pub fn opens_as_nobody(path: &Path) {
    sys::become_nobody();
    let store = PoolMetadata::open(path).unwrap();
    add(&store, std::process::id().to_string());
    check(&store);
}

pub fn refused_as_nobody(path: &Path) {
    sys::become_nobody();
    let error = error_of(options(100).open(path));
    assert!(matches!(error, Error::OtherOwner { .. }), "{error:?}");
}

pub fn refused_without_read_permission(directory: &Path) {
    sys::become_nobody();
    let refused = |result: Result<(), Error>| {
        let error = error_of(result);
        assert!(matches!(error, Error::Permission { .. }), "{error:?}");
        let message = error.to_string();
        for part in [directory.to_str().unwrap(), "reading the directory"] {
            assert!(message.contains(part), "{message}");
        }
    };
    let path = directory.join("pool.db");
    refused(options(100).open(&path).map(drop));
    let store = PoolMetadata::open(directory.with_extension("db")).unwrap();
    refused(store.backup(&path, &BackupOptions::new()));
}

pub fn opens_with_umask(path: &Path) {
    sys::umask(0o777);
    check(&PoolMetadata::open(path).unwrap());
}

pub fn makes_no_lock_file_as_nobody(path: &Path) {
    sys::become_nobody();
    let error = error_of(options(100).open(path));
    assert!(matches!(error, Error::Permission { .. }), "{error:?}");
    let message = error.to_string();
    for part in ["pool.db-lock", "owner", "as root"] {
        assert!(message.contains(part), "{message}");
    }
}

pub fn backs_up_as_nobody(path: &Path) {
    sys::become_nobody();
    let store = OpenOptions::new().read_only(true).open(path).unwrap();
    let backup = path.with_extension("backup");
    store.backup(backup, &BackupOptions::new()).unwrap();
}
