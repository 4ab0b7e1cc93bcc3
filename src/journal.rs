//! What a store keeps in its journal beside the devices.

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

/// What is kept of a journal in a new store.
#[derive(Clone, Debug, Default)]
pub(crate) struct JournalContent {
    /// Identity of the pool, empty for none.
    pub identity: Vec<u8>,
    /// What had begun.
    pub intents: Vec<Intent>,
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
