//! The message of each error: what is wrong, with the name or path concerned, and what to do about
//! it.

use std::fmt;
use std::path::Path;

use crate::error::{Error, Quoted};

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotFound { name } => write!(f, "device {} is not in the store", Quoted(name)),
            Error::NoDeviceWithId { device_id } => write!(f, "no device has id {device_id}"),
            Error::InvalidId { device_id } => write!(
                f,
                "device id {device_id} is out of range; ids are 1 to 16777214"
            ),
            Error::ListedTwice { device_id } => write!(
                f,
                "device id {device_id} is listed twice; a pool has each id once"
            ),
            Error::NothingToCompare => f.write_str(
                "there is nothing to compare the store with: give the devices of the pool, the \
                 names of the snapshots' devices, or both",
            ),
            Error::IdInUse { device_id, name } => write!(
                f,
                "device id {device_id} belongs to device {}; remove the device, which frees \
                 its id",
                Quoted(name)
            ),
            Error::IdNotFaulty { device_id, state } => {
                write!(f, "device id {device_id} is not faulty: it {state}")
            }
            Error::NoSuchIntent { number } => write!(
                f,
                "intent {number} is not in the store: it was finished, or never begun"
            ),
            Error::TooManyIntents { count } => write!(
                f,
                "{count} intents have begun and are not finished; finish those whose change \
                 has ended"
            ),
            Error::OtherPool {
                path,
                found,
                expected,
            } => write!(
                f,
                "{}: the store belongs to the pool {} and not to {}; open that pool's store, \
                 or, if the pool was moved or made anew, give the store its new identity",
                path.display(),
                Quoted(found),
                Quoted(expected)
            ),
            Error::AlreadyExists {
                name,
                device_id,
                state,
            } => write!(
                f,
                "device {} already exists, with id {device_id} and in state {state}; remove \
                 it, or mark it faulty (pmctl mark-faulty), before adding it again",
                Quoted(name)
            ),
            Error::InvalidName { what, name, why } => write!(
                f,
                "{what} {} cannot be stored: {why} (1 to 511 bytes without NUL are allowed)",
                Quoted(name)
            ),
            Error::TooLong { name, len } => write!(
                f,
                "the error text of device {} has {len} bytes; at most 1048576 are allowed",
                Quoted(name)
            ),
            Error::IdentityChanged {
                name,
                new_name,
                device_id,
                new_device_id,
            } => write!(
                f,
                "an update may not change a device's name or id: name {} became {}, device id \
                 {device_id} became {new_device_id}",
                Quoted(name),
                Quoted(new_name)
            ),
            Error::IdsExhausted => f.write_str(
                "no device id is free: 1 to 16777214 are all taken or faulty; remove devices \
                 to free ids",
            ),
            Error::NotEmpty { path } => write!(
                f,
                "{}: the store is not empty; import into one that was just created",
                path.display()
            ),
            Error::InvalidImport { what } => write!(f, "nothing was imported: {what}"),
            Error::InvalidOption { option, why } => write!(f, "option {option}: {why}"),
            Error::NestedWrite => f.write_str(
                "the store cannot be written or closed inside an update's callback; do it \
                 after the update has returned",
            ),
            Error::Conflict { name } => write!(
                f,
                "device {} was changed by another process or thread during the update; read \
                 it again and retry",
                Quoted(name)
            ),
            Error::Timeout { what, waited } => write!(
                f,
                "timed out after {} ms waiting for {what}",
                waited.as_millis()
            ),
            Error::Closed => f.write_str("the store is closed"),
            Error::Busy { what } => write!(f, "the store cannot be closed yet: {what}"),
            Error::Forked => f.write_str(
                "the store was opened before a fork and cannot be used in the child process; \
                 open it again there",
            ),
            Error::ReadOnly { path } => {
                write!(f, "{}: the store was opened read-only", path.display())
            }
            Error::AlreadyOpen { path, why } => write!(f, "{}: {why}", path.display()),
            Error::FileExists { path } => write!(
                f,
                "{}: a file exists already; move it, or use another path",
                path.display()
            ),
            Error::InvalidPath { path, why } => write!(
                f,
                "{}: not a usable path: {why}",
                Quoted(path.as_os_str().as_encoded_bytes())
            ),
            Error::NoSuchFile { path, why } => write!(f, "{}: {why}", path.display()),
            Error::Permission { path, doing, .. } => write!(
                f,
                "{}: no permission for {doing}; the store and its -lock file must be \
                 accessible to this user",
                path.display()
            ),
            Error::ReadOnlyFileSystem { path, doing } => write!(
                f,
                "{}: {doing}: the file system is mounted read-only; mount it for writing, or \
                 open the store read-only",
                path.display()
            ),
            Error::Unsupported {
                path,
                doing,
                what,
                source,
            } => write!(
                f,
                "{}: {doing}: {what} are missing: the file system, the kernel or a sandbox \
                 does not have them ({source}); use a local file system that has",
                path.display()
            ),
            Error::OtherOwner { path, owner } => write!(
                f,
                "{}: the file belongs to user {owner}, and neither to this process's user, \
                 nor to root, nor to the store's owner; if no process of that user has the \
                 store open, remove the file",
                path.display()
            ),
            Error::NotRegularFile { path, kind } => write!(
                f,
                "{}: is a {kind}; a store is a regular file",
                path.display()
            ),
            Error::NotAStore { path, why } => write!(
                f,
                "{}: is not a pool-metadata store: {why}; the file was not changed: move it, \
                 or use another path",
                path.display()
            ),
            Error::BboltFile { path } => write!(
                f,
                "{}: is a bbolt file, as containerd's own metadata store writes; migrate it, \
                 or use another path",
                path.display()
            ),
            Error::ForeignLmdb { path } => write!(
                f,
                "{}: is an LMDB file of another program, not a pool-metadata store; use \
                 another path",
                path.display()
            ),
            Error::NewerFormat { path, found, known } => write!(
                f,
                "{}: is a store of format {found}; this release knows formats up to {known}: \
                 use a newer release",
                path.display()
            ),
            Error::Corrupt { path, what } => write!(
                f,
                "{}the store is damaged: {what}; restore it from a backup, or see what pmctl \
                 check says",
                prefix(path)
            ),
            Error::Unfinished { path } => write!(
                f,
                "{}: a power cut has left its newest commit half written; open it once as a \
                 store, which undoes that commit",
                path.display()
            ),
            Error::DiskFull { path, .. } => write!(
                f,
                "{}: the disk or the quota is full; nothing was written: free some space and \
                 retry",
                path.display()
            ),
            Error::MapFull { size, why } => write!(
                f,
                "the memory map of {size} bytes is full and cannot grow: {why}"
            ),
            Error::TooManyChanges { why } => write!(
                f,
                "too many changes for one commit: {why}; nothing was written: split the list"
            ),
            Error::ReadersFull { slots } => write!(
                f,
                "all {slots} slots of the reader table are in use; end walks that are open, \
                 or close the store in every process and open it with more readers"
            ),
            Error::Io {
                doing,
                path,
                source,
            } => write!(f, "{}: {doing}: {source}", path.display()),
            Error::WritesStopped { path } => write!(
                f,
                "{}: fsyncs failed again and again, or the file system stopped taking writes; \
                 the store takes no writes until it is closed and opened again, once the file \
                 system is sound",
                path.display()
            ),
            Error::NoMemory { what } => write!(f, "out of memory or address space: {what}"),
            Error::Internal { what } => write!(
                f,
                "internal error: {what}; this is a bug of pool-metadata {}, please report it \
                 with this message and what the program was doing",
                env!("CARGO_PKG_VERSION")
            ),
            Error::OtherLmdb { path, why } => write!(f, "{}: {why}", path.display()),
            Error::PidInUse { path, why } => write!(f, "{}: {why}", path.display()),
            Error::LocksLost { path, pid } => write!(
                f,
                "{}: process {pid} has the store open, but has lost LMDB's locks on the -lock \
                 file: code in it, such as another copy of LMDB, has opened that file and \
                 closed it; close the store there, or end that process, and do not open the \
                 -lock file",
                path.display()
            ),
            Error::Pinned {
                path,
                pid,
                commits_behind,
                age,
                limit,
                ..
            } => write!(
                f,
                "{}: running reads keep more than {limit} bytes of freed pages from being \
                 used again, the limit (max_pinned_growth); the oldest is process {pid}'s, \
                 {commits_behind} commits behind{}; nothing was written: end that read, or \
                 that process, and retry",
                path.display(),
                age.map_or_else(String::new, |age| format!(", open for {} s", age.as_secs()))
            ),
            Error::Lmdb {
                doing,
                code,
                message,
            } => write!(f, "{doing}: LMDB reports {message} ({code})"),
        }
    }
}

/// A path at the beginning of a message, if it is known.
fn prefix(path: &Option<Box<Path>>) -> String {
    path.as_ref()
        .map(|path| format!("{}: ", path.display()))
        .unwrap_or_default()
}
