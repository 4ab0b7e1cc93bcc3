//! Which variant an error becomes, and what is known of it.

use std::io;
use std::path::Path;

use crate::error::missing::Missing;
use crate::error::quoted::kept;
use crate::error::system::SystemError;
use crate::error::Error;

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

    /// The variant for the system's error `source`.
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Error {
        let path: Box<Path> = path.into();
        let source = match Missing::of(source) {
            Ok(Missing { what, source }) => {
                let source = SystemError::new(source);
                return Error::Unsupported {
                    path,
                    doing,
                    what,
                    source,
                };
            }
            Err(source) => source,
        };
        match source.raw_os_error() {
            Some(errno @ (libc::ENOSPC | libc::EDQUOT)) => Error::DiskFull { path, errno },
            Some(errno @ (libc::EACCES | libc::EPERM)) => Error::Permission { path, doing, errno },
            Some(libc::EROFS) => Error::ReadOnlyFileSystem { path, doing },
            Some(libc::ENOMEM) => Error::NoMemory { what: doing },
            Some(libc::ENAMETOOLONG) => Error::InvalidPath {
                path,
                why: "it, or a name in it, is longer than the file system allows (most allow 255 \
                      bytes for a name)",
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
                source: SystemError::new(source),
            },
        }
    }

    /// This process has the store open through another copy of this library.
    pub(crate) fn another_copy(path: &Path) -> Error {
        Error::PidInUse {
            path: path.into(),
            why: "this process has the store open already, through another copy of this library \
                  (a plugin's, or another version's), and LMDB's locks, which belong to the \
                  process, cannot tell the two apart; use one copy of the library in a process, or \
                  close the store in the other one first",
        }
    }

    /// LMDB's lock for this process's id is another process's.
    pub(crate) fn another_namespace(path: &Path) -> Error {
        Error::PidInUse {
            path: path.into(),
            why:
                "a process in another PID namespace (another container) that has the same process \
                  id as this one has the store open, and LMDB tells processes apart by their ids; \
                  share the PID namespace, or have a shell or an init process start one of the \
                  two, so that it gets another id",
        }
    }

    /// Adds the store's path to damage that was found without knowing it.
    pub(crate) fn at(self, store: &Path) -> Error {
        match self {
            Error::Corrupt { path: None, what } => Error::Corrupt {
                path: Some(store.into()),
                what,
            },
            other => other,
        }
    }

    /// Replaces the path of a copy by that of the original, which has the same error.
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
            Error::Unfinished { .. } => Error::Unfinished {
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

    /// The system's error number (errno) behind this error, if there is one.
    pub fn os_error(&self) -> Option<i32> {
        match self {
            Error::Io { source, .. } | Error::Unsupported { source, .. } => source.raw_os_error(),
            Error::DiskFull { errno, .. } | Error::Permission { errno, .. } => Some(*errno),
            Error::NoSuchFile { .. } => Some(libc::ENOENT),
            Error::ReadOnlyFileSystem { .. } => Some(libc::EROFS),
            Error::NoMemory { .. } => Some(libc::ENOMEM),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn system_errors_become_the_variant_for_their_number() {
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
        assert!(matches!(of(libc::EROFS), Error::ReadOnlyFileSystem { .. }));
        for errno in [libc::EIO, libc::EROFS, libc::ENOENT, libc::EACCES] {
            assert_eq!(of(errno).os_error(), Some(errno));
        }
    }

    #[test]
    fn call_that_is_not_supported_names_what_is_missing() {
        let of = |errno| {
            let error = io::Error::from_raw_os_error(errno);
            Error::io("locking", Path::new("/p"), Missing::mark("locks", error))
        };
        for errno in [libc::EINVAL, libc::ENOSYS, libc::EOPNOTSUPP, 524] {
            let error = of(errno);
            assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
            assert_eq!(error.os_error(), Some(errno));
            let message = error.to_string();
            assert!(message.starts_with("/p: locking: locks are missing"));
        }
        assert!(matches!(of(libc::EIO), Error::Io { .. }));
    }

    #[test]
    fn source_of_an_io_error_downcasts_to_the_systems_error() {
        let system = io::Error::from_raw_os_error(libc::EIO);
        let error = Error::io("reading", Path::new("/pool.db"), system);
        let source = error.source().and_then(|e| e.downcast_ref::<io::Error>());
        assert_eq!(source.and_then(io::Error::raw_os_error), Some(libc::EIO));
    }
}
