//! Pages made by hand: sound ones, and others with one thing wrong.

use super::*;

const SIZE: usize = 512;

/// A leaf page with these rows, laid from the end as LMDB does; flags and value bytes as given.
fn leaf(number: u64, rows: &[(&[u8], u16, &[u8])]) -> Vec<u8> {
    let mut page = vec![0; SIZE];
    page[..8].copy_from_slice(&number.to_le_bytes());
    page[10] = 2;
    let mut upper = SIZE;
    for (at, (key, flags, value)) in rows.iter().enumerate() {
        upper -= (8 + key.len() + value.len()).next_multiple_of(2);
        put(&mut page, HEADER + 2 * at, upper);
        page[upper..][..4].copy_from_slice(&(value.len() as u32).to_le_bytes());
        put(&mut page, upper + 4, usize::from(*flags));
        put(&mut page, upper + 6, key.len());
        page[upper + 8..][..key.len()].copy_from_slice(key);
        page[upper + 8 + key.len()..][..value.len()].copy_from_slice(value);
    }
    put(&mut page, 12, HEADER + 2 * rows.len());
    put(&mut page, 14, upper);
    page
}

fn put(page: &mut [u8], at: usize, number: usize) {
    page[at..at + 2].copy_from_slice(&(number as u16).to_le_bytes());
}

fn sound() -> Vec<u8> {
    leaf(7, &[(b"a", 0, b"xyz"), (b"bc", 0, b""), (b"d", 2, b"tree")])
}

fn layout_of(page: &[u8]) -> Result<(), Kind> {
    Page::parse(page, 7)
        .unwrap()
        .check_layout(&mut Tiles::default())
}

#[test]
fn rows_of_a_leaf_come_back() {
    let page = sound();
    let page = Page::parse(&page, 7).unwrap();
    assert_eq!((page.kind(), page.nodes()), (PageKind::Leaf, 3));
    let row = |at| page.row(at).map(|row| (row.key, row.value));
    assert_eq!(row(0), Ok((&b"a"[..], Value::Here(b"xyz"))));
    assert_eq!(row(1), Ok((&b"bc"[..], Value::Here(b""))));
    assert_eq!(row(2), Ok((&b"d"[..], Value::Tree(b"tree"))));
    assert_eq!(row(3), Err(Kind::NodeOutside(3)));
    assert_eq!(layout_of(&sound()), Ok(()));
}

#[test]
fn overflow_value_is_a_page_and_a_length() {
    let mut page = leaf(7, &[(b"a", 1, &99_u64.to_le_bytes())]);
    let offset = usize::from(u16_at(&page, HEADER));
    page[offset..offset + 4].copy_from_slice(&70_000_u32.to_le_bytes());
    let row = Page::parse(&page, 7).unwrap().row(0).unwrap();
    let far = Value::Far {
        page: 99,
        len: 70_000,
    };
    assert_eq!(row.value, far);
    assert_eq!(layout_of(&page), Ok(()));
}

#[test]
fn child_has_a_page_number_of_six_bytes() {
    let mut page = leaf(7, &[(b"", 0, b""), (b"key", 0x8001, b"")]);
    page[10] = 1;
    let second = usize::from(u16_at(&page, HEADER + 2));
    page[second] = 5;
    let page = Page::parse(&page, 7).unwrap();
    assert_eq!(page.kind(), PageKind::Branch);
    assert_eq!(page.child(0).unwrap().page, 0);
    let child = Child {
        key: b"key",
        page: 0x8001_0000_0005,
    };
    assert_eq!(page.child(1), Ok(child));
    assert_eq!(page.check_layout(&mut Tiles::default()), Ok(()));
}

#[test]
fn impossible_header_is_refused() {
    let kind = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut page = sound();
        change(&mut page);
        Page::parse(&page, 7).map(drop).unwrap_err()
    };
    assert_eq!(kind(&|page| page.truncate(15)), Kind::PageShort);
    assert_eq!(kind(&|page| page[0] = 8), Kind::PageNumber(8));
    // Overflow, meta, dirty, the pages of duplicates, and no kind at all.
    for flags in [0, 3, 4, 8, 0x12, 0x22, 0x42, 0x4002, 0x8002] {
        assert_eq!(
            kind(&|page| put(page, 10, flags)),
            Kind::Flags(flags as u16)
        );
    }
    for (lower, upper) in [(14, 400), (17, 400), (402, 400), (22, 514), (0, 0)] {
        let bounds = Kind::Bounds {
            lower: lower as u16,
            upper: upper as u16,
        };
        let change = |page: &mut Vec<u8>| {
            put(page, 12, lower);
            put(page, 14, upper);
        };
        assert_eq!(kind(&change), bounds);
    }
}

#[test]
fn node_that_reaches_out_is_refused() {
    let page = sound();
    let offset = usize::from(u16_at(&page, HEADER));
    let with = |at: usize, number: usize| {
        let mut page = page.clone();
        put(&mut page, at, number);
        let parsed = Page::parse(&page, 7).unwrap();
        (parsed.row(0).map(drop), layout_of(&page))
    };
    let outside = || (Err(Kind::NodeOutside(0)), Err(Kind::NodeOutside(0)));
    // Its offset into the offsets and to the page's very end, its key's length, its value's length.
    for (at, number) in [
        (HEADER, 16),
        (HEADER, SIZE - 6),
        (HEADER, 0xfffe),
        (offset + 6, 300),
        (offset, 300),
        (offset + 2, 1),
    ] {
        assert_eq!(with(at, number), outside(), "{at} {number}");
    }
    let flags = Kind::NodeFlags { node: 0, flags: 4 };
    assert_eq!(with(offset + 4, 4), (Err(flags.clone()), Err(flags)));
}

#[test]
fn nodes_with_gaps_or_overlaps_are_refused() {
    let page = sound();
    let [first, second] = [HEADER, HEADER + 2].map(|at| usize::from(u16_at(&page, at)));
    let upper = usize::from(u16_at(&page, 14));
    for (at, number) in [
        // Two nodes that are one.
        (HEADER + 2, first),
        // One at an odd offset.
        (HEADER + 2, second + 1),
        // One that reaches into the next, and one that ends before it.
        (second, 2),
        (first, 1),
        // Room before the first.
        (14, upper - 2),
    ] {
        let mut page = page.clone();
        put(&mut page, at, number);
        assert_eq!(layout_of(&page), Err(Kind::Layout), "{at} {number}");
    }
    // What one page leaves in the scratch memory does not matter to the next.
    let mut tiles = Tiles::default();
    let mut bad = page.clone();
    put(&mut bad, HEADER + 2, second + 2);
    assert!(Page::parse(&bad, 7)
        .unwrap()
        .check_layout(&mut tiles)
        .is_err());
    for _ in 0..2 {
        assert_eq!(
            Page::parse(&page, 7).unwrap().check_layout(&mut tiles),
            Ok(())
        );
    }
}

#[test]
fn overflow_header_gives_the_pages_or_is_refused() {
    let mut header = vec![0; HEADER];
    header[0] = 9;
    header[10] = 4;
    header[12] = 3;
    assert_eq!(overflow_extent(&header, 9), Ok(3));
    assert_eq!(overflow_extent(&header, 8), Err(Kind::PageNumber(9)));
    assert_eq!(overflow_extent(&header[..8], 9), Err(Kind::PageShort));
    header[10] = 2;
    assert_eq!(overflow_extent(&header, 9), Err(Kind::Flags(2)));
    assert_eq!(
        [0, 4080, 4081, 8176, 8177].map(|len| overflow_pages(len, 4096)),
        [1, 1, 2, 2, 3]
    );
    assert_eq!(largest_node(4096), 2038);
}
