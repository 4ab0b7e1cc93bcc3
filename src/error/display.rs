//! What each error says.

use std::fmt;

use crate::error::quoted::Quoted;
use crate::error::Error;

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
                "error text for device {} has {len} bytes; a longer one than 1048576 is refused, and not cut off",
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
                "device {} was changed by somebody else during the update; read it again and retry",
                Quoted(name)
            ),
            Error::Timeout { what, waited } => {
                write!(
                    f,
                    "timed out after {} ms waiting for {what}",
                    waited.as_millis()
                )
            }
            Error::Closed => write!(f, "the store is closed"),
            Error::Busy { what } => write!(f, "the store cannot be closed yet: {what}"),
            Error::Forked => write!(
                f,
                "the store was opened before a fork and cannot be used in the child; open it there anew"
            ),
            Error::Internal { what } => write!(
                f,
                "internal error: {what}; this is a bug of pool-metadata {}, please report it with this message and what the program was doing",
                env!("CARGO_PKG_VERSION")
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
            Error::FileExists { path } => write!(
                f,
                "{}: something is there already; move it, or give another path",
                path.display()
            ),
            Error::InvalidPath { path, why } => {
                write!(f, "{}: not a usable path: {why}", Quoted(path.as_os_str().as_encoded_bytes()))
            }
            Error::NoSuchFile { path, why } => write!(f, "{}: {why}", path.display()),
            Error::Permission { path, doing, .. } => write!(
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
                "{}: is not a pool-metadata store: {why}; it was left as it is: move it, or give another path",
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
            Error::DiskFull { path, .. } => write!(
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
