//! Versions of the ABI, the library and LMDB.

use std::ffi::{c_char, CStr};

/// Version of the C ABI that this header describes. It changes when a program that was compiled
/// with an older header can no longer run with the library.
pub const PM_ABI_VERSION: u32 = 0;

/// Returns the version of the C ABI that the library implements. After dlopen, compare it with
/// PM_ABI_VERSION.
///
/// Never fails; may be called from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn pm_abi_version() -> u32 {
    PM_ABI_VERSION
}

/// Returns the version of the library, such as "0.1.0". The string is static.
///
/// Never fails; may be called from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn pm_version() -> *const c_char {
    const VERSION: &CStr =
        match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => c"",
        };
    VERSION.as_ptr()
}

/// Returns the version of the LMDB that the library uses, such as "LMDB 0.9.24: (July 24, 2019)".
/// The string is static.
///
/// Never fails; may be called from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn pm_lmdb_version() -> *const c_char {
    crate::lmdb::raw::version().as_ptr()
}
