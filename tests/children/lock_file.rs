//! Roles of `tests/lock_file`.

use pool_metadata::PoolMetadata;
use std::path::Path;

/// Opens the store, and sees the parent's walk as that of a process that lives.
pub fn sees_a_walk(path: &Path) {
    let store = PoolMetadata::open(path).unwrap();
    assert_eq!(store.stats().unwrap().readers_active, 1);
}
