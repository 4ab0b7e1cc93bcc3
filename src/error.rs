//! All errors, as one enum: a variant for each that a caller would treat differently, with its
//! message.
//!
//! A message says what is wrong, with the name or path concerned, and what to do about it.

mod kinds;
mod missing;
mod quoted;
mod system;

use std::path::Path;
use std::time::Duration;

pub(crate) use missing::Missing;
pub(crate) use quoted::{kept, Quoted};
pub use system::SystemError;

/// The result of an operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an operation was refused or failed. Nothing was written when one is returned, except that
/// [`Internal`](Error::Internal) leaves that open.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store has no device of that name.
    #[error("device {} is not in the store", Quoted(.name))]
    NotFound {
        /// The name.
        name: Box<[u8]>,
    },
    /// The store has no device with that id.
    #[error("no device has id {device_id}")]
    NoDeviceWithId {
        /// The device id.
        device_id: u32,
    },
    /// The number is not that of a device id.
    #[error("device id {device_id} is out of range; ids are 1 to 16777214")]
    InvalidId {
        /// The number.
        device_id: u32,
    },
    /// A list of a pool's devices has an id twice.
    #[error("device id {device_id} is listed twice; a pool has each id once")]
    ListedTwice {
        /// The device id.
        device_id: u32,
    },
    /// The device id belongs to a device, so it cannot be freed.
    #[error(
        "device id {device_id} belongs to device {}; remove the device, which frees its id",
        Quoted(.name)
    )]
    IdInUse {
        /// The device id.
        device_id: u32,
        /// Name of the device.
        name: Box<[u8]>,
    },
    /// The device id is not faulty, so there is nothing to free.
    #[error("device id {device_id} is not faulty: it {state}")]
    IdNotFaulty {
        /// The device id.
        device_id: u32,
        /// What it is instead.
        state: &'static str,
    },
    /// The store has no intent of that number.
    #[error("intent {number} is not in the store: it was finished, or never begun")]
    NoSuchIntent {
        /// The number.
        number: u64,
    },
    /// More intents are open than a store keeps.
    #[error(
        "{count} intents have begun and are not finished; finish those whose change has ended"
    )]
    TooManyIntents {
        /// How many are open.
        count: u32,
    },
    /// The store belongs to another pool than the one that was given.
    #[error(
        "{}: the store belongs to the pool {} and not to {}; open that pool's store, or, if the \
         pool was moved or made anew, give the store its new identity",
        .path.display(), Quoted(.found), Quoted(.expected)
    )]
    OtherPool {
        /// Path of the store.
        path: Box<Path>,
        /// The identity that the store has.
        found: Box<[u8]>,
        /// The identity that was given.
        expected: Box<[u8]>,
    },
    /// The store has a device of that name that is not faulty.
    #[error(
        "device {} already exists, with id {device_id} and in state {state}; \
         remove it, or mark it faulty (pmctl mark-faulty), before adding it again",
        Quoted(.name)
    )]
    AlreadyExists {
        /// The name.
        name: Box<[u8]>,
        /// The id that it has.
        device_id: u32,
        /// The name of the state that it is in.
        state: &'static str,
    },
    /// The name is not a valid device name.
    #[error(
        "{what} {} cannot be stored: {why} (1 to 511 bytes without NUL are allowed)",
        Quoted(.name)
    )]
    InvalidName {
        /// Whether it is the name of the device or of its parent.
        what: &'static str,
        /// The name.
        name: Box<[u8]>,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The error text of a device is longer than [`MAX_ERROR_LEN`](crate::limits::MAX_ERROR_LEN).
    #[error(
        "the error text of device {} has {len} bytes; at most 1048576 are allowed",
        Quoted(.name)
    )]
    TooLong {
        /// The device's name.
        name: Box<[u8]>,
        /// Length of the text in bytes.
        len: usize,
    },
    /// An update changed the name or the device id of its device.
    #[error(
        "an update may not change a device's name or id: \
         name {} became {}, device id {device_id} became {new_device_id}",
        Quoted(.name), Quoted(.new_name)
    )]
    IdentityChanged {
        /// The device's name before the update.
        name: Box<[u8]>,
        /// Its name after the update.
        new_name: Box<[u8]>,
        /// Its device id before the update.
        device_id: u32,
        /// Its device id after the update.
        new_device_id: u32,
    },
    /// No device id is free: all are taken or faulty.
    #[error(
        "no device id is free: 1 to 16777214 are all taken or faulty; remove devices to free ids"
    )]
    IdsExhausted,
    /// An import fills an empty store only, and this one is not empty.
    #[error(
        "{}: the store is not empty; import into one that was just created",
        .path.display()
    )]
    NotEmpty {
        /// Path of the store.
        path: Box<Path>,
    },
    /// The devices and ids to import are not those of a consistent pool.
    #[error("nothing was imported: {what}")]
    InvalidImport {
        /// What is inconsistent.
        what: String,
    },
    /// An option of [`OpenOptions`](crate::OpenOptions) is out of range.
    #[error("option {option}: {why}")]
    InvalidOption {
        /// Name of the option.
        option: &'static str,
        /// The values that it takes.
        why: &'static str,
    },
    /// A write to the store was called inside an update's callback, on the same thread.
    #[error(
        "the store cannot be written or closed inside an update's callback; \
         do it after the update has returned"
    )]
    NestedWrite,
    /// The device changed during an update: another process wrote it, or, for a list of changes,
    /// another process or thread did since the record was read.
    #[error(
        "device {} was changed by another process or thread during the update; \
         read it again and retry",
        Quoted(.name)
    )]
    Conflict {
        /// The device's name.
        name: Box<[u8]>,
    },
    /// A wait for another thread or process timed out after the lock wait.
    #[error("timed out after {} ms waiting for {what}", .waited.as_millis())]
    Timeout {
        /// What the call waited for.
        what: String,
        /// The lock wait.
        waited: Duration,
    },
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
    /// The store cannot be closed now, because other calls are using it.
    #[error("the store cannot be closed yet: {what}")]
    Busy {
        /// Which calls.
        what: &'static str,
    },
    /// The store was opened before a `fork`, and this is the child process.
    #[error(
        "the store was opened before a fork and cannot be used in the child process; \
         open it again there"
    )]
    Forked,
    /// The store was opened read-only and cannot be written.
    #[error("{}: the store was opened read-only", .path.display())]
    ReadOnly {
        /// Path of the store.
        path: Box<Path>,
    },
    /// The file is open already: in this process, or in another one by another path.
    #[error("{}: {why}", .path.display())]
    AlreadyOpen {
        /// The path that was given.
        path: Box<Path>,
        /// Where it is open, and what to do.
        why: &'static str,
    },
    /// There is something at the path of a file that would be created.
    #[error("{}: a file exists already; move it, or use another path", .path.display())]
    FileExists {
        /// The path.
        path: Box<Path>,
    },
    /// The path cannot be that of a store.
    #[error(
        "{}: not a usable path: {why}",
        Quoted(.path.as_os_str().as_encoded_bytes())
    )]
    InvalidPath {
        /// The path that was given.
        path: Box<Path>,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The file does not exist and may not be created, or its directory does not exist.
    #[error("{}: {why}", .path.display())]
    NoSuchFile {
        /// The path.
        path: Box<Path>,
        /// What is missing.
        why: &'static str,
    },
    /// The system denies this process access to the file.
    #[error(
        "{}: no permission for {doing}; \
         the store and its -lock file must be accessible to this user",
        .path.display()
    )]
    Permission {
        /// The path.
        path: Box<Path>,
        /// The operation that failed.
        doing: &'static str,
        /// The system's error number.
        errno: i32,
    },
    /// The file system is mounted read-only.
    #[error(
        "{}: {doing}: the file system is mounted read-only; mount it for writing, or open the \
         store read-only",
        .path.display()
    )]
    ReadOnlyFileSystem {
        /// The path.
        path: Box<Path>,
        /// The operation that failed.
        doing: &'static str,
    },
    /// The file system, the kernel or a sandbox has not what a store needs.
    #[error(
        "{}: {doing}: {what} are missing: the file system, the kernel or a sandbox does not have \
         them ({source}); use a local file system that has",
        .path.display()
    )]
    Unsupported {
        /// The path.
        path: Box<Path>,
        /// The operation that failed.
        doing: &'static str,
        /// What is missing.
        what: &'static str,
        /// The system's error.
        source: SystemError,
    },
    /// A file that this library would write belongs to another user, who could change it at any
    /// time.
    #[error(
        "{}: the file belongs to user {owner}, and neither to this process's user, nor to root, \
         nor to the store's owner; if no process of that user has the store open, remove the file",
        .path.display()
    )]
    OtherOwner {
        /// The file.
        path: Box<Path>,
        /// The number of the user who owns it.
        owner: u32,
    },
    /// The path is that of a directory, a socket, a device or the like.
    #[error("{}: is a {kind}; a store is a regular file", .path.display())]
    NotRegularFile {
        /// The path.
        path: Box<Path>,
        /// What it is.
        kind: &'static str,
    },
    /// The file is not a store.
    #[error(
        "{}: is not a pool-metadata store: {why}; \
         the file was not changed: move it, or use another path",
        .path.display()
    )]
    NotAStore {
        /// The path.
        path: Box<Path>,
        /// What the file has instead.
        why: String,
    },
    /// The file is a bbolt file, such as containerd's own store.
    #[error(
        "{}: is a bbolt file, as containerd's own metadata store writes; \
         migrate it, or use another path",
        .path.display()
    )]
    BboltFile {
        /// The path.
        path: Box<Path>,
    },
    /// The file is an LMDB file of another program.
    #[error(
        "{}: is an LMDB file of another program, not a pool-metadata store; use another path",
        .path.display()
    )]
    ForeignLmdb {
        /// The path.
        path: Box<Path>,
    },
    /// The file is a store of a newer format than this release knows.
    #[error(
        "{}: is a store of format {found}; \
         this release knows formats up to {known}: use a newer release",
        .path.display()
    )]
    NewerFormat {
        /// The path.
        path: Box<Path>,
        /// Format version of the file.
        found: u16,
        /// Newest format version that is known.
        known: u16,
    },
    /// The file is damaged.
    #[error(
        "{}the store is damaged: {what}; restore it from a backup, or see what pmctl check says",
        prefix(.path)
    )]
    Corrupt {
        /// Path of the store, once known.
        path: Option<Box<Path>>,
        /// What is damaged, and how that shows.
        what: String,
    },
    /// The disk is full, or the user's quota is used up.
    #[error(
        "{}: the disk or the quota is full; nothing was written: free some space and retry",
        .path.display()
    )]
    DiskFull {
        /// Path of the store.
        path: Box<Path>,
        /// The system's error number.
        errno: i32,
    },
    /// The memory map is full and cannot grow.
    #[error("the memory map of {size} bytes is full and cannot grow: {why}")]
    MapFull {
        /// Size of the map in bytes.
        size: u64,
        /// Why it cannot grow.
        why: String,
    },
    /// A list of changes is more than one commit can take.
    #[error("too many changes for one commit: {why}; nothing was written: split the list")]
    TooManyChanges {
        /// Which limit it is beyond.
        why: &'static str,
    },
    /// All slots of LMDB's reader table are in use.
    #[error(
        "all {slots} slots of the reader table are in use; end walks that are open, \
         or close the store in every process and open it with more readers"
    )]
    ReadersFull {
        /// Number of slots.
        slots: u32,
    },
    /// The system reported an error.
    #[error("{}: {doing}: {source}", .path.display())]
    Io {
        /// The operation that failed.
        doing: &'static str,
        /// The file concerned.
        path: Box<Path>,
        /// The system's error.
        source: SystemError,
    },
    /// An fsync failed earlier, or the file system takes no more writes: the store takes none until
    /// it is opened again.
    #[error(
        "{}: an fsync failed earlier, or the file system stopped taking writes, so it is unknown \
         what the disk has; the store takes no writes until it is closed and opened again, once \
         the file system is sound",
        .path.display()
    )]
    WritesStopped {
        /// Path of the store.
        path: Box<Path>,
    },
    /// Memory or address space is exhausted.
    #[error("out of memory or address space: {what}")]
    NoMemory {
        /// What it was needed for.
        what: &'static str,
    },
    /// The library is in an impossible state: a bug that should be reported.
    ///
    /// Whether a write that fails with it was made is unknown: read the store to find out.
    #[error(
        "internal error: {what}; this is a bug of pool-metadata {}, \
         please report it with this message and what the program was doing",
        env!("CARGO_PKG_VERSION")
    )]
    Internal {
        /// Which state it is.
        what: &'static str,
    },
    /// Another release of LMDB than the one that this library was built with is in this process, or
    /// has the store open.
    #[error("{}: {why}", .path.display())]
    OtherLmdb {
        /// Path of the store.
        path: Box<Path>,
        /// Where it is, what to do, and which release is the right one.
        why: String,
    },
    /// A process of this one's id has the store open: this process itself, through another copy of
    /// this library, or a process in another PID namespace.
    #[error("{}: {why}", .path.display())]
    PidInUse {
        /// Path of the store.
        path: Box<Path>,
        /// Which of the two it is, and what to do.
        why: &'static str,
    },
    /// A process has the store open and has lost LMDB's locks, so that what it reads would be
    /// written over.
    #[error(
        "{}: process {pid} has the store open, but has lost LMDB's locks on the -lock file: code \
         in it, such as another copy of LMDB, has opened that file and closed it; close the store \
         there, or end that process, and do not open the -lock file",
        .path.display()
    )]
    LocksLost {
        /// Path of the store.
        path: Box<Path>,
        /// Id of the process.
        pid: u32,
    },
    /// Running reads keep so many freed pages from being used again that the file would grow beyond
    /// [`max_pinned_growth`](crate::OpenOptions::max_pinned_growth).
    #[error(
        "{}: running reads keep more than {limit} bytes of freed pages from being used again, the \
         limit (max_pinned_growth); the oldest is process {pid}'s, {commits_behind} commits \
         behind{}; nothing was written: end that read, or that process, and retry",
        .path.display(),
        .age.map_or_else(String::new, |age| format!(", open for {} s", age.as_secs()))
    )]
    Pinned {
        /// Path of the store.
        path: Box<Path>,
        /// Id of the process with the oldest read.
        pid: u32,
        /// Commits made since the one that this read sees.
        commits_behind: u64,
        /// How long it has been running, if it is a walk, verification or backup of this process.
        age: Option<Duration>,
        /// Bytes of the freed pages that were counted.
        held: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// LMDB reported an error that the library does not expect.
    #[error("{doing}: LMDB reports {message} ({code})")]
    Lmdb {
        /// The operation that failed.
        doing: &'static str,
        /// LMDB's code.
        code: i32,
        /// LMDB's description of it.
        message: String,
    },
}

/// A path at the beginning of a message, if it is known.
fn prefix(path: &Option<Box<Path>>) -> String {
    path.as_ref()
        .map(|path| format!("{}: ", path.display()))
        .unwrap_or_default()
}
