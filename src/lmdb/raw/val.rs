//! `MDB_val`: bytes that LMDB reads, or shows.

use lmdb_sys as ffi;

/// # Safety
/// `value` describes memory that lives, unchanged, for as long as the borrow that the caller gives
/// it.
pub(crate) unsafe fn bytes<'a>(value: &ffi::MDB_val) -> &'a [u8] {
    if value.mv_size == 0 {
        return &[];
    }
    // SAFETY: says the caller.
    unsafe { std::slice::from_raw_parts(value.mv_data.cast::<u8>(), value.mv_size) }
}
