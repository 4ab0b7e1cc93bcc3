//! Everything that can go wrong, as one enum: a variant for each thing that a caller would treat differently.
//!
//! A message says what is wrong, with which name or path, and what to do about it.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

/// The result of an operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an operation was refused or failed. Nothing was written when one is returned.
#[derive(Debug)]
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
    /// A device's error text is longer than [`MAX_ERROR_LEN`](crate::MAX_ERROR_LEN).
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
    /// Another process changed the device between the two phases of an update.
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
        source: io::Error,
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
        Error::NotFound { name: name.into() }
    }

    pub(crate) fn invalid_name(what: &'static str, name: &[u8], why: &'static str) -> Error {
        Error::InvalidName {
            what,
            name: name.into(),
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
            Some(libc::ENOSPC | libc::EDQUOT) => Error::DiskFull { path },
            Some(libc::EACCES | libc::EPERM | libc::EROFS) => Error::Permission { path, doing },
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
                source,
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

    /// The system's error number behind this error, if there is one.
    pub fn os_error(&self) -> Option<i32> {
        match self {
            Error::Io { source, .. } => source.raw_os_error(),
            Error::DiskFull { .. } => Some(libc::ENOSPC),
            Error::Permission { .. } => Some(libc::EACCES),
            Error::NoSuchFile { .. } => Some(libc::ENOENT),
            Error::NoMemory { .. } => Some(libc::ENOMEM),
            _ => None,
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotFound { name } => write!(f, "device {} is not in the store", Quoted(name)),
            Error::AlreadyExists { name } => write!(
                f,
                "device {} already exists and is not faulty; remove it, or mark it faulty, before it is added again",
                Quoted(name)
            ),
            Error::InvalidName { what, name, why } => write!(
                f,
                "{what} {} cannot be stored: {why} (1 to 511 bytes without NUL are allowed)",
                Quoted(name)
            ),
            Error::TooLong { name, len } => write!(
                f,
                "error text for device {} has {len} bytes; at most 1048576 are kept, and none are cut off silently",
                Quoted(name)
            ),
            Error::IdentityChanged {
                name,
                new_name,
                device_id,
                new_device_id,
            } => write!(
                f,
                "an update may not change a device's name or id: name {} became {}, device id {device_id} became {new_device_id}",
                Quoted(name),
                Quoted(new_name)
            ),
            Error::IdsExhausted => write!(
                f,
                "no device id is left: 1 to 16777214 are all taken or faulty; remove devices to free theirs"
            ),
            Error::InvalidOption { option, why } => write!(f, "option {option}: {why}"),
            Error::InvalidImport { what } => write!(f, "nothing was imported: {what}"),
            Error::NestedWrite => write!(
                f,
                "the store cannot be written or closed from inside an update's callback; do it after the update has returned"
            ),
            Error::Conflict { name } => write!(
                f,
                "device {} was changed by another process during the update; read it again and retry",
                Quoted(name)
            ),
            Error::Timeout { what, waited } => {
                write!(f, "waited {} ms for {what}, in vain", waited.as_millis())
            }
            Error::Closed => write!(f, "the store is closed"),
            Error::Busy { what } => write!(f, "the store cannot be closed yet: {what}"),
            Error::Forked => write!(
                f,
                "the store was opened before a fork and cannot be used in the child; open it there anew"
            ),
            Error::Lmdb { doing, code, message } => {
                write!(f, "{doing}: LMDB says {message} ({code})")
            }
            Error::NoMemory { what } => write!(f, "out of memory or address space: {what}"),
            Error::MapFull { size, why } => write!(
                f,
                "the memory map of {size} bytes is full and cannot grow: {why}"
            ),
            Error::ReadersFull { slots } => write!(
                f,
                "all {slots} reader slots are in use; close what reads, or open the store with more readers after all have closed it"
            ),
            _ => self.fmt_file(f),
        }
    }
}

impl Error {
    /// The messages about the file itself.
    fn fmt_file(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::ReadOnly { path } => {
                write!(f, "{}: the store was opened read-only", path.display())
            }
            Error::NotEmpty { path } => write!(
                f,
                "{}: the store is not empty; import into one that was just created",
                path.display()
            ),
            Error::AlreadyOpen { path, why } => write!(f, "{}: {why}", path.display()),
            Error::InvalidPath { path, why } => {
                write!(f, "{}: not a usable path: {why}", Quoted(path.as_os_str().as_encoded_bytes()))
            }
            Error::NoSuchFile { path, why } => write!(f, "{}: {why}", path.display()),
            Error::Permission { path, doing } => write!(
                f,
                "{}: no permission for {doing}; the store and its -lock file must be accessible to this user",
                path.display()
            ),
            Error::NotRegularFile { path, kind } => write!(
                f,
                "{}: is a {kind}; a store is a regular file",
                path.display()
            ),
            Error::NotAStore { path, why } => write!(
                f,
                "{}: is not a pool-metadata store: {why}; it was left as it is",
                path.display()
            ),
            Error::BboltFile { path } => write!(
                f,
                "{}: is a bbolt file, as containerd's own metadata store writes; migrate it, or give another path",
                path.display()
            ),
            Error::ForeignLmdb { path } => write!(
                f,
                "{}: is an LMDB file of another program, not a pool-metadata store; give another path",
                path.display()
            ),
            Error::NewerFormat { path, found, known } => write!(
                f,
                "{}: is a store of format {found}; this release knows formats up to {known}: use a newer release",
                path.display()
            ),
            Error::Corrupt { path, what } => {
                if let Some(path) = path {
                    write!(f, "{}: ", path.display())?;
                }
                write!(f, "the store is damaged: {what}; restore it from a backup")
            }
            Error::DiskFull { path } => write!(
                f,
                "{}: the disk or the quota is full; nothing was written: free some space and retry",
                path.display()
            ),
            Error::Io { doing, path, source } => {
                write!(f, "{}: {doing}: {source}", path.display())
            }
            Error::WritesStopped { path } => write!(
                f,
                "{}: a flush failed earlier, so what is on disk is uncertain; the store takes no writes until it is closed and opened again",
                path.display()
            ),
            other => write!(f, "{other:?}"),
        }
    }
}

/// A name in an error message: quoted, escaped to ASCII, and with its middle left out where it is long,
/// so that two names fit into one message.
pub(crate) struct Quoted<'a>(pub &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const KEPT: usize = 40;
        let bytes = self.0;
        if bytes.len() <= 2 * KEPT {
            return write!(f, "\"{}\"", bytes.escape_ascii());
        }
        write!(
            f,
            "\"{}...{}\" ({} bytes)",
            bytes[..KEPT].escape_ascii(),
            bytes[bytes.len() - KEPT..].escape_ascii(),
            bytes.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_keep_both_ends_and_their_length() {
        let mut name = vec![b'm'; 511];
        name[0] = b'a';
        name[510] = 0xff;
        let text = Quoted(&name).to_string();
        assert!(
            text.starts_with("\"am") && text.ends_with("\\xff\" (511 bytes)"),
            "{text}"
        );
        assert!(text.len() < 120 && text.is_ascii());
    }

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
