//! Writing the table of devices anew, when LMDB finds no space for a row on either half of a page.
//!
//! LMDB splits a page in the middle of its rows unless they are few, or the new one is large or
//! comes last (mdb.c, `mdb_page_split`; "few" depends on the page size since ITS#9806). Where one
//! half has small rows and the other large ones, the new row can be too much for its half:
//! `MDB_PAGE_FULL`. A row that comes last never meets that. So the transaction runs again with its
//! devices in memory, and then the table is emptied and its rows are written in order: those of the
//! commit before, with the new ones among them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::table::Table;
use crate::lmdb::raw::{Database, Environment, LmdbError, LmdbResult, PutMode, ReadTxn};
use crate::lmdb::snapshot::{RowsEnd, WALKING};
use crate::lmdb::write::rows::ROW_OVERHEAD;
use crate::lmdb::write::{Fault, Step, WriteTxn};

/// Rows by their names; nothing for one that is removed.
type NewRows = BTreeMap<Vec<u8>, Option<Vec<u8>>>;
/// What rows are shown to.
type Show<'a, E> = dyn FnMut(&[u8], &[u8]) -> std::result::Result<(), E> + 'a;

/// Shows `rows` to `visit` in order, with the new rows among them or in their place.
fn merge<E>(
    rows: impl FnOnce(&mut Show<'_, E>) -> std::result::Result<(), E>,
    new: &NewRows,
    mut visit: impl FnMut(&[u8], &[u8]) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let mut new = new.iter().peekable();
    rows(&mut |name, row| {
        while let Some((name, row)) = new.next_if(|(new, _)| new.as_slice() < name) {
            row.as_ref().map_or(Ok(()), |row| visit(name, row))?;
        }
        match new.next_if(|(new, _)| *new == name) {
            Some((_, row)) => row.as_ref().map_or(Ok(()), |row| visit(name, row)),
            None => visit(name, row),
        }
    })?;
    new.try_for_each(|(name, row)| row.as_ref().map_or(Ok(()), |row| visit(name, row)))
}

impl WriteTxn<'_> {
    pub(super) fn put_device(&mut self, key: &[u8], value: &[u8], mode: PutMode) -> LmdbResult<()> {
        if self.new_rows.is_none() {
            let first = self.writes == 0;
            return self.txn.put_frequent(key, value, mode, first);
        }
        if matches!(mode, PutMode::New) && self.device(key)?.is_some() {
            return Err(LmdbError::KeyExist);
        }
        self.keep_in_memory(key, Some(value))
    }

    pub(super) fn del_device(&mut self, key: &[u8]) -> LmdbResult<()> {
        if self.new_rows.is_none() {
            let devices = self.database(Table::Devices)?;
            return self.txn.del(devices, key);
        }
        if self.device(key)?.is_none() {
            return Err(LmdbError::NotFound);
        }
        self.keep_in_memory(key, None)
    }

    fn keep_in_memory(&mut self, key: &[u8], value: Option<&[u8]>) -> LmdbResult<()> {
        if let Some(rows) = &mut self.new_rows {
            rows.insert(key.to_vec(), value.map(<[u8]>::to_vec));
        }
        Ok(())
    }

    /// The row of a device, as this transaction will leave it.
    #[inline]
    pub(super) fn device(&self, key: &[u8]) -> LmdbResult<Option<&[u8]>> {
        match &self.new_rows {
            None => self.txn.get_frequent(key),
            Some(new) => self.device_among(new, key),
        }
    }

    #[cold]
    fn device_among<'a>(&'a self, new: &'a NewRows, key: &[u8]) -> LmdbResult<Option<&'a [u8]>> {
        match new.get(key) {
            Some(row) => Ok(row.as_deref()),
            None => self.txn.get_frequent(key),
        }
    }

    /// Shows the row of every device to `visit`, in the order of names, as this transaction will
    /// leave them.
    pub fn each_device(&self, mut visit: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Step<()> {
        let lmdb = |e| self.fault(WALKING, e);
        let devices = self.database(Table::Devices).map_err(lmdb)?;
        let visit = |name: &[u8], row: &[u8]| visit(name, row).map_err(RowsEnd::Visit);
        let rows = |show: &mut Show<'_, RowsEnd>| self.txn.each_row(devices, show);
        let shown = match &self.new_rows {
            Some(new) => merge(rows, new, visit),
            None => self.txn.each_row(devices, visit),
        };
        shown.map_err(|end| match end {
            RowsEnd::Lmdb(e) => lmdb(e),
            RowsEnd::Visit(error) => error.into(),
        })
    }

    /// Writes the table of devices anew, if rows for it are in memory.
    #[cold]
    pub(super) fn rewrite_devices(&mut self, lmdb: &Arc<Environment>) -> Step<()> {
        match self.new_rows.take() {
            Some(new) if !new.is_empty() => self.rewrite_with(lmdb, &new),
            _ => Ok(()),
        }
    }

    fn rewrite_with(&mut self, lmdb: &Arc<Environment>, new: &NewRows) -> Step<()> {
        let devices = self
            .database(Table::Devices)
            .map_err(|e| self.fault("rewriting the devices", e))?;
        // Of the commit before this one: there is no other writer. Its pages stay as they are until
        // this transaction has ended.
        let before = ReadTxn::begin(lmdb).map_err(|e| self.not_begun(lmdb, e))?;
        self.write_in_order(&before, devices, new)
            .map_err(|e| self.fault("rewriting the devices", e))
    }

    fn write_in_order(
        &mut self,
        before: &ReadTxn,
        devices: Database,
        new: &NewRows,
    ) -> LmdbResult<()> {
        self.txn.clear(devices)?;
        let rows = |show: &mut Show<'_, LmdbError>| before.each_row(devices, show);
        merge(rows, new, |name, row| {
            self.append_device(devices, name, row)
        })
    }

    fn append_device(&mut self, devices: Database, key: &[u8], value: &[u8]) -> LmdbResult<()> {
        self.writes += 1;
        self.bytes += (key.len() + value.len() + ROW_OVERHEAD) as u64;
        self.txn.put(devices, key, value, PutMode::Append)
    }

    fn not_begun(&self, lmdb: &Environment, error: LmdbError) -> Fault {
        match (error, lmdb.info()) {
            (LmdbError::ReadersFull, Ok(info)) => Fault::Error(Error::ReadersFull {
                slots: info.max_readers,
            }),
            _ => self.fault("beginning a read", error),
        }
    }
}
