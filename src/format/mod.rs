//! The file format: records, the header row, id rows and journal rows as bytes and as values. It
//! knows no file.

pub(crate) mod bit_set;
pub(crate) mod codec;
pub(crate) mod crc;
pub(crate) mod digest;
pub(crate) mod header;
pub(crate) mod id_ledger;
pub(crate) mod id_row;
pub(crate) mod journal_row;
pub(crate) mod record;
mod record_v1;
pub(crate) mod table;
