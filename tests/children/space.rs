//! Roles of `tests/space`.

use crate::common::child;
use pool_metadata::{Durability, OpenOptions, PoolMetadata};
use std::path::Path;

/// Relaxed, and in memory: it is about pages, and not about flushes.
pub fn open(path: &Path) -> PoolMetadata {
    let mut options = OpenOptions::new();
    options.durability(Durability::Relaxed).open(path).unwrap()
}

/// Keeps a read open for as long as it lives.
pub fn look(path: &Path) {
    let store = open(path);
    let _walk = store.walk().unwrap();
    child::say("looking");
    child::listen();
}
