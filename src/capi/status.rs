//! Status codes, their names, and what a failed call reports.

use std::ffi::{c_char, CStr};

use crate::device::DeviceState;
use crate::error::Error;

/// The call succeeded.
pub const PM_OK: i32 = 0;
/// The store has no device of that name or id, or no intent of that number.
pub const PM_ERR_NOT_FOUND: i32 = 1;
/// The store has a device of that name that is not faulty. Where that jams a snapshotter,
/// docs/operators.md says what to type.
pub const PM_ERR_ALREADY_EXISTS: i32 = 2;
/// A required pointer is NULL, or a number or flag is out of range.
pub const PM_ERR_INVALID_ARGUMENT: i32 = 3;
/// The name is not a valid device name: it is empty, longer than 511 bytes, or has a NUL byte.
pub const PM_ERR_INVALID_NAME: i32 = 4;
/// The device state is not one of PM_STATE_*.
pub const PM_ERR_INVALID_STATE: i32 = 5;
/// The error text of a device is longer than PM_MAX_ERROR_LEN.
pub const PM_ERR_TOO_LONG: i32 = 6;
/// An update changed the name or the device id of its device.
pub const PM_ERR_IDENTITY_CHANGED: i32 = 7;
/// No device id is free: all are taken or faulty.
pub const PM_ERR_IDS_EXHAUSTED: i32 = 8;
/// A callback returned a value other than 0, which is in pm_error.callback_code. The library never
/// returns this code for another reason.
pub const PM_ERR_CALLBACK: i32 = 9;
/// A write to the store, or closing it, was called inside an update's callback.
pub const PM_ERR_NESTED_WRITE: i32 = 10;
/// The device changed during an update: another process wrote it, or, for PM_CHANGE_UPDATE, another
/// process or thread did since the record was read. Read it again and retry.
pub const PM_ERR_CONFLICT: i32 = 11;
/// A wait for another thread or process timed out after the lock wait.
pub const PM_ERR_TIMEOUT: i32 = 12;
/// The store has been closed.
pub const PM_ERR_CLOSED: i32 = 13;
/// Other calls are using the store or the walk.
pub const PM_ERR_BUSY: i32 = 14;
/// The store was opened before a fork, and this is the child process.
pub const PM_ERR_FORKED: i32 = 15;
/// The store was opened read-only and cannot be written.
pub const PM_ERR_READ_ONLY: i32 = 16;
/// The file is open already: in this process, or in another one by another path, or in another one
/// while it has to be upgraded or the disk has lost pages of its newest commit.
pub const PM_ERR_ALREADY_OPEN: i32 = 17;
/// The caller's buffer is too small for the record; the call returns the size needed.
pub const PM_ERR_BUFFER_TOO_SMALL: i32 = 18;
/// The struct_size of a struct is too small, or it is larger than this library knows and a field
/// that the library does not know is set.
pub const PM_ERR_STRUCT_SIZE: i32 = 19;
/// The path cannot be that of a store.
pub const PM_ERR_INVALID_PATH: i32 = 20;
/// The file does not exist and may not be created, or its directory does not exist.
pub const PM_ERR_NO_SUCH_FILE: i32 = 21;
/// The system denies this process access to the file, or the file belongs to another user.
pub const PM_ERR_PERMISSION: i32 = 22;
/// The path is that of a directory, a socket, a device or the like.
pub const PM_ERR_NOT_REGULAR_FILE: i32 = 23;
/// The file is not a store.
pub const PM_ERR_NOT_A_STORE: i32 = 24;
/// The file is a bbolt file, such as containerd's own store.
pub const PM_ERR_BBOLT_FILE: i32 = 25;
/// The file is an LMDB file of another program.
pub const PM_ERR_FOREIGN_LMDB: i32 = 26;
/// The file is a store of a newer format than this library knows.
pub const PM_ERR_NEWER_FORMAT: i32 = 27;
/// The file is damaged: docs/operators.md says what to type.
pub const PM_ERR_CORRUPT: i32 = 28;
/// The disk is full, or the user's quota is used up.
pub const PM_ERR_DISK_FULL: i32 = 29;
/// The memory map is full and cannot grow.
pub const PM_ERR_MAP_FULL: i32 = 30;
/// All slots of LMDB's reader table are in use.
pub const PM_ERR_READERS_FULL: i32 = 31;
/// The system reported an error; its number is in pm_error.os_error.
pub const PM_ERR_IO: i32 = 32;
/// Flushes failed again and again, or the file system takes no more writes: the store takes none
/// until it is closed and opened again.
pub const PM_ERR_WRITES_STOPPED: i32 = 33;
/// Memory or address space is exhausted.
pub const PM_ERR_NO_MEMORY: i32 = 34;
/// A bug of the library, or an error of LMDB that it does not expect. After a call that writes,
/// read the store to learn whether the write was made.
pub const PM_ERR_INTERNAL: i32 = 35;
/// pm_import fills an empty store only, and this one is not empty.
pub const PM_ERR_NOT_EMPTY: i32 = 36;
/// There is something at the path of a file that would be created.
pub const PM_ERR_FILE_EXISTS: i32 = 37;
/// A list of changes is more than one commit can take: split it.
pub const PM_ERR_TOO_MANY_CHANGES: i32 = 38;
/// Another release of LMDB than the one that this library was built with is linked into this
/// process, or a program has the store open that uses it or was built for another C library.
pub const PM_ERR_OTHER_LMDB: i32 = 39;
/// The file system is mounted read-only: mount it for writing, or open the store read-only.
pub const PM_ERR_READ_ONLY_FS: i32 = 40;
/// The file system, the kernel or a sandbox lacks what a store needs, such as locks of open file
/// descriptions; the message says what. Use another file system.
pub const PM_ERR_UNSUPPORTED: i32 = 41;
/// A process with the same process id as this one has the store open: this process itself, through
/// another copy of this library, or a process in another PID namespace.
pub const PM_ERR_PID_IN_USE: i32 = 42;
/// A process that has the store open has lost LMDB's locks on the -lock file, because code in it
/// has opened and closed that file. The message has its process id.
pub const PM_ERR_LOCKS_LOST: i32 = 43;
/// The device id belongs to a device, so it cannot be freed: remove the device.
pub const PM_ERR_ID_IN_USE: i32 = 44;
/// The device id is not faulty: it is free, or was never assigned.
pub const PM_ERR_ID_NOT_FAULTY: i32 = 45;
/// The store belongs to another pool than the one that pm_options.identity names.
pub const PM_ERR_OTHER_POOL: i32 = 46;
/// PM_MAX_INTENTS intents have begun and are not finished.
pub const PM_ERR_TOO_MANY_INTENTS: i32 = 47;
/// Running reads keep more freed pages from being used again than pm_options.max_pinned_growth
/// allows, and the file would have to grow. Nothing was written; the message has the process id of
/// the oldest read.
pub const PM_ERR_PINNED: i32 = 48;
/// A power cut has left the newest commit of a backup half written, as it does in a copy of a
/// store's file: open that once as a store for writing, which undoes the commit.
pub const PM_ERR_UNFINISHED: i32 = 49;

/// The table of the codes: for each its name, and the errors of the core that it stands for.
macro_rules! codes {
    ($($name:ident: $($variant:ident)*;)*) => {
        const NAMES: &[(i32, &CStr)] = &[$(
            ($name, match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                Ok(name) => name,
                Err(_) => c"",
            }),
        )*];

        fn code_of(error: &Error) -> i32 {
            match error {
                $($(Error::$variant { .. } => $name,)*)*
            }
        }
    };
}

codes! {
    PM_OK: ;
    PM_ERR_NOT_FOUND: NotFound NoDeviceWithId NoSuchIntent;
    PM_ERR_ALREADY_EXISTS: AlreadyExists;
    PM_ERR_INVALID_ARGUMENT: InvalidOption InvalidImport InvalidId ListedTwice
        NothingToCompare;
    PM_ERR_INVALID_NAME: InvalidName;
    PM_ERR_INVALID_STATE: ;
    PM_ERR_TOO_LONG: TooLong;
    PM_ERR_IDENTITY_CHANGED: IdentityChanged;
    PM_ERR_IDS_EXHAUSTED: IdsExhausted;
    PM_ERR_CALLBACK: ;
    PM_ERR_NESTED_WRITE: NestedWrite;
    PM_ERR_CONFLICT: Conflict;
    PM_ERR_TIMEOUT: Timeout;
    PM_ERR_CLOSED: Closed;
    PM_ERR_BUSY: Busy;
    PM_ERR_FORKED: Forked;
    PM_ERR_READ_ONLY: ReadOnly;
    PM_ERR_ALREADY_OPEN: AlreadyOpen;
    PM_ERR_BUFFER_TOO_SMALL: ;
    PM_ERR_STRUCT_SIZE: ;
    PM_ERR_INVALID_PATH: InvalidPath;
    PM_ERR_NO_SUCH_FILE: NoSuchFile;
    PM_ERR_PERMISSION: Permission OtherOwner;
    PM_ERR_NOT_REGULAR_FILE: NotRegularFile;
    PM_ERR_NOT_A_STORE: NotAStore;
    PM_ERR_BBOLT_FILE: BboltFile;
    PM_ERR_FOREIGN_LMDB: ForeignLmdb;
    PM_ERR_NEWER_FORMAT: NewerFormat;
    PM_ERR_CORRUPT: Corrupt;
    PM_ERR_DISK_FULL: DiskFull;
    PM_ERR_MAP_FULL: MapFull;
    PM_ERR_READERS_FULL: ReadersFull;
    PM_ERR_IO: Io;
    PM_ERR_WRITES_STOPPED: WritesStopped;
    PM_ERR_NO_MEMORY: NoMemory;
    PM_ERR_INTERNAL: Internal Lmdb;
    PM_ERR_NOT_EMPTY: NotEmpty;
    PM_ERR_FILE_EXISTS: FileExists;
    PM_ERR_TOO_MANY_CHANGES: TooManyChanges;
    PM_ERR_OTHER_LMDB: OtherLmdb;
    PM_ERR_READ_ONLY_FS: ReadOnlyFileSystem;
    PM_ERR_UNSUPPORTED: Unsupported;
    PM_ERR_PID_IN_USE: PidInUse;
    PM_ERR_LOCKS_LOST: LocksLost;
    PM_ERR_ID_IN_USE: IdInUse;
    PM_ERR_ID_NOT_FAULTY: IdNotFaulty;
    PM_ERR_OTHER_POOL: OtherPool;
    PM_ERR_TOO_MANY_INTENTS: TooManyIntents;
    PM_ERR_PINNED: Pinned;
    PM_ERR_UNFINISHED: Unfinished;
}

/// Why a call failed, on its way to the caller's `pm_error`.
pub(crate) enum Failure {
    /// The core refused the operation, or failed.
    Core(Error),
    /// A callback returned this number, during what the text says.
    Callback(i32, String),
    /// A function of this module refused an argument: with this code, for this reason.
    Edge(i32, String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Core(error)
    }
}

/// What the body of a function returns to `guard`.
pub(crate) type Outcome<T> = Result<T, Failure>;

impl Failure {
    /// An argument with an impossible value.
    #[cold]
    pub fn argument(what: impl Into<String>) -> Failure {
        Failure::Edge(PM_ERR_INVALID_ARGUMENT, what.into())
    }

    /// A pointer that must not be NULL.
    #[cold]
    pub fn null(parameter: &str) -> Failure {
        Failure::argument(format!("{parameter} is NULL"))
    }

    pub fn code(&self) -> i32 {
        match self {
            Failure::Core(error) => code_of(error),
            Failure::Callback(..) => PM_ERR_CALLBACK,
            Failure::Edge(code, _) => *code,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Core(error) => error.fmt(f),
            Failure::Callback(answer, during) => {
                write!(f, "{during}: the callback returned {answer}")
            }
            Failure::Edge(_, message) => f.write_str(message),
        }
    }
}

/// Returns the name of a status code, such as "PM_ERR_NOT_FOUND", or "PM_ERR_UNKNOWN" for a number
/// that is not a status code. The string is static.
///
/// Never fails; may be called from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn pm_status_name(status: i32) -> *const c_char {
    NAMES
        .iter()
        .find(|(code, _)| *code == status)
        .map_or(c"PM_ERR_UNKNOWN", |(_, name)| name)
        .as_ptr()
}

/// Returns the name of a device state, such as "Activated", or NULL for a number that is not one of
/// PM_STATE_*. The string is static.
///
/// Never fails; may be called from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn pm_state_name(state: i32) -> *const c_char {
    DeviceState::from_number(state.into()).map_or(std::ptr::null(), |state| state.c_name().as_ptr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_count_up_from_zero_and_have_their_own_names() {
        for (position, (code, name)) in NAMES.iter().enumerate() {
            assert_eq!(*code as usize, position);
            assert!(name.to_bytes().starts_with(b"PM_"));
        }
        assert_eq!(NAMES[1].1, c"PM_ERR_NOT_FOUND");
    }

    #[test]
    fn impossible_state_has_the_internal_code_and_asks_for_a_report() {
        let failure = Failure::from(Error::Internal { what: "x is y" });
        assert_eq!(failure.code(), PM_ERR_INTERNAL);
        let message = failure.to_string();
        assert!(message.contains("x is y; this is a bug of pool-metadata "));
        assert!(message.contains("please report it"));
    }

    #[test]
    fn state_names_are_those_of_the_variants() {
        for state in DeviceState::ALL {
            // SAFETY: the string is static and ends in a NUL.
            let name = unsafe { CStr::from_ptr(pm_state_name(state as i32)) };
            assert_eq!(name.to_str(), Ok(format!("{state:?}").as_str()));
            assert_eq!(name.to_str(), Ok(state.name()));
        }
        assert!(pm_state_name(14).is_null() && pm_state_name(-1).is_null());
    }
}
