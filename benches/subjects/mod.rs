//! The subjects of benchmarks: the library's operations, and raw LMDB calls over the same rows.
//!
//! A subject is a closure that repeats its operation and returns how long that took. Preparations
//! (fresh copies of the file, the next device's name) are not part of that time.
#![allow(dead_code)] // the table and the criterion benchmarks each use a part of this

pub mod c;
pub mod data;
pub mod raw;
pub mod read;
pub mod time;
pub mod write;

use pool_metadata::{OpenOptions, PoolMetadata, Verify};
use std::path::Path;
use std::time::Duration;

/// Does an operation that many times and returns how long it took.
pub type Run = Box<dyn FnMut(u64) -> Duration>;

/// Opens a store without verification, which has benchmarks of its own.
pub fn open_store(path: &Path) -> PoolMetadata {
    OpenOptions::new().verify(Verify::None).open(path).unwrap()
}
