//! The lengths and the order of a tree's keys, and the span between two of them.

use std::cmp::Ordering;

use crate::verify::bytes::u64_at;
use crate::verify::page;
use crate::verify::violation::Kind;

/// The keys of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// 1 to 511 bytes, in the order of bytes.
    Bytes,
    /// Numbers of commits.
    Numbers,
}

impl Keys {
    #[inline]
    pub fn check_len(self, node: usize, key: &[u8]) -> Result<(), Kind> {
        let len = key.len();
        let fits = match self {
            Keys::Bytes => (1..=page::MAX_KEY).contains(&len),
            Keys::Numbers => len == 8,
        };
        fits.then_some(()).ok_or(Kind::KeyLength { node, len })
    }

    /// The first key of a branch page, which is never compared, may be anything, also empty, that
    /// takes no more space than a key: LMDB counts on that when it splits the page.
    pub fn check_first_len(self, key: &[u8]) -> Result<(), Kind> {
        let most = match self {
            Keys::Bytes => page::MAX_KEY,
            Keys::Numbers => 8,
        };
        let (node, len) = (0, key.len());
        (len <= most)
            .then_some(())
            .ok_or(Kind::KeyLength { node, len })
    }

    #[inline]
    pub fn compare(self, a: &[u8], b: &[u8]) -> Ordering {
        match self {
            Keys::Bytes => a.cmp(b),
            Keys::Numbers => u64_at(a, 0).cmp(&u64_at(b, 0)),
        }
    }
}

/// The bounds of the keys under a page: from `low` to less than `high`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Span {
    pub low: Option<Vec<u8>>,
    pub high: Option<Vec<u8>>,
}
