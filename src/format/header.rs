//! The header row. Every commit writes it beside its rows, and it distinguishes this project's
//! files from others.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::format::codec::{self, MAX_INT_LEN, MAX_WIDE_INT_LEN};
use crate::format::crc;
use crate::format::table::Table;
use crate::limits::MAX_DEVICE_ID;

/// Key of the header row in the unnamed database.
pub(crate) const KEY: &[u8] = b"header";

/// First bytes of the header row, which say whose file this is.
const MAGIC: &[u8; 8] = b"poolmeta";

/// Format version that this release writes, and the newest that it reads.
pub(crate) const FORMAT: u16 = 2;

/// What the row's value begins with: the magic bytes and the format version.
const PREFIX: &[u8; 10] = b"poolmeta\x02\x00";

/// The longest encoding of a [`Header`]: nine integers and the digest.
const MAX_LEN: usize = 9 * MAX_INT_LEN + MAX_WIDE_INT_LEN;

/// The store as a whole, as of one commit. The fields stand in the row in this order, in bincode's
/// encoding, behind the magic bytes and the format version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// Number of the commit that wrote this row; the records it wrote carry the same.
    pub commit: u64,
    /// Every device id from 1 to this one was given out at some time.
    pub last_id: u32,
    /// Rows in `devices`.
    pub devices: u32,
    /// Ids in state free.
    pub free_ids: u32,
    /// Ids in state faulty.
    pub faulty_ids: u32,
    /// Running digest of all rows of all tables.
    pub digest: u128,
    /// Rows in `journal`.
    pub journal_rows: u32,
    /// Rows in `journal` that are removals.
    pub removals: u32,
    /// All removals by commits after this one are in `journal`.
    pub removals_since: u64,
    /// Number of the last intent that was begun.
    pub last_intent: u64,
}

/// The fields of a header row of format 1, whose stores have no journal.
#[derive(Deserialize)]
struct HeaderV1 {
    commit: u64,
    last_id: u32,
    devices: u32,
    free_ids: u32,
    faulty_ids: u32,
    digest: u128,
}

impl From<HeaderV1> for Header {
    fn from(old: HeaderV1) -> Header {
        Header {
            commit: old.commit,
            last_id: old.last_id,
            devices: old.devices,
            free_ids: old.free_ids,
            faulty_ids: old.faulty_ids,
            digest: old.digest,
            removals_since: old.commit,
            ..Header::default()
        }
    }
}

/// The result of parsing a header row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// A header of the format that this release writes.
    Known(Header),
    /// A header of an older format.
    Older(Header),
    /// A header of a format that this release does not know.
    Newer(u16),
    /// Not a header row of this project.
    Foreign,
    /// A header row of this project that is damaged.
    Damaged,
}

impl Header {
    /// Encodes the row's value into `out`, which is emptied first.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<()> {
        codec::encode_row(KEY, PREFIX, self, MAX_LEN, out)
    }

    /// Decodes the row's value. The format version is read before anything that it could change.
    pub fn parse(value: &[u8]) -> Parsed {
        let Some((magic, rest)) = value.split_first_chunk::<8>() else {
            return Parsed::Foreign;
        };
        if magic != MAGIC {
            return Parsed::Foreign;
        }
        let Some((format, _)) = rest.split_first_chunk::<2>() else {
            return Parsed::Damaged;
        };
        let Some(body) = crc::checked(KEY, value) else {
            return Parsed::Damaged;
        };
        let fields = &body[PREFIX.len()..];
        match u16::from_le_bytes(*format) {
            FORMAT => codec::decode(fields).map_or(Parsed::Damaged, Parsed::Known),
            1 => codec::decode::<HeaderV1>(fields)
                .map_or(Parsed::Damaged, |old| Parsed::Older(old.into())),
            0 => Parsed::Damaged,
            newer => Parsed::Newer(newer),
        }
    }

    /// The number of rows in a table.
    pub fn rows(&self, table: Table) -> u64 {
        match table {
            Table::Devices => self.devices.into(),
            Table::Ids => u64::from(self.free_ids) + u64::from(self.faulty_ids),
            Table::Journal => self.journal_rows.into(),
        }
    }

    /// Ids that belong to a device and are not faulty.
    pub fn taken_ids(&self) -> u32 {
        self.last_id
            .saturating_sub(self.free_ids)
            .saturating_sub(self.faulty_ids)
    }
}

impl Parsed {
    /// The header, of whatever format that this release reads.
    pub fn header(self) -> Option<Header> {
        match self {
            Parsed::Known(header) | Parsed::Older(header) => Some(header),
            Parsed::Newer(_) | Parsed::Foreign | Parsed::Damaged => None,
        }
    }
}

pub(crate) const DAMAGED_HEADER: &str = "its header row is damaged";

/// The header, if the row is of a known format and its numbers are possible.
pub(crate) fn parse_header(row: &[u8]) -> Option<Header> {
    let header = Header::parse(row).header()?;
    (header.last_id <= MAX_DEVICE_ID).then_some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(header: &Header) -> Vec<u8> {
        let mut bytes = b"left from before".to_vec();
        header.encode(&mut bytes).unwrap();
        bytes
    }

    /// The layout that docs/design.md describes, byte by byte.
    #[test]
    fn layout_is_the_documented_one() {
        let header = Header {
            commit: 300,
            last_id: 70_000,
            devices: 250,
            free_ids: 251,
            faulty_ids: 0,
            digest: 1 << 64,
            journal_rows: 7,
            removals: 5,
            removals_since: 299,
            last_intent: 9,
        };
        let mut expected = b"poolmeta\x02\x00".to_vec();
        expected.extend([251, 0x2c, 0x01]); // commit 300
        expected.extend([252, 0x70, 0x11, 0x01, 0x00]); // last id 70000
        expected.extend([250, 251, 251, 0, 0]); // 250 devices, 251 free and no faulty ids
        expected.extend([254, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]); // digest
        expected.extend([7, 5]); // 7 journal rows, 5 of them removals
        expected.extend([251, 0x2b, 0x01, 9]); // removals since commit 299, last intent 9
        let sum = crc32c::crc32c(&[KEY, &expected].concat());
        expected.extend(sum.to_le_bytes());
        assert_eq!(encoded(&header), expected);
        assert_eq!(Header::parse(&expected), Parsed::Known(header));
    }

    /// The layout of format 1, in which release 0.1.0 wrote the row.
    #[test]
    fn header_of_format_1_is_an_older_one() {
        let mut row = b"poolmeta\x01\x00".to_vec();
        row.extend([251, 0x2c, 0x01, 9, 8, 1, 0, 7]);
        row.extend(crc::checksum(KEY, &row));
        let header = Header {
            commit: 300,
            last_id: 9,
            devices: 8,
            free_ids: 1,
            faulty_ids: 0,
            digest: 7,
            journal_rows: 0,
            removals: 0,
            removals_since: 300,
            last_intent: 0,
        };
        assert_eq!(Header::parse(&row), Parsed::Older(header.clone()));
        assert_eq!(parse_header(&row), Some(header));
    }

    #[test]
    fn prefix_is_the_magic_bytes_and_the_format_version() {
        let expected = [&MAGIC[..], &FORMAT.to_le_bytes()].concat();
        assert_eq!(PREFIX[..], expected);
    }

    #[test]
    fn header_with_numbers_of_every_width_comes_back() {
        for bits in 0..=128_u32 {
            let digest = 1_u128.checked_shl(bits).unwrap_or(0).wrapping_sub(1);
            let (wide, narrow) = (digest as u64, digest as u32);
            let header = Header {
                commit: wide,
                last_id: narrow,
                devices: narrow / 2,
                free_ids: narrow / 3,
                faulty_ids: narrow / 4,
                digest,
                journal_rows: narrow / 5,
                removals: narrow / 6,
                removals_since: wide / 7,
                last_intent: wide / 8,
            };
            assert_eq!(Header::parse(&encoded(&header)), Parsed::Known(header));
        }
    }

    #[test]
    fn flipped_bit_or_cut_is_no_known_header() {
        let header = Header {
            commit: 9,
            last_id: 5,
            devices: 3,
            free_ids: 1,
            faulty_ids: 1,
            digest: 1 << 100,
            ..Header::default()
        };
        let bytes = encoded(&header);
        assert_eq!(Header::parse(&bytes), Parsed::Known(header));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(
                !matches!(Header::parse(&bad), Parsed::Known(_)),
                "bit {bit}"
            );
        }
        for len in 0..bytes.len() {
            assert!(!matches!(Header::parse(&bytes[..len]), Parsed::Known(_)));
        }
    }

    #[test]
    fn newer_format_is_not_damage() {
        let mut bytes = encoded(&Header::default());
        bytes[8] = 3;
        assert_eq!(
            Header::parse(&bytes),
            Parsed::Damaged,
            "the checksum does not hold"
        );
        let end = bytes.len() - 4;
        let sum = crc::checksum(KEY, &bytes[..end]);
        bytes[end..].copy_from_slice(&sum);
        assert_eq!(Header::parse(&bytes), Parsed::Newer(3));
    }
}
