//! Long reads: a read transaction of its own with a cursor, for walks that outlive one call.

use std::ptr;
use std::sync::Arc;

use lmdb_sys as ffi;

use crate::error::{Error, Result};
use crate::format::header::{self, parse_header, Header, DAMAGED_HEADER};
use crate::format::table::Table;
use crate::lmdb::env::Env;
use crate::lmdb::raw::error::from_code;
use crate::lmdb::raw::reader::{sort_begin, Begin};
use crate::lmdb::raw::val::bytes;
use crate::sync::process;

/// A consistent view of the store at one commit, with a cursor over its devices.
///
/// It may move between threads (`MDB_NOTLS`) and is used by one at a time.
pub(crate) struct Snapshot {
    env: Arc<Env>,
    /// Its number among those that are open.
    number: u64,
    txn: *mut ffi::MDB_txn,
    cursor: *mut ffi::MDB_cursor,
}

// SAFETY: a read transaction under MDB_NOTLS belongs to no thread; `&mut self` keeps its uses
// apart.
unsafe impl Send for Snapshot {}

/// A row's key and value.
pub(crate) type Row<'a> = (&'a [u8], &'a [u8]);

/// Where a cursor is to go.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Move {
    First = ffi::MDB_FIRST,
    Next = ffi::MDB_NEXT,
    Stay = ffi::MDB_GET_CURRENT,
}

impl Snapshot {
    /// Opens a snapshot of the newest commit.
    pub fn open(env: &Arc<Env>) -> Result<Snapshot> {
        let deadline = env.deadline();
        env.check_usable()?;
        let mut turn = env.wait_behind_queue(&deadline)?;
        loop {
            env.check_usable()?;
            let number = env.snapshots.enter(&deadline)?;
            // From here on, dropping the snapshot undoes what was done.
            let mut snapshot = Snapshot {
                env: Arc::clone(env),
                number,
                txn: ptr::null_mut(),
                cursor: ptr::null_mut(),
            };
            env.check_usable()?;
            // SAFETY: the environment stays open while the snapshot is counted.
            let code = unsafe {
                ffi::mdb_txn_begin(
                    env.raw(),
                    ptr::null_mut(),
                    ffi::MDB_RDONLY,
                    &mut snapshot.txn,
                )
            };
            match sort_begin(env.path(), code) {
                Begin::Ok => {
                    snapshot.cursor = snapshot.new_cursor(env.tables.devices.dbi())?;
                    return Ok(snapshot);
                }
                Begin::Failed(error) => return Err(error),
                Begin::Resized => {
                    drop(snapshot);
                    env.adopt_map_size(&deadline)?;
                }
                Begin::GivenUp => {
                    drop(snapshot);
                    env.renew(&deadline)?;
                }
                Begin::SlotsFull => {
                    drop(snapshot);
                    env.wait_for_slot(&deadline, &mut turn)?;
                }
            }
        }
    }

    /// The environment that this is a view of.
    pub fn env(&self) -> &Arc<Env> {
        &self.env
    }

    /// LMDB's number of the commit that this is a view of.
    pub fn commit(&self) -> u64 {
        // SAFETY: the transaction runs until this is dropped.
        unsafe { ffi::mdb_txn_id(self.txn) as u64 }
    }

    /// A forked child has no use of its parent's transaction, which the parent may end and replace.
    #[inline]
    fn check_own_process(&self) -> Result<()> {
        if self.env.is_own_process() {
            Ok(())
        } else {
            Err(Error::Forked)
        }
    }

    fn new_cursor(&self, dbi: ffi::MDB_dbi) -> Result<*mut ffi::MDB_cursor> {
        self.check_own_process()?;
        let mut cursor = ptr::null_mut();
        // SAFETY: the transaction runs; whoever asked for the cursor closes it before that ends.
        match unsafe { ffi::mdb_cursor_open(self.txn, dbi, &mut cursor) } {
            ffi::MDB_SUCCESS => Ok(cursor),
            code => Err(from_code("opening a cursor", self.env.path(), code)),
        }
    }

    /// Moves the cursor and shows the device's row that it is on then, `None` past the last, and
    /// the environment.
    #[inline]
    pub fn device_row(&mut self, to: Move) -> Result<(Option<Row<'_>>, &Env)> {
        // SAFETY: the cursor is open, and what it shows is only used until it is moved, which needs
        // `&mut self`.
        Ok((unsafe { self.move_cursor(self.cursor, to)? }, &self.env))
    }

    /// Shows every row of a table to `visit`, in the order of keys, beside the walk over devices.
    pub fn each_row(
        &self,
        table: Table,
        visit: impl FnMut(&[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        self.each_row_of(self.env.tables.get(table).dbi(), visit)
    }

    /// The same for any of LMDB's databases.
    pub(crate) fn each_row_of(
        &self,
        dbi: ffi::MDB_dbi,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        struct Closing(*mut ffi::MDB_cursor);
        impl Drop for Closing {
            fn drop(&mut self) {
                // SAFETY: opened below, and its transaction still runs.
                unsafe { ffi::mdb_cursor_close(self.0) };
            }
        }
        let cursor = Closing(self.new_cursor(dbi)?);
        let mut to = Move::First;
        // SAFETY: the cursor is open, and each row is only used before the next.
        while let Some((key, value)) = unsafe { self.move_cursor(cursor.0, to)? } {
            visit(key, value)?;
            to = Move::Next;
        }
        Ok(())
    }

    /// # Safety
    /// The cursor is an open one of this snapshot's. The row is not used after the snapshot's end.
    #[inline]
    unsafe fn move_cursor<'r>(
        &self,
        cursor: *mut ffi::MDB_cursor,
        to: Move,
    ) -> Result<Option<Row<'r>>> {
        self.check_own_process()?;
        let mut key = ffi::MDB_val {
            mv_size: 0,
            mv_data: ptr::null_mut(),
        };
        let mut value = key;
        // SAFETY: the cursor belongs to the running transaction, says the caller.
        match unsafe { ffi::mdb_cursor_get(cursor, &mut key, &mut value, to as libc::c_uint) } {
            // SAFETY: both lie in the map until the transaction ends.
            ffi::MDB_SUCCESS => Ok(Some(unsafe { (bytes(&key), bytes(&value)) })),
            ffi::MDB_NOTFOUND => Ok(None),
            code => Err(from_code("walking over rows", self.env.path(), code)),
        }
    }

    /// The header row in this view.
    pub fn header_row(&self) -> Result<Option<&[u8]>> {
        self.check_own_process()?;
        let name = header::KEY;
        let mut key = ffi::MDB_val {
            mv_size: name.len(),
            mv_data: name.as_ptr() as *mut libc::c_void,
        };
        let mut value = ffi::MDB_val {
            mv_size: 0,
            mv_data: ptr::null_mut(),
        };
        // SAFETY: the transaction runs; LMDB only reads the key.
        match unsafe { ffi::mdb_get(self.txn, self.env.tables.main.dbi(), &mut key, &mut value) } {
            // SAFETY: the value lies in the map until the transaction ends, which needs `&mut
            // self`.
            ffi::MDB_SUCCESS => Ok(Some(unsafe { bytes(&value) })),
            ffi::MDB_NOTFOUND => Ok(None),
            code => Err(from_code("reading the header row", self.env.path(), code)),
        }
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if !self.env.is_own_process() {
            return; // a forked child leaves the parent's transaction alone
        }
        if !self.cursor.is_null() {
            // SAFETY: the cursor is open and its transaction still runs.
            unsafe { ffi::mdb_cursor_close(self.cursor) };
        }
        if !self.txn.is_null() {
            // SAFETY: the transaction runs and is not used again.
            unsafe { ffi::mdb_txn_abort(self.txn) };
            self.env.reader_queue.notify_released();
        }
        self.env.snapshots.leave(self.number);
    }
}

impl Env {
    pub(crate) fn is_own_process(&self) -> bool {
        process::stamp() == self.stamp
    }
}

/// The header row of this snapshot, decoded.
pub(crate) fn header(snapshot: &Snapshot) -> Result<Header> {
    let row = snapshot.header_row()?;
    row.and_then(parse_header)
        .ok_or_else(|| Error::corrupt(DAMAGED_HEADER).at(snapshot.env().path()))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::lmdb::open::tests::open;

    #[test]
    fn a_forked_child_reads_nothing_of_its_parents_view() {
        let directory = tempfile::tempdir().unwrap();
        let env = open(&directory);
        let snapshot = Snapshot::open(&env).unwrap();
        // SAFETY: the child looks at memory, makes no more than small errors, and ends at once.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let refused = matches!(snapshot.header_row(), Err(Error::Forked))
                && matches!(
                    snapshot.each_row(Table::Ids, |_, _| Ok(())),
                    Err(Error::Forked)
                );
            // SAFETY: ends the child without what the parent's threads have registered.
            unsafe { libc::_exit(if refused { 0 } else { 1 }) };
        }
        assert!(child > 0);
        let mut status = -1;
        // SAFETY: the child is this process's own, and `status` outlives the call.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0);
        assert!(snapshot.header_row().unwrap().is_some());
    }
}
