//! Rows of the journal, which are of several kinds: the identity of the pool, intents, removals.

use crate::device::check_name;
use crate::error::{Error, Result};
use crate::format::codec::{self, Bytes, MAX_INT_LEN};
use crate::format::header::Header;
use crate::format::table::Table;
use crate::format::{crc, digest};
use crate::journal::{Intent, IntentKind};
use crate::limits::{MAX_IDENTITY_LEN, MAX_NAME_LEN};

/// Version byte of the rows that this release writes.
const VERSION: u8 = 1;

/// The kind, a number and a position, both in big-endian order: rows are sorted by them.
pub(crate) type Key = [u8; 1 + 8 + 4];

/// No row's value is longer.
pub(crate) const MAX_LEN: usize = 1 + 5 * MAX_INT_LEN + MAX_NAME_LEN + crc::LEN;

const IDENTITY: u8 = 1;
const INTENT: u8 = 2;
const REMOVAL: u8 = 3;

/// A row, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JournalRow<'a> {
    /// The identity of the pool that the store belongs to.
    Identity(&'a [u8]),
    /// A change of the pool that has begun.
    Intent(IntentRow<'a>),
    /// A device that was removed, with its position among the removals of its commit.
    Removal {
        commit: u64,
        position: u32,
        device_id: u32,
        name: &'a [u8],
    },
}

/// See [`Intent`](crate::journal::Intent).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IntentRow<'a> {
    pub number: u64,
    pub commit: u64,
    pub kind: IntentKind,
    pub device_id: u32,
    pub transaction_id: u64,
    pub name: &'a [u8],
}

impl IntentRow<'_> {
    pub fn of(intent: &Intent) -> IntentRow<'_> {
        IntentRow {
            number: intent.number,
            commit: intent.commit,
            kind: intent.kind,
            device_id: intent.device_id,
            transaction_id: intent.transaction_id,
            name: &intent.name,
        }
    }

    pub fn to_owned(self) -> Intent {
        Intent {
            number: self.number,
            kind: self.kind,
            name: self.name.to_vec(),
            device_id: self.device_id,
            transaction_id: self.transaction_id,
            commit: self.commit,
        }
    }
}

impl<'a> JournalRow<'a> {
    pub fn key(&self) -> Key {
        match self {
            JournalRow::Identity(_) => identity_key(),
            JournalRow::Intent(intent) => intent_key(intent.number),
            JournalRow::Removal {
                commit, position, ..
            } => removal_key(*commit, *position),
        }
    }

    /// Encodes the row's value into `out`, which is emptied first.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<()> {
        const MAX: usize = MAX_LEN - 1 - crc::LEN;
        let (key, prefix) = (self.key(), [VERSION]);
        match *self {
            JournalRow::Identity(identity) => {
                codec::encode_row(&key, &prefix, &Bytes(identity), MAX, out)
            }
            JournalRow::Intent(intent) => {
                let IntentRow {
                    commit,
                    kind,
                    device_id,
                    transaction_id,
                    name,
                    ..
                } = intent;
                let fields = (commit, kind as u8, device_id, transaction_id, Bytes(name));
                codec::encode_row(&key, &prefix, &fields, MAX, out)
            }
            JournalRow::Removal {
                device_id, name, ..
            } => codec::encode_row(&key, &prefix, &(device_id, Bytes(name)), MAX, out),
        }
    }

    /// What in the row cannot be in a store with this header.
    pub fn contradiction(&self, header: &Header) -> Option<String> {
        let (commit, number) = (self.commit(), self.intent_number());
        if number > header.last_intent {
            let last = header.last_intent;
            return Some(format!("it is of intent {number}, and the last was {last}"));
        }
        (commit > header.commit).then(|| {
            let last = header.commit;
            format!("it was written by commit {commit}, and the last was {last}")
        })
    }

    /// The commit that has written it, 0 if that is not recorded.
    pub fn commit(&self) -> u64 {
        match self {
            JournalRow::Identity(_) => 0,
            JournalRow::Intent(intent) => intent.commit,
            JournalRow::Removal { commit, .. } => *commit,
        }
    }

    /// The number of the intent that it is, 0 if it is none.
    pub fn intent_number(&self) -> u64 {
        match self {
            JournalRow::Intent(intent) => intent.number,
            _ => 0,
        }
    }

    pub fn is_removal(&self) -> bool {
        matches!(self, JournalRow::Removal { .. })
    }

    /// Decodes a row, and refuses one that no store would write.
    pub fn decode(key: &[u8], value: &'a [u8]) -> Result<JournalRow<'a>> {
        decode(key, value).ok_or_else(|| {
            Error::corrupt(format!(
                "journal row \"{}\" does not decode",
                key.escape_ascii()
            ))
        })
    }
}

fn decode<'a>(key: &[u8], value: &'a [u8]) -> Option<JournalRow<'a>> {
    let [VERSION, fields @ ..] = crc::checked(key, value)? else {
        return None;
    };
    let (kind, number, position) = parts(key)?;
    let row = match kind {
        IDENTITY => {
            let Bytes(identity) = codec::decode(fields)?;
            JournalRow::Identity(identity)
        }
        INTENT => {
            let fields: (u64, u8, u32, u64, Bytes<'a>) = codec::decode(fields)?;
            let (commit, kind, device_id, transaction_id, Bytes(name)) = fields;
            JournalRow::Intent(IntentRow {
                number,
                commit,
                kind: IntentKind::from_number(kind.into())?,
                device_id,
                transaction_id,
                name,
            })
        }
        REMOVAL => {
            let (device_id, Bytes(name)): (u32, Bytes<'a>) = codec::decode(fields)?;
            JournalRow::Removal {
                commit: number,
                position,
                device_id,
                name,
            }
        }
        _ => return None,
    };
    let possible = match row {
        JournalRow::Identity(identity) => (1..=MAX_IDENTITY_LEN).contains(&identity.len()),
        JournalRow::Intent(IntentRow { name, .. }) | JournalRow::Removal { name, .. } => {
            check_name(name).is_ok()
        }
    };
    (possible && row.key() == key).then_some(row)
}

fn parts(key: &[u8]) -> Option<(u8, u64, u32)> {
    let (kind, rest) = key.split_first()?;
    let (number, position) = rest.split_first_chunk()?;
    let position = position.try_into().ok()?;
    Some((
        *kind,
        u64::from_be_bytes(*number),
        u32::from_be_bytes(position),
    ))
}

fn key(kind: u8, number: u64, position: u32) -> Key {
    let mut key = [kind; size_of::<Key>()];
    key[1..9].copy_from_slice(&number.to_be_bytes());
    key[9..].copy_from_slice(&position.to_be_bytes());
    key
}

pub(crate) fn identity_key() -> Key {
    key(IDENTITY, 0, 0)
}

pub(crate) fn intent_key(number: u64) -> Key {
    key(INTENT, number, 0)
}

/// The key of a removal; with position 0 also where those of a commit begin.
pub(crate) fn removal_key(commit: u64, position: u32) -> Key {
    key(REMOVAL, commit, position)
}

/// The hash that a row adds to the digest.
pub(crate) fn row_hash(key: &[u8], value: &[u8]) -> u128 {
    digest::row_hash(Table::Journal, key, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &[u8] = b"snap-\xff";

    fn rows() -> [JournalRow<'static>; 3] {
        let intent = IntentRow {
            number: 300,
            commit: 251,
            kind: IntentKind::Snapshot,
            device_id: 70_000,
            transaction_id: 9,
            name: NAME,
        };
        [
            JournalRow::Identity(b"\0pool"),
            JournalRow::Intent(intent),
            JournalRow::Removal {
                commit: 258,
                position: 1,
                device_id: 7,
                name: NAME,
            },
        ]
    }

    fn encoded(row: &JournalRow<'_>) -> Vec<u8> {
        let mut value = b"left from before".to_vec();
        row.encode(&mut value).unwrap();
        value
    }

    /// The layout that docs/design.md describes, byte by byte.
    #[test]
    fn layout_is_the_documented_one() {
        let [identity, intent, removal] = rows();
        let expected: [(JournalRow<'_>, &[u8], &[u8]); 3] = [
            (
                identity,
                &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                b"\x01\x05\0pool",
            ),
            (
                intent,
                &[2, 0, 0, 0, 0, 0, 0, 1, 0x2c, 0, 0, 0, 0],
                b"\x01\xfb\xfb\0\x02\xfc\x70\x11\x01\0\x09\x06snap-\xff",
            ),
            (
                removal,
                &[3, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 1],
                b"\x01\x07\x06snap-\xff",
            ),
        ];
        for (row, key, body) in expected {
            let sum = crc32c::crc32c(&[key, body].concat()).to_le_bytes();
            assert_eq!(row.key(), key);
            assert_eq!(encoded(&row), [body, &sum].concat());
            assert_eq!(JournalRow::decode(key, &encoded(&row)).unwrap(), row);
        }
    }

    #[test]
    fn flipped_bit_other_key_or_cut_is_an_error() {
        for row in rows() {
            let (key, value) = (row.key(), encoded(&row));
            for bit in 0..(key.len() + value.len()) * 8 {
                let (mut key, mut value) = (key, value.clone());
                let byte = match bit / 8 {
                    at if at < key.len() => &mut key[at],
                    at => &mut value[at - key.len()],
                };
                *byte ^= 1 << (bit % 8);
                assert!(JournalRow::decode(&key, &value).is_err(), "bit {bit}");
            }
            for len in 0..value.len() {
                assert!(JournalRow::decode(&key, &value[..len]).is_err());
            }
            for len in 0..key.len() {
                assert!(JournalRow::decode(&key[..len], &value).is_err());
            }
        }
    }

    #[test]
    fn nonsense_with_a_right_checksum_is_an_error() {
        let intent = |kind: u8, name: &[u8]| {
            let mut body = vec![VERSION, 1, kind, 1, 1, name.len() as u8];
            body.extend(name);
            body
        };
        let cases: [(Key, Vec<u8>); 11] = [
            (key(0, 0, 0), vec![VERSION, 1, b'x']),
            (key(4, 0, 0), vec![VERSION, 1, b'x']),
            (key(IDENTITY, 1, 0), vec![VERSION, 1, b'x']),
            (key(IDENTITY, 0, 0), vec![2, 1, b'x']),
            (key(IDENTITY, 0, 0), vec![VERSION, 0]),
            (key(IDENTITY, 0, 0), vec![VERSION, 1, b'x', b'x']),
            (key(INTENT, 1, 1), intent(1, b"n")),
            (key(INTENT, 1, 0), intent(0, b"n")),
            (key(INTENT, 1, 0), intent(4, b"n")),
            (key(INTENT, 1, 0), intent(1, b"a\0b")),
            (key(REMOVAL, 1, 0), vec![VERSION, 1, 0]),
        ];
        for (key, body) in cases {
            let value = [&body[..], &crc::checksum(&key, &body)].concat();
            let found = JournalRow::decode(&key, &value);
            assert!(matches!(found, Err(Error::Corrupt { .. })), "{found:?}");
        }
        let body = intent(1, b"n");
        let value = [&body[..], &crc::checksum(&intent_key(1), &body)].concat();
        assert!(JournalRow::decode(&intent_key(1), &value).is_ok());
    }

    #[test]
    fn longest_rows_fit() {
        let (name, identity) = ([b'n'; MAX_NAME_LEN], [0xff; MAX_IDENTITY_LEN]);
        let intent = IntentRow {
            number: u64::MAX,
            commit: u64::MAX,
            kind: IntentKind::Delete,
            device_id: u32::MAX,
            transaction_id: u64::MAX,
            name: &name,
        };
        for row in [JournalRow::Identity(&identity), JournalRow::Intent(intent)] {
            let value = encoded(&row);
            assert!(value.len() <= MAX_LEN);
            assert_eq!(JournalRow::decode(&row.key(), &value).unwrap(), row);
        }
    }

    /// A search of every page for records must not take a row of the journal for one: no device's
    /// name has a NUL, and these keys do.
    #[test]
    fn key_is_no_name_of_a_device() {
        for row in rows() {
            assert!(check_name(&row.key()).is_err());
        }
    }
}
