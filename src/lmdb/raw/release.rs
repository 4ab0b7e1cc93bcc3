//! Which release of LMDB is linked.

use std::ffi::CStr;
use std::fmt;
use std::path::Path;
use std::ptr;

use lmdb_sys as ffi;

use crate::error::{Error, Result};

/// The three numbers of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Release([libc::c_int; 3]);

/// The release that the bindings were generated from, and that this library was tested with.
pub(crate) const BUILT_FOR: Release = Release([
    ffi::MDB_VERSION_MAJOR as libc::c_int,
    ffi::MDB_VERSION_MINOR as libc::c_int,
    ffi::MDB_VERSION_PATCH as libc::c_int,
]);

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// LMDB's own name and version.
pub(crate) fn version() -> &'static CStr {
    let none = ptr::null_mut();
    // SAFETY: LMDB returns a static string; it takes NULL for the numbers that are not wanted.
    unsafe { CStr::from_ptr(ffi::mdb_version(none, none, none)) }
}

/// Refuses to open the store at `path` with another release. The linker may have taken the one of
/// another crate of the program: the functions have the same names, and what is behind them does
/// not.
pub(crate) fn check_release(path: &Path) -> Result<()> {
    let [mut major, mut minor, mut patch] = [0; 3];
    // SAFETY: LMDB writes the numbers, which outlive the call, and returns a static string.
    unsafe { ffi::mdb_version(&mut major, &mut minor, &mut patch) };
    check(Release([major, minor, patch]), version(), path)
}

fn check(linked: Release, name: &CStr, path: &Path) -> Result<()> {
    if linked == BUILT_FOR {
        return Ok(());
    }
    Err(Error::OtherLmdb {
        path: path.into(),
        why: format!(
            "this program is linked with {} instead of LMDB {BUILT_FOR}, which this library was \
             built for, since another crate or library of it brings that; take it out of the \
             program, or load libpool_metadata.so instead of linking the crate",
            name.to_string_lossy()
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linked_lmdb_of_another_release_is_refused_with_both_releases() {
        let path = Path::new("/pool.db");
        assert!(check_release(path).is_ok());
        for other in [[0, 9, 23], [0, 9, 70], [1, 0, 24]] {
            let error = check(Release(other), c"LMDB 0.9.70", path).unwrap_err();
            assert!(matches!(error, Error::OtherLmdb { .. }));
            let message = error.to_string();
            for part in ["/pool.db", "LMDB 0.9.70", "LMDB 0.9.24"] {
                assert!(message.contains(part), "{message}");
            }
        }
    }
}
