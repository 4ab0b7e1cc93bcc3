//! The pages of trees, their nodes, and the values beside them.

use super::common::pages::{self, Pages, Tree};
use super::common::{self, check};
use super::{breaks, some_leaf, sound};
use pool_metadata::PoolMetadata;

#[test]
fn wrong_header_of_a_page_is_refused() {
    let kinds: [fn(&Pages) -> u64; 4] = [
        |pages| pages.root(Tree::Devices),
        some_leaf,
        |pages| pages.leaves(Tree::Ids)[1],
        |pages| pages.leaves(Tree::Journal)[1],
    ];
    for page in kinds {
        let named = format!("page {}", page(&sound()));
        breaks(&[&named, "it says that it is page 1"], |pages| {
            let at = pages.at(page(pages));
            pages.put64(at, 1);
        });
        // Dirty: LMDB would write to the map. Of duplicates, of both kinds, and of none.
        for flags in [0x10, 0x20, 0x40, 0x4000, 0x8000, 0x04, 0x08] {
            breaks(&[&named, "its flags are"], |pages| {
                let at = pages.at(page(pages)) + 10;
                pages.put16(at, flags | pages.u16(at));
            });
        }
        for lower in [14, 15, 17, 4098, 0xfffe] {
            breaks(&[&named, "bounds"], |pages| {
                let at = pages.at(page(pages));
                pages.put16(at + 12, lower);
            });
        }
        breaks(&[&named, "bounds"], |pages| {
            let at = pages.at(page(pages));
            pages.put16(at + 14, 4098);
        });
        breaks(&[&named, "it has 0 nodes"], |pages| {
            let at = pages.at(page(pages));
            pages.put16(at + 12, 16);
        });
    }
    breaks(&["it has 1 nodes"], |pages| {
        let at = pages.at(pages.root(Tree::Devices));
        pages.put16(at + 12, 18);
    });
}

#[test]
fn wrong_node_of_a_page_is_refused() {
    for (offset, words) in [
        (0, "reaches out"),
        (4094, "reaches out"),
        (0xfff0, "reaches out"),
    ] {
        breaks(&["devices", words], |pages| {
            let at = pages.offset_at(some_leaf(pages), 2);
            pages.put16(at, offset);
        });
    }
    for by in [1, 2] {
        breaks(&["devices", "page"], |pages| {
            let at = pages.offset_at(some_leaf(pages), 2);
            pages.put16(at, pages.u16(at) + by);
        });
    }
    breaks(&["overlap"], |pages| {
        let page = some_leaf(pages);
        let first = pages.u16(pages.offset_at(page, 0));
        let at = pages.offset_at(page, 1);
        pages.put16(at, first);
    });
    // A value that is longer, and one that is shorter, than the room that it has.
    for by in [2_u32.wrapping_neg(), 2, 1 << 24] {
        breaks(&["devices", "page"], |pages| {
            let at = pages.node_at(some_leaf(pages), 2);
            pages.put32(at, pages.u32(at).wrapping_add(by));
        });
    }
    for len in [0, 512, 0xffff] {
        breaks(&["devices", "page"], |pages| {
            let at = pages.node_at(some_leaf(pages), 2) + 6;
            pages.put16(at, len);
        });
    }
    for flags in [0x04, 0x06, 0x08, 0x8000] {
        breaks(&["flags of node 2"], |pages| {
            let at = pages.node_at(some_leaf(pages), 2) + 4;
            pages.put16(at, flags);
        });
    }
    breaks(&["node 2 is of the wrong kind"], |pages| {
        let at = pages.node_at(some_leaf(pages), 2) + 4;
        pages.put16(at, 0x02);
    });
}

/// The first child's key means nothing, but LMDB needs its room back when it splits the page: with
/// a long one, a half has one child only, and LMDB ends the process.
#[test]
fn long_first_key_of_a_branch_page_is_refused() {
    for (tree, len, key) in [
        (Tree::Devices, 600, "key of node 0 has 600 bytes"),
        (Tree::Ids, 512, "key of node 0 has 512 bytes"),
        (Tree::Journal, 512, "key of node 0 has 512 bytes"),
    ] {
        breaks(&[key], |pages| {
            let root = pages.root(tree);
            lengthen_first_key(pages, root, len);
        });
    }
    let mut pages = sound();
    let root = pages.root(Tree::Devices);
    lengthen_first_key(&mut pages, root, 511);
    let (_directory, path) = common::place();
    pages.write(&path);
    check(&PoolMetadata::open(&path).unwrap());
}

/// Lays a branch page anew, with a first key of that length.
fn lengthen_first_key(pages: &mut Pages, page: u64, len: u16) {
    let nodes: Vec<Vec<u8>> = (0..pages.nodes(page))
        .map(|node| {
            let at = pages.node_at(page, node);
            let mut head = pages.0[at..at + 6].to_vec();
            let key = match node {
                0 => vec![b'k'; len.into()],
                _ => pages.key(page, node).to_vec(),
            };
            head.extend((key.len() as u16).to_le_bytes());
            let mut bytes = [head, key].concat();
            bytes.resize(bytes.len().next_multiple_of(2), 0);
            bytes
        })
        .collect();
    let mut upper = pages::PAGE;
    for (node, bytes) in nodes.iter().enumerate() {
        upper -= bytes.len();
        let at = pages.at(page) + upper;
        pages.0[at..at + bytes.len()].copy_from_slice(bytes);
        pages.put16(pages.offset_at(page, node), upper as u16);
    }
    assert!(upper >= pages::HEADER + 2 * nodes.len(), "no room");
    pages.put16(pages.at(page) + 14, upper as u16);
}

#[test]
fn keys_out_of_order_are_refused() {
    fn swap(pages: &mut Pages, page: u64, a: usize, b: usize) {
        let [a, b] = [a, b].map(|node| pages.offset_at(page, node));
        let [first, second] = [a, b].map(|at| pages.u16(at));
        pages.put16(a, second);
        pages.put16(b, first);
    }
    breaks(&["key of node 3 is out of order"], |pages| {
        swap(pages, some_leaf(pages), 2, 3);
    });
    breaks(&["out of order"], |pages| {
        let root = pages.root(Tree::Devices);
        swap(pages, root, 2, 3);
    });
    // Each page by itself is in order, but two have changed places.
    for tree in [Tree::Devices, Tree::Ids, Tree::Journal] {
        breaks(&["not where they belong"], |pages| {
            let root = pages.root(tree);
            let [a, b] = [1, 2].map(|node| pages.node_at(root, node));
            let [first, second] = [a, b].map(|at| pages.u32(at));
            pages.put32(a, second);
            pages.put32(b, first);
        });
    }
    // A separator that is greater than what stands behind it.
    breaks(&["not where they belong"], |pages| {
        let root = pages.root(Tree::Devices);
        let last = pages.nodes(root) - 1;
        let at = pages.node_at(root, last) + 8;
        pages.0[at..at + 4].copy_from_slice(b"zzzz");
    });
}

#[test]
fn page_that_is_reached_twice_or_missing_is_refused() {
    let point = |to: fn(&Pages) -> u64| {
        move |pages: &mut Pages| {
            let at = pages.node_at(pages.root(Tree::Devices), 2);
            let target = to(pages);
            pages.put32(at, target as u32);
            pages.put16(at + 4, (target >> 32) as u16);
        }
    };
    breaks(
        &["in use twice"],
        point(|pages| pages.leaves(Tree::Devices)[1]),
    );
    breaks(&["in use twice"], point(|pages| pages.root(Tree::Devices)));
    breaks(&["in use twice"], point(|pages| pages.root(Tree::Main)));
    // Not the page that is seen first: its keys are of another kind.
    breaks(
        &["not where they belong", "one more violation"],
        point(|pages| pages.leaves(Tree::Ids)[1]),
    );
    for target in [
        |_: &Pages| 0,
        |_: &Pages| 1,
        |p: &Pages| p.last_page() + 1,
        |_: &Pages| 1 << 47,
    ] {
        breaks(&["devices", "and the last is"], point(target));
    }
    // The file goes on behind the last page, but that is room for later.
    breaks(&["database \"devices\""], |pages| {
        let at = pages.last_page_at();
        let last = pages.last_page();
        pages.put64(at, last - 1);
    });
}

#[test]
fn wrong_overflow_page_is_refused() {
    let first = |pages: &Pages| pages.far(Tree::Devices).unwrap().2;
    let far = |pages: &Pages| {
        let (page, node, _) = pages.far(Tree::Devices).unwrap();
        (pages.node_at(page, node), pages.value_at(page, node))
    };
    for target in [0, 1, 1 << 30, u64::MAX] {
        breaks(&["devices", "and the last is"], |pages| {
            let at = far(pages).1;
            pages.put64(at, target);
        });
    }
    breaks(&["it says that it is page"], |pages| {
        let at = far(pages).1;
        pages.put64(at, pages.u64(at) + 1);
    });
    breaks(&["its flags are 0x0002"], |pages| {
        let at = pages.at(first(pages)) + 10;
        pages.put16(at, pages::LEAF);
    });
    for count in [0, 2, 1 << 20, u32::MAX] {
        breaks(&["a value of", "pages there"], |pages| {
            let at = pages.at(first(pages)) + 12;
            pages.put32(at, count);
        });
    }
    // One page more than it has: another's.
    breaks(&["devices"], |pages| {
        let at = pages.at(first(pages)) + 12;
        pages.put32(at, pages.u32(at) + 1);
    });
    for len in [12_289, u32::MAX] {
        breaks(&["a value of", "pages there"], |pages| {
            let at = far(pages).0;
            pages.put32(at, len);
        });
    }
    breaks(&["checksum"], |pages| {
        let at = pages.at(first(pages)) + 9000;
        pages.0[at] ^= 1;
    });
}
