//! The pages of a store's file, for damage with aim: where the trees are, and the layout of a page.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Size of a new store's pages.
pub const PAGE: usize = 4096;
static PAGE_SIZE: AtomicUsize = AtomicUsize::new(PAGE);
/// Bytes before the offsets of a page's nodes, and before the record of a meta page.
pub const HEADER: usize = 16;

pub const BRANCH: u16 = 1;
pub const LEAF: u16 = 2;

/// Fields of a tree's record.
pub const FLAGS: usize = 4;
pub const DEPTH: usize = 6;
pub const BRANCH_PAGES: usize = 8;
pub const LEAF_PAGES: usize = 16;
pub const OVERFLOW_PAGES: usize = 24;
pub const ENTRIES: usize = 32;
pub const ROOT: usize = 40;

/// Size of the pages of the stores that this process looks at; [`Pages::read`] checks it.
pub fn page_size() -> usize {
    PAGE_SIZE.load(Ordering::Relaxed)
}

/// Has this process look at stores with pages of that size.
pub fn set_page_size(bytes: usize) {
    PAGE_SIZE.store(bytes, Ordering::Relaxed);
}

/// A store's file in memory.
#[derive(Clone)]
pub struct Pages(pub Vec<u8>);

/// A structure of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tree {
    Free,
    Main,
    Devices,
    Ids,
    Journal,
}

impl Tree {
    pub const ALL: [Tree; 5] = [
        Tree::Free,
        Tree::Main,
        Tree::Devices,
        Tree::Ids,
        Tree::Journal,
    ];
}

impl Pages {
    pub fn read(path: &Path) -> Pages {
        let pages = Pages(std::fs::read(path).unwrap());
        assert_eq!(pages.u32(HEADER + 24), page_size() as u32);
        pages
    }

    pub fn write(&self, path: &Path) {
        std::fs::write(path, &self.0).unwrap();
    }

    fn number<const N: usize>(&self, at: usize) -> [u8; N] {
        self.0[at..at + N].try_into().unwrap()
    }

    pub fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.number(at))
    }

    pub fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.number(at))
    }

    pub fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.number(at))
    }

    pub fn put16(&mut self, at: usize, number: u16) {
        self.0[at..at + 2].copy_from_slice(&number.to_le_bytes());
    }

    pub fn put32(&mut self, at: usize, number: u32) {
        self.0[at..at + 4].copy_from_slice(&number.to_le_bytes());
    }

    pub fn put64(&mut self, at: usize, number: u64) {
        self.0[at..at + 8].copy_from_slice(&number.to_le_bytes());
    }

    /// The number of the commit that a meta page stands for: where it is.
    pub fn txnid_at(meta: usize) -> usize {
        meta * page_size() + HEADER + 128
    }

    /// The meta page in force, 0 or 1.
    pub fn newest(&self) -> usize {
        let [first, second] = [0, 1].map(|meta| self.u64(Self::txnid_at(meta)));
        usize::from(second > first)
    }

    pub fn txnid(&self) -> u64 {
        self.u64(Self::txnid_at(self.newest()))
    }

    /// The offset of the number of the last page, in the meta page in force.
    pub fn last_page_at(&self) -> usize {
        self.newest() * page_size() + HEADER + 120
    }

    pub fn last_page(&self) -> u64 {
        self.u64(self.last_page_at())
    }

    /// Where the record of a tree is.
    pub fn record(&self, tree: Tree) -> usize {
        let meta = self.newest() * page_size() + HEADER;
        let name: &[u8] = match tree {
            Tree::Free => return meta + 24,
            Tree::Main => return meta + 72,
            Tree::Devices => b"devices",
            Tree::Ids => b"ids",
            Tree::Journal => b"journal",
        };
        let root = self.root(Tree::Main);
        let node = (0..self.nodes(root)).find(|at| self.key(root, *at) == name);
        self.value_at(root, node.unwrap())
    }

    pub fn root(&self, tree: Tree) -> u64 {
        self.u64(self.record(tree) + ROOT)
    }

    /// Where a page begins.
    pub fn at(&self, page: u64) -> usize {
        page as usize * page_size()
    }

    pub fn flags(&self, page: u64) -> u16 {
        self.u16(self.at(page) + 10)
    }

    pub fn nodes(&self, page: u64) -> usize {
        (usize::from(self.u16(self.at(page) + 12)) - HEADER) / 2
    }

    /// Where the offset of a page's node is.
    pub fn offset_at(&self, page: u64, node: usize) -> usize {
        self.at(page) + HEADER + 2 * node
    }

    /// Where the node is.
    pub fn node_at(&self, page: u64, node: usize) -> usize {
        self.at(page) + usize::from(self.u16(self.offset_at(page, node)))
    }

    pub fn key(&self, page: u64, node: usize) -> &[u8] {
        let at = self.node_at(page, node);
        &self.0[at + 8..][..usize::from(self.u16(at + 6))]
    }

    /// Where a row's value is, or the number of the page that has it.
    pub fn value_at(&self, page: u64, node: usize) -> usize {
        let at = self.node_at(page, node);
        at + 8 + usize::from(self.u16(at + 6))
    }

    pub fn child(&self, page: u64, node: usize) -> u64 {
        let at = self.node_at(page, node);
        u64::from(self.u32(at)) | u64::from(self.u16(at + 4)) << 32
    }

    /// Every page of a tree with its depth, from the left to the right.
    pub fn pages(&self, tree: Tree) -> Vec<(u64, usize)> {
        let mut found = Vec::new();
        let mut next = match self.u16(self.record(tree) + DEPTH) {
            0 => vec![],
            _ => vec![(self.root(tree), 0)],
        };
        while let Some((page, depth)) = next.pop() {
            found.push((page, depth));
            if self.flags(page) == BRANCH {
                let children = (0..self.nodes(page)).rev();
                next.extend(children.map(|node| (self.child(page, node), depth + 1)));
            }
        }
        found
    }

    /// The leaves of a tree.
    pub fn leaves(&self, tree: Tree) -> Vec<u64> {
        let pages = self.pages(tree).into_iter().map(|(page, _)| page);
        pages.filter(|page| self.flags(*page) == LEAF).collect()
    }

    /// Whether a row's value is on pages of its own.
    pub fn is_far(&self, page: u64, node: usize) -> bool {
        self.u16(self.node_at(page, node) + 4) == 1
    }

    /// The first row of a tree whose value is on pages of its own: its page, its node, and the
    /// first of those.
    pub fn far(&self, tree: Tree) -> Option<(u64, usize, u64)> {
        self.leaves(tree).into_iter().find_map(|page| {
            let node = (0..self.nodes(page)).find(|node| self.is_far(page, *node))?;
            Some((page, node, self.u64(self.value_at(page, node))))
        })
    }

    /// Where the first list of free pages is that is on a leaf and has at least `pages` pages: its
    /// length.
    pub fn free_list(&self, pages: u64) -> usize {
        let lists = self.leaves(Tree::Free).into_iter().flat_map(|page| {
            let nodes = (0..self.nodes(page)).filter(move |node| !self.is_far(page, *node));
            nodes.map(move |node| self.value_at(page, node))
        });
        let mut long = lists.filter(|at| self.u64(*at) >= pages);
        long.next().unwrap()
    }
}
