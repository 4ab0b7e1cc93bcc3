//! One commit before it is made: the rows, and the header row that has to agree with them.

use crate::error::{Error, Result};
use crate::format::bit_set::BitSet;
use crate::format::digest;
use crate::format::header::{Header, Parsed};
use crate::format::record;
use crate::format::table::Table;
use crate::limits::MAX_DEVICE_ID;
use crate::lmdb::write::{Step, WriteTxn};

/// A write transaction and the header that it will leave behind.
pub(crate) struct Batch<'t, 'e> {
    pub txn: &'t mut WriteTxn<'e>,
    pub header: Header,
    /// Removals by this commit so far.
    pub removals: u32,
    /// The ids that devices have, once that was asked for, as long as no device is written.
    owned: Option<BitSet>,
}

impl<'t, 'e> Batch<'t, 'e> {
    /// Begins the commit after the one that the header row records.
    pub fn begin(txn: &'t mut WriteTxn<'e>) -> Step<Batch<'t, 'e>> {
        let mut header = match txn.known_header() {
            Some(header) => header,
            None => match Header::parse(txn.header()?) {
                Parsed::Known(header) => header,
                _ => return Err(Error::corrupt("its header row is damaged").into()),
            },
        };
        // A record of an undone commit may have been read, and its pages may be on the disk: the
        // generation of no other is the same.
        let step = txn.undone_before().saturating_add(1);
        header.commit = header
            .commit
            .checked_add(step)
            .ok_or_else(|| out_of_range("commits"))?;
        Ok(Batch {
            txn,
            header,
            removals: 0,
            owned: None,
        })
    }

    /// The ids that devices have, from a look at every record.
    pub fn owned(&mut self) -> Step<&BitSet> {
        let owned = match self.owned.take() {
            Some(owned) => owned,
            None => {
                let owned = BitSet::up_to(MAX_DEVICE_ID);
                self.txn.each_device(|name, value| {
                    owned.insert(record::decode(name, value)?.device_id);
                    Ok(())
                })?;
                owned
            }
        };
        Ok(self.owned.insert(owned))
    }

    /// Takes note that a row is written or removed.
    #[inline]
    fn changes(&mut self, table: Table) {
        if table == Table::Devices {
            self.owned = None;
        }
    }

    /// Writes the header row. What comes before it is in the commit, or nothing is.
    pub fn finish(self) -> Step<()> {
        self.finish_in(&mut Vec::new())
    }

    /// Writes the header row, encoded in `buffer`.
    pub fn finish_in(self, buffer: &mut Vec<u8>) -> Step<()> {
        self.header.encode(buffer)?;
        self.txn.put_header(self.header, buffer)
    }

    /// Writes a row that is not there.
    pub fn insert(&mut self, table: Table, key: &[u8], value: &[u8]) -> Step<()> {
        self.changes(table);
        self.txn.put(table, key, value)?;
        self.add(digest::row_hash(table, key, value));
        Ok(())
    }

    /// Writes a row unless one is there; false if it is, and then nothing has changed.
    pub fn insert_new(&mut self, table: Table, key: &[u8], value: &[u8]) -> Step<bool> {
        self.changes(table);
        let new = self.txn.put_new(table, key, value)?;
        if new {
            self.add(digest::row_hash(table, key, value));
        }
        Ok(new)
    }

    /// Writes a row behind all others of the table.
    pub fn append(&mut self, table: Table, key: &[u8], value: &[u8]) -> Step<()> {
        self.changes(table);
        self.txn.append(table, key, value)?;
        self.add(digest::row_hash(table, key, value));
        Ok(())
    }

    /// Writes a row over the one there, whose row hash is `old`.
    pub fn replace(&mut self, table: Table, key: &[u8], old: u128, value: &[u8]) -> Step<()> {
        self.insert(table, key, value)?;
        self.add(old.wrapping_neg());
        Ok(())
    }

    /// Removes the row there, which is `value`.
    pub fn remove(&mut self, table: Table, key: &[u8], value: &[u8]) -> Step<()> {
        let row_hash = digest::row_hash(table, key, value);
        self.remove_row(table, key, row_hash)
    }

    /// Removes the row there, whose row hash is `old`.
    pub fn remove_row(&mut self, table: Table, key: &[u8], old: u128) -> Step<()> {
        self.changes(table);
        self.txn.del(table, key)?;
        self.add(old.wrapping_neg());
        Ok(())
    }

    fn add(&mut self, row_hash: u128) {
        self.header.digest = self.header.digest.wrapping_add(row_hash);
    }
}

/// Counts one more. The checksum of a header says nothing of whether its numbers can be.
pub(crate) fn up(counter: &mut u32, of: &str) -> Result<()> {
    *counter = counter.checked_add(1).ok_or_else(|| out_of_range(of))?;
    Ok(())
}

/// Counts one less.
pub(crate) fn down(counter: &mut u32, of: &str) -> Result<()> {
    *counter = counter.checked_sub(1).ok_or_else(|| out_of_range(of))?;
    Ok(())
}

#[cold]
fn out_of_range(of: &str) -> Error {
    Error::corrupt(format!("its header's number of {of} cannot be"))
}
