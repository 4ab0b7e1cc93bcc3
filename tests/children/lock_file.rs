//! Roles of `tests/lock_file`.

use pool_metadata::PoolMetadata;
use std::path::Path;

/// The walk of another process is not taken for a dead one's.
pub fn sees_a_walk(path: &Path) {
    let store = PoolMetadata::open(path).unwrap();
    assert_eq!(store.stats().unwrap().readers_active, 1);
}
