//! What kind of file it is. That is found out with plain reads of its first pages, before LMDB
//! opens it and without a trace on disk: LMDB itself checks a magic number and a version and trusts
//! everything else.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::error::{Error, Result};
use crate::format::header;
use crate::format::header::{Header, Parsed, DAMAGED_HEADER, FORMAT};
use crate::format::table::Table;
use crate::sync::deadline::Deadline;
use crate::verify::bytes::{u32_at, ReadAt};
use crate::verify::evidence;
use crate::verify::meta::{self, Meta, Metas};
use crate::verify::newest::Probe;
use crate::verify::page::{Page, PageKind, Row, TreeRecord, Value, HEADER};
use crate::verify::undo::{InForce, Unfinished};
use crate::verify::violation::{Kind, Location, Structure, Violation};

/// bbolt's magic number (its db.go), at the same offset in its meta pages.
const BBOLT_MAGIC: u32 = 0xED0C_DAED;

/// What the first pages of a store say.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub page_size: u64,
    pub last_page: u64,
    /// Commits since the store was created.
    pub commits: u64,
    /// The highest device id that was ever given out; 0 for none, and if the header is damaged.
    pub last_id: u32,
    /// Whether its header row is of the format that this release writes.
    pub is_current: bool,
    /// A commit that a power cut has left half written. The rest is of the one before it.
    pub unfinished: Option<Unfinished>,
    /// Whether commits are deferred, or were when the power was cut.
    pub is_deferred: bool,
}

/// Reads the head of a store, or refuses the file with the error for what it is instead.
pub(crate) fn identify(file: &File, path: &Path, deadline: &Deadline) -> Result<Head> {
    let fix = false;
    FileProbe { file, path, fix }.classify(deadline)
}

/// Reads the head of a store for a check or a repair, which accept a damaged header row.
pub(crate) fn identify_damaged(file: &File, path: &Path, deadline: &Deadline) -> Result<Head> {
    let fix = true;
    FileProbe { file, path, fix }.classify(deadline)
}

/// Whether the file begins as a store, or as one that is being created: with zeros, or with
/// nothing yet.
pub(crate) fn is_begun(file: &File) -> io::Result<bool> {
    let first = Metas::read(file)?.first;
    Ok(magic(&first) == Some(meta::MAGIC) || first.iter().all(|byte| *byte == 0))
}

struct FileProbe<'a> {
    file: &'a File,
    path: &'a Path,
    /// Whether a damaged header row can be fixed.
    fix: bool,
}

impl FileProbe<'_> {
    fn classify(&self, deadline: &Deadline) -> Result<Head> {
        self.read_head(deadline).map_err(|error| match error {
            Error::ForeignLmdb { .. } | Error::NotAStore { .. } => {
                self.damaged_store().unwrap_or(error)
            }
            error => error,
        })
    }

    /// The error for a file that does not begin as a store and holds what only a store does: a
    /// flipped bit in its first pages does not make it another program's.
    fn damaged_store(&self) -> Option<Error> {
        let metas = self.metas().ok()?;
        let found = evidence::page_with_header_row(self.file, metas.page_size);
        let page = found.ok()??;
        let what = "its first pages or its root are not those of a store, but page";
        Some(self.corrupt(format!("{what} {page} holds a store's header row")))
    }

    fn read_head(&self, deadline: &Deadline) -> Result<Head> {
        let mut probe = Probe::default();
        deadline.poll(
            "a moment without a commit, to read the file's first pages",
            || {
                let before = self.metas()?;
                let found = self
                    .in_force(&before, &mut probe)
                    .and_then(|found| Ok((self.header_row(&found.meta)?, found)));
                let after = self.metas()?;
                match found {
                    Ok((header, found)) if found.was_kept(&before, &after) => {
                        self.finish(found, header).map(Some)
                    }
                    // A writer may have changed what was read.
                    Err(error) if after == before => Err(error),
                    _ => Ok(None),
                }
            },
        )
    }

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

    fn in_force(&self, metas: &Metas, probe: &mut Probe) -> Result<InForce> {
        if metas.first.is_empty() {
            return Err(self.not_a_store(
                "it is empty (0 bytes), and becomes one when it is opened for writing",
            ));
        }
        if magic(&metas.first) != Some(meta::MAGIC) {
            return Err(self.other_kind(metas));
        }
        let [first, second] = metas.parse();
        first.map_err(|kind| self.no_meta("first", kind))?;
        second.map_err(|kind| self.no_meta("second", kind))?;
        let in_force = probe
            .in_force(self.file, metas)
            .map_err(|e| Error::io("reading the file", self.path, e))?
            .map_err(|kind| self.corrupt(format!("its two meta pages: {kind}")))?;
        let checked = in_force.meta.check_range();
        checked.map_err(|kind| self.corrupt(format!("its newest meta page: {kind}")))?;
        Ok(in_force)
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

    fn no_meta(&self, which: &str, kind: Kind) -> Error {
        match kind {
            Kind::MetaVersion(_) => self.foreign(),
            kind => self.corrupt(format!("its {which} meta page: {kind}")),
        }
    }

    /// The error for a file of LMDB's that is no store.
    fn foreign(&self) -> Error {
        Error::ForeignLmdb {
            path: self.path.into(),
        }
    }

    fn cut_short(&self, meta: &Meta) -> Result<Error> {
        let (len, needed) = (self.len()?, meta.needed());
        Ok(self.corrupt(format!(
            "the file is cut short: it has {len} bytes of {needed}"
        )))
    }

    /// Parses the header row of the commit of `meta`.
    fn header_row(&self, meta: &Meta) -> Result<Parsed> {
        // A store's unnamed database is one leaf page: the header row and the named databases.
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
            .map_err(|kind| self.corrupt(format!("page {root}, its root: {kind}")))?;
        let is_table = |table: Table| {
            let found = find(&rows, table.name().as_bytes());
            matches!(found, Some(Value::Tree(_)))
        };
        let mut tables = Table::ALL.into_iter();
        let has_tables = tables.all(|table| !table.is_in_every_format() || is_table(table));
        let parsed = match find(&rows, header::KEY) {
            Some(Value::Here(value)) => Header::parse(value),
            None if has_tables => Parsed::Damaged,
            _ => Parsed::Foreign,
        };
        // Their names speak for a store, and a magic number alone does not speak against it.
        let parsed = match parsed {
            Parsed::Foreign if has_tables => Parsed::Damaged,
            parsed => parsed,
        };
        match parsed {
            Parsed::Known(_) => self.check_tables(meta, &rows, |_| true)?,
            Parsed::Older(_) => self.check_tables(meta, &rows, Table::is_in_every_format)?,
            Parsed::Damaged if self.fix => {
                self.check_tables(meta, &rows, Table::is_in_every_format)?
            }
            _ => {}
        }
        Ok(parsed)
    }

    /// Checks that LMDB can open the unnamed database and the tables, and that all those are there
    /// that the store must have.
    fn check_tables(
        &self,
        meta: &Meta,
        rows: &[Row<'_>],
        must_have: impl Fn(Table) -> bool,
    ) -> Result<()> {
        if meta.main.flags != 0 {
            let violation = Violation {
                location: Location {
                    structure: Structure::Root,
                    page: None,
                },
                kind: Kind::Flags(meta.main.flags),
            };
            return Err(self.corrupt(violation.to_string()));
        }
        for table in Table::ALL {
            let name = table.name();
            match find(rows, name.as_bytes()) {
                Some(Value::Tree(record)) if usable(record, meta) => {}
                Some(Value::Tree(_)) => {
                    let what = format!("the record of its table \"{name}\" is damaged");
                    return Err(self.corrupt(what));
                }
                None if !must_have(table) => {}
                _ => return Err(self.corrupt(format!("its table \"{name}\" is missing"))),
            }
        }
        Ok(())
    }

    fn finish(&self, in_force: InForce, header: Parsed) -> Result<Head> {
        let InForce {
            meta,
            unfinished,
            is_deferred,
        } = in_force;
        let is_current = matches!(header, Parsed::Known(_));
        let (commits, last_id) = match header {
            Parsed::Known(header) | Parsed::Older(header) => (header.commit, header.last_id),
            Parsed::Damaged if self.fix => (1, 0),
            Parsed::Damaged => return Err(self.corrupt(DAMAGED_HEADER)),
            Parsed::Foreign => return Err(self.foreign()),
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
            last_id,
            is_current,
            unfinished,
            is_deferred,
        })
    }
}

/// The value of the row with this key.
fn find<'a>(rows: &[Row<'a>], key: &[u8]) -> Option<Value<'a>> {
    let row = rows.iter().find(|row| row.key == key);
    row.map(|row| row.value)
}

/// Whether LMDB can open a named database by this record: opening a cursor reads nothing of it but
/// the root's number.
fn usable(record: &[u8], meta: &Meta) -> bool {
    let Ok(record) = record.try_into().map(TreeRecord::parse) else {
        return false;
    };
    let in_file = |root| (2..=meta.last_page).contains(&root);
    record.flags == 0 && record.root.is_none_or(in_file)
}

/// The rows of a leaf page, in the order of their keys: LMDB, which searches by halves, does not
/// find rows that are out of order.
fn leaf_rows(page: &[u8], number: u64) -> std::result::Result<Vec<Row<'_>>, Kind> {
    let page = Page::parse(page, number)?;
    if page.kind() == PageKind::Branch {
        return Err(Kind::NotALeaf);
    }
    let rows = (0..page.nodes()).map(|at| page.row(at));
    let rows: Vec<_> = rows.collect::<std::result::Result<_, _>>()?;
    match rows.windows(2).position(|two| two[0].key >= two[1].key) {
        Some(at) => Err(Kind::KeyOrder(at + 1)),
        None => Ok(rows),
    }
}

fn magic(page: &[u8]) -> Option<u32> {
    page.get(HEADER..HEADER + 4).map(|bytes| u32_at(bytes, 0))
}
