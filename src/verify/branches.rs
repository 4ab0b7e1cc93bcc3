//! The branch pages of a tree, from left to right, down to those whose children are leaves.

use std::cmp::Ordering;
use std::io;

use crate::verify::keys::{Keys, Span};
use crate::verify::page::{Page, PageKind, Tiles};
use crate::verify::space::Space;
use crate::verify::violation::{Kind, Structure, Violations};

/// A sound branch page, and the bounds of its keys.
pub(crate) struct Branch {
    pub number: u64,
    pub bytes: Vec<u8>,
    pub span: Span,
}

/// An iteration over a tree's branch pages. It goes no deeper than the tree's record says, and to
/// no page twice, so it ends.
pub(crate) struct Branches<'a> {
    space: &'a Space<'a>,
    structure: Structure,
    keys: Keys,
    /// Levels of branch pages.
    levels: usize,
    /// The path from the root: branch pages, and which of their children is next.
    stack: Vec<(Branch, usize)>,
    root: Option<u64>,
    tiles: Tiles,
    pub violations: Violations,
    /// Branch pages seen.
    pub seen: u64,
}

impl<'a> Branches<'a> {
    /// The branch pages of a tree with this root and this many levels of them.
    pub fn new(
        space: &'a Space<'a>,
        structure: Structure,
        keys: Keys,
        root: u64,
        levels: usize,
    ) -> Branches<'a> {
        Branches {
            space,
            structure,
            keys,
            levels,
            stack: Vec::new(),
            root: Some(root),
            tiles: Tiles::default(),
            violations: Violations::default(),
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
        if let Err(kind) = self.space.reach(number) {
            self.violations.add(self.structure, Some(number), kind);
            return Ok(None);
        }
        let outcome = match self.space.read_pages(number, &mut bytes)? {
            0 => Err(Kind::PageShort),
            _ => check(&bytes, number, &span, self.keys, &mut self.tiles),
        };
        if let Err(kind) = outcome {
            self.violations.add(self.structure, Some(number), kind);
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
    /// Child `at`, and the bounds of its keys.
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

/// Checks that a page is a sound branch page whose keys are in order and within `span`.
pub(super) fn check(
    bytes: &[u8],
    number: u64,
    span: &Span,
    keys: Keys,
    tiles: &mut Tiles,
) -> Result<(), Kind> {
    let page = Page::parse(bytes, number)?;
    if page.kind() != PageKind::Branch {
        return Err(Kind::Depth);
    }
    if page.nodes() < 2 {
        return Err(Kind::TooFewNodes(page.nodes()));
    }
    page.check_layout(tiles)?;
    let first = page.child(0)?.key;
    keys.check_first_len(first)?;
    // The first child has every key that is less than the second's: it must have space for one.
    let mut before: Option<&[u8]> = span.low.as_deref();
    for at in 1..page.nodes() {
        let key = page.child(at)?.key;
        keys.check_len(at, key)?;
        if before.is_some_and(|before| keys.compare(before, key) != Ordering::Less) {
            return Err(match at {
                1 => Kind::KeysOutOfSpan,
                at => Kind::KeyOrder(at),
            });
        }
        before = Some(key);
    }
    match (before, &span.high) {
        (Some(last), Some(high)) if keys.compare(last, high) != Ordering::Less => {
            Err(Kind::KeysOutOfSpan)
        }
        _ => Ok(()),
    }
}
