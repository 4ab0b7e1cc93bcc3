//! The bytes of a store without devices, as LMDB lays out a file whose first commit made the tables
//! and the header row.
//!
//! LMDB itself gives a new file the page size of the kernel, which is 16 or 64 KiB on some
//! machines, and with it limits and page splits of its own. It opens a file with the page size that
//! the meta pages say.

use crate::verify::meta::{
    DATA_VERSION, LAST_PAGE_AT, MAGIC, MAP_SIZE_AT, PAGE_SIZE_AT, P_META, TREES_AT, TXNID_AT,
    VERSION_AT,
};
use crate::verify::page::{
    FLAGS_AT, F_SUBDATA, HEADER, KEY_LEN_AT, LOWER_AT, NODE_FLAGS_AT, NODE_HEADER, P_LEAF,
    TREE_LEN, UPPER_AT,
};

/// A row of the unnamed database.
pub(crate) enum MainRow<'a> {
    /// A named database without rows.
    Table(&'a str),
    Value {
        key: &'a [u8],
        value: &'a [u8],
    },
}

/// What LMDB has in a meta page's flags: that the file is not one in a directory of its own, and
/// that the free list's keys are numbers (`MDB_NOSUBDIR`, `MDB_INTEGERKEY`).
const META_FLAGS: u16 = 0x4008;
const META_FLAGS_AT: usize = TREES_AT + 4;
/// LMDB's number of the commit that the file is of.
pub(crate) const COMMIT: u64 = 1;
/// The page with the rows: the first after the two meta pages.
const ROOT: u64 = 2;

impl MainRow<'_> {
    fn key(&self) -> &[u8] {
        match self {
            MainRow::Table(name) => name.as_bytes(),
            MainRow::Value { key, .. } => key,
        }
    }
}

/// A file with these rows, which fit into one page. `map_size` is that of the process that makes
/// it.
pub(crate) fn of_rows(page_size: u32, map_size: u64, mut rows: Vec<MainRow<'_>>) -> Vec<u8> {
    rows.sort_by(|a, b| a.key().cmp(b.key()));
    let mut image = vec![0; (ROOT as usize + 1) * page_size as usize];
    for (number, page) in (0..).zip(image.chunks_exact_mut(page_size as usize)) {
        put(page, 0, &u64::to_le_bytes(number));
        if number == ROOT {
            write_leaf(page, &rows);
        } else {
            write_meta(page, page_size, map_size);
        }
        // Commit 0, which is of nothing, and commit 1.
        let (main, last_page) = match number {
            0 => (tree(0, None), ROOT - 1),
            1 => (tree(rows.len() as u64, Some(ROOT)), ROOT),
            _ => continue,
        };
        put(page, TREES_AT + TREE_LEN, &main);
        put(page, LAST_PAGE_AT, &last_page.to_le_bytes());
        put(page, TXNID_AT, &u64::to_le_bytes(number));
    }
    image
}

fn put(page: &mut [u8], at: usize, bytes: &[u8]) {
    page[at..at + bytes.len()].copy_from_slice(bytes);
}

/// The fields that both meta pages have alike.
fn write_meta(page: &mut [u8], page_size: u32, map_size: u64) {
    put(page, FLAGS_AT, &P_META.to_le_bytes());
    put(page, HEADER, &MAGIC.to_le_bytes());
    put(page, VERSION_AT, &DATA_VERSION.to_le_bytes());
    put(page, MAP_SIZE_AT, &map_size.to_le_bytes());
    put(page, TREES_AT, &tree(0, None));
    put(page, PAGE_SIZE_AT, &page_size.to_le_bytes());
    put(page, META_FLAGS_AT, &META_FLAGS.to_le_bytes());
}

/// The record of a tree that is empty, or has one leaf page.
fn tree(rows: u64, root: Option<u64>) -> [u8; TREE_LEN] {
    let pages = u64::from(root.is_some());
    let mut record = [0; TREE_LEN];
    put(&mut record, 6, &(pages as u16).to_le_bytes());
    put(&mut record, 16, &pages.to_le_bytes());
    put(&mut record, 32, &rows.to_le_bytes());
    put(&mut record, 40, &root.unwrap_or(u64::MAX).to_le_bytes());
    record
}

fn write_leaf(page: &mut [u8], rows: &[MainRow<'_>]) {
    let empty = tree(0, None);
    let mut upper = page.len();
    for (index, row) in rows.iter().enumerate() {
        let (value, flags) = match row {
            MainRow::Table(_) => (&empty[..], F_SUBDATA),
            MainRow::Value { value, .. } => (*value, 0),
        };
        let key = row.key();
        upper -= (NODE_HEADER + key.len() + value.len()).next_multiple_of(2);
        let node = &mut page[upper..];
        put(node, 0, &(value.len() as u32).to_le_bytes());
        put(node, NODE_FLAGS_AT, &flags.to_le_bytes());
        put(node, KEY_LEN_AT, &(key.len() as u16).to_le_bytes());
        put(node, NODE_HEADER, key);
        put(node, NODE_HEADER + key.len(), value);
        put(page, HEADER + 2 * index, &(upper as u16).to_le_bytes());
    }
    put(page, FLAGS_AT, &P_LEAF.to_le_bytes());
    let lower = HEADER + 2 * rows.len();
    put(page, LOWER_AT, &(lower as u16).to_le_bytes());
    put(page, UPPER_AT, &(upper as u16).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::meta::{Meta, Metas, PAGE_SIZES};
    use crate::verify::page::{Page, Tiles, Value};

    #[test]
    fn image_parses_to_its_rows_at_every_page_size() {
        for size in PAGE_SIZES {
            let rows = vec![
                MainRow::Table("z"),
                MainRow::Value {
                    key: b"odd",
                    value: b"12345",
                },
                MainRow::Table("a"),
            ];
            let image = of_rows(size as u32, 1 << 20, rows);
            let metas = Metas::read(&&image[..]).unwrap();
            assert_eq!(metas.page_size, size);
            let [first, second]: [Meta; 2] = metas.parse().map(Result::unwrap);
            assert_eq!(
                (first.txnid, first.main.root, first.last_page),
                (0, None, 1)
            );
            assert_eq!(
                (second.txnid, second.main.root, second.last_page),
                (1, Some(2), 2)
            );
            assert_eq!((second.main.entries, second.free.entries), (3, 0));
            let page = Page::parse(&image[2 * size as usize..], 2).unwrap();
            page.check_layout(&mut Tiles::default()).unwrap();
            let rows = [0, 1, 2].map(|at| page.row(at).unwrap());
            assert_eq!(rows.map(|row| row.key), [&b"a"[..], b"odd", b"z"]);
            assert_eq!(rows[1].value, Value::Here(b"12345"));
            assert!(matches!(rows[2].value, Value::Tree(_)));
        }
    }
}
