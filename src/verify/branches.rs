//! The branch pages of a tree, from the left to the right, down to those whose children are leaves.

use std::cmp::Ordering;
use std::io;

use crate::verify::finding::{Findings, Place, Problem};
use crate::verify::keys::{Keys, Span};
use crate::verify::page::{Flaw, Kind, Page, Tiles};
use crate::verify::space::Space;

/// A branch page that was found sound, and what its keys lie between.
pub(crate) struct Branch {
    pub number: u64,
    pub bytes: Vec<u8>,
    pub span: Span,
}

/// Goes through a tree's branch pages. No deeper than the tree's record says, and to no page twice,
/// so it ends.
pub(crate) struct Branches<'a> {
    space: &'a Space<'a>,
    place: Place,
    keys: Keys,
    /// Levels of branch pages.
    levels: usize,
    /// From the root to where it is: branch pages, and which of their children is next.
    stack: Vec<(Branch, usize)>,
    root: Option<u64>,
    tiles: Tiles,
    pub findings: Findings,
    /// Branch pages seen.
    pub seen: u64,
}

impl<'a> Branches<'a> {
    /// Those of a tree with that root and that many levels of them.
    pub fn new(
        space: &'a Space<'a>,
        place: Place,
        keys: Keys,
        root: u64,
        levels: usize,
    ) -> Branches<'a> {
        Branches {
            space,
            place,
            keys,
            levels,
            stack: Vec::new(),
            root: Some(root),
            tiles: Tiles::default(),
            findings: Findings::default(),
            seen: 0,
        }
    }

    /// The next branch page whose children are leaves.
    pub fn next(&mut self) -> io::Result<Option<Branch>> {
        loop {
            let (number, span) = match self.root.take() {
                Some(root) => (root, Span::default()),
                None => match self.next_child() {
                    Some(child) => child,
                    None => return Ok(None),
                },
            };
            let Some(branch) = self.visit(number, span)? else {
                continue;
            };
            if self.stack.len() + 1 == self.levels {
                return Ok(Some(branch));
            }
            self.stack.push((branch, 0));
        }
    }

    /// The next child of the lowest page on the stack that has one left.
    fn next_child(&mut self) -> Option<(u64, Span)> {
        while let Some((branch, next)) = self.stack.last_mut() {
            if let Some(child) = branch.child(*next) {
                *next += 1;
                return Some(child);
            }
            self.stack.pop();
        }
        None
    }

    fn visit(&mut self, number: u64, span: Span) -> io::Result<Option<Branch>> {
        let mut bytes = vec![0; self.space.page_size];
        if let Err(problem) = self.space.reach(number) {
            self.findings.add(self.place, Some(number), problem);
            return Ok(None);
        }
        let outcome = match self.space.read_pages(number, &mut bytes)? {
            0 => Err(Problem::Page(Flaw::Short)),
            _ => check(&bytes, number, &span, self.keys, &mut self.tiles),
        };
        if let Err(problem) = outcome {
            self.findings.add(self.place, Some(number), problem);
            return Ok(None);
        }
        self.seen += 1;
        Ok(Some(Branch {
            number,
            bytes,
            span,
        }))
    }
}

impl Branch {
    /// Child `at`, and what its keys have to lie between.
    pub fn child(&self, at: usize) -> Option<(u64, Span)> {
        let page = Page::parse(&self.bytes, self.number).ok()?;
        let child = page.child(at).ok()?;
        let low = match at {
            0 => self.span.low.clone(),
            _ => Some(child.key.to_vec()),
        };
        let high = match page.child(at + 1) {
            Ok(next) => Some(next.key.to_vec()),
            Err(_) => self.span.high.clone(),
        };
        Some((child.page, Span { low, high }))
    }
}

/// Holds that a page is a sound branch page and that its keys are in order and between those above.
fn check(
    bytes: &[u8],
    number: u64,
    span: &Span,
    keys: Keys,
    tiles: &mut Tiles,
) -> Result<(), Problem> {
    let page = Page::parse(bytes, number).map_err(Problem::Page)?;
    if page.kind() != Kind::Branch {
        return Err(Problem::Depth);
    }
    if page.nodes() < 2 {
        return Err(Problem::Page(Flaw::TooFewNodes(page.nodes())));
    }
    page.check_layout(tiles).map_err(Problem::Page)?;
    let first = page.child(0).map_err(Problem::Page)?.key;
    keys.check_first_len(first).map_err(Problem::Page)?;
    // The first child has all that is less than the second's key: there must be room for something.
    let mut before: Option<&[u8]> = span.low.as_deref();
    for at in 1..page.nodes() {
        let key = page.child(at).map_err(Problem::Page)?.key;
        keys.check_len(at, key).map_err(Problem::Page)?;
        if before.is_some_and(|before| keys.compare(before, key) != Ordering::Less) {
            return Err(match at {
                1 => Problem::Between,
                at => Problem::Page(Flaw::Order(at)),
            });
        }
        before = Some(key);
    }
    match (before, &span.high) {
        (Some(last), Some(high)) if keys.compare(last, high) != Ordering::Less => {
            Err(Problem::Between)
        }
        _ => Ok(()),
    }
}
