//! What a file was, where its first pages do not say so any more.

use std::io;

use crate::format::header;
use crate::format::header::{Header, Parsed};
use crate::format::table::Table;
use crate::verify::bytes::ReadAt;
use crate::verify::page::{Page, PageKind, Value};

/// Bytes that are read at a time.
const WINDOW: usize = 1 << 20;
/// How much of a file is searched. Every commit writes the header row to another page.
const MOST: u64 = 1 << 30;

/// The first page that holds a store's header row with its checksum. No other program's file has
/// one.
pub(crate) fn page_with_header_row(
    source: &(impl ReadAt + ?Sized),
    page_size: u64,
) -> io::Result<Option<u64>> {
    let size = page_size as usize;
    let mut found = None;
    each_window(source, |offset, window| {
        let first = offset / page_size;
        let mut pages = (first..).zip(window.chunks_exact(size));
        found = pages.find_map(|(number, page)| has_header_row(page, number).then_some(number));
        found.is_none()
    })?;
    Ok(found)
}

/// Whether the file has nothing but zeros.
pub(crate) fn is_zeros(source: &(impl ReadAt + ?Sized)) -> io::Result<bool> {
    let mut zeros = source.size()? <= MOST;
    each_window(source, |_, window| {
        zeros &= window.iter().all(|byte| *byte == 0);
        zeros
    })?;
    Ok(zeros)
}

/// Shows the file's bytes, with their offset, until `show` has seen enough.
fn each_window(
    source: &(impl ReadAt + ?Sized),
    mut show: impl FnMut(u64, &[u8]) -> bool,
) -> io::Result<()> {
    let mut window = vec![0; WINDOW];
    let mut offset = 0;
    while offset < MOST {
        let got = source.read_up_to(&mut window, offset)?;
        if got == 0 || !show(offset, &window[..got]) {
            break;
        }
        offset += got as u64;
    }
    Ok(())
}

fn has_header_row(page: &[u8], number: u64) -> bool {
    let Ok(page) = Page::parse(page, number) else {
        return false;
    };
    // The unnamed database has few rows, so that other leaves need not be read.
    page.kind() == PageKind::Leaf
        && page.nodes() <= 1 + Table::ALL.len()
        && (0..page.nodes())
            .filter_map(|at| page.row(at).ok())
            .any(|row| match row.value {
                Value::Here(value) if row.key == header::KEY => {
                    matches!(
                        Header::parse(value),
                        Parsed::Known(_) | Parsed::Older(_) | Parsed::Newer(_)
                    )
                }
                _ => false,
            })
}
