//! The only code that knows LMDB: one environment, its transactions, its map, and the locks around
//! them.
//!
//! Above this module there are tables, keys, values and snapshots; below it are raw pointers. A
//! pointer into the memory map never leaves a closure or a borrow that ends before the map can
//! move.
#![allow(unsafe_code)]

mod address_space;
pub(crate) mod config;
pub(crate) mod copy;
pub(crate) mod create;
pub(crate) mod env;
mod grow;
mod open;
mod preallocate;
mod quiesce;
pub(crate) mod raw;
pub(crate) mod read;
mod reader_slots;
mod reopen;
pub(crate) mod snapshot;
mod usage;
pub(crate) mod write;

/// LMDB's own name and version.
pub(crate) fn lmdb_version() -> &'static std::ffi::CStr {
    // SAFETY: LMDB returns a static string; it takes NULL for the numbers that are not wanted.
    unsafe {
        let none = std::ptr::null_mut();
        std::ffi::CStr::from_ptr(lmdb_sys::mdb_version(none, none, none))
    }
}
