//! LMDB's two meta pages: which of them is in force, and whether they go together.

use std::{fmt, io};

use crate::verify::bytes::{u16_at, u32_at, u64_at, ReadAt};
use crate::verify::page::{TreeRecord, HEADER, TREE_LEN};

/// `MDB_MAGIC` and `MDB_DATA_VERSION` (mdb.c).
pub(crate) const MAGIC: u32 = 0xBEEF_C0DE;
const DATA_VERSION: u32 = 1;
/// Bytes of a page up to the end of the meta record.
pub(crate) const LEN: usize = HEADER + 136;
const P_META: u16 = 0x08;
/// The sizes that a page can have; LMDB takes the system's, at most 32 KiB. In pages that are
/// smaller than any system's, there is no room for two of the longest keys, and LMDB aborts where
/// it splits one.
const PAGE_SIZES: std::ops::RangeInclusive<u64> = 4096..=32768;
/// No store gets to so many commits. Near the largest number LMDB's would begin at zero again, and
/// the largest marks readers that are none.
const LAST_COMMIT: u64 = 1 << 62;
/// No map is larger: half of a process's address space.
const LARGEST_MAP: u64 = 1 << 47;

/// What one meta page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub page_size: u64,
    pub free: TreeRecord,
    pub main: TreeRecord,
    pub last_page: u64,
    /// The commit that it stands for.
    pub txnid: u64,
}

/// What is wrong with a meta page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetaFlaw {
    /// The file ends before it does.
    Short,
    /// It is not marked as one.
    Overwritten,
    /// It is of another version of LMDB's format.
    Version(u32),
    /// It says that it is another page.
    Number(u64),
    PageSize(u64),
    /// It says that the file ends where no file does.
    LastPage(u64),
    /// It says that it stands for a commit that no store gets to.
    Commit(u64),
    /// A root of its two trees is no page of the file.
    Root(u64),
}

impl fmt::Display for MetaFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MetaFlaw::Short => write!(f, "is cut short"),
            MetaFlaw::Overwritten => write!(f, "is overwritten"),
            MetaFlaw::Version(version) => write!(f, "is of data format {version}"),
            MetaFlaw::Number(number) => write!(f, "says that it is page {number}"),
            MetaFlaw::PageSize(size) => write!(f, "tells an impossible page size, {size}"),
            MetaFlaw::LastPage(page) => write!(f, "tells an impossible last page, {page}"),
            MetaFlaw::Commit(txnid) => write!(f, "tells an impossible commit, {txnid}"),
            MetaFlaw::Root(root) => write!(f, "points to page {root}, outside the file"),
        }
    }
}

impl Meta {
    /// Reads the beginning of meta page `number`, 0 or 1. Its last page, commit and roots are
    /// looked at by [`check_range`](Self::check_range).
    pub fn parse(page: &[u8], number: usize) -> Result<Meta, MetaFlaw> {
        if page.len() < LEN {
            return Err(MetaFlaw::Short);
        }
        if u32_at(page, HEADER) != MAGIC || u16_at(page, 10) & P_META == 0 {
            return Err(MetaFlaw::Overwritten);
        }
        if u32_at(page, HEADER + 4) != DATA_VERSION {
            return Err(MetaFlaw::Version(u32_at(page, HEADER + 4)));
        }
        if u64_at(page, 0) != number as u64 {
            return Err(MetaFlaw::Number(u64_at(page, 0)));
        }
        let trees = &page[HEADER + 24..];
        let tree = |at| {
            let record = trees[at..].first_chunk::<TREE_LEN>();
            record.map(TreeRecord::parse).ok_or(MetaFlaw::Short)
        };
        let meta = Meta {
            page_size: u32_at(trees, 0).into(),
            free: tree(0)?,
            main: tree(TREE_LEN)?,
            last_page: u64_at(trees, 2 * TREE_LEN),
            txnid: u64_at(trees, 2 * TREE_LEN + 8),
        };
        if !meta.page_size.is_power_of_two() || !PAGE_SIZES.contains(&meta.page_size) {
            return Err(MetaFlaw::PageSize(meta.page_size));
        }
        Ok(meta)
    }

    /// Whether what it points to can be in a file.
    pub fn check_range(&self) -> Result<(), MetaFlaw> {
        if self.last_page < 1 || self.last_page >= LARGEST_MAP / self.page_size {
            return Err(MetaFlaw::LastPage(self.last_page));
        }
        if self.txnid > LAST_COMMIT {
            return Err(MetaFlaw::Commit(self.txnid));
        }
        let outside = |root: &u64| !(2..=self.last_page).contains(root);
        let mut roots = [self.free.root, self.main.root].into_iter().flatten();
        roots
            .find(outside)
            .map_or(Ok(()), |root| Err(MetaFlaw::Root(root)))
    }

    /// Bytes up to the end of the last page.
    pub fn needed(&self) -> u64 {
        (self.last_page + 1) * self.page_size
    }

    /// The meta page that a commit of this number is written to.
    pub fn home(txnid: u64) -> usize {
        (txnid % 2) as usize
    }
}

/// The beginnings of both meta pages, as they are at one moment or another.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Metas {
    pub first: Vec<u8>,
    pub second: Vec<u8>,
}

impl Metas {
    /// Reads both, or the second from where it usually is, if the first does not tell.
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

    /// What both say.
    pub fn parse(&self) -> [Result<Meta, MetaFlaw>; 2] {
        [Meta::parse(&self.first, 0), Meta::parse(&self.second, 1)]
    }

    /// The page that stands for commit `txnid`, if it still does.
    pub fn of_commit(&self, txnid: u64) -> Option<Meta> {
        let meta = &self.parse()[Meta::home(txnid)];
        meta.ok().filter(|meta| meta.txnid == txnid)
    }
}
