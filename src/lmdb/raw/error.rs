//! LMDB's codes as this crate's errors.

use std::io;
use std::path::Path;

use crate::error::Error;
use crate::lmdb::raw::release::BUILT_FOR;

pub(crate) use lmdb::{Error as LmdbError, Result as LmdbResult};

/// `MDB_PROBLEM` (lmdb.h): a page that a commit is to change is not in the state that it can have.
const PROBLEM: i32 = -30779;

/// Sorts LMDB's error. Positive codes are the system's error numbers.
pub(crate) fn into_error(doing: &'static str, path: &Path, error: LmdbError) -> Error {
    match error {
        LmdbError::Other(errno) if errno > 0 => {
            Error::io(doing, path, io::Error::from_raw_os_error(errno))
        }
        // What the file holds: databases that are missing or of another kind, trees that are too
        // deep, pages that are in use twice.
        LmdbError::Corrupted
        | LmdbError::PageNotFound
        | LmdbError::Invalid
        | LmdbError::NotFound
        | LmdbError::Incompatible
        | LmdbError::CursorFull
        | LmdbError::PageFull
        | LmdbError::Other(PROBLEM) => Error::Corrupt {
            path: Some(path.into()),
            what: format!("{doing}: LMDB says {error}"),
        },
        LmdbError::TxnFull => Error::TooManyChanges {
            why: "they change more pages than LMDB keeps in memory",
        },
        LmdbError::VersionMismatch => Error::OtherLmdb {
            path: path.into(),
            why: format!(
                "a program that uses another release of LMDB has the store open; close it there, \
                 and use LMDB {BUILT_FOR} or this library in it"
            ),
        },
        LmdbError::Panic => Error::WritesStopped { path: path.into() },
        other => Error::Lmdb {
            doing,
            code: other.to_err_code(),
            message: other.to_string(),
        },
    }
}

/// Why a read could not begin.
pub(crate) enum NotBegun {
    /// The store is closed.
    Closed,
    /// A forked child has inherited the store from its parent.
    Forked,
    /// Another thread has the environment quiesced.
    Quiesced,
    /// Another process has made the map larger: its size must be adopted.
    Resized,
    /// LMDB's reader table is full.
    SlotsFull,
    /// LMDB refuses every transaction of this environment since it failed to write a meta page:
    /// the environment must be opened again.
    Poisoned,
    /// The file system takes no more writes to the lock file, to which LMDB would write.
    LockFileLost,
    /// A read with the same permit is in progress.
    Nested,
    /// LMDB reported something else.
    Failed(LmdbError),
}

impl From<LmdbError> for NotBegun {
    fn from(error: LmdbError) -> NotBegun {
        match error {
            LmdbError::MapResized => NotBegun::Resized,
            LmdbError::ReadersFull => NotBegun::SlotsFull,
            LmdbError::Panic => NotBegun::Poisoned,
            other => NotBegun::Failed(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(error: LmdbError) -> String {
        into_error("a commit", Path::new("/store"), error).to_string()
    }

    #[test]
    fn full_transaction_is_reported_as_too_many_changes() {
        let error = into_error("a commit", Path::new("/store"), LmdbError::TxnFull);
        assert!(matches!(error, Error::TooManyChanges { .. }), "{error}");
        assert!(error.to_string().contains("split the list"), "{error}");
    }

    #[test]
    fn codes_that_the_content_of_a_file_causes_are_reported_as_damage() {
        let codes = [
            LmdbError::Corrupted,
            LmdbError::PageNotFound,
            LmdbError::Invalid,
            LmdbError::NotFound,
            LmdbError::Incompatible,
            LmdbError::CursorFull,
            LmdbError::PageFull,
            LmdbError::Other(PROBLEM),
        ];
        for code in codes {
            let error = into_error("a commit", Path::new("/store"), code);
            assert!(matches!(error, Error::Corrupt { .. }), "{error}");
            let text = error.to_string();
            assert!(
                text.contains("/store") && text.contains("a commit"),
                "{text}"
            );
        }
    }

    #[test]
    fn other_release_of_lmdb_is_named_with_the_one_to_use() {
        let text = text(LmdbError::VersionMismatch);
        assert!(
            text.contains("/store") && text.contains(&BUILT_FOR.to_string()),
            "{text}"
        );
    }

    #[test]
    fn error_number_of_the_system_is_kept() {
        let error = into_error("a commit", Path::new("/store"), LmdbError::Other(libc::EIO));
        let text = error.to_string();
        assert!(
            text.contains("/store") && text.contains("os error 5"),
            "{text}"
        );
    }
}
