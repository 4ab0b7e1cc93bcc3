//! Whether the device ids of a store add up: every id that was ever given out belongs to a device,
//! or is free, or is faulty, and only a faulty one may belong to a device as well.

use crate::format::bit_set::{bits, BitSet};
use crate::format::id_row::IdState;

/// What claims each id. Several threads can fill it at once.
pub(crate) struct IdLedger {
    owned: BitSet,
    free: BitSet,
    faulty: BitSet,
}

/// What claims one id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claims {
    /// A device has it.
    pub owned: bool,
    /// A row says that it is free.
    pub free: bool,
    /// A row says that it is faulty.
    pub faulty: bool,
}

impl IdLedger {
    /// A ledger of the ids up to `last`, none of which is claimed. Others are ignored.
    pub fn up_to(last: u32) -> IdLedger {
        IdLedger {
            owned: BitSet::up_to(last),
            free: BitSet::up_to(last),
            faulty: BitSet::up_to(last),
        }
    }

    /// Enters a device's id; false if another device has it.
    pub fn own(&self, id: u32) -> bool {
        self.owned.insert(id)
    }

    /// Enters the row of an id; false if it is in that state already.
    pub fn put(&self, state: IdState, id: u32) -> bool {
        match state {
            IdState::Free => self.free.insert(id),
            IdState::Faulty => self.faulty.insert(id),
        }
    }

    pub fn claims(&self, id: u32) -> Claims {
        Claims {
            owned: self.owned.contains(id),
            free: self.free.contains(id),
            faulty: self.faulty.contains(id),
        }
    }

    /// The ids from 1 to `last` that do not add up, in ascending order: those that nothing claims,
    /// and those that are free and claimed by something else as well.
    pub fn contradictions(&self, last: u32) -> impl Iterator<Item = (u32, Claims)> + '_ {
        let words = 0..=u64::from(last) / 64;
        let ids = words.flat_map(|at| {
            let [owned, free, faulty] =
                [&self.owned, &self.free, &self.faulty].map(|set| set.word(at));
            let wrong = free & (owned | faulty) | !(owned | free | faulty);
            bits(wrong).map(move |bit| (at * 64 + bit) as u32)
        });
        ids.filter(move |id| (1..=last).contains(id))
            .map(|id| (id, self.claims(id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every combination of claims, at ids on both sides of the ends of words, and up to a last id
    /// at each place in a word.
    #[test]
    fn contradictions_are_the_free_ids_of_others_and_those_of_nobody() {
        for last in [0, 1, 7, 62, 63, 64, 127, 200] {
            let ledger = IdLedger::up_to(last);
            let expected: Vec<u32> = (1..=last)
                .filter(|id| {
                    let claims = Claims {
                        owned: id % 2 == 1,
                        free: id / 2 % 2 == 1,
                        faulty: id / 4 % 2 == 1,
                    };
                    assert!(!claims.owned || ledger.own(*id) && !ledger.own(*id));
                    for (claimed, state) in [
                        (claims.free, IdState::Free),
                        (claims.faulty, IdState::Faulty),
                    ] {
                        assert!(!claimed || ledger.put(state, *id) && !ledger.put(state, *id));
                    }
                    assert_eq!(ledger.claims(*id), claims);
                    matches!(id % 8, 0 | 3 | 6 | 7)
                })
                .collect();
            let found: Vec<u32> = ledger.contradictions(last).map(|(id, _)| id).collect();
            assert_eq!(found, expected, "{last}");
        }
    }
}
