//! One snapshot of a store's file, from its meta page to its rows.

use std::io;

use crate::format::header;
use crate::format::header::{parse_header, Header, Parsed, DAMAGED_HEADER};
use crate::format::table::{ByTable, Table};
use crate::verify::bytes::ReadAt;
use crate::verify::free::FreeRows;
use crate::verify::keys::Keys;
use crate::verify::meta::{Meta, Metas};
use crate::verify::page::{Row, TreeRecord, Value};
use crate::verify::rows::{DeviceRows, IdRows, JournalRows, Sums};
use crate::verify::space::Space;
use crate::verify::tree::{self, Rows};
use crate::verify::violation::{CheckError, Kind, Structure, Violations};

/// How much is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// The meta pages, the unnamed database, the free list, and the file's length.
    Quick,
    /// Every page and no row: whether LMDB can read the file, whatever its rows say.
    Structure,
    /// Every page and every row.
    Full,
}

/// The flags that the free list's tree must have: `MDB_INTEGERKEY`.
const FREE_FLAGS: u16 = 0x08;
/// The flag that it may have: `MDB_NOSUBDIR`, which depends on how the file was created.
const CREATED_WITH: u16 = 0x4000;

/// The content of the unnamed database.
#[derive(Default)]
pub(super) struct Root {
    pub header: Option<Header>,
    /// Whether the header is of an older format.
    pub is_older: bool,
    pub tables: ByTable<Option<TreeRecord>>,
}

pub(super) struct RootRows {
    pub level: Level,
}

/// Rows that are not checked.
struct AnyRows;

impl Rows for AnyRows {
    type Tally = ();
    const KEYS: Keys = Keys::Bytes;

    fn row(&self, _: &Space<'_>, _: &mut (), _: Row<'_>) -> Result<(), CheckError> {
        Ok(())
    }
}

impl Rows for RootRows {
    type Tally = Root;
    const KEYS: Keys = Keys::Bytes;

    fn row(&self, _: &Space<'_>, root: &mut Root, row: Row<'_>) -> Result<(), CheckError> {
        let wrong = |what: String| Err(Kind::Row(what).into());
        let name = row.key.escape_ascii();
        match (row.key, row.value) {
            (header::KEY, Value::Here(value)) => match parse_header(value) {
                Some(header) => {
                    root.is_older = matches!(Header::parse(value), Parsed::Older(_));
                    root.header = Some(header);
                }
                None if self.level == Level::Structure => {}
                None => return wrong(DAMAGED_HEADER.to_owned()),
            },
            (key, Value::Tree(record)) if Table::named(key).is_some() => {
                let Ok(record) = record.try_into() else {
                    return wrong(format!("the record of its table \"{name}\" is damaged"));
                };
                if let Some(table) = Table::named(key) {
                    *root.tables.get_mut(table) = Some(TreeRecord::parse(record));
                }
            }
            _ => return wrong(format!("it has a row \"{name}\", which no store has")),
        }
        Ok(())
    }

    fn takes(_: &Value<'_>) -> bool {
        true
    }
}

/// Checks the snapshot of `meta`: what is wrong, and if nothing is, how many pages are lost.
pub(crate) fn check(
    source: &dyn ReadAt,
    meta: &Meta,
    level: Level,
) -> io::Result<(Violations, u64)> {
    if let Some(kind) = unusable(meta, source.size()?) {
        let mut violations = Violations::default();
        violations.add(Structure::Meta, None, kind);
        return Ok((violations, 0));
    }
    let space = Space::new(source, meta.page_size as usize, meta.last_page);
    let mut snapshot = Snapshot {
        meta,
        space: &space,
        violations: Violations::default(),
        pages: 0,
    };
    let root = snapshot.root(level)?;
    match (level, root.header) {
        (Level::Structure, _) => {
            for table in Table::ALL {
                if let Some(record) = root.tables.get(table) {
                    snapshot.walk(Structure::Table(table), record, &AnyRows)?;
                }
            }
        }
        (Level::Quick, Some(header)) => snapshot.counts(&header, &root.tables),
        (Level::Full, Some(header)) => snapshot.tables(header, &root.tables)?,
        (_, None) => {}
    }
    let free = snapshot.free_list()?;
    let lost = match level == Level::Full && snapshot.violations.is_empty() {
        true => meta.last_page - 1 - snapshot.pages - free,
        false => 0,
    };
    Ok((snapshot.violations, lost))
}

/// What in the meta page, or in the file's length, makes every other check impossible.
fn unusable(meta: &Meta, len: u64) -> Option<Kind> {
    if let Err(kind) = meta.check_range() {
        return Some(kind);
    }
    let needed = meta.needed();
    (len < needed).then_some(Kind::CutShort { len, needed })
}

/// A check in progress.
struct Snapshot<'a> {
    meta: &'a Meta,
    space: &'a Space<'a>,
    violations: Violations,
    /// Pages in use.
    pages: u64,
}

impl Snapshot<'_> {
    fn walk<R: Rows>(
        &mut self,
        structure: Structure,
        record: &TreeRecord,
        rows: &R,
    ) -> io::Result<Vec<R::Tally>> {
        let walked = tree::walk(self.space, structure, record, rows)?;
        self.violations.append(walked.violations);
        self.pages += walked.pages;
        Ok(walked.tallies)
    }

    fn check_flags(&mut self, structure: Structure, flags: u16) {
        let expected = match structure {
            Structure::FreeList => flags & CREATED_WITH | FREE_FLAGS,
            _ => 0,
        };
        if flags != expected {
            self.violations.add(structure, None, Kind::Flags(flags));
        }
    }

    /// Checks the unnamed database, which must have the header row and the tables of its format.
    fn root(&mut self, level: Level) -> io::Result<Root> {
        let record = self.meta.main;
        self.check_flags(Structure::Root, record.flags);
        let tallies = self.walk(Structure::Root, &record, &RootRows { level })?;
        let root = tallies.into_iter().next().unwrap_or_default();
        if self.violations.is_empty() {
            let mut wrong = |what: String| {
                self.violations.add(Structure::Root, None, Kind::Row(what));
            };
            if root.header.is_none() && level != Level::Structure {
                wrong("its header row is missing".to_owned());
            }
            for table in Table::ALL {
                let (name, is_there) = (table.name(), root.tables.get(table).is_some());
                let is_due = table.is_in_every_format() || !root.is_older;
                if is_due && !is_there && (level != Level::Structure || root.header.is_some()) {
                    wrong(format!("its table \"{name}\" is missing"));
                } else if is_there && !is_due {
                    wrong(format!(
                        "it has a table \"{name}\", which its format does not have"
                    ));
                }
            }
        }
        for table in Table::ALL {
            if let Some(record) = root.tables.get(table) {
                self.check_flags(Structure::Table(table), record.flags);
            }
        }
        Ok(root)
    }

    /// Compares the numbers of rows in the tables' records with the header.
    fn counts(&mut self, header: &Header, tables: &ByTable<Option<TreeRecord>>) {
        for table in Table::ALL {
            let Some(record) = tables.get(table) else {
                continue;
            };
            let (found, rows) = (record.entries, header.rows(table));
            if found != rows {
                let name = table.name();
                let what =
                    format!("its table \"{name}\" has {found} rows where its header says {rows}");
                self.violations.add(Structure::File, None, Kind::Row(what));
            }
            if let Some(root) = record.root {
                if !(2..=self.meta.last_page).contains(&root) {
                    let kind = self.space.outside(root);
                    self.violations.add(Structure::Table(table), None, kind);
                }
            }
        }
    }

    /// Checks every page and row of the tables, and what the rows add up to.
    fn tables(&mut self, header: Header, tables: &ByTable<Option<TreeRecord>>) -> io::Result<()> {
        let sums = Sums::new(header);
        let mut tallies = Vec::new();
        for table in Table::ALL {
            let Some(record) = tables.get(table) else {
                continue;
            };
            let structure = Structure::Table(table);
            tallies.extend(match table {
                Table::Devices => self.walk(structure, record, &DeviceRows(&sums))?,
                Table::Ids => self.walk(structure, record, &IdRows(&sums))?,
                Table::Journal => self.walk(structure, record, &JournalRows(&sums))?,
            });
        }
        // If a page or a row was left out, the sums are wrong for that reason alone.
        if self.violations.is_empty() {
            sums.finish(tallies.into_iter(), &mut self.violations);
        }
        Ok(())
    }

    /// Checks the free list; how many pages it has.
    fn free_list(&mut self) -> io::Result<u64> {
        let record = self.meta.free;
        self.check_flags(Structure::FreeList, record.flags);
        let txnid = self.meta.txnid;
        let tallies = self.walk(Structure::FreeList, &record, &FreeRows { txnid })?;
        let newest = tallies.iter().map(|tally| tally.newest).max();
        // Every commit but a file's first frees the page that the unnamed database was on. So the
        // newest list shows which commit these trees are of, and a meta page whose number is not
        // theirs is found.
        if txnid > 1 && newest.unwrap_or(0) != txnid && self.violations.is_empty() {
            let why = "is missing";
            let kind = Kind::FreeList { txnid, why };
            self.violations.add(Structure::FreeList, None, kind);
        }
        Ok(tallies.iter().map(|tally| tally.pages).sum())
    }
}

/// Checks that the two meta pages are of two commits, one after the other, each in its slot, and
/// returns the newer one.
///
/// What the older one points to does not matter: if writing a meta page fails, LMDB restores its
/// old number, but not its old roots.
pub(crate) fn newest(metas: &Metas) -> Result<Meta, Kind> {
    let [first, second] = metas.parse();
    let [first, second] = [first?, second?];
    if first == second {
        return Ok(first); // nothing was ever committed, or this is a backup
    }
    let [older, newer] = match second.txnid > first.txnid {
        true => [first, second],
        false => [second, first],
    };
    let in_its_slot = metas.of_commit(newer.txnid) == Some(newer);
    match in_its_slot && older.txnid.checked_add(1) == Some(newer.txnid) {
        true => Ok(newer),
        false => Err(Kind::MetaOrder {
            first: first.txnid,
            second: second.txnid,
        }),
    }
}
