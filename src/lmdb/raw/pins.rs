//! Pins: read transactions that read nothing, and keep the pages of the commits that they see from
//! being written over.
//!
//! A page that a commit frees is used again only if every read sees that commit or a later one
//! (mdb.c, `mdb_find_oldest`). So a pin keeps the pages of its commit, of the one before it and of
//! all after it.

use std::ptr::NonNull;
use std::sync::Mutex;

use lmdb_sys as ffi;

use crate::lmdb::raw::environment::Environment;
use crate::lmdb::raw::error::LmdbResult;
use crate::sync::primitives::unpoisoned;

/// The pins of one environment, in the order of their commits.
///
/// Ending such a transaction writes to its slot in the reader table and frees its memory: it does
/// not look at the map of the data file, so that may be replaced meanwhile.
#[derive(Default)]
pub(super) struct Pins(Mutex<Vec<Pin>>);

struct Pin {
    txn: NonNull<ffi::MDB_txn>,
    commit: u64,
}

// SAFETY: a read transaction under MDB_NOTLS, which every environment is opened with, belongs to no
// thread, and the mutex gives it to one at a time.
unsafe impl Send for Pin {}

impl Pins {
    /// Pins the newest commit, which the caller keeps from being followed by another; false if it
    /// is not this one.
    pub fn add(&self, environment: &Environment, commit: u64) -> LmdbResult<bool> {
        let pin = Pin {
            txn: environment.begin(ffi::MDB_RDONLY)?,
            commit,
        };
        // SAFETY: the transaction runs.
        let seen = unsafe { ffi::mdb_txn_id(pin.txn.as_ptr()) as u64 };
        if seen != commit {
            pin.end();
            return Ok(false);
        }
        unpoisoned(self.0.lock()).push(pin);
        Ok(true)
    }

    /// The commits that are pinned.
    pub fn commits(&self) -> Vec<u64> {
        let pins = unpoisoned(self.0.lock());
        pins.iter().map(|pin| pin.commit).collect()
    }

    /// Ends the pins of the commits before this one.
    ///
    /// The environment that they were begun in is open, or all of them were ended.
    pub fn end_before(&self, commit: u64) {
        for pin in unpoisoned(self.0.lock()).extract_if(.., |pin| pin.commit < commit) {
            pin.end();
        }
    }
}

impl Pin {
    fn end(self) {
        // SAFETY: the transaction runs, and is not used again.
        unsafe { ffi::mdb_txn_abort(self.txn.as_ptr()) };
    }
}
