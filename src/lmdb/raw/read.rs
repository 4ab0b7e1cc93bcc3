//! Long reads: a read transaction that may move between threads, and a cursor of its own.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::Arc;

use lmdb_sys as ffi;

use crate::lmdb::raw::cursor::Cursor;
use crate::lmdb::raw::environment::Environment;
use crate::lmdb::raw::error::{LmdbError, LmdbResult};
use crate::lmdb::raw::value::{check, get, Database, Row};

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

    /// The rows of a database one by one, in the order of keys or in the opposite one.
    pub fn rows(&self, database: Database, order: Order) -> LmdbResult<Rows<'_>> {
        let (first, next) = match order {
            Order::Ascending => (ffi::MDB_FIRST, ffi::MDB_NEXT),
            Order::Descending => (ffi::MDB_LAST, ffi::MDB_PREV),
        };
        Ok(Rows {
            // SAFETY: the transaction runs, and outlives the cursor.
            cursor: unsafe { Cursor::open(self.txn, database)? },
            to: first,
            next,
            of: PhantomData,
        })
    }

    /// How many pages the tree of a database has, values on pages of their own included. LMDB keeps
    /// the number.
    pub fn pages_in(&self, database: Database) -> LmdbResult<u64> {
        let mut stat = MaybeUninit::uninit();
        // SAFETY: the transaction runs; `stat` outlives the call.
        check(unsafe { ffi::mdb_stat(self.txn.as_ptr(), database.0, stat.as_mut_ptr()) })?;
        // SAFETY: LMDB has filled it in, since it reported success.
        let stat = unsafe { stat.assume_init() };
        Ok((stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages) as u64)
    }
}

/// Rows of one database, shown one by one.
pub(crate) struct Rows<'t> {
    cursor: Cursor,
    to: ffi::MDB_cursor_op,
    next: ffi::MDB_cursor_op,
    of: PhantomData<&'t ReadTxn>,
}

/// In which order [`Rows`] are shown.
#[derive(Clone, Copy)]
pub(crate) enum Order {
    Ascending,
    Descending,
}

impl<'t> Rows<'t> {
    /// The next row, `None` past the last.
    pub fn next(&mut self) -> LmdbResult<Option<Row<'t>>> {
        let to = std::mem::replace(&mut self.to, self.next);
        // SAFETY: the transaction runs for as long as it is borrowed, and is one that reads.
        unsafe { self.cursor.go(to) }
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
