//! Write transactions.

use std::cell::OnceCell;
use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr::NonNull;

use lmdb_sys as ffi;

use crate::lmdb::raw::cursor::Cursor;
use crate::lmdb::raw::environment::Environment;
use crate::lmdb::raw::error::{LmdbError, LmdbResult};
use crate::lmdb::raw::value::{check, get, value, Database, Row};

/// A write transaction; it is aborted if it is dropped without a commit.
///
/// For one of its databases it keeps a cursor at the row that was looked at or written last, which
/// is often the next one, or on the same page: an update looks its row up and then writes it. The
/// instructions of a lone write (docs/performance.md) would miss their target without it.
pub(crate) struct WriteTxn<'e> {
    txn: NonNull<ffi::MDB_txn>,
    environment: &'e Environment,
    /// The database that has the cursor.
    frequent: Database,
    cursor: OnceCell<Cursor>,
    /// LMDB's write transaction belongs to the thread that has begun it.
    _not_send: PhantomData<*mut ()>,
}

/// How a row is written.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum PutMode {
    /// In the place of the one under its key, if there is one.
    Replace = 0,
    /// Only if none is under its key; else [`LmdbError::KeyExist`](lmdb::Error::KeyExist).
    New = ffi::MDB_NOOVERWRITE,
    /// Behind all others of its database.
    Append = ffi::MDB_APPEND,
}

impl<'e> WriteTxn<'e> {
    /// Begins a write, waiting for LMDB's writer lock without a limit. `frequent` is the database
    /// whose rows are looked at more than once.
    #[inline]
    pub fn begin(environment: &'e Environment, frequent: Database) -> LmdbResult<WriteTxn<'e>> {
        Ok(WriteTxn {
            txn: environment.begin(0)?,
            environment,
            frequent,
            cursor: OnceCell::new(),
            _not_send: PhantomData,
        })
    }

    /// LMDB's number of the commit that this becomes.
    pub fn commit_number(&self) -> u64 {
        // SAFETY: the transaction runs.
        unsafe { ffi::mdb_txn_id(self.txn.as_ptr()) as u64 }
    }

    /// The row under `key`.
    #[inline]
    pub fn get(&self, database: Database, key: &[u8]) -> LmdbResult<Option<&[u8]>> {
        // SAFETY: the transaction runs, and writing takes it mutably.
        unsafe { get(self.txn.as_ptr(), database, key) }
    }

    /// The row under `key` of the database that has the cursor, which is moved there.
    #[inline]
    pub fn get_frequent(&self, key: &[u8]) -> LmdbResult<Option<&[u8]>> {
        let cursor = self.cursor()?;
        // SAFETY: the transaction runs, and writing takes it mutably.
        let row = unsafe { cursor.seek(key, ffi::MDB_SET)? };
        Ok(row.map(|(_, row)| row))
    }

    /// The first row whose key is `from` or greater.
    pub fn first_from(&self, database: Database, from: &[u8]) -> LmdbResult<Option<Row<'_>>> {
        // SAFETY: the transaction runs.
        let cursor = unsafe { Cursor::open(self.txn, database)? };
        // SAFETY: the transaction runs, and writing takes it mutably.
        unsafe { cursor.seek(from, ffi::MDB_SET_RANGE) }
    }

    /// Shows every row of a database to `visit`, in the order of keys, until it fails.
    pub fn each_row<E: From<LmdbError>>(
        &self,
        database: Database,
        visit: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        // SAFETY: the transaction runs, and outlives the cursor.
        let cursor = unsafe { Cursor::open(self.txn, database)? };
        // SAFETY: the transaction runs; writing and ending it take it mutably.
        unsafe { cursor.each_row(visit) }
    }

    /// Writes a row.
    #[inline]
    pub fn put(
        &mut self,
        database: Database,
        key: &[u8],
        row: &[u8],
        mode: PutMode,
    ) -> LmdbResult<()> {
        let (txn, mut key, mut row) = (self.txn.as_ptr(), value(key), value(row));
        // SAFETY: the transaction runs; LMDB copies key and row, and changes neither: with these
        // flags, it lets `row` refer to a row that is there already.
        check(unsafe { ffi::mdb_put(txn, database.0, &mut key, &mut row, mode as libc::c_uint) })
    }

    /// Writes a row of the database that has the cursor, and moves the cursor there; `first` says
    /// that nothing was written before.
    #[inline]
    pub fn put_frequent(
        &mut self,
        key: &[u8],
        row: &[u8],
        mode: PutMode,
        first: bool,
    ) -> LmdbResult<()> {
        // A cursor that is used once costs more than it saves.
        if first && self.cursor.get().is_none() {
            return self.put(self.frequent, key, row, mode);
        }
        let cursor = self.cursor()?;
        let mut flags = mode as libc::c_uint;
        // SAFETY: the transaction runs, and no row that it has shown is borrowed.
        unsafe {
            if flags == 0 && cursor.is_at(key) {
                flags = ffi::MDB_CURRENT;
            }
            cursor.put(key, row, flags)
        }
    }

    /// Creates a database of that name, unless it is there.
    pub fn create_database(&mut self, name: &CStr) -> LmdbResult<()> {
        let mut database = 0;
        // SAFETY: the transaction runs; `name` and `database` outlive the call.
        check(unsafe {
            let txn = self.txn.as_ptr();
            ffi::mdb_dbi_open(txn, name.as_ptr(), ffi::MDB_CREATE, &mut database)
        })
    }

    /// Removes the row under `key`; [`lmdb::Error::NotFound`] if there is none.
    pub fn del(&mut self, database: Database, key: &[u8]) -> LmdbResult<()> {
        let (txn, mut key) = (self.txn.as_ptr(), value(key));
        // SAFETY: the transaction runs; LMDB reads the key before it returns.
        check(unsafe { ffi::mdb_del(txn, database.0, &mut key, std::ptr::null_mut()) })
    }

    /// Removes all rows of a database.
    pub fn clear(&mut self, database: Database) -> LmdbResult<()> {
        drop(self.cursor.take());
        // SAFETY: the transaction runs, and has no cursor.
        check(unsafe { ffi::mdb_drop(self.txn.as_ptr(), database.0, 0) })
    }

    /// Commits what was written. If that fails, the old content is in force.
    pub fn commit(mut self) -> LmdbResult<()> {
        drop(self.cursor.take());
        let txn = self.txn.as_ptr();
        std::mem::forget(self);
        // SAFETY: the transaction runs, and is not used again.
        check(unsafe { ffi::mdb_txn_commit(txn) })
    }

    #[inline]
    fn cursor(&self) -> LmdbResult<&Cursor> {
        if let Some(cursor) = self.cursor.get() {
            return Ok(cursor);
        }
        // SAFETY: the transaction runs, and ends after the cursor.
        let cursor = unsafe { Cursor::open(self.txn, self.frequent)? };
        Ok(self.cursor.get_or_init(|| cursor))
    }
}

impl Drop for WriteTxn<'_> {
    fn drop(&mut self) {
        drop(self.cursor.take());
        if self.environment.is_own_process() {
            // SAFETY: the transaction runs, and is not used again.
            unsafe { ffi::mdb_txn_abort(self.txn.as_ptr()) };
        }
    }
}
