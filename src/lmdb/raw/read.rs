//! Long reads: a read transaction that may move between threads, and a cursor of its own.

use std::ptr::NonNull;
use std::sync::Arc;

use lmdb_sys as ffi;

use crate::lmdb::raw::cursor::Cursor;
use crate::lmdb::raw::environment::Environment;
use crate::lmdb::raw::error::{LmdbError, LmdbResult};
use crate::lmdb::raw::value::{get, Database, Row};

/// A read transaction, ended when dropped. It keeps its environment open.
///
/// A forked child leaves the parent's transaction alone, which the parent may have ended.
pub(crate) struct ReadTxn {
    txn: NonNull<ffi::MDB_txn>,
    environment: Arc<Environment>,
}

// SAFETY: a read transaction under MDB_NOTLS, which every environment is opened with, belongs to no
// thread. It is not `Sync`: one thread uses it at a time.
unsafe impl Send for ReadTxn {}

/// Where a cursor is to go.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Move {
    First = ffi::MDB_FIRST,
    Next = ffi::MDB_NEXT,
    Stay = ffi::MDB_GET_CURRENT,
}

impl ReadTxn {
    /// Begins a read at the newest commit, which takes a slot in the reader table.
    pub fn begin(environment: &Arc<Environment>) -> LmdbResult<ReadTxn> {
        Ok(ReadTxn {
            txn: environment.begin(ffi::MDB_RDONLY)?,
            environment: Arc::clone(environment),
        })
    }

    /// The environment that it reads.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// LMDB's number of the commit that it sees.
    pub fn commit(&self) -> u64 {
        // SAFETY: the transaction runs until this is dropped.
        unsafe { ffi::mdb_txn_id(self.txn.as_ptr()) as u64 }
    }

    /// The row under `key`.
    pub fn get(&self, database: Database, key: &[u8]) -> LmdbResult<Option<&[u8]>> {
        // SAFETY: the transaction runs until this is dropped.
        unsafe { get(self.txn.as_ptr(), database, key) }
    }

    /// Shows every row of a database to `visit`, in the order of keys, until it fails.
    pub fn each_row<E: From<LmdbError>>(
        &self,
        database: Database,
        visit: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        // SAFETY: the transaction runs, and outlives the cursor.
        let cursor = unsafe { Cursor::open(self.txn, database)? };
        // SAFETY: the transaction runs, and `visit` has no access to it.
        unsafe { cursor.each_row(visit) }
    }
}

impl Drop for ReadTxn {
    fn drop(&mut self) {
        // A transaction that cannot give its slot back is left as it is.
        if self.environment.is_own_process() && self.environment.lock_file_is_sound() {
            // SAFETY: the transaction runs and is not used again.
            unsafe { ffi::mdb_txn_abort(self.txn.as_ptr()) };
        }
    }
}

/// A read transaction with a cursor over one of its databases.
pub(crate) struct RowCursor {
    // Dropped before its transaction.
    cursor: Cursor,
    txn: ReadTxn,
}

// SAFETY: the cursor belongs to the transaction beside it and moves between threads with it.
unsafe impl Send for RowCursor {}

impl RowCursor {
    pub fn open(txn: ReadTxn, database: Database) -> LmdbResult<RowCursor> {
        // SAFETY: the transaction runs, and outlives the cursor.
        let cursor = unsafe { Cursor::open(txn.txn, database)? };
        Ok(RowCursor { cursor, txn })
    }

    pub fn txn(&self) -> &ReadTxn {
        &self.txn
    }

    /// Moves the cursor and shows the row that it is on then; `None` past the last.
    #[inline]
    pub fn go(&mut self, to: Move) -> LmdbResult<Option<Row<'_>>> {
        // SAFETY: the transaction runs until this is dropped.
        unsafe { self.cursor.go(to as ffi::MDB_cursor_op) }
    }
}
