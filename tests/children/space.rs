//! Roles of `tests/space`.

use crate::common::child;
use pool_metadata::PoolMetadata;
use std::path::Path;

pub fn open(path: &Path) -> PoolMetadata {
    PoolMetadata::open(path).unwrap()
}

/// Keeps a walk open until it is killed.
pub fn look(path: &Path) {
    let store = open(path);
    let _walk = store.walk().unwrap();
    child::say("looking");
    child::listen();
}
