//! Why writes fail.

use std::io;

use crate::error::{Error, SystemError};
use crate::lmdb::env::Env;
use crate::lmdb::preallocate::Space;
use crate::lmdb::raw::LmdbError;

/// Why a write transaction failed.
pub(crate) enum Fault {
    /// The map is full: it can grow and the whole be tried again.
    MapFull,
    /// Another process has made the map larger.
    Resized,
    /// LMDB cannot split a page: the table can be written anew and the whole be tried again.
    PageFull,
    /// An error for the caller.
    Error(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Error(error)
    }
}

/// The result of a step inside a write transaction.
pub(crate) type Step<T> = std::result::Result<T, Fault>;

impl Env {
    /// A commit that failed before its flush has left the old content in force. Nothing refers to
    /// the pages that it may have written, and no earlier commit waits for a flush.
    pub(super) fn commit_fault(&self, error: LmdbError, space: &Space, commit: u64) -> Fault {
        let errno = match error {
            LmdbError::Other(errno) if errno > 0 => errno,
            LmdbError::Panic => libc::EIO,
            other => return self.fault("committing", other),
        };
        let is_full = matches!(errno, libc::ENOSPC | libc::EDQUOT);
        self.handle.watch().expire();
        if self.is_poisoned_for_writing() {
            self.reopen_before_next_write(commit);
            return Fault::Error(self.io_error("committing", errno));
        }
        match space {
            // To LMDB, a write that a full disk cuts short is an error of the disk.
            Space::Tight { len, full } if is_full || errno == libc::EIO => {
                self.shorten_to(*len);
                Fault::Error(full.clone())
            }
            _ if is_full => self.fault("committing", error),
            _ => Fault::Error(self.io_error("committing", errno)),
        }
    }

    fn io_error(&self, doing: &'static str, errno: libc::c_int) -> Error {
        Error::Io {
            doing,
            path: self.path.as_path().into(),
            source: SystemError::new(io::Error::from_raw_os_error(errno)),
        }
    }

    #[cold]
    pub(crate) fn fault(&self, doing: &'static str, error: LmdbError) -> Fault {
        match error {
            LmdbError::MapFull => Fault::MapFull,
            LmdbError::MapResized => Fault::Resized,
            LmdbError::PageFull => Fault::PageFull,
            error => Fault::Error(self.lmdb_error(doing, error)),
        }
    }
}
