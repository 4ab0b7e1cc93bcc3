//! The announcement: what the header row of a commit will say, noted in the sector of its meta page
//! before LMDB writes that.
//!
//! A power cut can leave all pages of a commit on the disk and not its meta page. Nothing shows it,
//! and the next commit gets its number and its places. A second power cut could so leave the meta
//! page of the next one and the pages of the former. What the sector says beside the meta page, and
//! those pages do not, shows that.

use crate::format::crc;
use crate::verify::bytes::{u32_at, u64_at};
use crate::verify::flush_mark;
use crate::verify::meta::{Meta, Metas};

/// Where it stands in a meta page: behind the flush mark, in the same sector.
pub(crate) const AT: usize = flush_mark::AT + flush_mark::LEN;
/// Bytes of it: what it is, its checksum, the commit's number, the digest.
pub(crate) const LEN: usize = DIGEST_AT + 16;
/// Where in it the number of the commit stands.
pub(crate) const COMMIT_AT: usize = 8;
const DIGEST_AT: usize = COMMIT_AT + 8;
/// What it begins with: "pmnx".
const MAGIC: u32 = u32::from_le_bytes(*b"pmnx");
const _: () = assert!(AT + LEN <= 512);

/// What the header row of a commit says, beside the header row before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    /// How many numbers it leaves out, as the flush mark says.
    pub skipped: u64,
    /// Its digest, if that was announced.
    pub digest: Option<u128>,
}

/// The announcement of a commit of this number, whose header row has this digest.
pub(crate) fn encode(commit: u64, digest: u128) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
    bytes[COMMIT_AT..DIGEST_AT].copy_from_slice(&commit.to_le_bytes());
    bytes[DIGEST_AT..].copy_from_slice(&digest.to_le_bytes());
    let sum = crc::checksum(&[], &bytes[COMMIT_AT..]);
    bytes[4..COMMIT_AT].copy_from_slice(&sum);
    bytes
}

/// The digest that was announced of a commit, in the beginning of its meta page.
fn parse(page: &[u8], commit: u64) -> Option<u128> {
    let bytes = page.get(AT..AT + LEN)?;
    let sum = crc::checksum(&[], &bytes[COMMIT_AT..]);
    let whole = u32_at(bytes, 0) == MAGIC && bytes[4..COMMIT_AT] == sum;
    let digest = bytes[DIGEST_AT..].try_into().ok()?;
    (whole && u64_at(bytes, COMMIT_AT) == commit).then(|| u128::from_le_bytes(digest))
}

/// Where in a file the announcement of a commit stands: in the meta page that it writes.
pub(crate) fn offset(commit: u64, page_size: u64) -> u64 {
    Meta::home(commit) as u64 * page_size + AT as u64
}

impl Metas {
    /// What the sector of a commit's meta page says of its header row.
    pub fn expected(&self, commit: u64) -> Expected {
        let page = [&self.first, &self.second][Meta::home(commit)];
        Expected {
            skipped: self.skipped(commit),
            digest: parse(page, commit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcement_comes_back_for_its_commit_and_not_with_a_flipped_bit() {
        let mut page = [0; AT + LEN];
        let digest = u128::MAX / 3;
        page[AT..].copy_from_slice(&encode(300, digest));
        assert_eq!(parse(&page, 300), Some(digest));
        assert_eq!(parse(&page, 302), None);
        for bit in 0..LEN * 8 {
            let mut bad = page;
            bad[AT + bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse(&bad, 300), None, "bit {bit}");
        }
        assert_eq!(parse(&page[..AT + LEN - 1], 300), None);
        assert_eq!(parse(&[0; AT + LEN], 0), None);
    }
}
