//! Anchors: copies of LMDB's fields of the meta pages of the last two commits that were flushed,
//! while commits are deferred.
//!
//! LMDB writes each commit's meta page over that of the last but one, so two commits that are not
//! flushed leave no trace of an earlier one. While commits are deferred, the last that was flushed
//! therefore has its fields in a second place too: in the second sector of a meta page, which LMDB
//! neither reads nor writes. There are two such places. The anchor of a commit is written over the
//! older one, and flushed together with the commit, so a power cut in the middle of that flush
//! leaves the newer one.

use std::io;

use crate::format::crc;
use crate::verify::bytes::{u32_at, u64_at, ReadAt};
use crate::verify::meta::{Meta, Metas, BEGINNING, LEN as META_LEN, MAP_SIZE_AT, TXNID_AT};

/// Where an anchor stands in a meta page: at the beginning of the second sector.
pub(crate) const AT: usize = 512;
/// Bytes that LMDB writes to a meta page for each commit.
const FIELDS: usize = META_LEN - MAP_SIZE_AT;
/// Bytes of an anchor: what it is, its checksum, the fields, the number of commits.
pub(crate) const LEN: usize = WINDOW_AT + 8;
const WINDOW_AT: usize = FIELDS_AT + FIELDS;
const FIELDS_AT: usize = 8;
/// Bytes of a meta page up to the end of the anchor.
pub(crate) const END: usize = AT + LEN;
const _: () = assert!(END <= BEGINNING);
/// Where in a meta page the number of the anchor's commit stands.
pub(crate) const COMMIT_AT: usize = AT + FIELDS_AT + TXNID_AT - MAP_SIZE_AT;

/// What an anchor begins with: "pman".
pub(crate) const MAGIC: u32 = u32::from_le_bytes(*b"pman");

/// The fields of a commit's meta page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Anchor {
    fields: [u8; FIELDS],
    /// How many commits may follow it before the next that has an anchor.
    pub window: u64,
}

impl Anchor {
    /// The fields in a meta page, of a commit that so many may follow.
    pub fn of_page(page: &[u8], window: u64) -> Option<Anchor> {
        let fields = page.get(MAP_SIZE_AT..META_LEN)?.try_into().ok()?;
        Some(Anchor { fields, window })
    }

    pub fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[FIELDS_AT..WINDOW_AT].copy_from_slice(&self.fields);
        bytes[WINDOW_AT..].copy_from_slice(&self.window.to_le_bytes());
        let sum = crc::checksum(&[], &bytes[FIELDS_AT..]);
        bytes[4..FIELDS_AT].copy_from_slice(&sum);
        bytes
    }

    /// The anchor in a meta page, if there is one.
    pub fn parse(page: &[u8]) -> Option<Anchor> {
        let bytes = page.get(AT..END)?;
        let sum = crc::checksum(&[], &bytes[FIELDS_AT..]);
        let whole = u32_at(bytes, 0) == MAGIC && bytes[4..FIELDS_AT] == sum;
        let fields = bytes[FIELDS_AT..WINDOW_AT].try_into().ok()?;
        let window = u64_at(bytes, WINDOW_AT);
        whole.then_some(Anchor { fields, window })
    }

    /// The anchors in both meta pages of a file.
    pub fn read_both(file: &dyn ReadAt, page_size: u64) -> io::Result<[Option<Anchor>; 2]> {
        let mut both = [None; 2];
        for (number, anchor) in both.iter_mut().enumerate() {
            let mut page = [0; END];
            let got = file.read_up_to(&mut page, number as u64 * page_size)?;
            *anchor = Anchor::parse(&page[..got]);
        }
        Ok(both)
    }

    /// LMDB's number of the commit.
    pub fn commit(&self) -> u64 {
        u64_at(&self.fields, TXNID_AT - MAP_SIZE_AT)
    }

    /// What the meta page of the commit says.
    pub fn meta(&self) -> Meta {
        let mut page = [0; META_LEN];
        page[MAP_SIZE_AT..].copy_from_slice(&self.fields);
        Meta::of_fields(&page)
    }

    /// The fields, with this number in the place of the commit's.
    pub fn numbered(&self, commit: u64) -> Vec<u8> {
        let mut fields = self.fields.to_vec();
        fields[TXNID_AT - MAP_SIZE_AT..].copy_from_slice(&commit.to_le_bytes());
        fields
    }
}

impl Metas {
    /// The anchors, if commits are deferred or were when the power was cut.
    pub fn anchors(&self) -> Vec<Anchor> {
        let anchors = [&self.first, &self.second].map(|page| Anchor::parse(page));
        let fits = |anchor: &Anchor| anchor.meta().page_size == self.page_size;
        anchors.into_iter().flatten().filter(fits).collect()
    }
}

/// Where in a file the anchor of meta page `place`, 0 or 1, stands.
pub(crate) fn offset(place: usize, page_size: u64) -> u64 {
    place as u64 * page_size + AT as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchor_comes_back_and_one_with_a_flipped_bit_is_none() {
        let mut page = [0; END];
        for (at, byte) in page[..META_LEN].iter_mut().enumerate() {
            *byte = at as u8;
        }
        let anchor = Anchor::of_page(&page, 1000).unwrap();
        page[AT..].copy_from_slice(&anchor.encode());
        assert_eq!(Anchor::parse(&page), Some(anchor));
        assert_eq!(anchor.commit(), u64_at(&page, TXNID_AT));
        assert_eq!(anchor.commit(), u64_at(&page, COMMIT_AT));
        assert_eq!(
            anchor.numbered(anchor.commit()),
            page[MAP_SIZE_AT..META_LEN]
        );
        for bit in 0..LEN * 8 {
            let mut bad = page;
            bad[AT + bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Anchor::parse(&bad), None, "bit {bit}");
        }
        assert_eq!(Anchor::parse(&page[..END - 1]), None);
        assert_eq!(Anchor::parse(&[0; END]), None);
    }
}
