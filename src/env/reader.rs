//! Short reads: a pooled read transaction, renewed for one look-up and reset after it.

use super::error::from_code;
use super::{Env, Slot};
use crate::digest::Table;
use crate::error::{Error, Result};
use lmdb::Environment;
use lmdb_sys as ffi;
use std::path::Path;
use std::ptr;

/// What a try to begin a read met.
pub(super) enum Begin {
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
pub(super) fn sort_begin(path: &Path, code: libc::c_int) -> Begin {
    match code {
        ffi::MDB_SUCCESS => Begin::Ok,
        ffi::MDB_MAP_RESIZED => Begin::Resized,
        ffi::MDB_READERS_FULL => Begin::SlotsFull,
        ffi::MDB_PANIC => Begin::GivenUp,
        code => Begin::Failed(from_code("beginning a read", path, code)),
    }
}

/// A read transaction that keeps its place in LMDB's reader table between reads.
pub(super) struct Reader {
    txn: *mut ffi::MDB_txn,
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
    unsafe fn begin(&mut self, env: &Env) -> libc::c_int {
        let code = if self.txn.is_null() {
            // SAFETY: the environment is open; `self.txn` is where the transaction goes.
            unsafe {
                ffi::mdb_txn_begin(env.raw(), ptr::null_mut(), ffi::MDB_RDONLY, &mut self.txn)
            }
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

/// Resets the reader when the read is over, also when it ends in a panic.
struct Running<'e> {
    env: &'e Env,
    txn: *mut ffi::MDB_txn,
}

impl Drop for Running<'_> {
    #[inline]
    fn drop(&mut self) {
        // A child that was forked in the midst of it leaves the parent's read alone.
        if self.env.is_own_process() {
            // SAFETY: made from a transaction that had just begun, and dropped before its slot is
            // given back.
            unsafe { ffi::mdb_txn_reset(self.txn) };
        }
    }
}

/// What a try to read met.
pub(crate) enum Try<R> {
    /// The row was there to be looked at, or its absence; this is what was made of it.
    Done(R),
    /// Something has to be waited for without a slot: [`Env::read_row`] does.
    Later(Wait),
}

/// What has to be done before a read can begin.
#[derive(Clone, Copy)]
pub(crate) enum Wait {
    /// Adopt the map size that another process has set.
    Resized,
    /// Get a place in LMDB's reader table.
    ReaderTable,
    /// Open LMDB's environment anew.
    GivenUp,
    /// Let who closes the store, or replaces its map, go first.
    Quiet,
}

impl Env {
    /// Looks one row up at the newest commit and shows it to `look`, once, while the read lasts.
    pub fn read_row<R>(
        &self,
        table: Table,
        key: &[u8],
        mut look: impl FnMut(Option<&[u8]>) -> Result<R>,
    ) -> Result<R> {
        let deadline = self.deadline();
        let mut turn = None;
        loop {
            let slot = Slot::acquire(&deadline)?;
            let tried = self.try_read_row(&slot, table, key, &mut look)?;
            drop(slot);
            match tried {
                Try::Done(done) => return Ok(done),
                Try::Later(Wait::Resized) => self.adopt_map_size(&deadline)?,
                Try::Later(Wait::ReaderTable) => self.wait_for_place(&deadline, &mut turn)?,
                Try::Later(Wait::GivenUp) => self.renew(&deadline)?,
                Try::Later(Wait::Quiet) => self.wait_until_open(&deadline)?,
            }
        }
    }

    /// The same, at once or not at all.
    #[inline]
    pub fn try_read_row<R>(
        &self,
        slot: &Slot,
        table: Table,
        key: &[u8],
        mut look: impl FnMut(Option<&[u8]>) -> Result<R>,
    ) -> Result<Try<R>> {
        self.check_usable()?;
        if !self.state.is_open() {
            return Ok(Try::Later(Wait::Quiet));
        }
        let reader = self.readers[slot.index()].get();
        // SAFETY: `slot` is the slot of this reader, and the environment stays open while it is
        // held.
        let code = unsafe { (*reader).begin(self) };
        if code != ffi::MDB_SUCCESS {
            return self.not_begun(code).map(Try::Later);
        }
        // SAFETY: as above; the transaction has begun.
        let txn = unsafe { (*reader).txn };
        let _running = Running { env: self, txn };
        // SAFETY: the transaction runs until `_running` is dropped, after `look` has returned.
        look(unsafe { self.get_row(txn, table, key)? }).map(Try::Done)
    }

    /// What to wait for before a read that could not begin is tried again.
    #[cold]
    fn not_begun(&self, code: libc::c_int) -> Result<Wait> {
        match sort_begin(&self.path, code) {
            Begin::Resized => Ok(Wait::Resized),
            Begin::Ok | Begin::SlotsFull => Ok(Wait::ReaderTable),
            Begin::GivenUp => Ok(Wait::GivenUp),
            Begin::Failed(error) => Err(error),
        }
    }

    /// The row under `key`, as it stands in the memory map.
    ///
    /// # Safety
    /// `txn` is a running transaction of this environment, and the slice is not used after its end.
    #[inline]
    unsafe fn get_row<'t>(
        &self,
        txn: *mut ffi::MDB_txn,
        table: Table,
        key: &[u8],
    ) -> Result<Option<&'t [u8]>> {
        let mut wanted = ffi::MDB_val {
            mv_size: key.len(),
            mv_data: key.as_ptr() as *mut libc::c_void,
        };
        let mut found = ffi::MDB_val {
            mv_size: 0,
            mv_data: ptr::null_mut(),
        };
        let dbi = self.tables.get(table).dbi();
        // SAFETY: the transaction runs, says the caller; LMDB only reads the key.
        match unsafe { ffi::mdb_get(txn, dbi, &mut wanted, &mut found) } {
            // SAFETY: LMDB's value stays where it is until the transaction ends, and the caller
            // stops there.
            ffi::MDB_SUCCESS => Ok(Some(unsafe {
                std::slice::from_raw_parts(found.mv_data.cast::<u8>(), found.mv_size)
            })),
            ffi::MDB_NOTFOUND => Ok(None),
            code => Err(from_code("looking a row up", &self.path, code)),
        }
    }

    /// Gives the places of processes that died back; how many those were. The caller keeps the
    /// environment open.
    pub(super) fn clear_dead_readers(&self) -> Result<u32> {
        clear_dead_readers(self.lmdb(), &self.path)
    }
}

/// The same where there is no more than LMDB's handle yet.
pub(super) fn clear_dead_readers(lmdb: &Environment, path: &Path) -> Result<u32> {
    let mut dead = 0;
    // SAFETY: the environment is open; `dead` outlives the call.
    match unsafe { ffi::mdb_reader_check(lmdb.env(), &mut dead) } {
        ffi::MDB_SUCCESS => Ok(dead.unsigned_abs()),
        code => Err(from_code("clearing dead readers", path, code)),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use crate::{DeviceInfo, PoolMetadata};

    #[test]
    fn a_child_that_comes_back_from_a_read_leaves_its_parents_read_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let store = PoolMetadata::open(directory.path().join("pool.db")).unwrap();
        store.add_device(&mut DeviceInfo::new("a")).unwrap();
        let mut active = 0;
        let child = store
            .read_device("a", |_| {
                // SAFETY: the child returns from the read, and ends.
                let child = unsafe { libc::fork() };
                let mut status = -1;
                // SAFETY: the child is this process's own, and `status` outlives the call.
                if child > 0 && unsafe { libc::waitpid(child, &mut status, 0) } == child {
                    assert_eq!(status, 0);
                    active = store.stats().unwrap().readers_active;
                }
                child
            })
            .unwrap();
        if child == 0 {
            // SAFETY: ends the child without what the parent's threads have registered.
            unsafe { libc::_exit(0) };
        }
        assert!(child > 0);
        assert_eq!(active, 1);
    }
}
