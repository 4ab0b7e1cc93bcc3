//! The kinds of damage.

use super::original::Original;
use super::random::Random;
use crate::common::pages::{self, page_size, Pages, Tree, HEADER};

/// A damaged file, and what counts as right for it.
pub struct Damaged {
    pub kind: &'static str,
    pub file: Vec<u8>,
    /// The content of the lock file; `None` if there is none.
    pub lock_file: Option<Vec<u8>>,
    /// A meta page is not as it was: then what an earlier commit left, as a whole, is right as
    /// well.
    pub metas: bool,
}

type Kind = (&'static str, fn(&mut Pages, &Original, &mut Random));

/// Each comes as often as it is in here.
const KINDS: [Kind; 22] = [
    ("flipped bits", flip),
    ("flipped bits", flip),
    ("flipped bits in metas, branches, free list", flip_aimed),
    ("flipped bits in metas, branches, free list", flip_aimed),
    ("flipped bits in metas, branches, free list", flip_aimed),
    ("flipped bits in page headers", flip_headers),
    ("flipped bits in page headers", flip_headers),
    ("swapped pages", swap),
    ("zeroed pages", zero),
    ("repeated pages", repeat),
    ("random bytes", scribble),
    ("random bytes", scribble),
    ("cut short", cut),
    ("longer", extend),
    ("stale pages", stale),
    ("stale pages", stale),
    ("stale meta pages", stale_metas),
    ("plausible numbers", plausible),
    ("plausible numbers", plausible),
    ("plausible numbers", plausible),
    ("plausible numbers", plausible),
    ("exchanged offsets", offsets),
];

/// The damage of a case.
pub fn damage(original: &Original, random: &mut Random) -> Damaged {
    let mut pages = original.now.clone();
    // One in thirty has a damaged lock file, too, or only that.
    let lock_file = random.once_in(30).then(|| lock_file(random));
    let mut kind = "lock file";
    if lock_file.is_none() || random.once_in(2) {
        let (name, damage) = random.pick(&KINDS);
        kind = name;
        damage(&mut pages, original, random);
        if random.once_in(10) {
            kind = "two kinds at once";
            random.pick(&KINDS).1(&mut pages, original, random);
        }
    }
    let metas = |pages: &Pages| pages.0.get(..2 * page_size()).map(<[u8]>::to_vec);
    Damaged {
        kind,
        lock_file,
        metas: metas(&pages) != metas(&original.now),
        file: pages.0,
    }
}

/// A page that is in use, those of the small structures as often as those of the large ones.
fn some_page(original: &Original, random: &mut Random) -> usize {
    let tree = *random.pick(&Tree::ALL);
    let of_tree = |place: &&(Tree, u64)| place.0 == tree;
    let pages: Vec<_> = original.places.iter().filter(of_tree).collect();
    let page = match random.below(8) {
        0 => random.below(2) as u64,
        1 => *random.pick(&original.free),
        _ => random.pick(&pages).1,
    };
    page as usize * page_size()
}

fn any_page(pages: &Pages, random: &mut Random) -> usize {
    random.below(pages.0.len() / page_size()) * page_size()
}

fn used(pages: &Pages) -> usize {
    pages
        .0
        .len()
        .min((pages.last_page() as usize + 1) * page_size())
}

fn flip_bits(pages: &mut Pages, at: usize, len: usize, random: &mut Random) {
    for _ in 0..random.length(64) {
        let at = at + random.below(len);
        if let Some(byte) = pages.0.get_mut(at) {
            *byte ^= 1 << random.below(8);
        }
    }
}

fn flip(pages: &mut Pages, original: &Original, random: &mut Random) {
    flip_bits(pages, 0, used(&original.now), random);
}

fn flip_aimed(pages: &mut Pages, original: &Original, random: &mut Random) {
    let small = |(tree, page): &&(Tree, u64)| {
        matches!(tree, Tree::Free | Tree::Main) || original.now.flags(*page) == pages::BRANCH
    };
    let places: Vec<_> = original.places.iter().filter(small).collect();
    let at = match random.below(3) {
        0 => {
            let meta = random.below(2) * page_size();
            return flip_bits(pages, meta, HEADER + 136, random);
        }
        _ => random.pick(&places).1 as usize * page_size(),
    };
    flip_bits(pages, at, page_size(), random);
}

/// Of a page's header and the offsets behind it.
fn flip_headers(pages: &mut Pages, original: &Original, random: &mut Random) {
    for _ in 0..random.length(8) {
        let at = some_page(original, random);
        let len = [HEADER, HEADER, 64, 256][random.below(4)];
        flip_bits(pages, at, len, random);
    }
}

fn copy_page(pages: &mut Pages, from: &[u8], to: usize, random: &mut Random) {
    let mut page = from.to_vec();
    // With the number of the place where it comes to be, it looks more like it belonged there.
    if random.once_in(2) {
        page[..8].copy_from_slice(&((to / page_size()) as u64).to_le_bytes());
    }
    if let Some(place) = pages.0.get_mut(to..to + page_size()) {
        place.copy_from_slice(&page);
    }
}

fn page_at(pages: &Pages, at: usize) -> Vec<u8> {
    let mut page = pages
        .0
        .get(at..at + page_size())
        .unwrap_or_default()
        .to_vec();
    page.resize(page_size(), 0);
    page
}

fn swap(pages: &mut Pages, original: &Original, random: &mut Random) {
    let [a, b] = [some_page(original, random), some_page(original, random)];
    let [first, second] = [a, b].map(|at| page_at(pages, at));
    copy_page(pages, &first, b, random);
    copy_page(pages, &second, a, random);
}

fn repeat(pages: &mut Pages, original: &Original, random: &mut Random) {
    let page = page_at(pages, some_page(original, random));
    for _ in 0..random.length(8) {
        let to = some_page(original, random);
        copy_page(pages, &page, to, random);
    }
}

fn zero(pages: &mut Pages, original: &Original, random: &mut Random) {
    let start = some_page(original, random);
    let len = match random.below(3) {
        0 => page_size(),
        1 => page_size() * random.length(16),
        _ => random.length(page_size()),
    };
    let start = start + random.below(2) * random.below(page_size());
    let end = (start + len).min(pages.0.len());
    pages.0[start.min(end)..end].fill(0);
}

fn scribble(pages: &mut Pages, original: &Original, random: &mut Random) {
    let start = match random.below(2) {
        0 => some_page(original, random) + random.below(page_size()),
        _ => random.below(used(&original.now)),
    };
    let end = (start + random.length(3 * page_size())).min(pages.0.len());
    for byte in &mut pages.0[start.min(end)..end] {
        *byte = random.next() as u8;
    }
}

fn cut(pages: &mut Pages, original: &Original, random: &mut Random) {
    let len = match random.below(3) {
        0 => random.below(pages.0.len()),
        1 => random.below(used(&original.now) / page_size()) * page_size(),
        _ => used(&original.now).saturating_sub(random.length(3 * page_size())),
    };
    // An empty file without a lock file is where a new store is made.
    pages.0.truncate(len.max(1));
}

fn extend(pages: &mut Pages, original: &Original, random: &mut Random) {
    if random.once_in(2) {
        // Right behind the last page, where LMDB writes next.
        pages.0.truncate(used(&original.now));
    }
    for _ in 0..random.length(20 * page_size()) {
        let byte = random.next() as u8;
        pages.0.push(byte);
    }
}

/// Pages that a disk has not written since the older copy was made.
fn stale(pages: &mut Pages, original: &Original, random: &mut Random) {
    for _ in 0..random.length(24) {
        let at = match random.below(2) {
            0 => some_page(original, random),
            _ => any_page(&original.older, random),
        };
        stale_page(pages, original, at);
    }
}

fn stale_metas(pages: &mut Pages, original: &Original, random: &mut Random) {
    match random.below(5) {
        0 => stale_page(pages, original, random.below(2) * page_size()),
        1 => {
            let all = used(&original.older) / page_size();
            (0..all).for_each(|page| stale_page(pages, original, page * page_size()));
            flip_bits(pages, 0, used(&original.older), random);
        }
        2 => {
            stale_page(pages, original, 0);
            stale_page(pages, original, page_size());
        }
        3 => {
            let from = random.below(2) * page_size();
            let page = page_at(pages, from);
            copy_page(pages, &page, page_size() - from, random);
        }
        _ => {
            let [first, second] = [0, page_size()].map(|at| page_at(pages, at));
            copy_page(pages, &first, page_size(), random);
            copy_page(pages, &second, 0, random);
        }
    }
}

fn stale_page(pages: &mut Pages, original: &Original, at: usize) {
    if at + page_size() <= original.older.0.len() {
        let page = page_at(&original.older, at);
        if let Some(place) = pages.0.get_mut(at..at + page_size()) {
            place.copy_from_slice(&page);
        }
    }
}

/// A number that LMDB looks at becomes another that could be.
fn plausible(pages: &mut Pages, original: &Original, random: &mut Random) {
    for _ in 0..random.length(4) {
        let (at, bytes) = field(original, random);
        if at + bytes > pages.0.len() {
            continue;
        }
        let mut old = [0; 8];
        old[..bytes].copy_from_slice(&pages.0[at..at + bytes]);
        let old = u64::from_le_bytes(old);
        let new = match random.below(9) {
            0 => old.wrapping_add(1),
            1 => old.wrapping_sub(1),
            2 => old.wrapping_add(2),
            3 => old.wrapping_sub(2),
            4 => random.next() % (original.now.last_page() + 2),
            5 => random.pick(&original.places).1,
            6 => *random.pick(&original.free),
            7 => random.next() % page_size() as u64,
            _ => *random.pick(&[0, 1, 2, 3, 4, 0x10, 0x12, u64::MAX]),
        };
        pages.0[at..at + bytes].copy_from_slice(&new.to_le_bytes()[..bytes]);
    }
}

/// Where a number is, and how many bytes it has.
fn field(original: &Original, random: &mut Random) -> (usize, usize) {
    let now = &original.now;
    match random.below(5) {
        0 => {
            // Of a meta page: what follows the address of the map, which is not used.
            let words = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14];
            let at = random.below(2) * page_size() + HEADER + 16 + 8 * random.pick(&words);
            (at, 8)
        }
        1 => {
            let tree = random.pick(&Tree::ALL);
            let record = now.record(*tree);
            *random.pick(&[
                (record + pages::FLAGS, 2),
                (record + pages::DEPTH, 2),
                (record + pages::BRANCH_PAGES, 8),
                (record + pages::LEAF_PAGES, 8),
                (record + pages::OVERFLOW_PAGES, 8),
                (record + pages::ENTRIES, 8),
                (record + pages::ROOT, 8),
            ])
        }
        2 => (now.free_list(1) + 8 * random.below(20), 8),
        _ => {
            let page = random.pick(&original.places).1;
            let at = now.at(page);
            if !matches!(now.flags(page), pages::BRANCH | pages::LEAF) {
                return *random.pick(&[(at, 8), (at + 10, 2), (at + 12, 4)]);
            }
            let node = random.below(now.nodes(page));
            let node_at = now.node_at(page, node);
            *random.pick(&[
                (at, 8),
                (at + 10, 2),
                (at + 12, 2),
                (at + 14, 2),
                (now.offset_at(page, node), 2),
                (node_at, 4),
                (node_at + 4, 2),
                (node_at + 6, 2),
            ])
        }
    }
}

/// Nodes of a page change places, which their header does not show.
fn offsets(pages: &mut Pages, original: &Original, random: &mut Random) {
    let (_, page) = *random.pick(&original.places);
    let now = &original.now;
    if !matches!(now.flags(page), pages::BRANCH | pages::LEAF) {
        return flip(pages, original, random);
    }
    let [a, b] = [0, 1].map(|_| now.offset_at(page, random.below(now.nodes(page))));
    if a.max(b) + 2 <= pages.0.len() {
        let [first, second] = [a, b].map(|at| pages.u16(at));
        pages.put16(a, second);
        pages.put16(b, first);
    }
}

fn lock_file(random: &mut Random) -> Vec<u8> {
    let mut bytes: Vec<u8> = match random.below(3) {
        0 => vec![],
        1 => 0xBEEF_C0DE_u32.to_le_bytes().to_vec(),
        _ => vec![0; 8],
    };
    for _ in 0..random.length(100_000) {
        bytes.push(random.next() as u8);
    }
    bytes
}
