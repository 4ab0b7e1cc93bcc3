//! A tree of two commits, walked down in both at once.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::verify::compare::side::{End, Side, Stop};
use crate::verify::keys::Span;
use crate::verify::page::TreeRecord;
use crate::verify::tree::{Rows, Worker, DEEPEST};
use crate::verify::violation::{Kind, Structure};

/// Two commits.
pub(super) struct Pair<'a> {
    pub before: Side<'a>,
    pub newer: Side<'a>,
}

/// The pages of one level of a tree that are looked at, with the bounds of their keys.
type Pages = BTreeMap<u64, Span>;

impl<'a> Pair<'a> {
    /// Checks the pages of a tree that only one of the commits has, and shows their rows: what
    /// they add up to in each. Pages that both have are passed over, level by level from the top,
    /// with all that is below them: a page that is in both trees is at the same height in both.
    pub fn tree<R: Rows>(
        &self,
        structure: Structure,
        records: [TreeRecord; 2],
        rows: [&R; 2],
    ) -> Result<[R::Tally; 2], Stop> {
        let [old, new] = &records;
        self.before.check_record(structure, old)?;
        self.newer.check_record(structure, new)?;
        if old.flags != new.flags {
            return Err(self.newer.stop(structure, None, Kind::Flags(new.flags)));
        }
        let mut sides = [
            Walk::new(&self.before, structure, old, rows[0]),
            Walk::new(&self.newer, structure, new, rows[1]),
        ];
        for level in (0..old.depth.max(new.depth)).rev() {
            for walk in &mut sides {
                walk.add_root(level);
            }
            let [old, new] = [0, 1].map(|at: usize| std::mem::take(&mut sides[at].pages));
            for (page, span) in &new {
                if let Some(before) = old.get(page) {
                    self.check_bounds::<R>(structure, *page, level, before, span)?;
                }
            }
            sides[0].level(level, &old, &new)?;
            sides[1].level(level, &new, &old)?;
        }
        let [old_walk, new_walk] = sides;
        let (old_tally, old_counts) = old_walk.finish()?;
        let (new_tally, new_counts) = new_walk.finish()?;
        self.check_counts(structure, records, [old_counts, new_counts])?;
        Ok([old_tally, new_tally])
    }

    /// Checks that the keys of a page that both have are within the bounds that the newer one's
    /// branch pages give it. They are within the earlier one's.
    fn check_bounds<R: Rows>(
        &self,
        structure: Structure,
        page: u64,
        level: u16,
        before: &Span,
        now: &Span,
    ) -> Result<(), Stop> {
        let beyond = || Err(self.newer.stop(structure, Some(page), Kind::KeysOutOfSpan));
        let key = |end| self.before.extreme(structure, page, level + 1, end);
        if let Some(low) = &now.low {
            let wider = |before| R::KEYS.compare(low, before) != Ordering::Greater;
            let covered = before.low.as_ref().is_some_and(|before| wider(before));
            if !covered && R::KEYS.compare(&key(End::First)?, low) == Ordering::Less {
                return beyond();
            }
        }
        if let Some(high) = &now.high {
            let wider = |before| R::KEYS.compare(high, before) != Ordering::Less;
            let covered = before.high.as_ref().is_some_and(|before| wider(before));
            if !covered && R::KEYS.compare(&key(End::Last)?, high) != Ordering::Less {
                return beyond();
            }
        }
        Ok(())
    }

    /// Checks that the records count as many pages and rows more, or less, as were found.
    fn check_counts(
        &self,
        structure: Structure,
        [old, new]: [TreeRecord; 2],
        [before, now]: [Counts; 2],
    ) -> Result<(), Stop> {
        for (what, was, recorded, lost, gained) in [
            (
                "branch pages",
                old.branch_pages,
                new.branch_pages,
                before.branches,
                now.branches,
            ),
            (
                "leaf pages",
                old.leaf_pages,
                new.leaf_pages,
                before.leaves,
                now.leaves,
            ),
            (
                "overflow pages",
                old.overflow_pages,
                new.overflow_pages,
                before.overflow,
                now.overflow,
            ),
            ("rows", old.entries, new.entries, before.rows, now.rows),
        ] {
            let found = was.wrapping_sub(lost).wrapping_add(gained);
            if recorded != found {
                let kind = Kind::Count {
                    what,
                    recorded,
                    found,
                };
                return Err(self.newer.stop(structure, None, kind));
            }
        }
        Ok(())
    }
}

/// Pages and rows that only one commit has.
#[derive(Default)]
struct Counts {
    branches: u64,
    leaves: u64,
    overflow: u64,
    rows: u64,
}

/// The walk down the tree of one commit.
struct Walk<'w, 'a, R: Rows> {
    side: &'w Side<'a>,
    structure: Structure,
    record: &'w TreeRecord,
    worker: Worker<'w, R>,
    branches: u64,
    leaves: u64,
    /// The pages of the next level.
    pages: Pages,
}

impl<'w, 'a, R: Rows> Walk<'w, 'a, R> {
    fn new(
        side: &'w Side<'a>,
        structure: Structure,
        record: &'w TreeRecord,
        rows: &'w R,
    ) -> Walk<'w, 'a, R> {
        Walk {
            side,
            structure,
            record,
            worker: Worker::new(&side.values, structure, rows),
            branches: 0,
            leaves: 0,
            pages: Pages::new(),
        }
    }

    /// Adds the root, if it is at this height above the leaves.
    fn add_root(&mut self, level: u16) {
        if self.record.depth == level + 1 {
            let root = self.record.root.map(|root| (root, Span::default()));
            self.pages.extend(root);
        }
    }

    /// Checks the pages of a level that the other commit does not have there.
    fn level(&mut self, level: u16, pages: &Pages, others: &Pages) -> Result<(), Stop> {
        let changed = pages.iter().filter(|(page, _)| !others.contains_key(page));
        for (page, span) in changed {
            match level {
                0 => self.leaf(*page, span)?,
                _ => self.branch(*page, span)?,
            }
        }
        Ok(())
    }

    fn leaf(&mut self, page: u64, span: &Span) -> Result<(), Stop> {
        let bytes = self.side.enter(self.structure, page)?;
        let outcome = self.worker.leaf(&bytes, page, span);
        self.leaves += 1;
        self.side.checked(self.structure, page, outcome)
    }

    fn branch(&mut self, page: u64, span: &Span) -> Result<(), Stop> {
        let branch = self.side.branch(self.structure, R::KEYS, page, span)?;
        self.branches += 1;
        let mut children = (0..).map_while(|at| branch.child(at));
        let twice = children.any(|(child, span)| self.pages.insert(child, span).is_some());
        match twice {
            true => Err(self
                .side
                .stop(self.structure, Some(page), Kind::ReachedTwice)),
            false => Ok(()),
        }
    }

    fn finish(self) -> Result<(R::Tally, Counts), Stop> {
        let (tally, count, violation) = self.worker.into_parts();
        if let Some(violation) = violation {
            let page = violation.location.page;
            return Err(self.side.stop(self.structure, page, violation.kind));
        }
        let counts = Counts {
            branches: self.branches,
            leaves: self.leaves,
            overflow: count.overflow,
            rows: count.entries,
        };
        Ok((tally, counts))
    }
}

impl Side<'_> {
    /// Checks that a tree has a root and levels, or neither.
    fn check_record(&self, structure: Structure, record: &TreeRecord) -> Result<(), Stop> {
        let (depth, has_root) = (record.depth, record.root.is_some());
        if depth > DEEPEST || (depth > 0) != has_root {
            let kind = Kind::Count {
                what: "levels",
                recorded: depth.into(),
                found: has_root.into(),
            };
            return Err(self.stop(structure, None, kind));
        }
        Ok(())
    }
}
