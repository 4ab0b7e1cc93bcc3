//! Where a write transaction is among the devices.
//!
//! One cursor, which stays at the row that was looked at last: the next one that is looked for is
//! often that, or on the same page. LMDB frees it when the transaction ends.

use super::snapshot::bytes;
use lmdb::{Database, RwTransaction, Transaction, WriteFlags};
use lmdb_sys as ffi;
use std::cell::Cell;
use std::ptr;

/// A place in the table of devices, within the transaction that it is given each time.
pub(super) struct Position {
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

#[cfg(all(test, not(loom)))]
mod tests {
    use crate::digest::Table::Devices;
    use crate::env::{Deadline, Fault, WriteTxn};
    use crate::error::Error;
    use crate::verify::{self, Level};
    use crate::PoolMetadata;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;
    use std::collections::BTreeMap;
    use std::time::Duration;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Get,
        Put,
        PutNew,
        Remove,
    }

    /// What to do with which row, and its new length.
    type Steps = Vec<(Step, usize, usize)>;
    type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

    fn steps() -> impl Strategy<Value = Steps> {
        let step = prop_oneof![
            2 => Just(Step::Get),
            4 => Just(Step::Put),
            3 => Just(Step::PutNew),
            3 => Just(Step::Remove),
        ];
        // Few rows, and so the same ones again; and lengths around what fits into a page.
        let row = prop_oneof![0..8_usize, 0..200_usize];
        let length = prop_oneof![4 => 1..40_usize, 2 => 500..2100_usize, 1 => 4000..9000_usize];
        vec((step, row, length), 1..120)
    }

    /// Long names make a tree of several levels of few rows.
    fn name(row: usize) -> Vec<u8> {
        let mut name = format!("{:03}", row * 37 % 200).into_bytes();
        name.resize([3, 40, 300, 511][row % 4], b'n');
        name
    }

    fn take(txn: &mut WriteTxn<'_>, rows: &mut Rows, steps: &Steps) -> Result<(), Fault> {
        for (at, (step, row, length)) in steps.iter().enumerate() {
            let (name, value) = (name(*row), vec![at as u8; *length]);
            let there = rows.get(&name);
            match step {
                Step::Get => {
                    let found = txn.get(Devices, &name)?;
                    assert_eq!(found, there.map(Vec::as_slice), "step {at}");
                }
                Step::PutNew => {
                    let new = txn.put_new(Devices, &name, &value)?;
                    assert_eq!(new, there.is_none(), "step {at}");
                    rows.entry(name).or_insert(value);
                }
                Step::Put => {
                    txn.put(Devices, &name, &value)?;
                    rows.insert(name, value);
                }
                Step::Remove if there.is_none() => {}
                Step::Remove => {
                    txn.del(Devices, &name)?;
                    rows.remove(&name);
                }
            }
        }
        Ok(())
    }

    /// All rows, each looked for anew.
    fn all(txn: &WriteTxn<'_>) -> Result<Rows, Fault> {
        let (mut rows, mut from) = (Rows::new(), vec![0]);
        while let Some((key, value)) = txn.first_from(Devices, &from)? {
            rows.insert(key.to_vec(), value.to_vec());
            from = [key, &[0]].concat();
            from.truncate(crate::MAX_NAME_LEN);
            if from == key {
                *from.last_mut().unwrap() += 1;
            }
        }
        Ok(rows)
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 24,
            rng_seed: RngSeed::Fixed(1),
            ..ProptestConfig::default()
        })]

        /// Rows written, read and removed in any order, in transactions that are made or given up, are those that an
        /// ordered map has.
        #[test]
        fn the_rows_are_those_of_an_ordered_map(work in vec((steps(), any::<bool>()), 1..12)) {
            let directory = tempfile::tempdir().unwrap();
            let store = PoolMetadata::open(directory.path().join("pool.db")).unwrap();
            let env = store.walk().unwrap().snapshot().env().clone();
            let deadline = Deadline::after(Duration::from_secs(60));
            let writing = env.begin_writing(&deadline).unwrap();
            let mut rows = Rows::new();
            for (steps, kept) in work {
                let mut after = rows.clone();
                let done = writing.run(|txn| {
                    after.clone_from(&rows);
                    take(txn, &mut after, &steps)?;
                    assert_eq!(all(txn)?, after);
                    if kept { Ok(()) } else { Err(Error::Closed.into()) }
                });
                prop_assert_eq!(done.is_ok(), kept);
                if kept {
                    rows = after;
                }
                let found = writing.run(|txn| all(txn)).unwrap();
                prop_assert_eq!(&found, &rows);
                verify::store(&env, Level::Structure).unwrap();
            }
        }
    }
}
