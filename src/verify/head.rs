//! What kind of file is this? Told from its first pages with plain reads, before LMDB opens it and without a
//! trace on disk: LMDB itself checks a magic number and a version and trusts all the rest.

use super::bytes::{u16_at, u32_at, u64_at};
use super::page::{Flaw, Kind, Page, Row, Value};
use crate::env::{Deadline, DEVICES, IDS};
use crate::error::{Error, Result};
use crate::header::{self, Header, Parsed, FORMAT};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// `MDB_MAGIC` and `MDB_DATA_VERSION` (mdb.c).
const LMDB_MAGIC: u32 = 0xBEEF_C0DE;
const LMDB_DATA_VERSION: u32 = 1;
/// bbolt's magic number (its db.go), at the same offset in its meta pages.
const BBOLT_MAGIC: u32 = 0xED0C_DAED;

/// Offsets and lengths of LMDB's 64-bit page layout (mdb.c: `MDB_page`, `MDB_meta`, `MDB_db`).
const PAGE_HEADER: usize = super::page::HEADER;
const META_LEN: usize = PAGE_HEADER + 136;
const P_META: u16 = 0x08;
/// `P_INVALID`: the root of an empty tree.
const NO_PAGE: u64 = u64::MAX;

/// The sizes that a page can have; LMDB takes the system's, at most 32 KiB.
const PAGE_SIZES: std::ops::RangeInclusive<u64> = 512..=32768;
/// Bytes of a page where the second meta page begins on almost every system.
const USUAL_PAGE: u64 = 4096;

/// What the file says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub page_size: u64,
    pub last_page: u64,
    /// Commits since the store was created.
    pub commits: u64,
}

/// One of the two meta pages.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Meta {
    page_size: u64,
    free_root: u64,
    main_depth: u16,
    main_root: u64,
    last_page: u64,
    txnid: u64,
}

impl Meta {
    /// Bytes up to the end of the last page.
    fn needed(&self) -> u64 {
        (self.last_page + 1) * self.page_size
    }
}

/// Says what the file is, or refuses it with the error for what it is instead.
pub(crate) fn identify(file: &File, path: &Path, deadline: &Deadline) -> Result<Head> {
    let looker = Looker { file, path };
    deadline.poll(
        "a moment without a commit, to read the file's first pages",
        || {
            let before = looker.newest_meta();
            let header = before.as_ref().ok().map(|meta| looker.header_row(meta));
            let after = looker.newest_meta();
            // A writer may change the pages while they are read. What is seen counts if nothing moved meanwhile.
            match (before, header, after) {
                (Ok(meta), Some(header), Ok(same)) if meta == same => {
                    looker.conclude(meta, header?).map(Some)
                }
                (Err(error), _, Err(_)) => Err(error),
                _ => Ok(None),
            }
        },
    )
}

struct Looker<'a> {
    file: &'a File,
    path: &'a Path,
}

impl Looker<'_> {
    fn corrupt(&self, what: impl Into<String>) -> Error {
        Error::corrupt(what).at(self.path)
    }

    fn not_a_store(&self, why: impl Into<String>) -> Error {
        Error::NotAStore {
            path: self.path.into(),
            why: why.into(),
        }
    }

    fn len(&self) -> Result<u64> {
        match self.file.metadata() {
            Ok(metadata) => Ok(metadata.len()),
            Err(e) => Err(Error::io("reading the file's size", self.path, e)),
        }
    }

    /// Reads up to `len` bytes; fewer where the file ends.
    fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        let mut got = 0;
        while got < len {
            match self.file.read_at(&mut bytes[got..], offset + got as u64) {
                Ok(0) => break,
                Ok(n) => got += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::io("reading the file", self.path, e)),
            }
        }
        bytes.truncate(got);
        Ok(bytes)
    }

    fn newest_meta(&self) -> Result<Meta> {
        let first = self.read(0, META_LEN)?;
        if first.is_empty() {
            return Err(self.corrupt(
                "the file is empty (0 bytes); if it never held a store, delete it and open again",
            ));
        }
        if magic(&first) != Some(LMDB_MAGIC) {
            return Err(self.other_kind(&first)?);
        }
        let first = self.meta(&first, "first")?;
        let second = self.meta(&self.read(first.page_size, META_LEN)?, "second")?;
        if second.page_size != first.page_size {
            return Err(self.corrupt("its two meta pages tell different page sizes"));
        }
        self.check_range(if second.txnid > first.txnid {
            second
        } else {
            first
        })
    }

    /// The error for a file that does not begin as LMDB's do.
    fn other_kind(&self, first: &[u8]) -> Result<Error> {
        let second = self.read(USUAL_PAGE, META_LEN)?;
        let magics = [magic(first), magic(&second)];
        Ok(if magics.contains(&Some(BBOLT_MAGIC)) {
            Error::BboltFile {
                path: self.path.into(),
            }
        } else if magics.contains(&Some(LMDB_MAGIC)) {
            self.corrupt("its first meta page is overwritten")
        } else if first.iter().all(|byte| *byte == 0) {
            self.not_a_store("it begins with zeros")
        } else {
            self.not_a_store(format!(
                "it begins with \"{}\"",
                first[..first.len().min(8)].escape_ascii()
            ))
        })
    }

    fn meta(&self, page: &[u8], which: &str) -> Result<Meta> {
        let damaged = |what: &str| self.corrupt(format!("its {which} meta page {what}"));
        if page.len() < META_LEN {
            return Err(damaged("is cut short"));
        }
        if magic(page) != Some(LMDB_MAGIC) || u16_at(page, 10) & P_META == 0 {
            return Err(damaged("is overwritten"));
        }
        if u32_at(page, 20) != LMDB_DATA_VERSION {
            return Err(Error::ForeignLmdb {
                path: self.path.into(),
            });
        }
        let main = &page[PAGE_HEADER + 72..];
        let meta = Meta {
            page_size: u32_at(page, PAGE_HEADER + 24).into(),
            free_root: u64_at(page, PAGE_HEADER + 24 + 40),
            main_depth: u16_at(main, 6),
            main_root: u64_at(main, 40),
            last_page: u64_at(page, PAGE_HEADER + 120),
            txnid: u64_at(page, PAGE_HEADER + 128),
        };
        if !meta.page_size.is_power_of_two() || !PAGE_SIZES.contains(&meta.page_size) {
            return Err(damaged("tells an impossible page size"));
        }
        Ok(meta)
    }

    /// Looks at what the meta page in force points to. The other one may point anywhere: where writing a meta
    /// page fails, LMDB gives it its old number back, but not its old roots.
    fn check_range(&self, meta: Meta) -> Result<Meta> {
        let roots = [meta.free_root, meta.main_root];
        let out_of_range = |root: &u64| *root != NO_PAGE && !(2..=meta.last_page).contains(root);
        if meta.last_page < 1 || meta.last_page > u64::MAX >> 17 || roots.iter().any(out_of_range) {
            return Err(self.corrupt("its newest meta page points outside the file"));
        }
        Ok(meta)
    }

    fn cut_short(&self, meta: &Meta) -> Result<Error> {
        let (len, needed) = (self.len()?, meta.needed());
        Ok(self.corrupt(format!(
            "the file is cut short: it has {len} bytes of {needed}"
        )))
    }

    /// What the header row of the commit that `meta` stands for says.
    fn header_row(&self, meta: &Meta) -> Result<Parsed> {
        // A store's unnamed database is one leaf page: the header row and the two named databases.
        if meta.main_depth != 1 {
            return Ok(Parsed::Foreign);
        }
        let page = self.read(meta.main_root * meta.page_size, meta.page_size as usize)?;
        if page.len() as u64 != meta.page_size {
            return Err(self.cut_short(meta)?);
        }
        let rows = leaf_rows(&page, meta.main_root)
            .map_err(|flaw| self.corrupt(format!("page {}, its root: {flaw}", meta.main_root)))?;
        let find = |name: &[u8]| rows.iter().find(|row| row.key == name);
        let is_table = |name: &&str| {
            let row = find(name.as_bytes());
            row.is_some_and(|row| matches!(row.value, Value::Tree(_)))
        };
        let parsed = match find(header::KEY).map(|row| row.value) {
            Some(Value::Here(value)) => Header::parse(value),
            Some(_) => Parsed::Foreign,
            None if [DEVICES, IDS].iter().all(is_table) => Parsed::Damaged,
            None => Parsed::Foreign,
        };
        match parsed {
            Parsed::Known(_) => match [DEVICES, IDS].iter().find(|name| !is_table(name)) {
                Some(name) => Err(self.corrupt(format!("its table \"{name}\" is missing"))),
                None => Ok(parsed),
            },
            parsed => Ok(parsed),
        }
    }

    fn conclude(&self, meta: Meta, header: Parsed) -> Result<Head> {
        let commits = match header {
            Parsed::Known(header) => header.commit,
            Parsed::Damaged => return Err(self.corrupt("its header row is damaged")),
            Parsed::Foreign => {
                return Err(Error::ForeignLmdb {
                    path: self.path.into(),
                })
            }
            Parsed::Newer(found) => {
                return Err(Error::NewerFormat {
                    path: self.path.into(),
                    found,
                    known: FORMAT,
                })
            }
        };
        if self.len()? < meta.needed() {
            return Err(self.cut_short(&meta)?);
        }
        Ok(Head {
            page_size: meta.page_size,
            last_page: meta.last_page,
            commits,
        })
    }
}

/// The rows of a leaf page.
fn leaf_rows(page: &[u8], number: u64) -> std::result::Result<Vec<Row<'_>>, Flaw> {
    let page = Page::parse(page, number)?;
    match page.kind() {
        Kind::Leaf => (0..page.nodes()).map(|at| page.row(at)).collect(),
        Kind::Branch => Err(Flaw::NotALeaf),
    }
}

fn magic(page: &[u8]) -> Option<u32> {
    page.get(PAGE_HEADER..PAGE_HEADER + 4)
        .map(|bytes| u32_at(bytes, 0))
}
