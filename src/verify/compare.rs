//! Whether a commit is whole, by what it has in other places than an earlier one that is: in time
//! that depends on the changes between them and not on the size of the store.
//!
//! LMDB writes a commit's changed pages to places that the commit before does not use. So a page
//! that both have is the same in both, with all that is below it, and only the others are read:
//! each of the newer commit's is checked as a full verification does, and what its rows add up to,
//! beside the rows that they replace, must be what the two headers say.

mod both;
mod side;

use std::io;

use crate::format::table::Table;
use crate::format::{crc, digest, record};
use crate::verify::announcement::Expected;
use crate::verify::bytes::ReadAt;
use crate::verify::compare::both::Pair;
use crate::verify::compare::side::{Side, Stop};
use crate::verify::free::{FreeRows, FreeTally};
use crate::verify::keys::Keys;
use crate::verify::meta::Meta;
use crate::verify::page::{Row, Value};
use crate::verify::space::Space;
use crate::verify::structure::{self, Level};
use crate::verify::tree::Rows;
use crate::verify::violation::{CheckError, Kind, Location, Structure, Violation};

/// What came of a comparison.
#[derive(Debug)]
pub(crate) enum Comparison {
    /// The newer commit is whole, if the earlier one is.
    Whole,
    /// Something is wrong on pages that the newer commit has written.
    Torn(Violation),
    /// The earlier commit is not one that the newer can be compared with.
    Unclear,
}

/// Compares the commit of `newer` with that of `before`. No page of either may be written
/// meanwhile. The header row of `newer` says what is `expected`, if all is whole.
pub(crate) fn compare(
    source: &dyn ReadAt,
    before: &Meta,
    newer: &Meta,
    expected: Expected,
) -> io::Result<Comparison> {
    if (before.free, before.main) == (newer.free, newer.main) {
        return Ok(Comparison::Whole);
    }
    match try_compare(source, before, newer, expected) {
        Ok(_) => Ok(Comparison::Whole),
        Err(Stop::Io(error)) => Err(error),
        Err(Stop::Before) => Ok(Comparison::Unclear),
        Err(Stop::Newer(violation)) => Ok(Comparison::Torn(violation)),
    }
}

/// The pages that a commit has in other places than an earlier one, in ascending order, or what is
/// wrong with them.
pub(crate) fn written_pages(
    source: &dyn ReadAt,
    before: &Meta,
    newer: &Meta,
) -> io::Result<Result<Vec<u64>, Violation>> {
    if (before.free, before.main) == (newer.free, newer.main) {
        return Ok(Ok(Vec::new()));
    }
    match try_compare(source, before, newer, Expected::default()) {
        Ok(pair) => {
            let mut pages: Vec<_> = pair.newer.pages.iter().collect();
            let is_old = |page: &u64| pair.before.values.is_reached(*page);
            pages.extend(pair.newer.values.reached().filter(|page| !is_old(page)));
            pages.sort_unstable();
            Ok(Ok(pages))
        }
        Err(Stop::Io(error)) => Err(error),
        Err(Stop::Newer(violation)) => Ok(Err(violation)),
        Err(Stop::Before) => Ok(Err(Violation {
            location: Location {
                structure: Structure::File,
                page: None,
            },
            kind: Kind::Row("the last commit that was flushed is damaged".to_owned()),
        })),
    }
}

fn try_compare<'a>(
    source: &'a dyn ReadAt,
    before: &'a Meta,
    newer: &'a Meta,
    expected: Expected,
) -> Result<Pair<'a>, Stop> {
    let before = Side::new(source, before, false)?;
    before.check_newest_list()?;
    let old = before.root()?;
    let newer = Side::new(source, newer, true)?;
    let new = newer.root()?;
    // A lower one is of a commit that was undone, or of one before.
    if new.header.commit <= old.header.commit.saturating_add(expected.skipped) {
        let (now, then) = (new.header.commit, old.header.commit);
        let what = format!("its header is of commit {now}, and the one before of {then}");
        return Err(newer.stop(Structure::Root, None, Kind::Row(what)));
    }
    if expected.digest.is_some_and(|it| it != new.header.digest) {
        let what = "its header is not the one that was announced".to_owned();
        return Err(newer.stop(Structure::Root, None, Kind::Row(what)));
    }
    let pair = Pair { before, newer };
    let (mut digest, mut was_damaged) = (old.header.digest, false);
    for table in Table::ALL {
        let records = [*old.tables.get(table), *new.tables.get(table)];
        let rows = Hashes(table);
        let [removed, added] = pair.tree(Structure::Table(table), records, [&rows, &rows])?;
        digest = digest
            .wrapping_sub(removed.digest)
            .wrapping_add(added.digest);
        was_damaged |= removed.is_damaged;
    }
    let is_sound = || is_sound(source, pair.newer.meta);
    if digest != new.header.digest && !(was_damaged && is_sound()?) {
        let what = "its rows do not add up to its digest".to_owned();
        return Err(pair.newer.stop(Structure::File, None, Kind::Row(what)));
    }
    free_lists(&pair)?;
    match check_pages(&pair) {
        Err(Stop::Newer(_)) if is_sound()? => {}
        checked => checked?,
    }
    Ok(pair)
}

/// Whether a commit is whole by itself, where what it adds up to with the earlier one says that it
/// is not: the rows that it has replaced can be damaged, and the lists of which pages were free.
/// This takes as long as the store is large, and only such damage needs it.
fn is_sound(source: &dyn ReadAt, meta: &Meta) -> io::Result<bool> {
    let (violations, _) = structure::check(source, meta, Level::Full)?;
    Ok(violations.is_empty())
}

/// The rows of a table, of which nothing counts but that they add up.
struct Hashes(Table);

/// What rows add up to.
#[derive(Default)]
struct Sum {
    digest: u128,
    /// Whether the checksum of any of them does not hold.
    is_damaged: bool,
}

impl Rows for Hashes {
    type Tally = Sum;
    const KEYS: Keys = Keys::Bytes;

    fn row(&self, space: &Space<'_>, sum: &mut Sum, row: Row<'_>) -> Result<(), CheckError> {
        let mut far = Vec::new();
        let value = match row.value {
            Value::Here(value) => value,
            Value::Far { page, len } if len <= record::MAX_LEN => {
                far.reserve_exact(len);
                space.each_piece(page, len, |piece| {
                    far.extend_from_slice(piece);
                    Ok(())
                })?;
                &far
            }
            Value::Far { .. } | Value::Tree(_) => {
                return Err(Kind::Row("it has a row that is too long".to_owned()).into())
            }
        };
        let hash = digest::row_hash(self.0, row.key, value);
        sum.digest = sum.digest.wrapping_add(hash);
        sum.is_damaged |= crc::checked(row.key, value).is_none();
        Ok(())
    }
}

/// The lists of free pages.
struct Lists<'a> {
    rows: FreeRows,
    /// Where the pages in them are noted, apart from those of the lists themselves.
    free: &'a Space<'a>,
}

impl Rows for Lists<'_> {
    type Tally = FreeTally;
    const KEYS: Keys = Keys::Numbers;

    fn row(&self, _: &Space<'_>, tally: &mut FreeTally, row: Row<'_>) -> Result<(), CheckError> {
        self.rows.row(self.free, tally, row)
    }
}

/// Compares the free lists. A commit frees pages of the one before it, so it has a list.
fn free_lists(pair: &Pair<'_>) -> Result<(), Stop> {
    let lists = |side: &'_ Side<'_>| side.meta.txnid;
    let [old, new] = [&pair.before, &pair.newer].map(|side| Lists {
        rows: FreeRows { txnid: lists(side) },
        free: &side.free,
    });
    let records = [pair.before.meta.free, pair.newer.meta.free];
    let [_, tally] = pair.tree(Structure::FreeList, records, [&old, &new])?;
    let txnid = pair.newer.meta.txnid;
    if txnid > 1 && tally.newest != txnid {
        let why = "is missing";
        let kind = Kind::FreeList { txnid, why };
        return Err(pair.newer.stop(Structure::FreeList, None, kind));
    }
    Ok(())
}

/// Checks where the newer commit has its pages: in places that were free before, or behind the
/// last page. And that none of them is free, nor any that it has left where it was.
fn check_pages(pair: &Pair<'_>) -> Result<(), Stop> {
    let Pair { before, newer } = pair;
    let is_value = |side: &Side<'_>, other: &Side<'_>, page: u64| {
        side.values.is_reached(page) && !other.values.is_reached(page)
    };
    let is_written = |page| newer.pages.contains(page) || is_value(newer, before, page);
    let is_left = |page| before.pages.contains(page) || is_value(before, newer, page);
    let is_behind = |page| page > before.meta.last_page;
    let values = newer
        .values
        .reached()
        .filter(|page| is_value(newer, before, *page));
    for page in newer.pages.iter().chain(values) {
        let twice = newer.pages.contains(page) && newer.values.is_reached(page);
        if twice || !(is_behind(page) || before.free.is_reached(page)) {
            return Err(newer.stop(Structure::File, Some(page), Kind::ReachedTwice));
        }
    }
    for page in newer.free.reached() {
        let was_free = is_behind(page) || before.free.is_reached(page) || is_left(page);
        if is_written(page) || !was_free {
            let (txnid, target) = (newer.meta.txnid, page);
            let kind = Kind::NotFree { txnid, target };
            return Err(newer.stop(Structure::FreeList, None, kind));
        }
    }
    Ok(())
}
