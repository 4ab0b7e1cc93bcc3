//! What crosses to LMDB and back: bytes as `MDB_val`, codes, numbers of databases.

use std::ptr;

use lmdb_sys as ffi;

/// A row's key and value.
pub(crate) type Row<'a> = (&'a [u8], &'a [u8]);

/// One of the databases of an environment, by LMDB's number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Database(pub(super) ffi::MDB_dbi);

impl Database {
    /// Where LMDB keeps the pages that were freed.
    pub const FREE_LIST: Database = Database(0);
}

/// Nothing yet, for LMDB to fill in.
pub(super) const EMPTY: ffi::MDB_val = ffi::MDB_val {
    mv_size: 0,
    mv_data: ptr::null_mut(),
};

/// Bytes for LMDB to read. It takes a pointer that is not `const`, and writes to none of them.
pub(super) fn value(bytes: &[u8]) -> ffi::MDB_val {
    ffi::MDB_val {
        mv_size: bytes.len(),
        mv_data: bytes.as_ptr() as *mut libc::c_void,
    }
}

/// The bytes that LMDB shows.
///
/// # Safety
/// They live, unchanged, for as long as the borrow that the caller gives them.
#[inline]
pub(super) unsafe fn bytes<'a>(value: &ffi::MDB_val) -> &'a [u8] {
    if value.mv_size == 0 {
        return &[]; // LMDB may leave the pointer null
    }
    // SAFETY: the caller keeps the memory valid and unchanged for that long.
    unsafe { std::slice::from_raw_parts(value.mv_data.cast::<u8>(), value.mv_size) }
}

/// Turns LMDB's code into a result.
#[inline]
pub(super) fn check(code: libc::c_int) -> lmdb::Result<()> {
    match code {
        ffi::MDB_SUCCESS => Ok(()),
        code => Err(lmdb::Error::from_err_code(code)),
    }
}

/// Turns the code of a look-up into a result: none if no row was found.
#[inline]
pub(super) fn check_found(code: libc::c_int) -> lmdb::Result<bool> {
    match code {
        ffi::MDB_SUCCESS => Ok(true),
        ffi::MDB_NOTFOUND => Ok(false),
        code => Err(lmdb::Error::from_err_code(code)),
    }
}

/// The row under `key`.
///
/// # Safety
/// `txn` is a running transaction of the environment in which `database` is open. Until the end of
/// the borrow that the caller gives the row, it neither ends nor writes.
#[inline]
pub(super) unsafe fn get<'t>(
    txn: *mut ffi::MDB_txn,
    database: Database,
    key: &[u8],
) -> lmdb::Result<Option<&'t [u8]>> {
    let (mut key, mut found) = (value(key), EMPTY);
    // SAFETY: the transaction runs; LMDB reads the key before it returns.
    if !check_found(unsafe { ffi::mdb_get(txn, database.0, &mut key, &mut found) })? {
        return Ok(None);
    }
    // SAFETY: the value stays where it is until the transaction ends or writes.
    Ok(Some(unsafe { bytes(&found) }))
}
