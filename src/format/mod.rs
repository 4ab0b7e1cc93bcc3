//! Bytes and the values that they stand for: records, the header row, id rows. Knows no file.

pub(crate) mod crc;
pub(crate) mod digest;
pub(crate) mod header;
pub(crate) mod id_row;
pub(crate) mod record;
pub(crate) mod table;
pub(crate) mod varint;
