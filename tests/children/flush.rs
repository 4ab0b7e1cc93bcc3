//! Roles of `tests/flush`.

use crate::common::child;
use crate::common::raw;
use std::path::Path;
use std::time::{Duration, Instant};

/// Takes every place in LMDB's reader table, and then each that is given back; after a while it
/// gives all back.
pub fn crowd(path: &Path) {
    let lmdb = raw::readers(path);
    while child::listen().is_some() {
        let mut reads = Vec::new();
        while let Ok(read) = lmdb.begin_ro_txn() {
            reads.push(read);
        }
        child::say("full");
        let end = Instant::now() + Duration::from_millis(100);
        while Instant::now() < end {
            reads.extend(lmdb.begin_ro_txn());
        }
        drop(reads);
        child::say("given back");
    }
}
