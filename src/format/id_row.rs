//! Rows of the table of ids. Only ids that are free or faulty have one.

use crate::error::{Error, Result};
use crate::format::table::Table;
use crate::format::{crc, digest};

/// State of an id that has a row. The numbers are part of the file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum IdState {
    /// Released by a removed device.
    Free = 0,
    /// Never to be given out again: it is not known what the pool holds under it.
    Faulty = 2,
}

const KEY_LEN: usize = 5;

/// The state, then the id in big-endian order, so that rows are sorted by state and number.
pub(crate) fn key(state: IdState, id: u32) -> [u8; KEY_LEN] {
    let [a, b, c, d] = id.to_be_bytes();
    [state as u8, a, b, c, d]
}

/// Key and value of the row that puts an id in a state.
pub(crate) fn row(state: IdState, id: u32) -> ([u8; KEY_LEN], [u8; crc::LEN]) {
    let key = key(state, id);
    (key, crc::checksum(&key, b""))
}

/// The hash that this row adds to the digest.
pub(crate) fn row_hash(state: IdState, id: u32) -> u128 {
    let (key, value) = row(state, id);
    digest::row_hash(Table::Ids, &key, &value)
}

/// Decodes a row. Its value is its key's checksum.
pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<(IdState, u32)> {
    let damaged = || Error::corrupt(format!("id row \"{}\" does not decode", key.escape_ascii()));
    let [state, id @ ..] = key else {
        return Err(damaged());
    };
    let state = match state {
        0 => IdState::Free,
        2 => IdState::Faulty,
        _ => return Err(damaged()),
    };
    let id = id.try_into().map_err(|_| damaged())?;
    match crc::checked(key, value) {
        Some([]) => Ok((state, u32::from_be_bytes(id))),
        _ => Err(damaged()),
    }
}
