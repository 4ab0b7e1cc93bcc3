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
}

/// What a row turned out to be: whether it was whole.
pub(super) type Take<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> bool;

/// Shows every row that the tree leads to.
pub(super) fn walk(source: &Source<'_>, record: &TreeRecord, take: Take<'_>) -> Walked {
    let mut walked = Walked::default();
    let mut visited = HashSet::new();
    let mut next = Vec::new();
    next.extend(record.root.map(|root| (root, Hole::default(), 0)));
    let mut tiles = Tiles::default();
    let mut bytes = Vec::new();
    while let Some((number, span, depth)) = next.pop() {
        let page = (visited.insert(number) && depth < DEEPEST && source.page(number, &mut bytes))
            .then(|| Page::parse(&bytes, number).ok())
            .flatten();
        match page {
            Some(page) if page.kind() == Kind::Leaf => {
                if page.check_layout(&mut tiles).is_err() {
                    // There may be rows that it does not show.
                    walked.holes.push(span.clone());
                    walked.lost.push(number);
                }
                leaf(source, &page, &span, take, &mut walked);
            }
            Some(page) if page.check_layout(&mut tiles).is_ok() => {
                // The last first, so that leaves come in the order of keys.
                let children = children(&page, &span);
                next.extend(
                    children
                        .into_iter()
                        .rev()
                        .map(|(number, span)| (number, span, depth + 1)),
                );
            }
            _ => {
                walked.holes.push(span);
                walked.lost.push(number);
            }
        }
    }
    if walked.holes.is_empty() && walked.rows != record.entries {
        walked.holes.push(Hole::default());
    }
    walked
}

fn leaf(source: &Source<'_>, page: &Page<'_>, span: &Hole, take: Take<'_>, walked: &mut Walked) {
    // The key before the rows that are not whole, if there are any.
    let mut before = span.low.clone();
    let mut broken = false;
    for at in 0..page.nodes() {
        walked.rows += 1;
        let row = page.row(at).ok();
        let far;
        // A key that does not belong there: the page is not the one that the tree means.
        let row = row.filter(|row| span.has(row.key));
        let whole = match row.map(|row| (row.key, row.value)) {
            Some((key, Value::Here(value))) => take(key, value),
            Some((key, Value::Far { page, len })) if len <= LONGEST => {
                far = source.value(page, len).unwrap_or_default();
                take(key, &far)
            }
            _ => false,
        };
        match row {
            Some(row) if whole => {
                if std::mem::take(&mut broken) {
                    walked.holes.push(Hole {
                        low: before.take(),
                        high: Some(row.key.to_vec()),
                    });
                }
                before = Some(row.key.to_vec());
            }
            _ => broken = true,
        }
    }
    if broken {
        walked.holes.push(Hole {
            low: before,
            high: span.high.clone(),
        });
    }
}

/// The children of a branch page, with what their keys lie between.
fn children(page: &Page<'_>, span: &Hole) -> Vec<(u64, Hole)> {
    let mut all = Vec::new();
    let key = |at| page.child(at).ok().map(|child| child.key.to_vec());
    for at in 0..page.nodes() {
        let Ok(child) = page.child(at) else {
            continue;
        };
        let low = match at {
            0 => span.low.clone(),
            _ => Some(child.key.to_vec()),
        };
        let high = key(at + 1).or_else(|| span.high.clone());
        all.push((child.page, Hole { low, high }));
    }
    all
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
