//! One page of LMDB's file (data format 1, 64 bits), parsed without trusting it: its kind, its
//! nodes, and whether they lie as LMDB lays them. This is the one place that knows the offsets in
//! pages and nodes (mdb.c: `MDB_page`, `MDB_node`); those in a meta page are in `meta.rs`.
//!
//! A page begins with its own number (8 bytes), two unused bytes, its flags, `lower` and `upper`.
//! From there to `lower` are the offsets of its nodes, two bytes each, in the order of their keys.
//! From `upper` to the page's end are the nodes, each of an even length, with no gap between them.

use crate::verify::bytes::{u16_at, u32_at, u64_at};
use crate::verify::violation::Kind;

/// Bytes before the offsets of the nodes, or before the bytes of an overflow value.
pub(crate) const HEADER: usize = 16;
/// Offset of a page's flags.
pub(crate) const FLAGS_AT: usize = 10;
pub(super) const LOWER_AT: usize = 12;
pub(super) const UPPER_AT: usize = 14;
/// Where the first page of an overflow value has the number of its pages.
const OVERFLOW_PAGES_AT: usize = 12;

/// Bytes of a node before its key.
pub(crate) const NODE_HEADER: usize = 8;
pub(super) const NODE_FLAGS_AT: usize = 4;
pub(super) const KEY_LEN_AT: usize = 6;

/// Bytes of a named database's record, and of the two in a meta page.
pub(crate) const TREE_LEN: usize = 48;

pub(crate) const P_BRANCH: u16 = 0x01;
pub(crate) const P_LEAF: u16 = 0x02;
pub(crate) const P_OVERFLOW: u16 = 0x04;
const F_BIGDATA: u16 = 0x01;
pub(super) const F_SUBDATA: u16 = 0x02;

/// The longest key that LMDB takes.
pub(crate) const MAX_KEY: usize = 511;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageKind {
    Branch,
    Leaf,
}

/// A page with nodes and a valid header, so that the offsets of its nodes can be read. Each node is
/// checked when it is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page<'a> {
    bytes: &'a [u8],
    kind: PageKind,
    lower: usize,
    upper: usize,
}

/// One row of a leaf page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row<'a> {
    pub key: &'a [u8],
    pub value: Value<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// On the page, behind the key.
    Here(&'a [u8]),
    /// On overflow pages, from that one on.
    Far { page: u64, len: usize },
    /// A named database's record.
    Tree(&'a [u8]),
}

/// One child of a branch page. The first child's key means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Child<'a> {
    pub key: &'a [u8],
    pub page: u64,
}

/// A node of a page.
struct Node<'a> {
    /// From the node's header to the page's end.
    bytes: &'a [u8],
    key: &'a [u8],
}

impl<'a> Page<'a> {
    /// Checks the header of page `number`. `bytes` is the whole page: its length is the page size.
    pub fn parse(bytes: &'a [u8], number: u64) -> Result<Page<'a>, Kind> {
        let Some(header) = bytes.first_chunk::<HEADER>() else {
            return Err(Kind::PageShort);
        };
        if u64_at(header, 0) != number {
            return Err(Kind::PageNumber(u64_at(header, 0)));
        }
        let kind = match u16_at(header, FLAGS_AT) {
            P_BRANCH => PageKind::Branch,
            P_LEAF => PageKind::Leaf,
            flags => return Err(Kind::Flags(flags)),
        };
        let (low, up) = (u16_at(header, LOWER_AT), u16_at(header, UPPER_AT));
        let (lower, upper) = (usize::from(low), usize::from(up));
        if lower < HEADER || lower > upper || upper > bytes.len() || lower % 2 != 0 {
            return Err(Kind::Bounds {
                lower: low,
                upper: up,
            });
        }
        Ok(Page {
            bytes,
            kind,
            lower,
            upper,
        })
    }

    pub fn kind(&self) -> PageKind {
        self.kind
    }

    /// How many nodes it has.
    pub fn nodes(&self) -> usize {
        (self.lower - HEADER) / 2
    }

    #[inline]
    fn node(&self, at: usize) -> Result<Node<'a>, Kind> {
        let offset = match at < self.nodes() {
            true => usize::from(u16_at(self.bytes, HEADER + 2 * at)),
            false => return Err(Kind::NodeOutside(at)),
        };
        let bytes = self.bytes.get(offset..).filter(|_| offset >= self.upper);
        bytes.and_then(Node::parse).ok_or(Kind::NodeOutside(at))
    }

    /// Row `at` of a leaf page, inside the page.
    #[inline]
    pub fn row(&self, at: usize) -> Result<Row<'a>, Kind> {
        self.node(at)?.row(at)
    }

    /// Child `at` of a branch page.
    #[inline]
    pub fn child(&self, at: usize) -> Result<Child<'a>, Kind> {
        let Node { bytes, key } = self.node(at)?;
        // Six bytes: a branch's node has the number's upper part where a leaf's has its flags.
        let page = u64::from(u32_at(bytes, 0)) | u64::from(u16_at(bytes, NODE_FLAGS_AT)) << 32;
        Ok(Child { key, page })
    }

    /// Bytes that node `at` takes, to the next even offset.
    #[inline]
    fn node_len(&self, at: usize) -> Result<usize, Kind> {
        let len = match self.kind {
            PageKind::Branch => NODE_HEADER + self.node(at)?.key.len(),
            PageKind::Leaf => {
                let row = self.row(at)?;
                NODE_HEADER + row.key.len() + row.value.len_here()
            }
        };
        Ok(len.next_multiple_of(2))
    }

    /// Checks that the nodes lie side by side from `upper` to the page's end, in any order. Then
    /// none reaches into another, and LMDB, which moves nodes by their lengths, moves each as a
    /// whole.
    ///
    /// `tiles` is scratch memory, which can be reused for the next page.
    pub fn check_layout(&self, tiles: &mut Tiles) -> Result<(), Kind> {
        let tiles = tiles.for_page(self.bytes.len());
        let mut outcome = Ok(());
        for at in 0..self.nodes() {
            let offset = usize::from(u16_at(self.bytes, HEADER + 2 * at));
            outcome = outcome.and(match (self.node_len(at), tiles.get_mut(offset / 2)) {
                _ if offset % 2 != 0 => Err(Kind::Layout),
                (Ok(len), Some(tile)) if *tile == 0 => {
                    *tile = len as u32;
                    Ok(())
                }
                (Ok(_), _) => Err(Kind::Layout),
                (Err(kind), _) => Err(kind),
            });
        }
        // From tile to tile, which clears each for the next page. If something is wrong, some are
        // left, so all are cleared.
        let mut next = self.upper;
        let mut found = 0;
        while let Some(tile) = tiles.get_mut(next / 2).filter(|tile| **tile != 0) {
            next += std::mem::take(tile) as usize;
            found += 1;
        }
        if found != self.nodes() || next != self.bytes.len() {
            outcome = outcome.and(Err(Kind::Layout));
        }
        if outcome.is_err() {
            tiles.fill(0);
        }
        outcome
    }
}

impl<'a> Node<'a> {
    /// The node at the beginning of `bytes`, if its key is within them.
    #[inline]
    fn parse(bytes: &'a [u8]) -> Option<Node<'a>> {
        let key_len = usize::from(u16_at(bytes.get(..NODE_HEADER)?, KEY_LEN_AT));
        let key = bytes.get(NODE_HEADER..NODE_HEADER + key_len)?;
        Some(Node { bytes, key })
    }

    /// The row of a leaf's node, which is number `at` of its page.
    #[inline]
    fn row(&self, at: usize) -> Result<Row<'a>, Kind> {
        let Node { bytes, key } = *self;
        let len = u32_at(bytes, 0) as usize;
        let rest = &bytes[NODE_HEADER + key.len()..];
        let here = |len| rest.get(..len).ok_or(Kind::NodeOutside(at));
        let value = match u16_at(bytes, NODE_FLAGS_AT) {
            0 => Value::Here(here(len)?),
            F_BIGDATA => Value::Far {
                page: u64_at(here(8)?, 0),
                len,
            },
            F_SUBDATA => Value::Tree(here(len)?),
            flags => return Err(Kind::NodeFlags { node: at, flags }),
        };
        Ok(Row { key, value })
    }
}

impl Value<'_> {
    /// Bytes that it takes beside its key.
    fn len_here(&self) -> usize {
        match self {
            Value::Here(value) | Value::Tree(value) => value.len(),
            Value::Far { .. } => 8,
        }
    }
}

impl<'a> Row<'a> {
    /// The row of the leaf node at the beginning of `bytes`, which need not be a page's.
    pub fn parse(bytes: &'a [u8]) -> Option<Row<'a>> {
        Node::parse(bytes)?.row(0).ok()
    }

    /// Bytes that the row takes in its page, but for its offset.
    pub fn node_len(&self) -> usize {
        NODE_HEADER + self.key.len() + self.value.len_here()
    }
}

/// Scratch memory of [`Page::check_layout`]: the length of the node at each even offset.
#[derive(Default)]
pub(crate) struct Tiles(Vec<u32>);

impl Tiles {
    fn for_page(&mut self, page_size: usize) -> &mut [u32] {
        self.0.resize(page_size / 2, 0);
        &mut self.0
    }
}

/// The most bytes that a leaf's node takes before LMDB puts its value on overflow pages.
pub(crate) fn largest_node(page_size: usize) -> usize {
    (((page_size - HEADER) / 2) & !1) - 2
}

/// How many overflow pages a value of `len` bytes takes.
pub(crate) fn overflow_pages(len: usize, page_size: usize) -> u64 {
    ((HEADER - 1 + len) / page_size + 1) as u64
}

/// How many pages an overflow value has, by the header of its first page, which is `number`.
pub(crate) fn overflow_extent(header: &[u8], number: u64) -> Result<u64, Kind> {
    if header.len() < HEADER {
        return Err(Kind::PageShort);
    }
    if u64_at(header, 0) != number {
        return Err(Kind::PageNumber(u64_at(header, 0)));
    }
    match u16_at(header, FLAGS_AT) {
        P_OVERFLOW => Ok(u32_at(header, OVERFLOW_PAGES_AT).into()),
        flags => Err(Kind::Flags(flags)),
    }
}

/// Whether a page with this header is of a kind that a tree or a value has, and holds its own
/// number.
pub(crate) fn is_numbered(header: &[u8; HEADER], number: u64) -> bool {
    let flags = u16_at(header, FLAGS_AT);
    [P_BRANCH, P_LEAF, P_OVERFLOW].contains(&flags) && u64_at(header, 0) == number
}

/// A database's record of its tree (mdb.c: `MDB_db`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TreeRecord {
    pub flags: u16,
    pub depth: u16,
    pub branch_pages: u64,
    pub leaf_pages: u64,
    pub overflow_pages: u64,
    pub entries: u64,
    /// `None` if the tree is empty.
    pub root: Option<u64>,
}

impl TreeRecord {
    pub fn parse(bytes: &[u8; TREE_LEN]) -> TreeRecord {
        let root = u64_at(bytes, 40);
        TreeRecord {
            flags: u16_at(bytes, 4),
            depth: u16_at(bytes, 6),
            branch_pages: u64_at(bytes, 8),
            leaf_pages: u64_at(bytes, 16),
            overflow_pages: u64_at(bytes, 24),
            entries: u64_at(bytes, 32),
            root: (root != u64::MAX).then_some(root),
        }
    }
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
