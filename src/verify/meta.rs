//! LMDB's two meta pages: where their fields are (mdb.c: `MDB_meta`), and what they say.

use std::io;

use crate::verify::bytes::{u16_at, u32_at, u64_at, ReadAt};
use crate::verify::flush_mark::{self, FlushMark};
use crate::verify::page;
use crate::verify::page::{TreeRecord, FLAGS_AT, HEADER, TREE_LEN};
use crate::verify::violation::Kind;

/// `MDB_MAGIC` and `MDB_DATA_VERSION` (mdb.c).
pub(crate) const MAGIC: u32 = 0xBEEF_C0DE;
pub(super) const DATA_VERSION: u32 = 1;
pub(super) const P_META: u16 = 0x08;

/// Offsets in a meta page: the data version, the map's size, with which begins what a commit
/// writes, the records of the two trees (the page size stands in the first of them), the last page,
/// and the number of the commit.
pub(super) const VERSION_AT: usize = HEADER + 4;
pub(crate) const MAP_SIZE_AT: usize = HEADER + 16;
pub(super) const TREES_AT: usize = HEADER + 24;
pub(crate) const LAST_PAGE_AT: usize = TREES_AT + 2 * TREE_LEN;
pub(crate) const TXNID_AT: usize = LAST_PAGE_AT + 8;
/// Bytes of a page up to the end of these fields.
pub(crate) const LEN: usize = TXNID_AT + 8;
/// Bytes at the beginning of a meta page that are read: these, the flush mark, and the anchor.
pub(crate) const BEGINNING: usize = 1024;
// The flush mark lies behind them.
const _: () = assert!(LEN <= flush_mark::AT);

/// The sizes that a page can have, the one of new stores first. LMDB gives a file the system's, up
/// to 32 KiB. A page that is smaller than any system's has no space for two of the longest keys,
/// and LMDB aborts when it splits one.
pub(super) const PAGE_SIZES: [u64; 4] = [4096, 8192, 16384, 32768];
/// Where the page size stands: in the record of the first tree.
pub(super) const PAGE_SIZE_AT: usize = TREES_AT;
/// How many pages are looked at to find out the page size, where the meta pages do not agree.
const PAGES_TRIED: u64 = 4096;
/// No store gets to so many commits. Near the largest number LMDB's counter would wrap, and the
/// largest marks free reader slots.
const LAST_COMMIT: u64 = 1 << 62;
/// No map is larger: half of a process's address space.
const LARGEST_MAP: u64 = 1 << 47;

/// The content of one meta page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub page_size: u64,
    pub free: TreeRecord,
    pub main: TreeRecord,
    pub last_page: u64,
    /// LMDB's number of the commit.
    pub txnid: u64,
}

impl Meta {
    /// Parses the beginning of meta page `number`, 0 or 1. The last page, the commit and the roots
    /// are checked by [`check_range`](Self::check_range).
    fn parse(page: &[u8], number: usize) -> Result<Meta, Kind> {
        let meta = Meta::parse_fields(page, number)?;
        match PAGE_SIZES.contains(&meta.page_size) {
            true => Ok(meta),
            false => Err(Kind::PageSize(meta.page_size)),
        }
    }

    /// Parses the beginning of meta page `number`, whatever page size it has.
    fn parse_fields(page: &[u8], number: usize) -> Result<Meta, Kind> {
        if page.len() < LEN {
            return Err(Kind::MetaShort);
        }
        if u32_at(page, HEADER) != MAGIC || u16_at(page, FLAGS_AT) & P_META == 0 {
            return Err(Kind::MetaOverwritten);
        }
        if u32_at(page, VERSION_AT) != DATA_VERSION {
            return Err(Kind::MetaVersion(u32_at(page, VERSION_AT)));
        }
        if u64_at(page, 0) != number as u64 {
            return Err(Kind::PageNumber(u64_at(page, 0)));
        }
        let fields = page.first_chunk().ok_or(Kind::MetaShort)?;
        Ok(Meta::of_fields(fields))
    }

    /// What the fields say that LMDB writes for each commit.
    pub(super) fn of_fields(page: &[u8; LEN]) -> Meta {
        let tree = |at: usize| {
            let mut record = [0; TREE_LEN];
            record.copy_from_slice(&page[at..at + TREE_LEN]);
            TreeRecord::parse(&record)
        };
        Meta {
            page_size: u32_at(page, PAGE_SIZE_AT).into(),
            free: tree(TREES_AT),
            main: tree(TREES_AT + TREE_LEN),
            last_page: u64_at(page, LAST_PAGE_AT),
            txnid: u64_at(page, TXNID_AT),
        }
    }

    /// Refuses a meta page that has another page size than the file.
    fn check_page_size(self, expected: u64) -> Result<Meta, Kind> {
        let said = self.page_size;
        match said == expected {
            true => Ok(self),
            false => Err(Kind::OtherPageSize { said, expected }),
        }
    }

    /// Checks that the last page, the commit and the roots are possible.
    pub fn check_range(&self) -> Result<(), Kind> {
        if self.last_page < 1 || self.last_page >= LARGEST_MAP / self.page_size {
            return Err(Kind::LastPage(self.last_page));
        }
        if self.txnid > LAST_COMMIT {
            return Err(Kind::Commit(self.txnid));
        }
        let outside = |root: &u64| !(2..=self.last_page).contains(root);
        let mut roots = [self.free.root, self.main.root].into_iter().flatten();
        roots
            .find(outside)
            .map_or(Ok(()), |root| Err(Kind::Root(root)))
    }

    /// Bytes up to the end of the last page.
    pub fn needed(&self) -> u64 {
        (self.last_page + 1) * self.page_size
    }

    /// Which of the two meta pages a commit of this number is written to.
    pub fn home(txnid: u64) -> usize {
        (txnid % 2) as usize
    }
}

/// The beginnings of both meta pages, with the flush marks and the anchors, not necessarily as of
/// one moment.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Metas {
    pub first: Vec<u8>,
    pub second: Vec<u8>,
    /// The size of the file's pages. Each meta page says it, and the place of the second and of all
    /// other pages shows it. None of these is believed alone.
    pub page_size: u64,
}

impl Metas {
    /// Reads both.
    pub fn read(source: &(impl ReadAt + ?Sized)) -> io::Result<Metas> {
        let first = beginning(source, 0)?;
        if let Ok(Meta { page_size, .. }) = Meta::parse(&first, 0) {
            let second = beginning(source, page_size)?;
            if Meta::parse(&second, 1).is_ok_and(|second| second.page_size == page_size) {
                return Ok(Metas {
                    first,
                    second,
                    page_size,
                });
            }
        }
        let page_size = find_page_size(source, &first)?;
        Ok(Metas {
            second: beginning(source, page_size)?,
            first,
            page_size,
        })
    }

    /// Parses both. One that has another page size than the file is damaged.
    pub fn parse(&self) -> [Result<Meta, Kind>; 2] {
        [(&self.first, 0), (&self.second, 1)]
            .map(|(page, number)| Meta::parse(page, number)?.check_page_size(self.page_size))
    }

    /// What is known to be on the disk.
    pub fn flush_mark(&self) -> FlushMark {
        FlushMark::newest(&self.first, &self.second)
    }

    /// How many numbers the header row of this commit leaves out, as the mark in its meta page
    /// says.
    pub fn skipped(&self, txnid: u64) -> u64 {
        let page = [&self.first, &self.second][Meta::home(txnid)];
        let mark = page.get(flush_mark::AT..).and_then(FlushMark::parse);
        mark.filter(|mark| mark.failed == txnid)
            .map_or(0, |mark| mark.skipped)
    }

    /// Puts the file's page size into both, so that the other fields of one whose page size is
    /// damaged can be used.
    pub fn with_page_size_fixed(mut self) -> Metas {
        let size = (self.page_size as u32).to_le_bytes();
        for page in [&mut self.first, &mut self.second] {
            if let Some(field) = page.get_mut(PAGE_SIZE_AT..PAGE_SIZE_AT + size.len()) {
                field.copy_from_slice(&size);
            }
        }
        self
    }

    /// The meta page of commit `txnid`, if it has not been overwritten.
    pub fn of_commit(&self, txnid: u64) -> Option<Meta> {
        let meta = &self.parse()[Meta::home(txnid)];
        meta.as_ref()
            .ok()
            .copied()
            .filter(|meta| meta.txnid == txnid)
    }
}

/// The beginning of the meta page at `offset`, with the flush mark and the anchor, as much of it as
/// the file has.
fn beginning(source: &(impl ReadAt + ?Sized), offset: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; BEGINNING];
    let got = source.read_up_to(&mut bytes, offset)?;
    bytes.truncate(got);
    Ok(bytes)
}

/// The page size that the most of a file speaks for: pages that hold their own number, and meta
/// pages that say it. Two bytes of one damaged meta page have no weight against that.
fn find_page_size(source: &(impl ReadAt + ?Sized), first: &[u8]) -> io::Result<u64> {
    let len = source.size()?;
    let evidence = |size: u64| {
        let second = beginning(source, size).unwrap_or_default();
        let metas = [Meta::parse_fields(first, 0), Meta::parse_fields(&second, 1)];
        let in_place = u64::from(metas[1].is_ok());
        let said = metas.iter().flatten().filter(|meta| meta.page_size == size);
        let pages = 2..(len / size).min(PAGES_TRIED);
        let pages = pages.filter(|number| {
            let mut header = [0; HEADER];
            let got = source.read_up_to(&mut header, number * size);
            got.is_ok_and(|got| got == HEADER) && page::is_numbered(&header, *number)
        });
        in_place + said.count() as u64 + pages.count() as u64
    };
    let mut best = (0, PAGE_SIZES[0]);
    for size in PAGE_SIZES {
        let found = evidence(size);
        if found > best.0 {
            best = (found, size);
        }
    }
    Ok(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of 20 pages: its meta pages, and leaves that hold their numbers.
    fn file(page_size: usize) -> Vec<u8> {
        const LEAF: u16 = 2;
        let mut file = vec![0; 20 * page_size];
        for (number, page) in file.chunks_exact_mut(page_size).enumerate() {
            page[..8].copy_from_slice(&(number as u64).to_le_bytes());
            let flags = if number < 2 { P_META } else { LEAF };
            page[FLAGS_AT..][..2].copy_from_slice(&flags.to_le_bytes());
            if number < 2 {
                page[HEADER..][..4].copy_from_slice(&MAGIC.to_le_bytes());
                page[VERSION_AT..][..4].copy_from_slice(&DATA_VERSION.to_le_bytes());
                page[PAGE_SIZE_AT..][..4].copy_from_slice(&(page_size as u32).to_le_bytes());
            }
        }
        file
    }

    /// Whatever one or both meta pages say, the place of the other pages shows the page size; and
    /// a meta page in its place shows it where no other page is whole.
    #[test]
    fn damaged_page_size_is_outweighed_by_the_rest_of_the_file() {
        for size in PAGE_SIZES {
            let sound = file(size as usize);
            for said in [0, 512, 4096, 4097, 8192, 16384, 32768, 65536] {
                for damaged in [vec![0], vec![1], vec![0, 1]] {
                    for other_pages in [true, false] {
                        let mut bytes = sound.clone();
                        for meta in &damaged {
                            let at = meta * size as usize + PAGE_SIZE_AT;
                            bytes[at..at + 4].copy_from_slice(&u32::to_le_bytes(said));
                        }
                        if !other_pages {
                            bytes[2 * size as usize..].fill(0);
                            if damaged.len() == 2 {
                                continue;
                            }
                        }
                        let metas = Metas::read(&&bytes[..]).unwrap();
                        assert_eq!(metas.page_size, size, "{said} {damaged:?} {other_pages}");
                        for (number, meta) in metas.parse().iter().enumerate() {
                            let sound = !damaged.contains(&number) || u64::from(said) == size;
                            assert_eq!(meta.is_ok(), sound, "{meta:?}");
                        }
                        assert!(metas
                            .with_page_size_fixed()
                            .parse()
                            .iter()
                            .all(Result::is_ok));
                    }
                }
            }
        }
    }
}
