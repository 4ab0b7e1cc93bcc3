//! Roles of `tests/space`.

use crate::common::child;
use pool_metadata::{Durability, OpenOptions, PoolMetadata};
use std::path::Path;

/// With relaxed durability, since these tests count pages and not flushes.
pub fn open(path: &Path) -> PoolMetadata {
    let mut options = OpenOptions::new();
    options.durability(Durability::Relaxed).open(path).unwrap()
}

/// Keeps a walk open until it is killed.
pub fn look(path: &Path) {
    let store = open(path);
    let _walk = store.walk().unwrap();
    child::say("looking");
    child::listen();
}
