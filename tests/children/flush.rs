//! Roles of `tests/flush`.

use crate::common::{child, device, raw};
use pool_metadata::PoolMetadata;
use std::path::Path;
use std::time::{Duration, Instant};

/// Takes every slot of LMDB's reader table, then each one that is released, and after a while
/// releases all.
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
        child::say("released");
    }
}

/// Uses the store, each time that it is asked to.
pub fn other(path: &Path) {
    let store = PoolMetadata::open(path).unwrap();
    while let Some(asked) = child::listen() {
        match asked.as_str() {
            "add" => {
                store.add_device(&mut device("other")).unwrap();
                child::say("added");
            }
            _ => child::say(&store.walk().unwrap().count().to_string()),
        }
    }
}
