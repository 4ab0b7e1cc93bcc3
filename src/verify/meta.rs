//! LMDB's two meta pages: where their fields are (mdb.c: `MDB_meta`), and what they say.

use std::io;

use crate::verify::bytes::{u16_at, u32_at, u64_at, ReadAt};
use crate::verify::page::{TreeRecord, FLAGS_AT, HEADER, TREE_LEN};
use crate::verify::violation::Kind;

/// `MDB_MAGIC` and `MDB_DATA_VERSION` (mdb.c).
pub(crate) const MAGIC: u32 = 0xBEEF_C0DE;
const DATA_VERSION: u32 = 1;
const P_META: u16 = 0x08;

/// Offsets in a meta page: the data version, the records of the two trees (the page size stands in
/// the first of them), the last page, and the number of the commit.
const VERSION_AT: usize = HEADER + 4;
const TREES_AT: usize = HEADER + 24;
pub(crate) const LAST_PAGE_AT: usize = TREES_AT + 2 * TREE_LEN;
pub(crate) const TXNID_AT: usize = LAST_PAGE_AT + 8;
/// Bytes of a page up to the end of these fields.
pub(crate) const LEN: usize = TXNID_AT + 8;

/// The sizes that a page can have. LMDB takes the system's, up to 32 KiB. A page that is smaller
/// than any system's has no room for two of the longest keys, and LMDB aborts when it splits one.
const PAGE_SIZES: std::ops::RangeInclusive<u64> = 4096..=32768;
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
    pub fn parse(page: &[u8], number: usize) -> Result<Meta, Kind> {
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
        let tree = |at| {
            let record = page[at..].first_chunk::<TREE_LEN>();
            record.map(TreeRecord::parse).ok_or(Kind::MetaShort)
        };
        let meta = Meta {
            page_size: u32_at(page, TREES_AT).into(),
            free: tree(TREES_AT)?,
            main: tree(TREES_AT + TREE_LEN)?,
            last_page: u64_at(page, LAST_PAGE_AT),
            txnid: u64_at(page, TXNID_AT),
        };
        if !meta.page_size.is_power_of_two() || !PAGE_SIZES.contains(&meta.page_size) {
            return Err(Kind::PageSize(meta.page_size));
        }
        Ok(meta)
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

/// The beginnings of both meta pages, not necessarily as of one moment.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Metas {
    pub first: Vec<u8>,
    pub second: Vec<u8>,
}

impl Metas {
    /// Reads both. If the first has no valid page size, the second is read from its usual offset.
    pub fn read(source: &(impl ReadAt + ?Sized)) -> io::Result<Metas> {
        const USUAL_PAGE: u64 = 4096;
        let page = |offset| {
            let mut bytes = vec![0; LEN];
            let got = source.read_up_to(&mut bytes, offset)?;
            bytes.truncate(got);
            Ok::<_, io::Error>(bytes)
        };
        let first = page(0)?;
        let size = Meta::parse(&first, 0).map_or(USUAL_PAGE, |meta| meta.page_size);
        let second = page(size)?;
        Ok(Metas { first, second })
    }

    /// Parses both.
    pub fn parse(&self) -> [Result<Meta, Kind>; 2] {
        [Meta::parse(&self.first, 0), Meta::parse(&self.second, 1)]
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
