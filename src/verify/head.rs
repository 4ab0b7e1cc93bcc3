//! What kind of file is this? Told from its first pages with plain reads, before LMDB opens it and
//! without a trace on disk: LMDB itself checks a magic number and a version and trusts all the
//! rest.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::error::{Error, Result};
use crate::format::header;
use crate::format::header::{Header, Parsed, FORMAT};
use crate::format::table::{DEVICES, IDS};
use crate::sync::deadline::Deadline;
use crate::verify::bytes::{u32_at, ReadAt};
use crate::verify::finding::{Place, Problem};
use crate::verify::meta::{Meta, MetaFlaw, Metas};
use crate::verify::page::{Flaw, Kind, Page, Row, TreeRecord, Value, HEADER};
use crate::verify::{meta, structure};

/// bbolt's magic number (its db.go), at the same offset in its meta pages.
const BBOLT_MAGIC: u32 = 0xED0C_DAED;

/// What the file says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub page_size: u64,
    pub last_page: u64,
    /// Commits since the store was created.
    pub commits: u64,
}

/// Says what the file is, or refuses it with the error for what it is instead.
pub(crate) fn identify(file: &File, path: &Path, deadline: &Deadline) -> Result<Head> {
    let fix = false;
    look(Looker { file, path, fix }, deadline)
}

/// The same for one who can do with a store whose header row is damaged.
pub(crate) fn identify_damaged(file: &File, path: &Path, deadline: &Deadline) -> Result<Head> {
    let fix = true;
    look(Looker { file, path, fix }, deadline)
}

/// Whether the file begins as a store does, or as one that is being made does: with zeros, or not
/// yet.
pub(crate) fn is_begun(file: &File) -> io::Result<bool> {
    let first = Metas::read(file)?.first;
    Ok(magic(&first) == Some(meta::MAGIC) || first.iter().all(|byte| *byte == 0))
}

fn look(looker: Looker<'_>, deadline: &Deadline) -> Result<Head> {
    deadline.poll(
        "a moment without a commit, to read the file's first pages",
        || {
            let before = looker.metas()?;
            let seen = looker
                .newest_meta(&before)
                .and_then(|meta| Ok((meta, looker.header_row(&meta)?)));
            // A writer may change the pages while they are read. What is seen counts if nothing
            // moved meanwhile.
            if looker.metas()? != before {
                return Ok(None);
            }
            let (meta, header) = seen?;
            looker.conclude(meta, header).map(Some)
        },
    )
}

struct Looker<'a> {
    file: &'a File,
    path: &'a Path,
    /// Whether a damaged header row can be fixed.
    fix: bool,
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

    fn metas(&self) -> Result<Metas> {
        Metas::read(self.file).map_err(|e| Error::io("reading the file", self.path, e))
    }

    fn newest_meta(&self, metas: &Metas) -> Result<Meta> {
        if metas.first.is_empty() {
            return Err(self.corrupt(
                "the file is empty (0 bytes); if it never held a store, delete it and open again",
            ));
        }
        if magic(&metas.first) != Some(meta::MAGIC) {
            return Err(self.other_kind(metas));
        }
        let [first, second] = metas.parse();
        let first = first.map_err(|flaw| self.no_meta("first", flaw))?;
        let second = second.map_err(|flaw| self.no_meta("second", flaw))?;
        if second.page_size != first.page_size {
            return Err(self.corrupt("its two meta pages tell different page sizes"));
        }
        let meta = structure::in_force(metas)
            .map_err(|problem| self.corrupt(format!("its two meta pages: {problem}")))?;
        meta.check_range()
            .map_err(|flaw| self.corrupt(format!("its newest meta page {flaw}")))?;
        Ok(meta)
    }

    /// The error for a file that does not begin as LMDB's do.
    fn other_kind(&self, metas: &Metas) -> Error {
        let first = &metas.first;
        let magics = [magic(first), magic(&metas.second)];
        if magics.contains(&Some(BBOLT_MAGIC)) {
            Error::BboltFile {
                path: self.path.into(),
            }
        } else if magics.contains(&Some(meta::MAGIC)) {
            self.corrupt("its first meta page is overwritten")
        } else if first.iter().all(|byte| *byte == 0) {
            self.not_a_store("it begins with zeros")
        } else {
            self.not_a_store(format!(
                "it begins with \"{}\"",
                first[..first.len().min(8)].escape_ascii()
            ))
        }
    }

    fn no_meta(&self, which: &str, flaw: MetaFlaw) -> Error {
        match flaw {
            MetaFlaw::Version(_) => Error::ForeignLmdb {
                path: self.path.into(),
            },
            flaw => self.corrupt(format!("its {which} meta page {flaw}")),
        }
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
        let (1, Some(root)) = (meta.main.depth, meta.main.root) else {
            return Ok(Parsed::Foreign);
        };
        let mut page = vec![0; meta.page_size as usize];
        let got = self
            .file
            .read_up_to(&mut page, root * meta.page_size)
            .map_err(|e| Error::io("reading the file", self.path, e))?;
        if got < page.len() {
            return Err(self.cut_short(meta)?);
        }
        let rows = leaf_rows(&page, root)
            .map_err(|flaw| self.corrupt(format!("page {root}, its root: {flaw}")))?;
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
        let parsed = match parsed {
            Parsed::Foreign if self.fix && [DEVICES, IDS].iter().all(is_table) => Parsed::Damaged,
            parsed => parsed,
        };
        if matches!(parsed, Parsed::Known(_)) || (self.fix && parsed == Parsed::Damaged) {
            if meta.main.flags != 0 {
                let flags = Problem::Flags(meta.main.flags);
                return Err(self.corrupt(format!("{}: {flags}", Place::Root)));
            }
            for name in [DEVICES, IDS] {
                match find(name.as_bytes()).map(|row| row.value) {
                    Some(Value::Tree(record)) if usable(record, meta) => {}
                    Some(Value::Tree(_)) => {
                        let what = format!("the record of its table \"{name}\" is damaged");
                        return Err(self.corrupt(what));
                    }
                    _ => return Err(self.corrupt(format!("its table \"{name}\" is missing"))),
                }
            }
        }
        Ok(parsed)
    }

    fn conclude(&self, meta: Meta, header: Parsed) -> Result<Head> {
        let commits = match header {
            Parsed::Known(header) => header.commit,
            Parsed::Damaged if self.fix => 1,
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

/// Whether LMDB can open a named database by this record: a cursor looks no further than at where
/// its root is.
fn usable(record: &[u8], meta: &Meta) -> bool {
    let Ok(record) = record.try_into().map(TreeRecord::parse) else {
        return false;
    };
    let in_file = |root| (2..=meta.last_page).contains(&root);
    record.flags == 0 && record.root.is_none_or(in_file)
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
    page.get(HEADER..HEADER + 4).map(|bytes| u32_at(bytes, 0))
}
