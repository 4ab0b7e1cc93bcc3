//! Rows in and out of a write transaction. Those of devices go by way of `rewrite.rs`, which may
//! have them in memory.

use crate::error::Result;
use crate::format::table::Table;
use crate::lmdb::raw::{LmdbError, LmdbResult, PutMode, Row};
use crate::lmdb::snapshot::{RowsEnd, WALKING};
use crate::lmdb::write::{Step, WriteTxn};

/// What a row takes of a page beside its key and value, with padding.
pub(super) const ROW_OVERHEAD: usize = 32;

impl WriteTxn<'_> {
    /// The row under `key`.
    #[inline]
    pub fn get(&self, table: Table, key: &[u8]) -> Step<Option<&[u8]>> {
        let found = match table {
            Table::Devices => self.device(key),
            other => self
                .database(other)
                .and_then(|database| self.txn.get(database, key)),
        };
        found.map_err(|e| self.fault("reading a row", e))
    }

    /// The first row whose key is `from` or greater.
    pub fn first_from(&self, table: Table, from: &[u8]) -> Step<Option<Row<'_>>> {
        self.database(table)
            .and_then(|database| self.txn.first_from(database, from))
            .map_err(|e| self.fault("seeking a row", e))
    }

    /// Shows every row of a table to `visit`, in the order of keys.
    pub fn each_row(
        &self,
        table: Table,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<()>,
    ) -> Step<()> {
        if table == Table::Devices {
            return self.each_device(visit);
        }
        let lmdb = |e| self.fault(WALKING, e);
        let database = self.database(table).map_err(lmdb)?;
        let visit = |key: &[u8], value: &[u8]| visit(key, value).map_err(RowsEnd::Visit);
        self.txn.each_row(database, visit).map_err(|end| match end {
            RowsEnd::Lmdb(e) => lmdb(e),
            RowsEnd::Visit(error) => error.into(),
        })
    }

    /// Writes a row, over the one that is there.
    pub fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Step<()> {
        self.put_with(table, key, value, PutMode::Replace)
    }

    /// Writes a row whose key is greater than all others of the table: pages are filled to the end.
    pub fn append(&mut self, table: Table, key: &[u8], value: &[u8]) -> Step<()> {
        self.put_with(table, key, value, PutMode::Append)
    }

    /// Writes a row unless there is one under that key; false if there is, and then nothing has
    /// changed.
    pub fn put_new(&mut self, table: Table, key: &[u8], value: &[u8]) -> Step<bool> {
        match self.try_put(table, key, value, PutMode::New) {
            Ok(()) => Ok(true),
            Err(LmdbError::KeyExist) => Ok(false),
            Err(e) => Err(self.fault("writing a row", e)),
        }
    }

    fn put_with(&mut self, table: Table, key: &[u8], value: &[u8], mode: PutMode) -> Step<()> {
        self.try_put(table, key, value, mode)
            .map_err(|e| self.fault("writing a row", e))
    }

    fn try_put(&mut self, table: Table, key: &[u8], value: &[u8], mode: PutMode) -> LmdbResult<()> {
        let put = match table {
            Table::Devices => self.put_device(key, value, mode),
            other => {
                let database = self.database(other)?;
                self.txn.put(database, key, value, mode)
            }
        };
        // A row that was there already has changed nothing; whatever else went wrong may have.
        if !matches!(put, Err(LmdbError::KeyExist)) {
            self.writes += 1;
            self.bytes += (key.len() + value.len() + ROW_OVERHEAD) as u64;
        }
        put
    }

    /// Removes a row that is there.
    pub fn del(&mut self, table: Table, key: &[u8]) -> Step<()> {
        self.writes += 1;
        let removed = match table {
            Table::Devices => self.del_device(key),
            table => self
                .database(table)
                .and_then(|database| self.txn.del(database, key)),
        };
        removed.map_err(|e| self.fault("removing a row", e))
    }
}
