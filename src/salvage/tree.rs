//! Following a tree to its rows.

use std::collections::HashSet;

use crate::format::record;
use crate::salvage::source::Source;
use crate::verify::page::{Page, PageKind, Tiles, TreeRecord, Value};

/// LMDB's cursors go no deeper (`CURSOR_STACK`).
const DEEPEST: usize = 32;

/// What a walk over a tree found beside rows.
pub(crate) struct Walked {
    /// Pages that are missing, or are no sound pages of the tree.
    pub lost: Vec<u64>,
    /// The sound pages.
    pub pages: Vec<u64>,
    /// Whether every page and row was whole, and there are as many rows as the tree's record
    /// counts. They may still be older than the record.
    pub whole: bool,
}

/// Takes the key and the value of a row; whether the row is whole.
pub(crate) type Take<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> bool;

/// Shows every row that the tree leads to.
pub(crate) fn walk(source: &Source<'_>, record: &TreeRecord, take: Take<'_>) -> Walked {
    let (mut lost, mut pages) = (Vec::new(), Vec::new());
    let mut whole = true;
    let mut rows = 0;
    let mut visited = HashSet::new();
    let mut next = Vec::new();
    next.extend(record.root.map(|root| (root, 0)));
    let mut tiles = Tiles::default();
    let mut bytes = Vec::new();
    while let Some((number, depth)) = next.pop() {
        if !visited.insert(number) {
            // One of the pointers to it is wrong, and another page of the tree is lost.
            whole = false;
            continue;
        }
        let page = (depth < DEEPEST && source.page(number, &mut bytes))
            .then(|| Page::parse(&bytes, number).ok())
            .flatten();
        let sound = page.is_some_and(|page| page.check_layout(&mut tiles).is_ok());
        match sound {
            true => pages.push(number),
            false => lost.push(number),
        }
        match page {
            Some(page) if page.kind() == PageKind::Leaf => {
                rows += page.nodes() as u64;
                whole &= leaf(source, &page, take);
            }
            Some(page) if sound => {
                // In reverse, so that leaves are visited in the order of keys.
                let children = (0..page.nodes()).rev();
                let children = children.filter_map(|at| page.child(at).ok());
                next.extend(children.map(|child| (child.page, depth + 1)));
            }
            _ => {}
        }
    }
    whole &= lost.is_empty() && rows == record.entries;
    Walked { lost, pages, whole }
}

/// Shows the rows of a leaf; whether all of them are whole.
pub(crate) fn leaf(source: &Source<'_>, page: &Page<'_>, take: Take<'_>) -> bool {
    let mut whole = true;
    for at in 0..page.nodes() {
        whole &= match page.row(at) {
            Err(_) => false,
            Ok(row) => match row.value {
                Value::Here(value) => take(row.key, value),
                Value::Far { page, len } if len <= record::MAX_LEN => {
                    take(row.key, &source.value(page, len).unwrap_or_default())
                }
                _ => take(row.key, &[]),
            },
        };
    }
    whole
}
