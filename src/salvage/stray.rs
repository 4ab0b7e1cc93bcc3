//! Records anywhere in a page, whatever the page says of itself.
//!
//! A page that no tree leads to can hold the last whole copy of a record: the page that was there before the
//! one that is damaged now, say. It can as well hold one that was removed long ago.

use super::source::Source;
use super::tree::LONGEST;
use crate::device::DeviceRef;
use crate::record;
use crate::verify::bytes::{u16_at, u32_at, u64_at};
use crate::verify::page::{HEADER, MAX_KEY};

/// Bytes of a node before its key.
const NODE: usize = 8;
const F_BIGDATA: u16 = 1;

/// Shows every record in the page, which its checksum makes one.
pub(super) fn records(source: &Source<'_>, page: &[u8], show: &mut dyn FnMut(DeviceRef<'_>)) {
    // Nodes begin at even offsets.
    for at in (HEADER..page.len().saturating_sub(NODE)).step_by(2) {
        let node = &page[at..];
        let (len, flags) = (u32_at(node, 0) as usize, u16_at(node, 4));
        let key_len = usize::from(u16_at(node, 6));
        if flags > F_BIGDATA || key_len == 0 || key_len > MAX_KEY || len > LONGEST {
            continue;
        }
        let Some(key) = node.get(NODE..NODE + key_len) else {
            continue;
        };
        let rest = &node[NODE + key_len..];
        if flags == 0 {
            if let Some(Ok(device)) = rest
                .get(..len)
                .map(|value| record::decode_unknown(key, value))
            {
                show(device);
            }
        } else if let Some(first) = rest.get(..8).map(|bytes| u64_at(bytes, 0)) {
            if let Some(value) = source.value(first, len) {
                if let Ok(device) = record::decode_unknown(key, &value) {
                    show(device);
                }
            }
        }
    }
}
