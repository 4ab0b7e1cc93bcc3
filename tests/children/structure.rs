//! The role of `tests/structure`.

use crate::common::{raw, sys};
use std::path::Path;

/// Reads all rows through LMDB, and writes as a store does.
pub fn use_through_lmdb(path: &Path) {
    sys::limit(libc::RLIMIT_CORE, 0);
    raw::edit(path, |txn, tables| {
        for table in [tables.devices, tables.ids] {
            raw::keys(txn, table);
        }
        raw::rewrite(txn, tables.devices, b"snap-00800", |value| value.push(0));
    });
}
