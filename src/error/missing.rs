//! What a file system, a kernel or a sandbox may lack.

use std::io;

/// Linux's own number for what a file system does not support, which some let through to programs
/// (linux/errno.h).
const ENOTSUPP: i32 = 524;

/// A system call that failed because something is not supported. It travels as the inner error of
/// an [`io::Error`], so that whatever reports that says what is missing.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub(crate) struct Missing {
    pub what: &'static str,
    pub source: io::Error,
}

impl Missing {
    /// Marks the error of a system call whose arguments are right: that it is "invalid" or unknown
    /// can only mean that `what` is not supported. Any other error stays what it is.
    pub fn mark(what: &'static str, error: io::Error) -> io::Error {
        match error.raw_os_error() {
            Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP | ENOTSUPP) => {
                Missing::marked(what, error)
            }
            _ => error,
        }
    }

    /// Marks an error that can have no other cause.
    pub fn marked(what: &'static str, source: io::Error) -> io::Error {
        io::Error::new(io::ErrorKind::Unsupported, Missing { what, source })
    }

    /// Takes the mark off again.
    pub fn of(error: io::Error) -> Result<Missing, io::Error> {
        error.downcast()
    }
}
