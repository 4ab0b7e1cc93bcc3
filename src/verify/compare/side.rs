//! One of two commits that are compared.

use std::io;

use crate::format::bit_set::BitSet;
use crate::format::header::{self, Header, Parsed};
use crate::format::table::{ByTable, Table};
use crate::verify::branches::{self, Branch};
use crate::verify::bytes::{u64_at, ReadAt};
use crate::verify::keys::{Keys, Span};
use crate::verify::meta::Meta;
use crate::verify::page::{Page, PageKind, Tiles, TreeRecord, Value};
use crate::verify::space::Space;
use crate::verify::structure::{Level, RootRows};
use crate::verify::tree::{Worker, DEEPEST};
use crate::verify::violation::{CheckError, Kind, Location, Structure, Violation};

/// Why a comparison ends early.
pub(super) enum Stop {
    Io(io::Error),
    /// Something is wrong with the earlier commit, or one of them is of another format.
    Before,
    Newer(Violation),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Io(error)
    }
}

/// One of the two commits, and its pages that the other does not have in the same tree.
pub(super) struct Side<'a> {
    pub meta: &'a Meta,
    is_newer: bool,
    /// Pages of its trees.
    pub pages: BitSet,
    /// Pages of values. The other has some of these as well, in rows that did not change.
    pub values: Space<'a>,
    /// Pages in lists of free pages.
    pub free: Space<'a>,
}

/// The unnamed database of one commit.
pub(super) struct Tables {
    pub header: Header,
    pub tables: ByTable<TreeRecord>,
}

impl<'a> Side<'a> {
    pub fn new(source: &'a dyn ReadAt, meta: &'a Meta, is_newer: bool) -> Result<Side<'a>, Stop> {
        let in_range = meta.check_range();
        // There may be no memory for as many pages as it says.
        let last_page = in_range.as_ref().map_or(0, |()| meta.last_page);
        let space = || Space::new(source, meta.page_size as usize, last_page);
        let side = Side {
            meta,
            is_newer,
            pages: BitSet::up_to(last_page),
            values: space(),
            free: space(),
        };
        if let Err(kind) = in_range {
            return Err(side.stop(Structure::Meta, None, kind));
        }
        let (len, needed) = (source.size()?, meta.needed());
        match len >= needed {
            true => Ok(side),
            false => Err(side.stop(Structure::File, None, Kind::CutShort { len, needed })),
        }
    }

    /// The end of a comparison in which this was found.
    pub fn stop(&self, structure: Structure, page: Option<u64>, kind: Kind) -> Stop {
        match self.is_newer {
            true => Stop::Newer(Violation {
                location: Location { structure, page },
                kind,
            }),
            false => Stop::Before,
        }
    }

    /// Marks a page as one of its trees', and reads it.
    pub fn enter(&self, structure: Structure, number: u64) -> Result<Vec<u8>, Stop> {
        let stop = |kind| Err(self.stop(structure, Some(number), kind));
        if !(2..=self.meta.last_page).contains(&number) {
            return stop(self.values.outside(number));
        }
        if !self.pages.insert(number) {
            return stop(Kind::ReachedTwice);
        }
        let mut bytes = vec![0; self.meta.page_size as usize];
        match self.values.read_pages(number, &mut bytes)? {
            0 => stop(Kind::PageShort),
            _ => Ok(bytes),
        }
    }

    /// Checks a branch page.
    pub fn branch(
        &self,
        structure: Structure,
        keys: Keys,
        number: u64,
        span: &Span,
    ) -> Result<Branch, Stop> {
        let bytes = self.enter(structure, number)?;
        branches::check(&bytes, number, span, keys, &mut Tiles::default())
            .map_err(|kind| self.stop(structure, Some(number), kind))?;
        let span = span.clone();
        Ok(Branch {
            number,
            bytes,
            span,
        })
    }

    /// Sorts the outcome of a check of a page and its rows.
    pub fn checked(
        &self,
        structure: Structure,
        page: u64,
        outcome: Result<(), CheckError>,
    ) -> Result<(), Stop> {
        outcome.map_err(|error| match error {
            CheckError::Io(error) => Stop::Io(error),
            CheckError::Violation(kind) => self.stop(structure, Some(page), kind),
        })
    }

    /// Reads and checks the unnamed database, which is one leaf page.
    pub fn root(&self) -> Result<Tables, Stop> {
        const STRUCTURE: Structure = Structure::Root;
        let wrong = |kind| self.stop(STRUCTURE, None, kind);
        let level = Level::Full;
        let rows = RootRows { level };
        let main = self.meta.main;
        let number = main.root.ok_or_else(|| wrong(Kind::Depth))?;
        let bytes = self.enter(STRUCTURE, number)?;
        if is_of_newer_format(&bytes, number) {
            return Err(Stop::Before);
        }
        let mut worker = Worker::new(&self.values, STRUCTURE, &rows);
        let outcome = worker.leaf(&bytes, number, &Span::default());
        self.checked(STRUCTURE, number, outcome)?;
        let (tally, count, violation) = worker.into_parts();
        if let Some(violation) = violation {
            return Err(wrong(violation.kind));
        }
        let as_recorded = TreeRecord {
            flags: 0,
            depth: 1,
            branch_pages: 0,
            leaf_pages: 1,
            overflow_pages: count.overflow,
            entries: count.entries,
            root: Some(number),
        };
        if main != as_recorded {
            return Err(wrong(Kind::Count {
                what: "rows",
                recorded: main.entries,
                found: count.entries,
            }));
        }
        if tally.is_older {
            // An older release flushed every commit's pages before its meta page.
            return Err(Stop::Before);
        }
        let missing = || wrong(Kind::Row("a row of it is missing".to_owned()));
        let mut tables = ByTable::default();
        for table in Table::ALL {
            *tables.get_mut(table) = tally.tables.get(table).ok_or_else(missing)?;
        }
        let header = tally.header.ok_or_else(missing)?;
        Ok(Tables { header, tables })
    }

    /// Checks that its newest list of free pages is its own. If writing a meta page fails, LMDB
    /// restores its old number beside the new roots.
    pub fn check_newest_list(&self) -> Result<(), Stop> {
        let txnid = self.meta.txnid;
        // The first commit of a file frees nothing.
        if txnid > 1 && self.last_list()? != Some(txnid) {
            let why = "is missing";
            return Err(self.stop(Structure::FreeList, None, Kind::FreeList { txnid, why }));
        }
        Ok(())
    }

    fn last_list(&self) -> Result<Option<u64>, Stop> {
        let Some(root) = self.meta.free.root else {
            return Ok(None);
        };
        let key = self.extreme(Structure::FreeList, root, self.meta.free.depth, End::Last)?;
        Ok(Some(u64_at(&key, 0)))
    }

    /// The first or the last key below a page that is `levels` above the rows.
    pub fn extreme(
        &self,
        structure: Structure,
        root: u64,
        levels: u16,
        end: End,
    ) -> Result<Vec<u8>, Stop> {
        let mut number = root;
        let mut bytes = vec![0; self.meta.page_size as usize];
        for _ in 0..levels.min(DEEPEST) {
            let stop = |kind| self.stop(structure, Some(number), kind);
            if self.values.read_pages(number, &mut bytes)? == 0 {
                return Err(stop(Kind::PageShort));
            }
            let page = Page::parse(&bytes, number).map_err(stop)?;
            let at = match end {
                End::First => 0,
                End::Last => page.nodes().saturating_sub(1),
            };
            match page.kind() {
                PageKind::Leaf => {
                    let row = page.row(at).map_err(stop)?;
                    return Ok(row.key.to_vec());
                }
                PageKind::Branch => {
                    let child = page.child(at).map_err(stop)?.page;
                    if !(2..=self.meta.last_page).contains(&child) {
                        return Err(stop(self.values.outside(child)));
                    }
                    number = child;
                }
            }
        }
        Err(self.stop(structure, Some(root), Kind::Depth))
    }
}

/// Whether the page has the header row of a format that this release does not know.
fn is_of_newer_format(bytes: &[u8], number: u64) -> bool {
    let Ok(page) = Page::parse(bytes, number) else {
        return false;
    };
    page.kind() == PageKind::Leaf
        && (0..page.nodes())
            .filter_map(|at| page.row(at).ok())
            .any(|row| match row.value {
                Value::Here(value) if row.key == header::KEY => {
                    matches!(Header::parse(value), Parsed::Newer(_))
                }
                _ => false,
            })
}

/// An end of a tree's rows.
#[derive(Clone, Copy)]
pub(super) enum End {
    First,
    Last,
}
