//! Which pages have been reached: a bit a page, in pieces that are made when they are needed, so
//! that a file that claims to be huge costs no more memory than what it really holds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::OnceLock;

/// Pages whose bits are in one piece: 32 KiB of memory for 1 GiB of pages of 4 KiB.
const PIECE: u64 = 1 << 18;

/// A set of pages, filled by several threads at once.
pub(crate) struct PageSet {
    pieces: Vec<OnceLock<Box<[AtomicU64]>>>,
    last: u64,
}

impl PageSet {
    /// An empty set for pages up to `last`.
    pub fn up_to(last: u64) -> PageSet {
        PageSet {
            pieces: (0..=last / PIECE).map(|_| OnceLock::new()).collect(),
            last,
        }
    }

    /// Adds `page`; false if it was there, or if there is no such page.
    pub fn insert(&self, page: u64) -> bool {
        if page > self.last {
            return false;
        }
        let start = page - page % PIECE;
        let words = (self.last - start).min(PIECE - 1) / 64 + 1;
        let piece = self.pieces[(page / PIECE) as usize]
            .get_or_init(|| (0..words).map(|_| AtomicU64::new(0)).collect());
        let bit = 1 << (page % 64);
        // Nothing else is told by a bit than that it was set.
        piece[(page - start) as usize / 64].fetch_or(bit, Ordering::Relaxed) & bit == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_is_new_once() {
        let last = 2 * PIECE + 70;
        let set = PageSet::up_to(last);
        let pages = [0, 1, 63, 64, PIECE - 1, PIECE, 2 * PIECE, last - 1, last];
        for page in pages {
            assert!(set.insert(page), "{page}");
        }
        for page in pages {
            assert!(!set.insert(page), "{page}");
        }
        assert!(set.insert(2) && !set.insert(last + 1) && !set.insert(u64::MAX));
    }

    #[test]
    fn a_huge_file_costs_little_until_it_is_reached() {
        let set = PageSet::up_to((1 << 47) / 4096);
        assert!(set.insert(1 << 34));
        assert_eq!(
            set.pieces
                .iter()
                .filter(|piece| piece.get().is_some())
                .count(),
            1
        );
    }
}
