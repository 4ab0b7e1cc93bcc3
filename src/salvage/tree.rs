//! The rows that a table's tree leads to, and the spans of keys where it leads nowhere.

use super::source::Source;
use crate::verify::page::{Kind, Page, Tiles, TreeRecord, Value};
use std::collections::HashSet;

/// No tree is deeper.
const DEEPEST: usize = 32;
/// No record is longer.
pub(super) const LONGEST: usize = crate::MAX_ERROR_LEN + 1024;

/// Keys from `low` to less than `high`, of which some may be lost.
#[derive(Clone, Debug, Default)]
pub(super) struct Hole {
    pub low: Option<Vec<u8>>,
    pub high: Option<Vec<u8>>,
}

impl Hole {
    fn has(&self, key: &[u8]) -> bool {
        self.low.as_deref().is_none_or(|low| low <= key)
            && self.high.as_deref().is_none_or(|high| key < high)
    }
}

/// Holes in the order of keys, none of which reaches into another.
#[derive(Default)]
pub(super) struct Holes(Vec<Hole>);

impl Holes {
    pub fn new(mut holes: Vec<Hole>) -> Holes {
        holes.sort_by(|a, b| a.low.cmp(&b.low));
        let mut merged: Vec<Hole> = Vec::new();
        for hole in holes {
            match merged.last_mut() {
                Some(last) if last.high.is_none() => break,
                Some(last) if hole.low <= last.high => {
                    // No upper end is the highest one.
                    if hole.high.is_none() || hole.high > last.high {
                        last.high = hole.high;
                    }
                }
                _ => merged.push(hole),
            }
        }
        Holes(merged)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn has(&self, key: &[u8]) -> bool {
        let behind = |hole: &Hole| hole.low.as_deref().is_none_or(|low| low <= key);
        let at = self.0.partition_point(behind);
        at > 0 && self.0[at - 1].has(key)
    }
}

/// What a walk over a tree has met beside rows.
#[derive(Default)]
pub(super) struct Walked {
    pub holes: Vec<Hole>,
    /// Pages that are not there, or are not pages of the tree.
    pub lost: Vec<u64>,
    /// Rows, whole or not.
    pub rows: u64,
    /// The key of the last row that was whole.
    last: Option<Vec<u8>>,
    /// Whether rows may be lost behind that one.
    gap: bool,
}

impl Walked {
    /// A row that is whole: nothing else tells where the holes are, since the keys of branch pages have no checksums.
    fn whole(&mut self, key: &[u8]) {
        if self.last.as_deref().is_some_and(|last| key <= last) {
            // One of the two rows' pages belongs elsewhere, and another one here or there.
            self.holes.push(Hole::default());
        } else if std::mem::take(&mut self.gap) {
            self.holes.push(Hole {
                low: self.last.take(),
                high: Some(key.to_vec()),
            });
        }
        let last = self.last.get_or_insert_with(Vec::new);
        last.clear();
        last.extend_from_slice(key);
    }

    fn lost(&mut self, page: u64) {
        self.lost.push(page);
        self.gap = true;
    }

    fn end(&mut self) {
        let low = self.last.take();
        if std::mem::take(&mut self.gap) {
            self.holes.push(Hole { low, high: None });
        }
    }
}

/// What a row turned out to be: whether it was whole.
pub(super) type Take<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> bool;

/// Shows every row that the tree leads to.
pub(super) fn walk(source: &Source<'_>, record: &TreeRecord, take: Take<'_>) -> Walked {
    let mut walked = Walked::default();
    let mut visited = HashSet::new();
    let mut next = Vec::new();
    next.extend(record.root.map(|root| (root, 0)));
    let mut tiles = Tiles::default();
    let mut bytes = Vec::new();
    while let Some((number, depth)) = next.pop() {
        if !visited.insert(number) {
            // One of the ways to it is wrong, and leads to another page of the tree.
            walked.holes.push(Hole::default());
            continue;
        }
        let page = (depth < DEEPEST && source.page(number, &mut bytes))
            .then(|| Page::parse(&bytes, number).ok())
            .flatten();
        match page {
            Some(page) if page.kind() == Kind::Leaf => {
                let torn = page.check_layout(&mut tiles).is_err();
                if torn {
                    walked.lost(number);
                }
                leaf(source, &page, torn, take, &mut walked);
            }
            Some(page) if page.check_layout(&mut tiles).is_ok() => {
                // The last first, so that leaves come in the order of keys.
                let children = (0..page.nodes()).rev();
                let children = children.filter_map(|at| page.child(at).ok());
                next.extend(children.map(|child| (child.page, depth + 1)));
            }
            _ => walked.lost(number),
        }
    }
    walked.end();
    if walked.holes.is_empty() && walked.rows != record.entries {
        walked.holes.push(Hole::default());
    }
    walked
}

/// Shows the rows of a leaf. Where it is `torn`, there may be others between them.
fn leaf(source: &Source<'_>, page: &Page<'_>, torn: bool, take: Take<'_>, walked: &mut Walked) {
    for at in 0..page.nodes() {
        walked.rows += 1;
        let Ok(row) = page.row(at) else {
            walked.gap = true;
            continue;
        };
        let whole = match row.value {
            Value::Here(value) => take(row.key, value),
            Value::Far { page, len } if len <= LONGEST => {
                take(row.key, &source.value(page, len).unwrap_or_default())
            }
            _ => take(row.key, &[]),
        };
        if whole {
            walked.whole(row.key);
        }
        walked.gap = torn || !whole;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_merged_and_found() {
        let hole = |low: &str, high: &str| {
            let end = |text: &str| (!text.is_empty()).then(|| text.as_bytes().to_vec());
            Hole {
                low: end(low),
                high: end(high),
            }
        };
        let cases = [
            vec![],
            vec![hole("", "")],
            vec![hole("d", "f"), hole("", "b"), hole("e", "g"), hole("x", "")],
            vec![hole("a", "z"), hole("b", "c"), hole("z", "zz")],
            vec![hole("m", ""), hole("n", "o"), hole("", "b")],
        ];
        for case in cases {
            let holes = Holes::new(case.clone());
            assert_eq!(holes.is_empty(), case.is_empty());
            assert!(holes
                .0
                .is_sorted_by(|a, b| a.high.is_some() && a.high < b.low));
            for key in [
                "a", "b", "c", "d", "dd", "e", "f", "ff", "g", "n", "x", "z", "zy", "zz",
            ] {
                let key = key.as_bytes();
                let expected = case.iter().any(|hole| hole.has(key));
                assert_eq!(holes.has(key), expected, "{case:?}, {key:?}");
            }
        }
    }
}
