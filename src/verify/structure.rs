//! One snapshot of a store's file, from its meta page to its rows.

use std::io;

use crate::format::header;
use crate::format::header::{parse_header, Header, DAMAGED_HEADER};
use crate::format::table::{DEVICES, IDS};
use crate::verify::bytes::ReadAt;
use crate::verify::finding::{Findings, Place, Problem};
use crate::verify::free::FreeRows;
use crate::verify::keys::Keys;
use crate::verify::level::Level;
use crate::verify::meta::{Meta, Metas};
use crate::verify::page::{Row, TreeRecord, Value};
use crate::verify::rows::{DeviceRows, IdRows, Sums};
use crate::verify::space::{Space, Trouble};
use crate::verify::tree;
use crate::verify::tree::Rows;

/// Of a meta page's flags of the free list's tree: `MDB_INTEGERKEY`, which it has to have, and
/// `MDB_NOSUBDIR`, which says how the file was made.
const FREE_FLAGS: u16 = 0x08;
const MADE_WITH: u16 = 0x4000;

/// What the unnamed database holds.
#[derive(Default)]
struct Root {
    header: Option<Header>,
    devices: Option<TreeRecord>,
    ids: Option<TreeRecord>,
}

struct RootRows {
    level: Level,
}

/// Rows that are not looked at.
struct AnyRows;

impl Rows for AnyRows {
    type Tally = ();
    const KEYS: Keys = Keys::Bytes;

    fn row(&self, _: &Space<'_>, _: &mut (), _: Row<'_>) -> Result<(), Trouble> {
        Ok(())
    }
}

impl Rows for RootRows {
    type Tally = Root;
    const KEYS: Keys = Keys::Bytes;

    fn row(&self, _: &Space<'_>, root: &mut Root, row: Row<'_>) -> Result<(), Trouble> {
        let wrong = |what: String| Err(Problem::Rows(what).into());
        let name = row.key.escape_ascii();
        match (row.key, row.value) {
            (header::KEY, Value::Here(value)) => match parse_header(value) {
                Some(header) => root.header = Some(header),
                None if self.level == Level::Structure => {}
                None => return wrong(DAMAGED_HEADER.to_owned()),
            },
            (key, Value::Tree(record)) if key == DEVICES.as_bytes() || key == IDS.as_bytes() => {
                let Ok(record) = record.try_into() else {
                    return wrong(format!("the record of its table \"{name}\" is damaged"));
                };
                let slot = match key == IDS.as_bytes() {
                    true => &mut root.ids,
                    false => &mut root.devices,
                };
                *slot = Some(TreeRecord::parse(record));
            }
            _ => return wrong(format!("it has a row \"{name}\", which no store has")),
        }
        Ok(())
    }

    fn takes(_: &Value<'_>) -> bool {
        true
    }
}

/// Checks the snapshot that `meta` stands for: what is wrong, and if nothing is, how many pages are
/// lost.
pub(crate) fn check(source: &dyn ReadAt, meta: &Meta, level: Level) -> io::Result<(Findings, u64)> {
    if let Some(problem) = unusable(meta, source.size()?) {
        let mut findings = Findings::default();
        findings.add(Place::Meta, None, problem);
        return Ok((findings, 0));
    }
    let space = Space::new(source, meta.page_size as usize, meta.last_page);
    let mut snapshot = Snapshot {
        meta,
        space: &space,
        findings: Findings::default(),
        pages: 0,
    };
    let root = snapshot.root(level)?;
    if let (Level::Structure, Some(devices), Some(ids)) = (level, root.devices, root.ids) {
        snapshot.walk(Place::Devices, &devices, &AnyRows)?;
        snapshot.walk(Place::Ids, &ids, &AnyRows)?;
    } else if let (Some(header), Some(devices), Some(ids)) = (root.header, root.devices, root.ids) {
        match level {
            Level::Quick => snapshot.counts(&header, &devices, &ids),
            Level::Full => snapshot.tables(header, &devices, &ids)?,
            Level::Structure => {}
        }
    }
    let free = snapshot.free_list()?;
    let lost = match level == Level::Full && snapshot.findings.is_empty() {
        true => meta.last_page - 1 - snapshot.pages - free,
        false => 0,
    };
    Ok((snapshot.findings, lost))
}

/// What in a meta page, or the file's length, leaves nothing to look at.
fn unusable(meta: &Meta, len: u64) -> Option<Problem> {
    if let Err(flaw) = meta.check_range() {
        return Some(Problem::Meta(flaw));
    }
    let needed = meta.needed();
    (len < needed).then_some(Problem::CutShort { len, needed })
}

/// A check on its way.
struct Snapshot<'a> {
    meta: &'a Meta,
    space: &'a Space<'a>,
    findings: Findings,
    /// Pages in use.
    pages: u64,
}

impl Snapshot<'_> {
    fn walk<R: Rows>(
        &mut self,
        place: Place,
        record: &TreeRecord,
        rows: &R,
    ) -> io::Result<Vec<R::Tally>> {
        let walked = tree::walk(self.space, place, record, rows)?;
        self.findings.append(walked.findings);
        self.pages += walked.pages;
        Ok(walked.tallies)
    }

    fn check_flags(&mut self, place: Place, flags: u16) {
        let expected = match place {
            Place::FreeList => flags & MADE_WITH | FREE_FLAGS,
            _ => 0,
        };
        if flags != expected {
            self.findings.add(place, None, Problem::Flags(flags));
        }
    }

    /// The unnamed database, and that what has to be there is there.
    fn root(&mut self, level: Level) -> io::Result<Root> {
        let record = self.meta.main;
        self.check_flags(Place::Root, record.flags);
        let tallies = self.walk(Place::Root, &record, &RootRows { level })?;
        let root = tallies.into_iter().next().unwrap_or_default();
        if self.findings.is_empty() {
            for (missing, what) in [
                (
                    root.header.is_none() && level != Level::Structure,
                    "header row",
                ),
                (root.devices.is_none(), "table \"devices\""),
                (root.ids.is_none(), "table \"ids\""),
            ] {
                if missing {
                    let what = format!("its {what} is missing");
                    self.findings.add(Place::Root, None, Problem::Rows(what));
                }
            }
        }
        for (place, table) in [(Place::Devices, root.devices), (Place::Ids, root.ids)] {
            if let Some(table) = table {
                self.check_flags(place, table.flags);
            }
        }
        Ok(root)
    }

    /// Holds the numbers of rows that the tables' records tell against the header.
    fn counts(&mut self, header: &Header, devices: &TreeRecord, ids: &TreeRecord) {
        let said = u64::from(header.free_ids) + u64::from(header.faulty_ids);
        let counted = [devices.entries, ids.entries];
        if counted != [header.devices.into(), said] {
            let what = format!(
                "it has {} devices and {} id rows where its header says {} and {said}",
                counted[0], counted[1], header.devices
            );
            self.findings.add(Place::File, None, Problem::Rows(what));
        }
        for (place, table) in [(Place::Devices, devices), (Place::Ids, ids)] {
            if let Some(root) = table.root {
                if !(2..=self.meta.last_page).contains(&root) {
                    let problem = self.space.outside(root);
                    self.findings.add(place, None, problem);
                }
            }
        }
    }

    /// Every page and row of the tables, and what the rows add up to.
    fn tables(&mut self, header: Header, devices: &TreeRecord, ids: &TreeRecord) -> io::Result<()> {
        let sums = Sums::new(header);
        let devices = self.walk(Place::Devices, devices, &DeviceRows(&sums))?;
        let ids = self.walk(Place::Ids, ids, &IdRows(&sums))?;
        // Where something was left out, the sums tell nothing more.
        if self.findings.is_empty() {
            let tallies = devices.into_iter().chain(ids);
            sums.conclude(tallies, &mut self.findings);
        }
        Ok(())
    }

    /// The free list; how many pages it has.
    fn free_list(&mut self) -> io::Result<u64> {
        let record = self.meta.free;
        self.check_flags(Place::FreeList, record.flags);
        let txnid = self.meta.txnid;
        let tallies = self.walk(Place::FreeList, &record, &FreeRows { txnid })?;
        let newest = tallies.iter().map(|tally| tally.newest).max();
        // Every commit but a file's first leaves the page that the unnamed database was on. So the
        // newest list tells whose tree this is, and a meta page whose number is not that of
        // its trees is found.
        if txnid > 1 && newest.unwrap_or(0) != txnid && self.findings.is_empty() {
            let problem = Problem::List {
                txnid,
                why: "is missing",
            };
            self.findings.add(Place::FreeList, None, problem);
        }
        Ok(tallies.iter().map(|tally| tally.pages).sum())
    }
}

/// Holds that the two meta pages are of two commits, one after the other, each in its place, and
/// says which is in force.
///
/// What the older one points to does not matter: where writing a meta page fails, LMDB gives it its
/// old number back, but not its old roots.
pub(crate) fn in_force(metas: &Metas) -> Result<Meta, Problem> {
    let [first, second] = metas.parse();
    let [first, second] = [
        first.map_err(Problem::Meta)?,
        second.map_err(Problem::Meta)?,
    ];
    let order = Problem::MetaOrder {
        first: first.txnid,
        second: second.txnid,
    };
    let [older, newer] = match second.txnid > first.txnid {
        true => [first, second],
        false => [second, first],
    };
    let at_home = metas.of_commit(newer.txnid) == Some(newer);
    if first == second {
        return Ok(first); // nothing was ever committed, or this is a backup
    }
    match at_home && older.txnid.checked_add(1) == Some(newer.txnid) {
        true => Ok(newer),
        false => Err(order),
    }
}
