//! The flush mark: which commit is known to be on the disk. It stands in a part of the meta pages
//! that LMDB neither reads nor writes.
//!
//! A commit is written with one flush, of its pages and its meta page together, so a power cut can
//! leave the meta page of a commit whose other pages are old in part. Once the flush has succeeded,
//! the mark is written to the meta page that the next commit overwrites, and is not flushed itself.
//! So it can be missing, or be of an earlier commit, and never names one that was not flushed.

use crate::format::crc;
use crate::verify::bytes::{u32_at, u64_at};

/// Where the mark stands in a meta page: behind LMDB's fields, in the same sector.
pub(crate) const AT: usize = 160;
/// Bytes of a mark: what it is, its checksum, three numbers.
pub(crate) const LEN: usize = 32;

/// What a mark begins with: "pmfl".
const MAGIC: u32 = u32::from_le_bytes(*b"pmfl");
/// The bit of the second number that says that commits are deferred. No commit's number is so high.
const DEFERRING: u64 = 1 << 63;
/// Where the numbers stand in a mark.
pub(crate) const BODY_AT: usize = 8;

/// What is known of the newest commits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FlushMark {
    /// LMDB's number of a commit that is on the disk, as all before it are.
    pub flushed: u64,
    /// LMDB's number of the commit after it, if a flush of that has failed; 0 if none has. Either
    /// it was undone: until the next commit, which gets its number, reads of it may still be
    /// running. Or it is in force, and the disk may not have all of it.
    pub failed: u64,
    /// How many numbers the header row of the commit `failed` leaves out: one for each of that
    /// commit's predecessors that were undone. Their pages may be on the disk, and the next one of
    /// that number gets the same places, so without this a power cut could put one of them
    /// together again.
    pub skipped: u64,
    /// Whether commits are deferred: the file has anchors, and a commit after `flushed` that was
    /// not undone need not be on the disk.
    pub deferring: bool,
    /// Number of the process that defers them, which keeps the pages of the anchors by pins; 0 if
    /// none is known to, as after a failed flush.
    pub process: i64,
}

impl FlushMark {
    /// The mark of a commit that was flushed.
    #[inline]
    pub fn of(flushed: u64) -> FlushMark {
        FlushMark {
            flushed,
            ..FlushMark::default()
        }
    }

    #[inline]
    pub fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[BODY_AT..][..8].copy_from_slice(&self.flushed.to_le_bytes());
        let deferring = if self.deferring { DEFERRING } else { 0 };
        bytes[BODY_AT + 8..][..8].copy_from_slice(&(self.failed | deferring).to_le_bytes());
        let last = match self.failed {
            0 => self.process.cast_unsigned(),
            _ => self.skipped,
        };
        bytes[BODY_AT + 16..].copy_from_slice(&last.to_le_bytes());
        let sum = crc::checksum(&[], &bytes[BODY_AT..]);
        bytes[4..BODY_AT].copy_from_slice(&sum);
        bytes
    }

    /// The mark for a commit that could not be flushed: the one before it was.
    pub fn of_failed(failed: u64, skipped: u64) -> FlushMark {
        FlushMark {
            flushed: failed - 1,
            failed,
            skipped,
            ..FlushMark::default()
        }
    }

    /// Where in a file the mark belongs: in the meta page that the commit after it writes.
    pub fn offset(&self, page_size: u64) -> u64 {
        (self.flushed + 1) % 2 * page_size + AT as u64
    }

    /// Puts the mark into the bytes of a file.
    pub fn put(&self, file: &mut [u8], page_size: u64) {
        let at = self.offset(page_size) as usize;
        file[at..at + LEN].copy_from_slice(&self.encode());
    }

    /// The mark at the beginning of `bytes`, if there is one.
    pub fn parse(bytes: &[u8]) -> Option<FlushMark> {
        let bytes = bytes.first_chunk::<LEN>()?;
        let body = &bytes[BODY_AT..];
        let whole = u32_at(bytes, 0) == MAGIC && bytes[4..BODY_AT] == crc::checksum(&[], body);
        let [flushed, failed, last] = [0, 8, 16].map(|at| u64_at(body, at));
        let deferring = failed & DEFERRING != 0;
        let failed = failed & !DEFERRING;
        let (skipped, process) = match failed {
            0 => (0, last.cast_signed()),
            _ => (last, 0),
        };
        whole.then_some(FlushMark {
            flushed,
            failed,
            skipped,
            deferring,
            process,
        })
    }

    /// The newer of the marks in the two meta pages, of which the beginnings are given.
    pub fn newest(first: &[u8], second: &[u8]) -> FlushMark {
        let mark = |page: &[u8]| page.get(AT..).and_then(FlushMark::parse);
        let marks = [mark(first), mark(second)].into_iter().flatten();
        let newest = marks.max_by_key(|mark| (mark.flushed, mark.failed));
        newest.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mark_comes_back_and_one_with_a_flipped_bit_is_none() {
        let failed = FlushMark {
            flushed: 300,
            failed: 301,
            skipped: 2,
            deferring: true,
            process: 0,
        };
        let deferring = FlushMark {
            deferring: true,
            process: i64::MAX,
            ..FlushMark::of(300)
        };
        for mark in [failed, deferring] {
            let bytes = mark.encode();
            assert_eq!(FlushMark::parse(&bytes), Some(mark));
            for bit in 0..LEN * 8 {
                let mut bad = bytes;
                bad[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(FlushMark::parse(&bad), None, "bit {bit}");
            }
        }
        let bytes = deferring.encode();
        assert_eq!(FlushMark::parse(&bytes[1..]), None);
        assert_eq!(FlushMark::parse(&[0; LEN]), None);
    }

    #[test]
    fn newest_mark_counts_and_a_meta_page_without_one_says_nothing() {
        let page = |flushed| {
            let mut page = [0; AT + LEN];
            page[AT..].copy_from_slice(&FlushMark::of(flushed).encode());
            page
        };
        let none = FlushMark::default();
        assert_eq!(FlushMark::newest(&[0; AT + LEN], &[]), none);
        for (first, second) in [(7, 6), (6, 7)] {
            let newest = FlushMark::newest(&page(first), &page(second));
            assert_eq!(newest, FlushMark::of(7));
        }
        assert_eq!(
            FlushMark::newest(&[0; AT + LEN], &page(3)),
            FlushMark::of(3)
        );
    }
}
