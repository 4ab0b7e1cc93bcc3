//! Status codes, what each is called, and what a failed call reports.

use std::ffi::{c_char, CStr};

use crate::device::DeviceState;
use crate::error::Error;

/// The call did what it was asked to.
pub const PM_OK: i32 = 0;
/// No device of that name is in the store.
pub const PM_ERR_NOT_FOUND: i32 = 1;
/// A device of that name is in the store and is not faulty.
pub const PM_ERR_ALREADY_EXISTS: i32 = 2;
/// A pointer that must not be NULL is, or a number or flag is out of range.
pub const PM_ERR_INVALID_ARGUMENT: i32 = 3;
/// A name that no device can have: empty, longer than 511 bytes, or with a NUL byte.
pub const PM_ERR_INVALID_NAME: i32 = 4;
/// A device state that is not one of PM_STATE_*.
pub const PM_ERR_INVALID_STATE: i32 = 5;
/// A device's error text is longer than PM_MAX_ERROR_LEN.
pub const PM_ERR_TOO_LONG: i32 = 6;
/// An update tried to change the device's name or device id.
pub const PM_ERR_IDENTITY_CHANGED: i32 = 7;
/// Every device id is taken or faulty.
pub const PM_ERR_IDS_EXHAUSTED: i32 = 8;
/// A callback returned something other than 0, which is in pm_error.callback_code. The library
/// never makes this code for any other reason.
pub const PM_ERR_CALLBACK: i32 = 9;
/// A write to the store, or closing it, from inside an update's callback.
pub const PM_ERR_NESTED_WRITE: i32 = 10;
/// Another process changed the device between the two phases of an update, or, for an update in a
/// list of pm_apply or pm_apply_each, anybody did since the record was read, another thread too:
/// read it again and retry.
pub const PM_ERR_CONFLICT: i32 = 11;
/// Something did not become free within the lock wait.
pub const PM_ERR_TIMEOUT: i32 = 12;
/// The store has been closed.
pub const PM_ERR_CLOSED: i32 = 13;
/// The store, or a walk, is in use by calls in flight.
pub const PM_ERR_BUSY: i32 = 14;
/// The store was opened before a fork, and this is the child.
pub const PM_ERR_FORKED: i32 = 15;
/// A write to a store that was opened read-only.
pub const PM_ERR_READ_ONLY: i32 = 16;
/// This process, or another by another path, has the same file open already.
pub const PM_ERR_ALREADY_OPEN: i32 = 17;
/// The caller's buffer is too small for the record; the size needed is told.
pub const PM_ERR_BUFFER_TOO_SMALL: i32 = 18;
/// A struct's struct_size is too small, or is larger than this library knows with something set
/// there.
pub const PM_ERR_STRUCT_SIZE: i32 = 19;
/// A path that cannot name a store.
pub const PM_ERR_INVALID_PATH: i32 = 20;
/// There is no such file and none may be created, or its directory is missing.
pub const PM_ERR_NO_SUCH_FILE: i32 = 21;
/// The system does not let this process use the file.
pub const PM_ERR_PERMISSION: i32 = 22;
/// The path is a directory, a socket, a device or the like.
pub const PM_ERR_NOT_REGULAR_FILE: i32 = 23;
/// The file is of some other kind.
pub const PM_ERR_NOT_A_STORE: i32 = 24;
/// The file is a bbolt file, such as containerd's own store.
pub const PM_ERR_BBOLT_FILE: i32 = 25;
/// The file is an LMDB file that another program made.
pub const PM_ERR_FOREIGN_LMDB: i32 = 26;
/// The file is a store of a format that this library does not know.
pub const PM_ERR_NEWER_FORMAT: i32 = 27;
/// The file is damaged.
pub const PM_ERR_CORRUPT: i32 = 28;
/// The disk, or the user's share of it, is full.
pub const PM_ERR_DISK_FULL: i32 = 29;
/// The memory map is full and cannot be made larger.
pub const PM_ERR_MAP_FULL: i32 = 30;
/// Every place in LMDB's reader table is in use.
pub const PM_ERR_READERS_FULL: i32 = 31;
/// The system reported an error; its number is in pm_error.os_error.
pub const PM_ERR_IO: i32 = 32;
/// A flush failed earlier: the store takes no writes until it is closed and opened again.
pub const PM_ERR_WRITES_STOPPED: i32 = 33;
/// Out of memory or address space.
pub const PM_ERR_NO_MEMORY: i32 = 34;
/// Something that should not happen: a defect of the library, or an error of LMDB that it does not
/// expect. After a call that writes, it is then not known whether the write was made: read to find
/// out.
pub const PM_ERR_INTERNAL: i32 = 35;
/// Only an empty store can be filled by pm_import.
pub const PM_ERR_NOT_EMPTY: i32 = 36;
/// Something is at the path where a new file was to be.
pub const PM_ERR_FILE_EXISTS: i32 = 37;

/// Pairs of a code and its name.
macro_rules! names {
    ($($name:ident)*) => {
        &[$(($name, match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
            Ok(name) => name,
            Err(_) => c"",
        })),*]
    };
}

const NAMES: &[(i32, &CStr)] = names! {
    PM_OK
    PM_ERR_NOT_FOUND
    PM_ERR_ALREADY_EXISTS
    PM_ERR_INVALID_ARGUMENT
    PM_ERR_INVALID_NAME
    PM_ERR_INVALID_STATE
    PM_ERR_TOO_LONG
    PM_ERR_IDENTITY_CHANGED
    PM_ERR_IDS_EXHAUSTED
    PM_ERR_CALLBACK
    PM_ERR_NESTED_WRITE
    PM_ERR_CONFLICT
    PM_ERR_TIMEOUT
    PM_ERR_CLOSED
    PM_ERR_BUSY
    PM_ERR_FORKED
    PM_ERR_READ_ONLY
    PM_ERR_ALREADY_OPEN
    PM_ERR_BUFFER_TOO_SMALL
    PM_ERR_STRUCT_SIZE
    PM_ERR_INVALID_PATH
    PM_ERR_NO_SUCH_FILE
    PM_ERR_PERMISSION
    PM_ERR_NOT_REGULAR_FILE
    PM_ERR_NOT_A_STORE
    PM_ERR_BBOLT_FILE
    PM_ERR_FOREIGN_LMDB
    PM_ERR_NEWER_FORMAT
    PM_ERR_CORRUPT
    PM_ERR_DISK_FULL
    PM_ERR_MAP_FULL
    PM_ERR_READERS_FULL
    PM_ERR_IO
    PM_ERR_WRITES_STOPPED
    PM_ERR_NO_MEMORY
    PM_ERR_INTERNAL
    PM_ERR_NOT_EMPTY
    PM_ERR_FILE_EXISTS
};

/// Why a call failed, on its way to the caller's `pm_error`.
pub(crate) enum Failure {
    /// The core refused or failed.
    Core(Error),
    /// A callback answered with this number, in what the text says.
    Callback(i32, String),
    /// The edge refused: this code, for this reason.
    Edge(i32, String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Core(error)
    }
}

/// What a function of the edge returns to `guard`.
pub(crate) type Outcome<T> = Result<T, Failure>;

impl Failure {
    /// An argument that cannot be.
    pub fn argument(what: impl Into<String>) -> Failure {
        Failure::Edge(PM_ERR_INVALID_ARGUMENT, what.into())
    }

    /// A pointer that must not be NULL.
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

/// The code for each of the core's errors.
fn code_of(error: &Error) -> i32 {
    match error {
        Error::NotFound { .. } => PM_ERR_NOT_FOUND,
        Error::AlreadyExists { .. } => PM_ERR_ALREADY_EXISTS,
        Error::InvalidOption { .. } | Error::InvalidImport { .. } => PM_ERR_INVALID_ARGUMENT,
        Error::NotEmpty { .. } => PM_ERR_NOT_EMPTY,
        Error::InvalidName { .. } => PM_ERR_INVALID_NAME,
        Error::TooLong { .. } => PM_ERR_TOO_LONG,
        Error::IdentityChanged { .. } => PM_ERR_IDENTITY_CHANGED,
        Error::IdsExhausted => PM_ERR_IDS_EXHAUSTED,
        Error::NestedWrite => PM_ERR_NESTED_WRITE,
        Error::Conflict { .. } => PM_ERR_CONFLICT,
        Error::Timeout { .. } => PM_ERR_TIMEOUT,
        Error::Closed => PM_ERR_CLOSED,
        Error::Busy { .. } => PM_ERR_BUSY,
        Error::Forked => PM_ERR_FORKED,
        Error::ReadOnly { .. } => PM_ERR_READ_ONLY,
        Error::AlreadyOpen { .. } => PM_ERR_ALREADY_OPEN,
        Error::FileExists { .. } => PM_ERR_FILE_EXISTS,
        Error::InvalidPath { .. } => PM_ERR_INVALID_PATH,
        Error::NoSuchFile { .. } => PM_ERR_NO_SUCH_FILE,
        Error::Permission { .. } => PM_ERR_PERMISSION,
        Error::NotRegularFile { .. } => PM_ERR_NOT_REGULAR_FILE,
        Error::NotAStore { .. } => PM_ERR_NOT_A_STORE,
        Error::BboltFile { .. } => PM_ERR_BBOLT_FILE,
        Error::ForeignLmdb { .. } => PM_ERR_FOREIGN_LMDB,
        Error::NewerFormat { .. } => PM_ERR_NEWER_FORMAT,
        Error::Corrupt { .. } => PM_ERR_CORRUPT,
        Error::DiskFull { .. } => PM_ERR_DISK_FULL,
        Error::MapFull { .. } => PM_ERR_MAP_FULL,
        Error::ReadersFull { .. } => PM_ERR_READERS_FULL,
        Error::Io { .. } => PM_ERR_IO,
        Error::WritesStopped { .. } => PM_ERR_WRITES_STOPPED,
        Error::NoMemory { .. } => PM_ERR_NO_MEMORY,
        Error::Internal { .. } | Error::Lmdb { .. } => PM_ERR_INTERNAL,
    }
}

/// Returns the name of a status code, such as "PM_ERR_NOT_FOUND"; "PM_ERR_UNKNOWN" for a number
/// that is none.
///
/// The string is static. Never fails; may be called from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn pm_status_name(status: i32) -> *const c_char {
    NAMES
        .iter()
        .find(|(code, _)| *code == status)
        .map_or(c"PM_ERR_UNKNOWN", |(_, name)| name)
        .as_ptr()
}

/// Returns the name of a device state, such as "Activated"; NULL for a number that is none.
///
/// The string is static. Never fails; may be called from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn pm_state_name(state: i32) -> *const c_char {
    const NAMES: [&CStr; 14] = [
        c"Unknown",
        c"Creating",
        c"Created",
        c"Activating",
        c"Activated",
        c"Suspending",
        c"Suspended",
        c"Resuming",
        c"Resumed",
        c"Deactivating",
        c"Deactivated",
        c"Removing",
        c"Removed",
        c"Faulty",
    ];
    match DeviceState::from_number(state.into()) {
        Some(state) => NAMES[state as usize].as_ptr(),
        None => std::ptr::null(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_count_up_and_have_their_own_names() {
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
    fn state_names_are_those_of_the_core() {
        for state in DeviceState::ALL {
            // SAFETY: a static string that ends in NUL.
            let name = unsafe { CStr::from_ptr(pm_state_name(state as i32)) };
            assert_eq!(name.to_str(), Ok(state.name()));
        }
        assert!(pm_state_name(14).is_null() && pm_state_name(-1).is_null());
    }
}
