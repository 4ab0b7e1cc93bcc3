//! The header row: what every commit writes beside its rows, and what tells this project's files
//! from others.

use bincode::config;
use serde::Deserialize;

use crate::format::{record, varint};
use crate::limits::MAX_DEVICE_ID;

/// Key of the header row in the unnamed database.
pub(crate) const KEY: &[u8] = b"header";

/// First bytes of the header row: whose file this is.
const MAGIC: &[u8; 8] = b"poolmeta";

/// Format version that this release writes, and the newest that it reads.
pub(crate) const FORMAT: u16 = 1;

/// Most bytes that a row takes: what it begins with, five numbers, the digest and the checksum.
const MOST: usize = 8 + 2 + 5 * varint::MOST + varint::MOST_WIDE + 4;

/// The store as a whole, as of one commit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct Header {
    /// Number of the commit that wrote this row; the records it wrote carry the same.
    pub commit: u64,
    /// Device ids 1 to this one have been given out at some time.
    pub last_id: u32,
    /// Rows in `devices`.
    pub devices: u32,
    /// Ids in state free.
    pub free_ids: u32,
    /// Ids in state faulty.
    pub faulty_ids: u32,
    /// Running digest of all rows of `devices` and `ids`.
    pub digest: u128,
}

/// What a header row turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// A header of a known format.
    Known(Header),
    /// A header of a format that this release does not know.
    Newer(u16),
    /// Not a header row of this project.
    Foreign,
    /// A header row of this project that is damaged.
    Damaged,
}

impl Header {
    /// The row's value, put into `out`, which is emptied first.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        out.reserve(MOST);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        varint::put(out, self.commit);
        for count in [self.last_id, self.devices, self.free_ids, self.faulty_ids] {
            varint::put(out, count.into());
        }
        varint::put_wide(out, self.digest);
        let sum = record::checksum(KEY, out);
        out.extend_from_slice(&sum);
    }

    /// Reads the row's value. The format version is looked at before anything that it could change.
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
        let Some(body) = record::checked(KEY, value) else {
            return Parsed::Damaged;
        };
        match u16::from_le_bytes(*format) {
            FORMAT => {}
            0 => return Parsed::Damaged,
            newer => return Parsed::Newer(newer),
        }
        let fields = &body[MAGIC.len() + 2..];
        match bincode::serde::decode_from_slice::<Header, _>(fields, config::standard()) {
            Ok((header, used)) if used == fields.len() => Parsed::Known(header),
            _ => Parsed::Damaged,
        }
    }

    /// Ids that belong to a device and are not faulty.
    pub fn taken_ids(&self) -> u32 {
        self.last_id
            .saturating_sub(self.free_ids)
            .saturating_sub(self.faulty_ids)
    }
}

pub(crate) const DAMAGED_HEADER: &str = "its header row is damaged";

/// A header row of a format that is known, with numbers that can be.
pub(crate) fn parse_header(row: &[u8]) -> Option<Header> {
    match Header::parse(row) {
        Parsed::Known(header) if header.last_id <= MAX_DEVICE_ID => Some(header),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(header: &Header) -> Vec<u8> {
        let mut bytes = b"left from before".to_vec();
        header.encode(&mut bytes);
        bytes
    }

    #[test]
    fn it_writes_what_bincode_writes() {
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
            };
            let bytes = encoded(&header);
            let fields = &bytes[MAGIC.len() + 2..bytes.len() - 4];
            let expected = bincode::serde::encode_to_vec(&header, config::standard()).unwrap();
            assert_eq!(fields, expected, "{header:?}");
            assert!(bytes.len() <= MOST);
            assert_eq!(Header::parse(&bytes), Parsed::Known(header));
        }
    }

    #[test]
    fn a_header_comes_back_and_every_flipped_bit_shows() {
        let header = Header {
            commit: 9,
            last_id: 5,
            devices: 3,
            free_ids: 1,
            faulty_ids: 1,
            digest: 1 << 100,
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
    fn a_newer_format_is_told_from_damage() {
        let mut bytes = encoded(&Header::default());
        bytes[8] = 2;
        assert_eq!(
            Header::parse(&bytes),
            Parsed::Damaged,
            "the checksum does not hold"
        );
        let end = bytes.len() - 4;
        let sum = record::checksum(KEY, &bytes[..end]);
        bytes[end..].copy_from_slice(&sum);
        assert_eq!(Header::parse(&bytes), Parsed::Newer(2));
    }
}
