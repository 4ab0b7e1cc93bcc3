//! A set of numbers up to a limit, one bit each, that several threads can fill at once: the pages
//! of a file, or the device ids of a store.
//!
//! The bits are allocated in pieces when they are first needed, so that a file that claims to be
//! huge costs no more memory than what it really holds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::OnceLock;

/// Bits in one piece: 32 KiB of memory, which is 1 GiB of pages of 4 KiB.
const PIECE: u64 = 1 << 18;

pub(crate) struct BitSet {
    pieces: Vec<OnceLock<Box<[AtomicU64]>>>,
    last: u64,
}

impl BitSet {
    /// An empty set for numbers up to `last`.
    pub fn up_to(last: impl Into<u64>) -> BitSet {
        let last = last.into();
        BitSet {
            pieces: (0..=last / PIECE).map(|_| OnceLock::new()).collect(),
            last,
        }
    }

    /// Adds `number`; false if the set has it already, or if it is beyond the limit.
    pub fn insert(&self, number: impl Into<u64>) -> bool {
        let number = number.into();
        if number > self.last {
            return false;
        }
        let start = number - number % PIECE;
        let words = (self.last - start).min(PIECE - 1) / 64 + 1;
        let piece = self.pieces[(number / PIECE) as usize]
            .get_or_init(|| (0..words).map(|_| AtomicU64::new(0)).collect());
        let bit = 1 << (number % 64);
        // A bit orders no other memory access: relaxed is enough.
        piece[(number - start) as usize / 64].fetch_or(bit, Ordering::Relaxed) & bit == 0
    }

    pub fn contains(&self, number: impl Into<u64>) -> bool {
        let number = number.into();
        self.word(number / 64) & 1 << (number % 64) != 0
    }

    /// The bits of the 64 numbers from `64 * at` on.
    pub fn word(&self, at: u64) -> u64 {
        const WORDS: u64 = PIECE / 64;
        let piece = self.pieces.get((at / WORDS) as usize);
        let words = piece.and_then(OnceLock::get);
        let word = words.and_then(|words| words.get((at % WORDS) as usize));
        word.map_or(0, |word| word.load(Ordering::Relaxed))
    }

    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Its numbers in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        (0..=self.last / 64).flat_map(|at| bits(self.word(at)).map(move |bit| at * 64 + bit))
    }
}

/// The numbers of the bits that are set, in ascending order.
pub(crate) fn bits(mut word: u64) -> impl Iterator<Item = u64> {
    std::iter::from_fn(move || {
        let bit = word.trailing_zeros();
        word &= word.wrapping_sub(1);
        (bit < 64).then_some(bit.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inserted_numbers_come_out_in_order() {
        let last = 2 * PIECE + 70;
        let set = BitSet::up_to(last);
        assert!(set.is_empty() && !set.contains(0_u64) && !set.contains(u64::MAX));
        let numbers = [0, 1, 63, 64, PIECE - 1, PIECE, 2 * PIECE, last - 1, last];
        for number in numbers.into_iter().rev() {
            assert!(set.insert(number) && !set.insert(number) && set.contains(number));
        }
        assert!(!set.contains(2_u64) && !set.is_empty());
        assert_eq!(set.iter().collect::<Vec<_>>(), numbers);
    }

    #[test]
    fn number_beyond_the_limit_is_not_inserted() {
        for last in [0, 70, PIECE - 1, PIECE] {
            let set = BitSet::up_to(last);
            assert!(set.insert(last));
            for beyond in [last + 1, last + 200, u64::MAX] {
                assert!(
                    !set.insert(beyond) && !set.contains(beyond),
                    "{last} {beyond}"
                );
            }
            assert_eq!(set.iter().collect::<Vec<_>>(), [last]);
        }
    }

    #[test]
    fn huge_set_allocates_only_what_is_inserted() {
        let set = BitSet::up_to((1_u64 << 47) / 4096);
        assert!(set.insert(1_u64 << 34));
        let pieces = set.pieces.iter().filter(|piece| piece.get().is_some());
        assert_eq!(pieces.count(), 1);
    }
}
