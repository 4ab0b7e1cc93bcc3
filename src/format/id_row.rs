//! Rows of the table of ids: only ids that are free or faulty have one.

use crate::error::{Error, Result};
use crate::format::table::Table;
use crate::format::{digest, record};

/// State of an id that is not simply taken. The numbers are part of the file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum IdState {
    /// Given back by a removed device.
    Free = 0,
    /// Not to be given out again: what the pool holds under it is not known.
    Faulty = 2,
}

const KEY_LEN: usize = 5;

/// State, then the id big-endian: rows are in order of state and number.
pub(crate) fn key(state: IdState, id: u32) -> [u8; KEY_LEN] {
    let [a, b, c, d] = id.to_be_bytes();
    [state as u8, a, b, c, d]
}

/// The row that says that an id is in that state.
pub(crate) fn row(state: IdState, id: u32) -> ([u8; KEY_LEN], [u8; 4]) {
    let key = key(state, id);
    (key, record::checksum(&key, b""))
}

/// That row's share of the digest.
pub(crate) fn share(state: IdState, id: u32) -> u128 {
    let (key, value) = row(state, id);
    digest::row(Table::Ids, &key, &value)
}

/// Reads a row: its value is the key's checksum.
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
    match record::checked(key, value) {
        Some([]) => Ok((state, u32::from_be_bytes(id))),
        _ => Err(damaged()),
    }
}
