//! LMDB's list of free pages: a row for each commit that has freed pages and whose pages were not
//! used again yet, with the commit's number first.
//!
//! After a walk that stayed open for a million commits, the list has a row for each, so that going
//! through it takes milliseconds. Statistics do without that.

use std::path::Path;

use crate::error::{Error, Result};
use crate::lmdb::env::Tables;
use crate::lmdb::raw::{into_error, Database, Order, ReadTxn, Rows};

/// Pages that a commit has freed.
#[derive(Clone, Copy)]
struct Freed {
    by: u64,
    pages: u64,
}

/// The rows of the list, read one by one.
struct FreeRows<'t> {
    rows: Rows<'t>,
    store: &'t Path,
}

impl<'t> FreeRows<'t> {
    fn open(txn: &'t ReadTxn, store: &'t Path, order: Order) -> Result<FreeRows<'t>> {
        let rows = txn.rows(Database::FREE_LIST, order);
        let rows = rows.map_err(|e| into_error(READING, store, e))?;
        Ok(FreeRows { rows, store })
    }
}

impl Iterator for FreeRows<'_> {
    type Item = Result<Freed>;

    fn next(&mut self) -> Option<Result<Freed>> {
        let number = |bytes: &[u8]| {
            let first = bytes.first_chunk().copied().map(usize::from_ne_bytes);
            let corrupt = || Error::corrupt("its list of free pages has a row that is none");
            first
                .map(|first| first as u64)
                .ok_or_else(|| corrupt().at(self.store))
        };
        let freed = |(key, value)| {
            Ok(Freed {
                by: number(key)?,
                pages: number(value)?,
            })
        };
        match self.rows.next() {
            Ok(row) => row.map(freed),
            Err(e) => Some(Err(into_error(READING, self.store, e))),
        }
    }
}

const READING: &str = "reading the free list";

/// Pages that are free in the snapshot of `txn`, where the store has `pages` up to the last one in
/// use: those that no tree has. LMDB keeps the number of each tree's.
pub(super) fn free_pages(txn: &ReadTxn, tables: &Tables, pages: u64, store: &Path) -> Result<u64> {
    let trees = [Database::FREE_LIST, tables.main, tables.devices, tables.ids];
    let mut in_use = META_PAGES;
    for tree in trees.into_iter().chain(tables.journal) {
        let pages = txn.pages_in(tree);
        in_use += pages.map_err(|e| into_error("counting pages", store, e))?;
    }
    Ok(pages.saturating_sub(in_use))
}

/// Pages that no tree has.
const META_PAGES: u64 = 2;

/// Pages that are free in the snapshot of `txn`, counted row by row.
pub(super) fn count_free_pages(txn: &ReadTxn, store: &Path) -> Result<u64> {
    FreeRows::open(txn, store, Order::Ascending)?
        .try_fold(0u64, |sum, freed| Ok(sum.saturating_add(freed?.pages)))
}

/// Of `free` pages, those that the read of commit `oldest` holds.
pub(super) fn held_pages(txn: &ReadTxn, store: &Path, free: u64, oldest: u64) -> Result<u64> {
    held_of(
        free,
        oldest,
        FreeRows::open(txn, store, Order::Ascending)?,
        FreeRows::open(txn, store, Order::Descending)?,
    )
}

/// Counts from both ends of the list at once, until one of them reaches `oldest`: beside a long
/// read few rows are before it, since commits use those pages first, and beside a short read few
/// are after it.
///
/// LMDB uses again what was freed before the commit that the oldest read sees.
fn held_of(
    free: u64,
    oldest: u64,
    mut ascending: impl Iterator<Item = Result<Freed>>,
    mut descending: impl Iterator<Item = Result<Freed>>,
) -> Result<u64> {
    let (mut usable, mut held) = (0u64, 0u64);
    loop {
        match ascending.next().transpose()? {
            Some(freed) if freed.by < oldest => usable = usable.saturating_add(freed.pages),
            _ => return Ok(free.saturating_sub(usable)),
        }
        match descending.next().transpose()? {
            Some(freed) if freed.by >= oldest => held = held.saturating_add(freed.pages),
            _ => return Ok(held),
        }
    }
}

/// Pages that the read of commit `oldest` holds, counted until they are more than `most`.
pub(super) fn held_pages_beyond(
    txn: &ReadTxn,
    store: &Path,
    oldest: u64,
    most: u64,
) -> Result<u64> {
    let mut held = 0u64;
    for freed in FreeRows::open(txn, store, Order::Descending)? {
        let freed = freed?;
        if freed.by < oldest || held > most {
            break;
        }
        held = held.saturating_add(freed.pages);
    }
    Ok(held)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Rows of one page each, of the commits of a range, and how many of them were read.
    fn rows<'a>(
        commits: impl Iterator<Item = u64> + 'a,
        read: &'a Cell<u64>,
    ) -> impl Iterator<Item = Result<Freed>> + 'a {
        commits.map(move |by| {
            read.set(read.get() + 1);
            Ok(Freed { by, pages: 1 })
        })
    }

    #[test]
    fn long_list_is_read_as_far_as_its_shorter_side_reaches() {
        const ROWS: u64 = 1_000_000;
        for before in [0, 1, 10, ROWS - 10, ROWS - 1, ROWS] {
            let read = Cell::new(0);
            let ascending = rows(0..ROWS, &read);
            let descending = rows((0..ROWS).rev(), &read);
            let held = held_of(ROWS, before, ascending, descending).unwrap();
            assert_eq!(held, ROWS - before);
            let shorter = before.min(ROWS - before);
            assert!(read.get() <= 2 * shorter + 2, "{before}: {}", read.get());
        }
    }

    #[test]
    fn error_in_a_row_is_reported() {
        let bad = || std::iter::once_with(|| Err(Error::corrupt("a row that is none")));
        let good = || rows(5..9, Box::leak(Box::new(Cell::new(0))));
        assert!(held_of(4, 7, bad(), good()).is_err());
        assert!(held_of(4, 7, good(), bad()).is_err());
    }
}
