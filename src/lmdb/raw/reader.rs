//! A read transaction that is renewed and reset, and what beginning one can meet.

use std::path::Path;
use std::ptr;

use lmdb_sys as ffi;

use crate::error::{Error, Result};
use crate::lmdb::raw::error::from_code;

/// What a try to begin a read met.
pub(crate) enum Begin {
    Ok,
    /// Another process has made the map larger: adopt its size and try again.
    Resized,
    /// LMDB's reader table is full: clear dead processes' slots, wait, and try again.
    SlotsFull,
    /// LMDB has given its environment up after a failed write: open it anew and try again.
    GivenUp,
    Failed(Error),
}

/// Sorts the code that `mdb_txn_begin` or `mdb_txn_renew` gave for a read.
pub(crate) fn sort_begin(path: &Path, code: libc::c_int) -> Begin {
    match code {
        ffi::MDB_SUCCESS => Begin::Ok,
        ffi::MDB_MAP_RESIZED => Begin::Resized,
        ffi::MDB_READERS_FULL => Begin::SlotsFull,
        ffi::MDB_PANIC => Begin::GivenUp,
        code => Begin::Failed(from_code("beginning a read", path, code)),
    }
}

/// A read transaction that keeps its place in LMDB's reader table between reads.
pub(crate) struct Reader {
    pub txn: *mut ffi::MDB_txn,
}

impl Reader {
    pub fn new() -> Reader {
        Reader {
            txn: ptr::null_mut(),
        }
    }

    /// Begins a read at the newest commit. Returns LMDB's code.
    ///
    /// # Safety
    /// The caller has this reader to itself, and `env` is the open environment that it belongs to.
    #[inline]
    pub unsafe fn begin(&mut self, env: *mut ffi::MDB_env) -> libc::c_int {
        let code = if self.txn.is_null() {
            // SAFETY: the environment is open; `self.txn` is where the transaction goes.
            unsafe { ffi::mdb_txn_begin(env, ptr::null_mut(), ffi::MDB_RDONLY, &mut self.txn) }
        } else {
            // SAFETY: the transaction was reset after its last use.
            unsafe { ffi::mdb_txn_renew(self.txn) }
        };
        if code != ffi::MDB_SUCCESS && code != ffi::MDB_MAP_RESIZED {
            // What a failed renewal leaves behind is not worth keeping.
            // SAFETY: the transaction, if any, is not in use; the caller has the reader to itself.
            unsafe { self.free() };
        }
        code
    }

    /// Gives the transaction and its place in the reader table back.
    ///
    /// # Safety
    /// The caller has this reader to itself, and the environment is still open.
    pub unsafe fn free(&mut self) {
        if !self.txn.is_null() {
            // SAFETY: the transaction belongs to the open environment and is not used again.
            unsafe { ffi::mdb_txn_abort(self.txn) };
            self.txn = ptr::null_mut();
        }
    }
}

/// The same where there is no more than LMDB's handle yet.
pub(crate) fn clear_dead_readers(env: *mut ffi::MDB_env, path: &Path) -> Result<u32> {
    let mut dead = 0;
    // SAFETY: the environment is open; `dead` outlives the call.
    match unsafe { ffi::mdb_reader_check(env, &mut dead) } {
        ffi::MDB_SUCCESS => Ok(dead.unsigned_abs()),
        code => Err(from_code("clearing dead readers", path, code)),
    }
}
