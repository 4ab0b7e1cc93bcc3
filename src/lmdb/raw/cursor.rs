//! LMDB's cursors.

use std::ptr::{self, NonNull};

use lmdb_sys as ffi;

use crate::lmdb::raw::error::{LmdbError, LmdbResult};
use crate::lmdb::raw::value::{bytes, check, check_found, value, Database, Row, EMPTY};

/// A cursor, closed when dropped.
///
/// All functions but `drop` ask that the transaction in which it was opened runs; that of a write
/// must not end before the cursor is dropped, since LMDB frees the cursor with it.
pub(super) struct Cursor(NonNull<ffi::MDB_cursor>);

impl Cursor {
    /// # Safety
    /// The transaction runs, in the environment in which `database` is open.
    #[inline]
    pub unsafe fn open(txn: NonNull<ffi::MDB_txn>, database: Database) -> LmdbResult<Cursor> {
        let mut cursor = ptr::null_mut();
        // SAFETY: the transaction runs; `cursor` outlives the call.
        check(unsafe { ffi::mdb_cursor_open(txn.as_ptr(), database.0, &mut cursor) })?;
        NonNull::new(cursor).map(Cursor).ok_or(lmdb::Error::BadTxn)
    }

    /// Moves to where `to` says, without a key, and shows that row.
    ///
    /// # Safety
    /// The transaction runs, and until the end of the borrow that the caller gives the row, it
    /// neither ends nor writes.
    #[inline]
    pub unsafe fn go<'r>(&self, to: ffi::MDB_cursor_op) -> LmdbResult<Option<Row<'r>>> {
        // SAFETY: as the caller says.
        unsafe { self.get(EMPTY, to) }
    }

    /// Moves to the row under `key`, or with [`ffi::MDB_SET_RANGE`] to the first that is not below
    /// it, and shows it.
    ///
    /// # Safety
    /// As for [`go`](Cursor::go).
    #[inline]
    pub unsafe fn seek<'r>(
        &self,
        key: &[u8],
        to: ffi::MDB_cursor_op,
    ) -> LmdbResult<Option<Row<'r>>> {
        // SAFETY: as the caller says; LMDB reads the key before it returns.
        unsafe { self.get(value(key), to) }
    }

    #[inline]
    unsafe fn get<'r>(
        &self,
        mut key: ffi::MDB_val,
        to: ffi::MDB_cursor_op,
    ) -> LmdbResult<Option<Row<'r>>> {
        let mut found = EMPTY;
        // SAFETY: the cursor's transaction runs.
        let code = unsafe { ffi::mdb_cursor_get(self.0.as_ptr(), &mut key, &mut found, to) };
        if !check_found(code)? {
            return Ok(None);
        }
        // SAFETY: both lie in the map, or in pages of the transaction, until it ends or writes.
        Ok(Some(unsafe { (bytes(&key), bytes(&found)) }))
    }

    /// Shows every row to `visit`, in the order of keys, until it fails.
    ///
    /// # Safety
    /// The transaction runs, and `visit` does not end it or write to it.
    pub unsafe fn each_row<E: From<LmdbError>>(
        &self,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut to = ffi::MDB_FIRST;
        // SAFETY: as the caller says; each row is only used before the next.
        while let Some((key, value)) = unsafe { self.go(to)? } {
            visit(key, value)?;
            to = ffi::MDB_NEXT;
        }
        Ok(())
    }

    /// Writes a row.
    ///
    /// # Safety
    /// The transaction runs, is one that writes, and no row that it has shown is in use.
    #[inline]
    pub unsafe fn put(&self, key: &[u8], row: &[u8], flags: libc::c_uint) -> LmdbResult<()> {
        let (mut key, mut row) = (value(key), value(row));
        // SAFETY: the cursor's transaction runs; LMDB copies key and row, and changes neither: with
        // the flags that are used here, it lets `row` refer to a row that is there already.
        check(unsafe { ffi::mdb_cursor_put(self.0.as_ptr(), &mut key, &mut row, flags) })
    }

    /// Whether it is at the row under `key`, which LMDB then need not search for.
    ///
    /// # Safety
    /// The transaction runs.
    #[inline]
    pub unsafe fn is_at(&self, key: &[u8]) -> bool {
        // SAFETY: the key that the cursor is at stays in place while it is compared.
        match unsafe { self.go(ffi::MDB_GET_CURRENT) } {
            Ok(Some((at, _))) => at == key,
            _ => false,
        }
    }
}

impl Drop for Cursor {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: it is open. One of a read may be closed after its transaction's end, too
        // (lmdb.h, `mdb_cursor_open`).
        unsafe { ffi::mdb_cursor_close(self.0.as_ptr()) };
    }
}
