//! Everything that can go wrong, as one enum: a variant for each thing that a caller would treat
//! differently.
//!
//! A message says what is wrong, with which name or path, and what to do about it.

mod display;
mod quoted;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use quoted::Quoted;

/// The result of an operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an operation was refused or failed. Nothing was written when one is returned, except that
/// [`Internal`](Error::Internal) leaves that open.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// No device of that name is in the store.
    NotFound {
        /// The name asked for.
        name: Box<[u8]>,
    },
    /// A device of that name is in the store and is not faulty.
    AlreadyExists {
        /// The name that is taken.
        name: Box<[u8]>,
    },
    /// A name that no device can have.
    InvalidName {
        /// Which name: the device's or its parent's.
        what: &'static str,
        /// The name.
        name: Box<[u8]>,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A device's error text is longer than [`MAX_ERROR_LEN`](crate::limits::MAX_ERROR_LEN).
    TooLong {
        /// The device it was for.
        name: Box<[u8]>,
        /// The text's length in bytes.
        len: usize,
    },
    /// An update tried to give the device another name or another device id.
    IdentityChanged {
        /// The device's name, before.
        name: Box<[u8]>,
        /// Its name after the update.
        new_name: Box<[u8]>,
        /// Its device id, before.
        device_id: u32,
        /// Its device id after the update.
        new_device_id: u32,
    },
    /// Every device id is taken or faulty.
    IdsExhausted,
    /// Only an empty store can be filled by an import.
    NotEmpty {
        /// The store's path.
        path: Box<Path>,
    },
    /// What was to be imported is not a sound pool.
    InvalidImport {
        /// What does not go together.
        what: String,
    },
    /// An option of [`OpenOptions`](crate::OpenOptions) that cannot be.
    InvalidOption {
        /// Which option.
        option: &'static str,
        /// What values it takes.
        why: &'static str,
    },
    /// A write to the store from inside an update's callback on the same thread.
    NestedWrite,
    /// The device was changed between the two phases of an update, by another process or, for a
    /// list of changes, by another thread.
    Conflict {
        /// The device.
        name: Box<[u8]>,
    },
    /// Something did not become free within the configured wait.
    Timeout {
        /// What was waited for.
        what: String,
        /// For how long.
        waited: Duration,
    },
    /// The store has been closed.
    Closed,
    /// The store cannot be closed now: calls are still in flight.
    Busy {
        /// What is in flight.
        what: &'static str,
    },
    /// The store was opened before a `fork`, and this is the child.
    Forked,
    /// A write to a store that was opened read-only.
    ReadOnly {
        /// The store's path.
        path: Box<Path>,
    },
    /// This process, or another by another path, has the same file open already.
    AlreadyOpen {
        /// The path asked for.
        path: Box<Path>,
        /// By whom, and what to do.
        why: &'static str,
    },
    /// Something is at the path where a new file was to be.
    FileExists {
        /// The path.
        path: Box<Path>,
    },
    /// A path that cannot name a store.
    InvalidPath {
        /// The path asked for.
        path: Box<Path>,
        /// What is wrong with it.
        why: &'static str,
    },
    /// There is no such file and none may be created, or its directory is missing.
    NoSuchFile {
        /// The path asked for.
        path: Box<Path>,
        /// What is missing.
        why: &'static str,
    },
    /// The system does not let this process use the file.
    Permission {
        /// The path.
        path: Box<Path>,
        /// What was being done.
        doing: &'static str,
        /// The system's error number.
        errno: i32,
    },
    /// A directory, a socket, a device or the like.
    NotRegularFile {
        /// The path.
        path: Box<Path>,
        /// What it is.
        kind: &'static str,
    },
    /// A file of some other kind.
    NotAStore {
        /// The path.
        path: Box<Path>,
        /// What was seen.
        why: String,
    },
    /// A bbolt file, such as containerd's own store.
    BboltFile {
        /// The path.
        path: Box<Path>,
    },
    /// An LMDB file that somebody else made for something else.
    ForeignLmdb {
        /// The path.
        path: Box<Path>,
    },
    /// A store of a format that this release does not know.
    NewerFormat {
        /// The path.
        path: Box<Path>,
        /// The file's format version.
        found: u16,
        /// The newest one known.
        known: u16,
    },
    /// The file is damaged.
    Corrupt {
        /// The store's path, once known.
        path: Option<Box<Path>>,
        /// What is damaged, and how that shows.
        what: String,
    },
    /// The disk, or the user's share of it, is full.
    DiskFull {
        /// The store's path.
        path: Box<Path>,
        /// The system's error number.
        errno: i32,
    },
    /// The memory map is full and cannot be made larger.
    MapFull {
        /// The map's size in bytes.
        size: u64,
        /// Why it cannot grow.
        why: String,
    },
    /// Every slot of LMDB's reader table is in use.
    ReadersFull {
        /// How many slots there are.
        slots: u32,
    },
    /// The system reported an error.
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: Box<Path>,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// A flush failed earlier; the store takes no writes until it is opened again.
    WritesStopped {
        /// The store's path.
        path: Box<Path>,
    },
    /// The process is out of memory or of address space.
    NoMemory {
        /// What it was needed for.
        what: &'static str,
    },
    /// The library came into a state that cannot be: a bug of it, which should be reported.
    ///
    /// Whether a write that fails with it was made is not known: read to find out.
    Internal {
        /// What cannot be.
        what: &'static str,
    },
    /// LMDB reported something that should not happen.
    Lmdb {
        /// What was being done.
        doing: &'static str,
        /// LMDB's code.
        code: i32,
        /// LMDB's words for it.
        message: String,
    },
}

impl Error {
    pub(crate) fn not_found(name: &[u8]) -> Error {
        Error::NotFound { name: kept(name) }
    }

    pub(crate) fn invalid_name(what: &'static str, name: &[u8], why: &'static str) -> Error {
        Error::InvalidName {
            what,
            name: kept(name),
            why,
        }
    }

    pub(crate) fn corrupt(what: impl Into<String>) -> Error {
        Error::Corrupt {
            path: None,
            what: what.into(),
        }
    }

    /// The system's error `source`, sorted into the variant that a caller would look for.
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Error {
        let path: Box<Path> = path.into();
        match source.raw_os_error() {
            Some(errno @ (libc::ENOSPC | libc::EDQUOT)) => Error::DiskFull { path, errno },
            Some(errno @ (libc::EACCES | libc::EPERM | libc::EROFS)) => {
                Error::Permission { path, doing, errno }
            }
            Some(libc::ENOMEM) => Error::NoMemory { what: doing },
            Some(libc::ENAMETOOLONG) => Error::InvalidPath {
                path,
                why: "it is longer than the system allows",
            },
            Some(libc::ELOOP) => Error::InvalidPath {
                path,
                why: "it has too many symbolic links",
            },
            Some(libc::ENOENT) => Error::NoSuchFile {
                path,
                why: "no such file or directory",
            },
            Some(libc::ENOTDIR) => Error::InvalidPath {
                path,
                why: "a part of it is not a directory",
            },
            _ => Error::Io {
                doing,
                path,
                source: Arc::new(source),
            },
        }
    }

    /// Adds the store's path where the place that found the damage did not know it.
    pub(crate) fn at(self, store: &Path) -> Error {
        match self {
            Error::Corrupt { path: None, what } => Error::Corrupt {
                path: Some(store.into()),
                what,
            },
            other => other,
        }
    }

    /// The same error of the file that the damaged one is a copy of.
    pub(crate) fn of(self, original: &Path) -> Error {
        match self {
            Error::Corrupt { what, .. } => Error::corrupt(what).at(original),
            Error::NotAStore { why, .. } => Error::NotAStore {
                path: original.into(),
                why,
            },
            Error::BboltFile { .. } => Error::BboltFile {
                path: original.into(),
            },
            Error::ForeignLmdb { .. } => Error::ForeignLmdb {
                path: original.into(),
            },
            Error::NewerFormat { found, known, .. } => Error::NewerFormat {
                path: original.into(),
                found,
                known,
            },
            other => other,
        }
    }

    /// The system's error number behind this error, if there is one.
    pub fn os_error(&self) -> Option<i32> {
        match self {
            Error::Io { source, .. } => source.raw_os_error(),
            Error::DiskFull { errno, .. } | Error::Permission { errno, .. } => Some(*errno),
            Error::NoSuchFile { .. } => Some(libc::ENOENT),
            Error::NoMemory { .. } => Some(libc::ENOMEM),
            _ => None,
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(&**source),
            _ => None,
        }
    }
}

/// As much of a name as an error keeps: a name from outside can be of any length, and none that is
/// longer exists.
pub(crate) fn kept(name: &[u8]) -> Box<[u8]> {
    name[..name.len().min(crate::limits::MAX_NAME_LEN + 1)].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_errors_become_the_variant_a_caller_looks_for() {
        let of = |errno| {
            Error::io(
                "opening",
                Path::new("/p"),
                io::Error::from_raw_os_error(errno),
            )
        };
        assert!(matches!(of(libc::ENOSPC), Error::DiskFull { .. }));
        assert!(matches!(of(libc::EDQUOT), Error::DiskFull { .. }));
        assert!(matches!(of(libc::EACCES), Error::Permission { .. }));
        assert!(matches!(of(libc::ENAMETOOLONG), Error::InvalidPath { .. }));
        assert!(matches!(of(libc::ENOENT), Error::NoSuchFile { .. }));
        assert_eq!(of(libc::EIO).os_error(), Some(libc::EIO));
    }
}
