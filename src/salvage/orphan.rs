//! Records anywhere in the file, found by their checksums and not by a tree.
//!
//! A page that no tree leads to can hold the last whole copy of a record, for example the page that
//! a damaged one replaced. It can also hold a record that was removed long ago.

use crate::device::DeviceRef;
use crate::format::table::Table;
use crate::format::{digest, record};
use crate::salvage::free::Free;
use crate::salvage::source::Source;
use crate::salvage::tree;
use crate::verify::page::{Page, PageKind, Row, Tiles, Value, HEADER, MAX_KEY, NODE_HEADER};

/// A record somewhere in the file.
pub(crate) struct OrphanRecord<'a> {
    pub device: DeviceRef<'a>,
    /// The hash of its row.
    pub row_hash: u128,
    /// Whether it is a row of a page that is not free: if no tree leads there, a page of the tree
    /// was lost.
    pub in_use: bool,
}

/// Shows every record in every page.
pub(crate) fn each(source: &Source<'_>, free: &Free, show: &mut dyn FnMut(OrphanRecord<'_>)) {
    let mut tiles = Tiles::default();
    source.each_page(|number, bytes| {
        let in_use = |_: &Page<'_>| !free.has(number);
        if let Some(page) = Page::parse(bytes, number).ok().filter(in_use) {
            if page.kind() == PageKind::Leaf && page.check_layout(&mut tiles).is_ok() {
                rows(source, &page, show);
            }
        }
        nodes(source, bytes, show);
    });
}

/// Shows the records that are rows of a leaf page.
fn rows(source: &Source<'_>, page: &Page<'_>, show: &mut dyn FnMut(OrphanRecord<'_>)) {
    tree::leaf(source, page, &mut |key, value| {
        offer(key, value, true, show);
        true
    });
}

fn offer(key: &[u8], value: &[u8], in_use: bool, show: &mut dyn FnMut(OrphanRecord<'_>)) {
    if let Ok(device) = record::decode_validated(key, value) {
        let row_hash = digest::row_hash(Table::Devices, key, value);
        show(OrphanRecord {
            device,
            row_hash,
            in_use,
        });
    }
}

/// Shows every record in a page, whatever the page's header says.
fn nodes(source: &Source<'_>, page: &[u8], show: &mut dyn FnMut(OrphanRecord<'_>)) {
    // Nodes begin at even offsets.
    for at in (HEADER..page.len().saturating_sub(NODE_HEADER)).step_by(2) {
        let Some(Row { key, value }) = Row::parse(&page[at..]) else {
            continue;
        };
        if key.is_empty() || key.len() > MAX_KEY {
            continue;
        }
        match value {
            Value::Here(value) => offer(key, value, false, show),
            Value::Far { page, len } if len <= record::MAX_LEN => {
                if let Some(value) = source.value(page, len) {
                    offer(key, &value, false, show);
                }
            }
            Value::Far { .. } | Value::Tree(_) => {}
        }
    }
}
