//! LMDB's codes as this crate's errors.

use std::io;
use std::path::Path;

use crate::error::Error;

/// Sorts LMDB's error. Positive codes are the system's error numbers.
pub(crate) fn from_lmdb(doing: &'static str, path: &Path, error: lmdb::Error) -> Error {
    match error {
        lmdb::Error::Other(errno) if errno > 0 => {
            Error::io(doing, path, io::Error::from_raw_os_error(errno))
        }
        lmdb::Error::Corrupted | lmdb::Error::PageNotFound | lmdb::Error::Invalid => {
            Error::Corrupt {
                path: Some(path.into()),
                what: format!("{doing}: LMDB says {error}"),
            }
        }
        lmdb::Error::Panic => Error::WritesStopped { path: path.into() },
        other => Error::Lmdb {
            doing,
            code: other.to_err_code(),
            message: other.to_string(),
        },
    }
}

/// The same for a raw code.
pub(crate) fn from_code(doing: &'static str, path: &Path, code: libc::c_int) -> Error {
    from_lmdb(doing, path, lmdb::Error::from_err_code(code))
}
