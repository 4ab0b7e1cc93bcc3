//! What a store keeps in its journal beside the devices: changes of the pool that have begun, and
//! the devices that were removed.

use std::fmt;

/// What a change of the pool does there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum IntentKind {
    /// It creates a thin device (`create_thin`).
    Create = 1,
    /// It creates a snapshot (`create_snap`).
    Snapshot = 2,
    /// It deletes a thin device (`delete`).
    Delete = 3,
}

impl IntentKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [IntentKind; 3] = [IntentKind::Create, IntentKind::Snapshot, IntentKind::Delete];

    /// The kind with this number, or `None` for a number that is not a kind's.
    pub fn from_number(number: i64) -> Option<IntentKind> {
        let mut kinds = IntentKind::ALL.into_iter();
        kinds.find(|kind| *kind as i64 == number)
    }
}

impl fmt::Display for IntentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IntentKind::Create => "create",
            IntentKind::Snapshot => "snapshot",
            IntentKind::Delete => "delete",
        })
    }
}

/// A change of the pool that has begun and is not known to have ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Number of the intent, from 1; no two intents of a store have the same.
    pub number: u64,
    /// What the change does in the pool.
    pub kind: IntentKind,
    /// Name of the device that it is about, which need not be in the store.
    pub name: Vec<u8>,
    /// Device id in the pool.
    pub device_id: u32,
    /// The pool's transaction id when the change began, as the caller gave it.
    pub transaction_id: u64,
    /// The commit that has written the intent.
    pub commit: u64,
}

impl Intent {
    /// An intent to be begun: its number and commit are the store's to set.
    pub fn new(
        kind: IntentKind,
        name: impl Into<Vec<u8>>,
        device_id: u32,
        transaction_id: u64,
    ) -> Intent {
        Intent {
            number: 0,
            kind,
            name: name.into(),
            device_id,
            transaction_id,
            commit: 0,
        }
    }
}

/// A device that was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removal {
    /// Name of the device. A device of that name may have been added since.
    pub name: Vec<u8>,
    /// Device id that it had.
    pub device_id: u32,
    /// The commit that has removed it.
    pub commit: u64,
}

/// The devices that were removed since a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removals {
    /// In the order of their commits.
    pub removed: Vec<Removal>,
    /// Whether these are all. The store remembers the last 4096 removals.
    pub complete: bool,
    /// The newest commit that was looked at.
    pub commit: u64,
}

/// What the journal of a new store has.
#[derive(Clone, Debug, Default)]
pub(crate) struct JournalContent {
    /// Identity of the pool, if it is known.
    pub identity: Option<Vec<u8>>,
    /// What had begun. Where the number is 0, the store chooses it.
    pub intents: Vec<Intent>,
}

impl JournalContent {
    /// The identity and the intents of another store. That one's numbers mean nothing in this one.
    pub fn new(identity: Option<&[u8]>, intents: &[Intent]) -> JournalContent {
        let intents = intents.iter().cloned();
        JournalContent {
            identity: identity.map(<[u8]>::to_vec),
            intents: intents.map(|i| Intent { number: 0, ..i }).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_has_its_number_and_no_other_number_is_a_kind() {
        for (number, kind) in (1..).zip(IntentKind::ALL) {
            assert_eq!(IntentKind::from_number(number), Some(kind));
        }
        for number in [i64::MIN, -1, 0, 4, 257, i64::MAX] {
            assert_eq!(IntentKind::from_number(number), None);
        }
    }
}
