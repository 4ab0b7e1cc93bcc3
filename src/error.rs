//! All errors, as one enum: a variant for each that a caller would treat differently. `message.rs`
//! has their messages.

mod kinds;
mod message;
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
    NotFound {
        /// The name.
        name: Box<[u8]>,
    },
    /// The store has no device with that id.
    NoDeviceWithId {
        /// The device id.
        device_id: u32,
    },
    /// The number is not that of a device id.
    InvalidId {
        /// The number.
        device_id: u32,
    },
    /// A list of a pool's devices has an id twice.
    ListedTwice {
        /// The device id.
        device_id: u32,
    },
    /// Neither the pool's devices nor the snapshots are given to compare the store with.
    NothingToCompare,
    /// The device id belongs to a device, so it cannot be freed.
    IdInUse {
        /// The device id.
        device_id: u32,
        /// Name of the device.
        name: Box<[u8]>,
    },
    /// The device id is not faulty, so there is nothing to free.
    IdNotFaulty {
        /// The device id.
        device_id: u32,
        /// What it is instead.
        state: &'static str,
    },
    /// The store has no intent of that number.
    NoSuchIntent {
        /// The number.
        number: u64,
    },
    /// More intents are open than a store keeps.
    TooManyIntents {
        /// How many are open.
        count: u32,
    },
    /// The store belongs to another pool than the one that was given.
    OtherPool {
        /// Path of the store.
        path: Box<Path>,
        /// The identity that the store has.
        found: Box<[u8]>,
        /// The identity that was given.
        expected: Box<[u8]>,
    },
    /// The store has a device of that name that is not faulty.
    AlreadyExists {
        /// The name.
        name: Box<[u8]>,
        /// The id that it has.
        device_id: u32,
        /// The name of the state that it is in.
        state: &'static str,
    },
    /// The name is not a valid device name.
    InvalidName {
        /// Whether it is the name of the device or of its parent.
        what: &'static str,
        /// The name.
        name: Box<[u8]>,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The error text of a device is longer than [`MAX_ERROR_LEN`](crate::limits::MAX_ERROR_LEN).
    TooLong {
        /// The device's name.
        name: Box<[u8]>,
        /// Length of the text in bytes.
        len: usize,
    },
    /// An update changed the name or the device id of its device.
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
    IdsExhausted,
    /// An import fills an empty store only, and this one is not empty.
    NotEmpty {
        /// Path of the store.
        path: Box<Path>,
    },
    /// The devices and ids to import are not those of a consistent pool.
    InvalidImport {
        /// What is inconsistent.
        what: String,
    },
    /// An option of [`OpenOptions`](crate::OpenOptions) is out of range.
    InvalidOption {
        /// Name of the option.
        option: &'static str,
        /// The values that it takes.
        why: &'static str,
    },
    /// A write to the store was called inside an update's callback, on the same thread.
    NestedWrite,
    /// The device changed during an update: another process wrote it, or, for a list of changes,
    /// another process or thread did since the record was read.
    Conflict {
        /// The device's name.
        name: Box<[u8]>,
    },
    /// A wait for another thread or process timed out after the lock wait.
    Timeout {
        /// What the call waited for.
        what: String,
        /// The lock wait.
        waited: Duration,
    },
    /// The store has been closed.
    Closed,
    /// The store cannot be closed now: other calls are using it, or another process keeps what was
    /// deferred from being flushed.
    Busy {
        /// Which calls, or what.
        what: &'static str,
    },
    /// The store was opened before a `fork`, and this is the child process.
    Forked,
    /// The store was opened read-only and cannot be written.
    ReadOnly {
        /// Path of the store.
        path: Box<Path>,
    },
    /// The file is open already: in this process, or in another one by another path, or in another
    /// one while it has to be upgraded or the disk has lost pages of its newest commit.
    AlreadyOpen {
        /// The path that was given.
        path: Box<Path>,
        /// Where it is open, and what to do.
        why: &'static str,
    },
    /// There is something at the path of a file that would be created.
    FileExists {
        /// The path.
        path: Box<Path>,
    },
    /// The path cannot be that of a store.
    InvalidPath {
        /// The path that was given.
        path: Box<Path>,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The file does not exist and may not be created, or its directory does not exist.
    NoSuchFile {
        /// The path.
        path: Box<Path>,
        /// What is missing.
        why: &'static str,
    },
    /// The system denies this process access to the file.
    Permission {
        /// The path.
        path: Box<Path>,
        /// The operation that failed.
        doing: &'static str,
        /// The system's error number.
        errno: i32,
    },
    /// The file system is mounted read-only.
    ReadOnlyFileSystem {
        /// The path.
        path: Box<Path>,
        /// The operation that failed.
        doing: &'static str,
    },
    /// The file system, the kernel or a sandbox has not what a store needs.
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
    OtherOwner {
        /// The file.
        path: Box<Path>,
        /// The number of the user who owns it.
        owner: u32,
    },
    /// The path is that of a directory, a socket, a device or the like.
    NotRegularFile {
        /// The path.
        path: Box<Path>,
        /// What it is.
        kind: &'static str,
    },
    /// The file is not a store.
    NotAStore {
        /// The path.
        path: Box<Path>,
        /// What the file has instead.
        why: String,
    },
    /// The file is a bbolt file, such as containerd's own store.
    BboltFile {
        /// The path.
        path: Box<Path>,
    },
    /// The file is an LMDB file of another program.
    ForeignLmdb {
        /// The path.
        path: Box<Path>,
    },
    /// The file is a store of a newer format than this release knows.
    NewerFormat {
        /// The path.
        path: Box<Path>,
        /// Format version of the file.
        found: u16,
        /// Newest format version that is known.
        known: u16,
    },
    /// The file is damaged.
    Corrupt {
        /// Path of the store, once known.
        path: Option<Box<Path>>,
        /// What is damaged, and how that shows.
        what: String,
    },
    /// A power cut has left the newest commit of a backup half written, as it does in a copy of a
    /// store's file. Opened for writing, a store undoes such a commit.
    Unfinished {
        /// Path of the store.
        path: Box<Path>,
    },
    /// The disk is full, or the user's quota is used up.
    DiskFull {
        /// Path of the store.
        path: Box<Path>,
        /// The system's error number.
        errno: i32,
    },
    /// The memory map is full and cannot grow.
    MapFull {
        /// Size of the map in bytes.
        size: u64,
        /// Why it cannot grow.
        why: String,
    },
    /// A list of changes is more than one commit can take.
    TooManyChanges {
        /// Which limit it is beyond.
        why: &'static str,
    },
    /// All slots of LMDB's reader table are in use.
    ReadersFull {
        /// Number of slots.
        slots: u32,
    },
    /// The system reported an error.
    Io {
        /// The operation that failed.
        doing: &'static str,
        /// The file concerned.
        path: Box<Path>,
        /// The system's error.
        source: SystemError,
    },
    /// Flushes failed again and again, or the file system takes no more writes: the store takes
    /// none until it is opened again.
    WritesStopped {
        /// Path of the store.
        path: Box<Path>,
    },
    /// Memory or address space is exhausted.
    NoMemory {
        /// What it was needed for.
        what: &'static str,
    },
    /// The library is in an impossible state: a bug that should be reported.
    ///
    /// Whether a write that fails with it was made is unknown: read the store to find out.
    Internal {
        /// Which state it is.
        what: &'static str,
    },
    /// Another release of LMDB than the one that this library was built with is in this process, or
    /// has the store open.
    OtherLmdb {
        /// Path of the store.
        path: Box<Path>,
        /// Where it is, what to do, and which release is the right one.
        why: String,
    },
    /// A process of this one's id has the store open: this process itself, through another copy of
    /// this library, or a process in another PID namespace.
    PidInUse {
        /// Path of the store.
        path: Box<Path>,
        /// Which of the two it is, and what to do.
        why: &'static str,
    },
    /// A process has the store open and has lost LMDB's locks, so that what it reads would be
    /// written over.
    LocksLost {
        /// Path of the store.
        path: Box<Path>,
        /// Id of the process.
        pid: u32,
    },
    /// Running reads keep so many freed pages from being used again that the file would grow beyond
    /// [`max_pinned_growth`](crate::OpenOptions::max_pinned_growth).
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
    Lmdb {
        /// The operation that failed.
        doing: &'static str,
        /// LMDB's code.
        code: i32,
        /// LMDB's description of it.
        message: String,
    },
}
