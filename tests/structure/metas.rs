//! The meta pages, what the records of the trees say, and the free list.

use super::common::pages::{self, Pages, Tree, PAGE};
use super::{breaks, breaks_quickly, common, sound};
use pool_metadata::{OpenOptions, PoolMetadata, Verify};

#[test]
fn wrong_meta_page_is_refused() {
    // The number of a commit that is not the next, and one in the other's place.
    for change in [
        |txnid| txnid + 2,
        |txnid| txnid + 1,
        |txnid| txnid | 1 << 40,
    ] {
        breaks_quickly(&["meta pages", "commits"], |pages| {
            let at = Pages::txnid_at(pages.newest());
            let txnid = pages.u64(at);
            pages.put64(at, change(txnid));
        });
    }
    // One of them where the other one should be.
    for (from, to) in [(0, 1), (1, 0)] {
        breaks_quickly(&["meta page", "says that it is page"], |pages| {
            let (from, to) = (from * PAGE, to * PAGE);
            pages.0.copy_within(from..from + PAGE, to);
        });
    }
    breaks_quickly(&["meta page", "last page"], |pages| {
        let at = pages.last_page_at();
        pages.put64(at, u64::MAX - 1);
    });
    breaks_quickly(&["cut short"], |pages| {
        let at = pages.last_page_at();
        pages.put64(at, 1 << 30);
    });
    for tree in [Tree::Free, Tree::Main] {
        for root in [0, 1, 1 << 30] {
            breaks_quickly(&["meta page", "outside"], |pages| {
                let at = pages.record(tree) + pages::ROOT;
                pages.put64(at, root);
            });
        }
    }
    // LMDB takes the system's page size, which is never less than 4096; with smaller pages, long
    // names end the process.
    for size in [4097, 512, 2048, 65536] {
        breaks_quickly(&["impossible page size"], |pages| {
            pages.put32(16 + 24, size)
        });
    }
    // A number that no store gets to. The commits after it would begin at zero again.
    for txnid in [u64::MAX, u64::MAX - 1, 1 << 63] {
        breaks_quickly(&["meta page", "impossible commit"], |pages| {
            let newest = pages.newest();
            let txnid = txnid - (txnid + newest as u64) % 2;
            pages.put64(Pages::txnid_at(newest), txnid);
            pages.put64(Pages::txnid_at(1 - newest), txnid - 1);
        });
    }
}

/// Trees that are not of the commit that the older meta page says look like a commit that was not
/// finished. What is in force is what was before.
#[test]
fn older_meta_page_with_the_number_of_the_next_commit_is_undone() {
    let (_directory, path) = common::place();
    let mut pages = sound();
    pages.write(&path);
    let before = common::devices(&PoolMetadata::open(&path).unwrap());
    let older = 1 - pages.newest();
    pages.put64(Pages::txnid_at(older), pages.txnid() + 1);
    for level in [Verify::None, Verify::Quick, Verify::Full] {
        pages.write(&path);
        let store = OpenOptions::new().verify(level).open(&path).unwrap();
        assert_eq!(common::devices(&store), before);
    }
}

#[test]
fn wrong_flags_of_a_tree_are_refused() {
    for flags in [0x04, 0x08, 0x10, 0x8000] {
        breaks_quickly(&["unnamed database", "flags"], |pages| {
            let at = pages.record(Tree::Main) + pages::FLAGS;
            pages.put16(at, flags);
        });
        for tree in [Tree::Devices, Tree::Ids, Tree::Journal] {
            breaks_quickly(&["record of its table"], |pages| {
                let at = pages.record(tree) + pages::FLAGS;
                pages.put16(at, flags);
            });
        }
    }
    for flags in [0, 0x04, 0x0c, 0x4018] {
        breaks_quickly(&["free list", "flags"], |pages| {
            let at = pages.record(Tree::Free) + pages::FLAGS;
            pages.put16(at, flags);
        });
    }
}

#[test]
fn wrong_record_of_a_table_is_refused() {
    for root in [0, 1, 1 << 30] {
        breaks_quickly(&["record of its table \"ids\""], |pages| {
            let at = pages.record(Tree::Ids) + pages::ROOT;
            pages.put64(at, root);
        });
    }
    for (tree, name) in [
        (Tree::Devices, "devices"),
        (Tree::Ids, "ids"),
        (Tree::Journal, "journal"),
    ] {
        for (field, what) in [
            (pages::BRANCH_PAGES, "branch pages"),
            (pages::LEAF_PAGES, "leaf pages"),
            (pages::OVERFLOW_PAGES, "overflow pages"),
        ] {
            breaks(&[name, what], |pages| {
                let at = pages.record(tree) + field;
                pages.put64(at, pages.u64(at) + 1);
            });
        }
        breaks(&[name, "rows"], |pages| {
            let at = pages.record(tree) + pages::ENTRIES;
            pages.put64(at, pages.u64(at) + 1);
        });
        for depth in [0, 32, 0xffff] {
            breaks(&[name, "levels"], |pages| {
                let at = pages.record(tree) + pages::DEPTH;
                pages.put16(at, depth);
            });
        }
        for depth in [1, 3] {
            breaks(&[name, "a leaf where a branch page belongs"], |pages| {
                let at = pages.record(tree) + pages::DEPTH;
                pages.put16(at, depth);
            });
        }
        breaks(&[name, "levels"], |pages| {
            let at = pages.record(tree) + pages::ROOT;
            pages.put64(at, u64::MAX);
        });
    }
    breaks_quickly(&["free list", "leaf pages"], |pages| {
        let at = pages.record(Tree::Free) + pages::LEAF_PAGES;
        pages.put64(at, 0);
    });
    breaks_quickly(&["unnamed database", "rows"], |pages| {
        let at = pages.record(Tree::Main) + pages::ENTRIES;
        pages.put64(at, pages.u64(at) + 1);
    });
}

#[test]
fn wrong_free_list_is_refused() {
    let list = |pages: &Pages| pages.free_list(2);
    let first = |pages: &Pages| pages.leaves(Tree::Free)[0];
    breaks_quickly(&["free list", "longer than its row"], |pages| {
        let at = list(pages);
        pages.put64(at, pages.u64(at) + 1);
    });
    breaks_quickly(&["free list", "longer than its row"], |pages| {
        let at = list(pages);
        pages.put64(at, u64::MAX);
    });
    breaks_quickly(&["free list", "descending"], |pages| {
        let at = list(pages);
        let [a, b] = [8, 16].map(|more| pages.u64(at + more));
        pages.put64(at + 8, b);
        pages.put64(at + 16, a);
    });
    breaks_quickly(&["free list", "descending"], |pages| {
        let at = list(pages);
        pages.put64(at + 16, pages.u64(at + 8));
    });
    for page in [0, 1] {
        breaks_quickly(&["free list", "the last is"], |pages| {
            let at = list(pages);
            let last = at + 8 * pages.u64(at) as usize;
            pages.put64(last, page);
        });
    }
    breaks_quickly(&["free list", "the last is"], |pages| {
        let at = list(pages);
        pages.put64(at + 8, pages.last_page() + 1);
    });
    // A page of the unnamed database, and one of the free list itself.
    for page in [
        |pages: &Pages| pages.root(Tree::Main),
        |p: &Pages| p.root(Tree::Free),
    ] {
        breaks_quickly(&["free list", "in use or free already"], |pages| {
            let (at, page) = (list(pages), page(pages));
            let count = pages.u64(at) as usize;
            let mut list: Vec<u64> = (1..=count).map(|n| pages.u64(at + 8 * n)).collect();
            list[0] = page;
            list.sort_unstable_by(|a, b| b.cmp(a));
            for (n, page) in list.into_iter().enumerate() {
                pages.put64(at + 8 * (n + 1), page);
            }
        });
    }
    // A page that has a device: only verification of the devices finds it.
    breaks(&["free list", "in use or free already"], |pages| {
        let at = list(pages);
        let (high, low) = (pages.u64(at + 8), pages.u64(at + 16));
        let used = pages.leaves(Tree::Devices);
        let between = used.into_iter().find(|page| *page > low && *page != high);
        let between = between.unwrap();
        match between > high {
            true => pages.put64(at + 8, between),
            false => pages.put64(at + 16, between),
        }
    });
    // Lists of no commit, of one that is to come, and none of the newest.
    for txnid in [0, 1 << 40] {
        breaks_quickly(&["free list"], |pages| {
            let page = first(pages);
            let node = pages.nodes(page) - 1;
            let at = pages.node_at(page, node) + 8;
            pages.put64(at, txnid);
        });
    }
    breaks_quickly(&["free list", "key of node 0 has 7 bytes"], |pages| {
        let at = pages.node_at(first(pages), 0) + 6;
        pages.put16(at, 7);
    });
}
