//! The peer: LMDB called directly, on a file of the same layout, with no more than the task needs.

use lmdb_sys as ffi;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::null_mut;
use std::rc::Rc;

/// An environment with the store's databases.
pub struct Raw {
    env: *mut ffi::MDB_env,
    main: ffi::MDB_dbi,
    devices: ffi::MDB_dbi,
}

pub const HEADER: &[u8] = b"header";

fn check(code: libc::c_int) {
    assert_eq!(code, ffi::MDB_SUCCESS, "LMDB failed");
}

fn val(bytes: &[u8]) -> ffi::MDB_val {
    ffi::MDB_val {
        mv_size: bytes.len(),
        mv_data: bytes.as_ptr() as *mut libc::c_void,
    }
}

/// # Safety
/// LMDB has filled `val`, and the transaction that it belongs to runs for as long as the slice is
/// used.
unsafe fn bytes<'a>(val: &ffi::MDB_val) -> &'a [u8] {
    // SAFETY: the caller guarantees it.
    unsafe { std::slice::from_raw_parts(val.mv_data.cast(), val.mv_size) }
}

impl Raw {
    /// Opens the environment with the library's flags and sizes.
    pub fn open(path: &Path) -> Rc<Raw> {
        let name = CString::new(path.as_os_str().as_bytes()).unwrap();
        let mut raw = Raw {
            env: null_mut(),
            main: 0,
            devices: 0,
        };
        // SAFETY: the calls are in the order that lmdb.h asks for; all that is pointed to outlives
        // them.
        unsafe {
            check(ffi::mdb_env_create(&mut raw.env));
            check(ffi::mdb_env_set_maxdbs(raw.env, 2));
            check(ffi::mdb_env_set_maxreaders(raw.env, 1024));
            check(ffi::mdb_env_set_mapsize(raw.env, 16 << 30));
            let flags = ffi::MDB_NOSUBDIR | ffi::MDB_NOTLS;
            check(ffi::mdb_env_open(raw.env, name.as_ptr(), flags, 0o600));
            let mut txn = null_mut();
            check(ffi::mdb_txn_begin(raw.env, null_mut(), 0, &mut txn));
            check(ffi::mdb_dbi_open(txn, std::ptr::null(), 0, &mut raw.main));
            for (table, dbi) in [(c"devices", &mut raw.devices), (c"ids", &mut 0)] {
                check(ffi::mdb_dbi_open(txn, table.as_ptr(), 0, dbi));
            }
            check(ffi::mdb_txn_commit(txn));
        }
        Rc::new(raw)
    }

    /// A read transaction, reset.
    pub fn reader(self: &Rc<Raw>) -> Reader {
        let mut txn = null_mut();
        // SAFETY: the environment is open; `txn` outlives the call.
        unsafe {
            check(ffi::mdb_txn_begin(
                self.env,
                null_mut(),
                ffi::MDB_RDONLY,
                &mut txn,
            ));
            ffi::mdb_txn_reset(txn);
        }
        Reader {
            txn,
            raw: Rc::clone(self),
            buffer: vec![0; 4096],
        }
    }

    /// Reads the rows that the writes put back unchanged.
    pub fn writer(self: &Rc<Raw>, device: &[u8]) -> Writer {
        let mut reader = self.reader();
        Writer {
            record: reader.get_in(self.devices, device).to_vec(),
            header: reader.get_in(self.main, HEADER).to_vec(),
            raw: Rc::clone(self),
        }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // SAFETY: its readers and writers own a share of it, so they are gone.
        unsafe { ffi::mdb_env_close(self.env) };
    }
}

/// A pooled read transaction and a buffer to copy into.
pub struct Reader {
    txn: *mut ffi::MDB_txn,
    buffer: Vec<u8>,
    raw: Rc<Raw>,
}

impl Reader {
    /// Renews the transaction, copies one device's record and resets.
    pub fn get(&mut self, device: &[u8]) -> usize {
        let found = self.get_in(self.raw.devices, device).len();
        std::hint::black_box(found)
    }

    fn get_in(&mut self, dbi: ffi::MDB_dbi, key: &[u8]) -> &[u8] {
        let mut found = val(b"");
        // SAFETY: the transaction was reset; the value is copied before it is reset again.
        let len = unsafe {
            check(ffi::mdb_txn_renew(self.txn));
            check(ffi::mdb_get(self.txn, dbi, &mut val(key), &mut found));
            let value = bytes(&found);
            self.buffer[..value.len()].copy_from_slice(value);
            ffi::mdb_txn_reset(self.txn);
            value.len()
        };
        &self.buffer[..len]
    }

    /// Walks over all devices and copies each name and record. Returns how many there were.
    pub fn walk(&mut self) -> u64 {
        let mut count = 0;
        let (mut key, mut value) = (val(b""), val(b""));
        // SAFETY: the cursor is closed before the transaction is reset; rows are copied before it
        // moves on.
        unsafe {
            check(ffi::mdb_txn_renew(self.txn));
            let mut cursor = null_mut();
            check(ffi::mdb_cursor_open(
                self.txn,
                self.raw.devices,
                &mut cursor,
            ));
            while ffi::mdb_cursor_get(cursor, &mut key, &mut value, ffi::MDB_NEXT) == 0 {
                let (name, record) = (bytes(&key), bytes(&value));
                self.buffer[..name.len()].copy_from_slice(name);
                self.buffer[name.len()..][..record.len()].copy_from_slice(record);
                std::hint::black_box(self.buffer.as_ptr());
                count += 1;
            }
            ffi::mdb_cursor_close(cursor);
            ffi::mdb_txn_reset(self.txn);
        }
        count
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // SAFETY: the transaction is not used again.
        unsafe { ffi::mdb_txn_abort(self.txn) };
    }
}

/// Puts the rows that the library puts, without a look at their content.
pub struct Writer {
    raw: Rc<Raw>,
    record: Vec<u8>,
    header: Vec<u8>,
}

impl Writer {
    pub fn raw(&self) -> &Rc<Raw> {
        &self.raw
    }

    /// One commit: the device's row and the header row.
    pub fn add(&self, device: &[u8]) {
        self.write(device, false);
    }

    /// One commit: the device's row is read, and it and the header row are written.
    pub fn update(&self, device: &[u8]) {
        self.write(device, true);
    }

    fn write(&self, device: &[u8], read_first: bool) {
        let mut txn = null_mut();
        let mut found = val(b"");
        let rows = [
            (self.raw.devices, device, &self.record),
            (self.raw.main, HEADER, &self.header),
        ];
        // SAFETY: the environment is open; LMDB copies keys and values, and the transaction ends
        // here.
        unsafe {
            check(ffi::mdb_txn_begin(self.raw.env, null_mut(), 0, &mut txn));
            if read_first {
                let (dbi, key) = (self.raw.devices, &mut val(device));
                check(ffi::mdb_get(txn, dbi, key, &mut found));
            }
            for (dbi, key, value) in rows {
                check(ffi::mdb_put(txn, dbi, &mut val(key), &mut val(value), 0));
            }
            check(ffi::mdb_txn_commit(txn));
        }
    }
}
