//! Where a write transaction is among the devices.
//!
//! One cursor, which stays at the row that was looked at last: the next one that is looked for is
//! often that, or on the same page. LMDB frees it when the transaction ends.

use std::cell::Cell;
use std::ptr;

use lmdb::{Database, RwTransaction, Transaction, WriteFlags};
use lmdb_sys as ffi;

use crate::lmdb::raw::val::bytes;

/// A place in the table of devices, within the transaction that it is given each time.
pub(crate) struct Position {
    devices: Database,
    cursor: Cell<*mut ffi::MDB_cursor>,
}

fn ok(code: libc::c_int) -> lmdb::Result<()> {
    match code {
        ffi::MDB_SUCCESS => Ok(()),
        code => Err(lmdb::Error::from_err_code(code)),
    }
}

/// For LMDB to read.
fn val(bytes: &[u8]) -> ffi::MDB_val {
    ffi::MDB_val {
        mv_size: bytes.len(),
        mv_data: bytes.as_ptr() as *mut libc::c_void,
    }
}

impl Position {
    /// Nowhere yet.
    ///
    /// # Safety
    /// Every call is given the same running transaction, of the environment in which `devices` is
    /// open.
    pub unsafe fn new(devices: Database) -> Position {
        Position {
            devices,
            cursor: Cell::new(ptr::null_mut()),
        }
    }

    fn cursor(&self, txn: &RwTransaction<'_>) -> lmdb::Result<*mut ffi::MDB_cursor> {
        if self.cursor.get().is_null() {
            let mut cursor = ptr::null_mut();
            // SAFETY: the transaction runs, and the database is open; `cursor` outlives the call.
            ok(unsafe { ffi::mdb_cursor_open(txn.txn(), self.devices.dbi(), &mut cursor) })?;
            self.cursor.set(cursor);
        }
        Ok(self.cursor.get())
    }

    /// Goes to the row under `key`.
    pub fn get<'t>(&self, txn: &'t RwTransaction<'_>, key: &[u8]) -> lmdb::Result<&'t [u8]> {
        let cursor = self.cursor(txn)?;
        let (mut key, mut value) = (val(key), val(b""));
        // SAFETY: the cursor is the running transaction's; LMDB reads the key before it returns,
        // and the value that it finds lies still until the transaction writes, which takes
        // it mutably.
        unsafe {
            ok(ffi::mdb_cursor_get(
                cursor,
                &mut key,
                &mut value,
                ffi::MDB_SET,
            ))?;
            Ok(bytes(&value))
        }
    }

    /// Writes a row; `first` says that it is the transaction's first.
    pub fn put(
        &self,
        txn: &mut RwTransaction<'_>,
        key: &[u8],
        value: &[u8],
        flags: WriteFlags,
        first: bool,
    ) -> lmdb::Result<()> {
        // A cursor that is used once costs more than it saves.
        if first && self.cursor.get().is_null() {
            return txn.put(self.devices, &key, &value, flags);
        }
        let cursor = self.cursor(txn)?;
        let flags = match flags.is_empty() && self.is_at(key) {
            true => ffi::MDB_CURRENT,
            false => flags.bits(),
        };
        // SAFETY: the cursor is the running transaction's; LMDB copies key and value, and changes
        // neither: with these flags, it lets `value` refer to a row that is there already.
        ok(unsafe { ffi::mdb_cursor_put(cursor, &mut val(key), &mut val(value), flags) })
    }

    /// Whether this is the row under `key`, which LMDB then need not look for.
    fn is_at(&self, key: &[u8]) -> bool {
        let (mut at, mut value) = (val(b""), val(b""));
        let get = ffi::MDB_GET_CURRENT;
        // SAFETY: the cursor is open, and the running transaction's; the key that it is at lies
        // still while it is compared.
        unsafe {
            ffi::mdb_cursor_get(self.cursor.get(), &mut at, &mut value, get) == ffi::MDB_SUCCESS
                && bytes(&at) == key
        }
    }
}
