//! One page of LMDB's file (data format 1, 64 bits), taken apart without trusting it: its kind, its
//! nodes, and whether they lie as LMDB lays them.
//!
//! A page begins with its own number (8 bytes), two bytes without meaning, its flags, `lower` and
//! `upper`. Behind that, up to `lower`, stand the offsets of its nodes, two bytes each, in the
//! order of keys; from `upper` to the page's end lie the nodes, each of an even length, with no gap
//! between them.

use std::fmt;

use crate::verify::bytes::{u16_at, u32_at, u64_at};

/// Bytes before the offsets of the nodes, or before the bytes of an overflow value.
pub(crate) const HEADER: usize = 16;
/// Bytes of a node before its key.
pub(crate) const NODE_HEADER: usize = 8;
/// Bytes of a named database's record, and of the two in a meta page.
pub(crate) const TREE_LEN: usize = 48;

const P_BRANCH: u16 = 0x01;
const P_LEAF: u16 = 0x02;
const P_OVERFLOW: u16 = 0x04;
pub(crate) const F_BIGDATA: u16 = 0x01;
const F_SUBDATA: u16 = 0x02;

/// The longest key that LMDB takes.
pub(crate) const MAX_KEY: usize = 511;

/// What is wrong with a page, as a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// The file ends before the page does.
    Short,
    /// It says that it is another page.
    Number(u64),
    /// Its flags are not those of a page of a kind that can be here.
    Flags(u16),
    /// It is a branch page where a leaf has to be.
    NotALeaf,
    /// `lower` and `upper` are not within the page, or not in their order.
    Bounds { lower: u16, upper: u16 },
    /// It has fewer nodes than a page of its kind.
    TooFewNodes(usize),
    /// The node's offset or length leads out of the page.
    NodeOutside(usize),
    /// The nodes overlap, or there is a gap between them, or one begins at an odd offset.
    Layout,
    /// The node's flags are none that a row here can have.
    NodeFlags { node: usize, flags: u16 },
    /// The node's key is empty or too long.
    KeyLength { node: usize, len: usize },
    /// The node's value is longer than LMDB keeps beside its key.
    Crowded(usize),
    /// The node's key is not greater than the one before it.
    Order(usize),
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flaw::Short => write!(f, "the file ends before it"),
            Flaw::Number(number) => write!(f, "it says that it is page {number}"),
            Flaw::Flags(flags) => write!(f, "its flags are {flags:#06x}"),
            Flaw::NotALeaf => write!(f, "it is a branch page"),
            Flaw::Bounds { lower, upper } => {
                write!(f, "its bounds are {lower} and {upper}")
            }
            Flaw::TooFewNodes(nodes) => write!(f, "it has {nodes} nodes"),
            Flaw::NodeOutside(node) => write!(f, "node {node} reaches out of it"),
            Flaw::Layout => write!(f, "its nodes overlap or leave gaps"),
            Flaw::NodeFlags { node, flags } => {
                write!(f, "the flags of node {node} are {flags:#06x}")
            }
            Flaw::KeyLength { node, len } => {
                write!(f, "the key of node {node} has {len} bytes")
            }
            Flaw::Crowded(node) => write!(f, "node {node} is larger than a node may be"),
            Flaw::Order(node) => write!(f, "the key of node {node} is out of order"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Branch,
    Leaf,
}

/// A page with nodes, whose header holds: the offsets of its nodes can be read. The nodes
/// themselves are looked at one by one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page<'a> {
    bytes: &'a [u8],
    kind: Kind,
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
    /// On pages of its own, from that one on.
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

/// A node's place in its page.
struct Node<'a> {
    /// From the node's header to the page's end.
    bytes: &'a [u8],
    key: &'a [u8],
}

impl<'a> Page<'a> {
    /// Looks at the header of page `number`. `bytes` is the whole page, so that its length is the
    /// page size.
    pub fn parse(bytes: &'a [u8], number: u64) -> Result<Page<'a>, Flaw> {
        let Some(header) = bytes.first_chunk::<HEADER>() else {
            return Err(Flaw::Short);
        };
        if u64_at(header, 0) != number {
            return Err(Flaw::Number(u64_at(header, 0)));
        }
        let kind = match u16_at(header, 10) {
            P_BRANCH => Kind::Branch,
            P_LEAF => Kind::Leaf,
            flags => return Err(Flaw::Flags(flags)),
        };
        let (low, up) = (u16_at(header, 12), u16_at(header, 14));
        let (lower, upper) = (usize::from(low), usize::from(up));
        if lower < HEADER || lower > upper || upper > bytes.len() || lower % 2 != 0 {
            return Err(Flaw::Bounds {
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

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// How many nodes it has.
    pub fn nodes(&self) -> usize {
        (self.lower - HEADER) / 2
    }

    #[inline]
    fn node(&self, at: usize) -> Result<Node<'a>, Flaw> {
        self.find(at).ok_or(Flaw::NodeOutside(at))
    }

    #[inline]
    fn find(&self, at: usize) -> Option<Node<'a>> {
        if at >= self.nodes() {
            return None;
        }
        let offset = usize::from(u16_at(self.bytes, HEADER + 2 * at));
        if offset < self.upper {
            return None;
        }
        let bytes = self.bytes.get(offset..)?;
        let key_len = usize::from(u16_at(bytes.get(..NODE_HEADER)?, 6));
        let key = bytes.get(NODE_HEADER..NODE_HEADER + key_len)?;
        Some(Node { bytes, key })
    }

    /// Row `at` of a leaf page, inside the page.
    #[inline]
    pub fn row(&self, at: usize) -> Result<Row<'a>, Flaw> {
        let Node { bytes, key } = self.node(at)?;
        let len = u32_at(bytes, 0) as usize;
        let rest = &bytes[NODE_HEADER + key.len()..];
        let here = |len| rest.get(..len).ok_or(Flaw::NodeOutside(at));
        let value = match u16_at(bytes, 4) {
            0 => Value::Here(here(len)?),
            F_BIGDATA => Value::Far {
                page: u64_at(here(8)?, 0),
                len,
            },
            F_SUBDATA => Value::Tree(here(len)?),
            flags => return Err(Flaw::NodeFlags { node: at, flags }),
        };
        Ok(Row { key, value })
    }

    /// Child `at` of a branch page.
    #[inline]
    pub fn child(&self, at: usize) -> Result<Child<'a>, Flaw> {
        let Node { bytes, key } = self.node(at)?;
        // Six bytes: what are the flags elsewhere is the number's upper part here.
        let page = u64::from(u32_at(bytes, 0)) | u64::from(u16_at(bytes, 4)) << 32;
        Ok(Child { key, page })
    }

    /// Bytes that node `at` takes, to the next even offset.
    #[inline]
    fn node_len(&self, at: usize) -> Result<usize, Flaw> {
        let len = match self.kind {
            Kind::Branch => NODE_HEADER + self.node(at)?.key.len(),
            Kind::Leaf => {
                let row = self.row(at)?;
                NODE_HEADER + row.key.len() + row.value.len_here()
            }
        };
        Ok(len.next_multiple_of(2))
    }

    /// Holds that the nodes lie side by side from `upper` to the page's end, whatever their order:
    /// that none reaches into another, and that LMDB, which moves nodes by their lengths, moves
    /// each as a whole.
    ///
    /// `tiles` is room to work in, which can be used for the next page.
    pub fn check_layout(&self, tiles: &mut Tiles) -> Result<(), Flaw> {
        let tiles = tiles.for_page(self.bytes.len());
        let mut outcome = Ok(());
        for at in 0..self.nodes() {
            let offset = usize::from(u16_at(self.bytes, HEADER + 2 * at));
            outcome = outcome.and(match (self.node_len(at), tiles.get_mut(offset / 2)) {
                _ if offset % 2 != 0 => Err(Flaw::Layout),
                (Ok(len), Some(tile)) if *tile == 0 => {
                    *tile = len as u32;
                    Ok(())
                }
                (Ok(_), _) => Err(Flaw::Layout),
                (Err(flaw), _) => Err(flaw),
            });
        }
        // From tile to tile, which clears them for the next page. After a flaw some would stay:
        // then all are cleared.
        let mut next = self.upper;
        let mut found = 0;
        while let Some(tile) = tiles.get_mut(next / 2).filter(|tile| **tile != 0) {
            next += std::mem::take(tile) as usize;
            found += 1;
        }
        if found != self.nodes() || next != self.bytes.len() {
            outcome = outcome.and(Err(Flaw::Layout));
        }
        if outcome.is_err() {
            tiles.fill(0);
        }
        outcome
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

impl Row<'_> {
    /// Bytes that the row takes in its page, but for its offset.
    pub fn node_len(&self) -> usize {
        NODE_HEADER + self.key.len() + self.value.len_here()
    }
}

/// Room for [`Page::check_layout`]: the length of the node at each even offset.
#[derive(Default)]
pub(crate) struct Tiles(Vec<u32>);

impl Tiles {
    fn for_page(&mut self, page_size: usize) -> &mut [u32] {
        self.0.resize(page_size / 2, 0);
        &mut self.0
    }
}

/// The most bytes that a leaf's node takes before LMDB puts its value on pages of its own.
pub(crate) fn largest_node(page_size: usize) -> usize {
    (((page_size - HEADER) / 2) & !1) - 2
}

/// Pages that a value of `len` bytes takes when it is on pages of its own.
pub(crate) fn overflow_pages(len: usize, page_size: usize) -> u64 {
    ((HEADER - 1 + len) / page_size + 1) as u64
}

/// How many pages the overflow value whose first page is `number` has, by its header.
pub(crate) fn overflow_extent(header: &[u8], number: u64) -> Result<u64, Flaw> {
    if header.len() < HEADER {
        return Err(Flaw::Short);
    }
    if u64_at(header, 0) != number {
        return Err(Flaw::Number(u64_at(header, 0)));
    }
    match u16_at(header, 10) {
        P_OVERFLOW => Ok(u32_at(header, 12).into()),
        flags => Err(Flaw::Flags(flags)),
    }
}

/// What a database's record says of its tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
