//! Short reads: a pooled read transaction, renewed for one look-up and reset after it.

use std::ptr;

use lmdb_sys as ffi;

use crate::error::Result;
use crate::format::table::Table;
use crate::lmdb::env::Env;
use crate::lmdb::raw::error::from_code;
use crate::lmdb::raw::reader::{clear_dead_readers, sort_begin, Begin};
use crate::sync::read_permits::ReadPermit;

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
            // SAFETY: made from a transaction that had just begun, and dropped before its
            // permit is released.
            unsafe { ffi::mdb_txn_reset(self.txn) };
        }
    }
}

/// What a try to read met.
pub(crate) enum Try<R> {
    /// The row was there to be looked at, or its absence; this is what was made of it.
    Done(R),
    /// Something has to be waited for without a permit: [`Env::read_row`] does.
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
            let permit = ReadPermit::acquire(&deadline)?;
            let tried = self.try_read_row(&permit, table, key, &mut look)?;
            drop(permit);
            match tried {
                Try::Done(done) => return Ok(done),
                Try::Later(Wait::Resized) => self.adopt_map_size(&deadline)?,
                Try::Later(Wait::ReaderTable) => self.wait_for_slot(&deadline, &mut turn)?,
                Try::Later(Wait::GivenUp) => self.renew(&deadline)?,
                Try::Later(Wait::Quiet) => self.wait_until_open(&deadline)?,
            }
        }
    }

    /// The same, at once or not at all.
    #[inline]
    pub fn try_read_row<R>(
        &self,
        permit: &ReadPermit,
        table: Table,
        key: &[u8],
        mut look: impl FnMut(Option<&[u8]>) -> Result<R>,
    ) -> Result<Try<R>> {
        self.check_usable()?;
        if !self.state.is_open() {
            return Ok(Try::Later(Wait::Quiet));
        }
        let reader = self.readers[permit.index()].get();
        // SAFETY: `permit` is for this reader, and the environment stays open while it is held.
        let code = unsafe { (*reader).begin(self.raw()) };
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
    pub(crate) fn clear_dead_readers(&self) -> Result<u32> {
        clear_dead_readers(self.raw(), &self.path)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use crate::format::table::Table;
    use crate::lmdb::open::tests::open;

    #[test]
    fn forked_child_returning_from_a_read_leaves_the_parents_read_running() {
        let directory = tempfile::tempdir().unwrap();
        let env = open(&directory);
        let mut active = 0;
        let child = env
            .read_row(Table::Devices, b"a", |_| {
                // SAFETY: the child returns from the read, and ends.
                let child = unsafe { libc::fork() };
                let mut status = -1;
                // SAFETY: the child is this process's own, and `status` outlives the call.
                if child > 0 && unsafe { libc::waitpid(child, &mut status, 0) } == child {
                    assert_eq!(status, 0);
                    active = env.usage().unwrap().readers_active;
                }
                Ok(child)
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
