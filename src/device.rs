//! The record of a thin device, and the limits of its names and texts.

use std::ffi::CStr;
use std::fmt;

use crate::error::{kept, Error, Result};
use crate::limits::{MAX_ERROR_LEN, MAX_NAME_LEN};

/// State of a thin device, with containerd's names and numbers.
///
/// containerd writes a state that ends in *-ing* before its device-mapper call and the final state
/// after it, so that a crash between the two leaves a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum DeviceState {
    /// The state is not known. A device that has not been created yet has this state.
    #[default]
    Unknown = 0,
    /// The device is being created in the pool.
    Creating = 1,
    /// The device exists in the pool and is not active.
    Created = 2,
    /// The device is being activated.
    Activating = 3,
    /// The device is active: it has a block device under `/dev/mapper`.
    Activated = 4,
    /// The device is being suspended.
    Suspending = 5,
    /// The device is suspended: the kernel holds its I/O back.
    Suspended = 6,
    /// The device is being resumed.
    Resuming = 7,
    /// The device is active again after a suspension.
    Resumed = 8,
    /// The device is being deactivated.
    Deactivating = 9,
    /// The device is no longer active and still exists in the pool.
    Deactivated = 10,
    /// The device is being removed from the pool.
    Removing = 11,
    /// The device is gone from the pool.
    Removed = 12,
    /// An operation on the device failed half way: neither the device nor its id can be relied on.
    Faulty = 13,
}

impl DeviceState {
    /// All states, in the order of their numbers.
    pub const ALL: [DeviceState; 14] = [
        DeviceState::Unknown,
        DeviceState::Creating,
        DeviceState::Created,
        DeviceState::Activating,
        DeviceState::Activated,
        DeviceState::Suspending,
        DeviceState::Suspended,
        DeviceState::Resuming,
        DeviceState::Resumed,
        DeviceState::Deactivating,
        DeviceState::Deactivated,
        DeviceState::Removing,
        DeviceState::Removed,
        DeviceState::Faulty,
    ];

    /// The state with this number, or `None` for a number that is not a state's.
    pub fn from_number(number: i64) -> Option<DeviceState> {
        usize::try_from(number)
            .ok()
            .and_then(|n| DeviceState::ALL.get(n).copied())
    }

    /// The name of the state, as containerd prints it.
    pub fn name(self) -> &'static str {
        self.c_name().to_str().unwrap_or_default()
    }

    /// The name of the state as a C string.
    pub(crate) fn c_name(self) -> &'static CStr {
        match self {
            DeviceState::Unknown => c"Unknown",
            DeviceState::Creating => c"Creating",
            DeviceState::Created => c"Created",
            DeviceState::Activating => c"Activating",
            DeviceState::Activated => c"Activated",
            DeviceState::Suspending => c"Suspending",
            DeviceState::Suspended => c"Suspended",
            DeviceState::Resuming => c"Resuming",
            DeviceState::Resumed => c"Resumed",
            DeviceState::Deactivating => c"Deactivating",
            DeviceState::Deactivated => c"Deactivated",
            DeviceState::Removing => c"Removing",
            DeviceState::Removed => c"Removed",
            DeviceState::Faulty => c"Faulty",
        }
    }
}

impl fmt::Display for DeviceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The record of a thin device, owned.
///
/// Names and texts are byte strings. containerd's are UTF-8, but the store does not require that.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct DeviceInfo {
    /// Name of the device, 1 to [`MAX_NAME_LEN`] bytes without NUL. Unique in the store.
    pub name: Vec<u8>,
    /// Device id in the pool, 1 to [`MAX_DEVICE_ID`](crate::MAX_DEVICE_ID). The store assigns it
    /// when the device is added.
    pub device_id: u32,
    /// Virtual size of the device in bytes, 0 to 2^64 - 1.
    pub size: u64,
    /// Name of the device that this one is a snapshot of, empty for none. At most [`MAX_NAME_LEN`]
    /// bytes without NUL. The parent need not be in the store.
    pub parent_name: Vec<u8>,
    /// State of the device.
    pub state: DeviceState,
    /// Text of the device's last error, empty for none. At most [`MAX_ERROR_LEN`] bytes.
    pub error: Vec<u8>,
    /// Number of the commit that last wrote the record. The store sets it; in a record that a
    /// caller passes, only [`Change::Update`](crate::Change::Update) reads it. No two versions of a
    /// record have the same generation, with one exception: after a restore of an older backup,
    /// generations are used again. Do not pass a record that was read before a restore to
    /// [`Change::Update`](crate::Change::Update).
    pub generation: u64,
}

impl DeviceInfo {
    /// A device with this name, and every other field empty or zero.
    pub fn new(name: impl Into<Vec<u8>>) -> DeviceInfo {
        DeviceInfo {
            name: name.into(),
            ..DeviceInfo::default()
        }
    }

    /// Borrows the record.
    pub fn as_ref(&self) -> DeviceRef<'_> {
        DeviceRef {
            name: &self.name,
            device_id: self.device_id,
            size: self.size,
            parent_name: &self.parent_name,
            state: self.state,
            error: &self.error,
            generation: self.generation,
        }
    }
}

impl fmt::Debug for DeviceInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

/// The record of a thin device, borrowed from the store's memory map for as long as a read lasts.
//
// The layout is C's, in an order in which no two numbers are neighbours that are neighbours in a
// `pm_record`. The compiler would copy such neighbours with one load, which waits for the two
// stores that have just written them. That took a sixth of the time of a walk, whose line in `make
// bench-go` misses its target as it is.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct DeviceRef<'a> {
    /// See [`DeviceInfo::name`].
    pub name: &'a [u8],
    /// See [`DeviceInfo::device_id`].
    pub device_id: u32,
    /// See [`DeviceInfo::size`].
    pub size: u64,
    /// See [`DeviceInfo::parent_name`].
    pub parent_name: &'a [u8],
    /// See [`DeviceInfo::state`].
    pub state: DeviceState,
    /// See [`DeviceInfo::error`].
    pub error: &'a [u8],
    /// See [`DeviceInfo::generation`].
    pub generation: u64,
}

impl DeviceRef<'_> {
    /// Copies the record into one that owns its texts.
    pub fn to_owned(&self) -> DeviceInfo {
        DeviceInfo {
            name: self.name.to_vec(),
            device_id: self.device_id,
            size: self.size,
            parent_name: self.parent_name.to_vec(),
            state: self.state,
            error: self.error.to_vec(),
            generation: self.generation,
        }
    }

    /// Refuses a record that the store cannot hold, because of the length or bytes of a text.
    pub(crate) fn check(&self) -> Result<()> {
        check_name(self.name)?;
        check_parent_name(self.parent_name)?;
        check_error_text(self.name, self.error)
    }

    /// Whether [`check`](Self::check) accepts both names. It makes no error, whose size would take
    /// time for each row of a verification.
    #[inline]
    pub(crate) fn names_can_be(&self) -> bool {
        !self.name.is_empty() && flaw(self.name).is_none() && flaw(self.parent_name).is_none()
    }
}

impl fmt::Debug for DeviceRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceInfo")
            .field("name", &format_args!("\"{}\"", self.name.escape_ascii()))
            .field("device_id", &self.device_id)
            .field("size", &self.size)
            .field(
                "parent_name",
                &format_args!("\"{}\"", self.parent_name.escape_ascii()),
            )
            .field("state", &self.state)
            .field("error", &format_args!("\"{}\"", self.error.escape_ascii()))
            .field("generation", &self.generation)
            .finish()
    }
}

/// Refuses a name that is not a valid device name.
pub(crate) fn check_name(name: &[u8]) -> Result<()> {
    if name.is_empty() {
        return Err(Error::invalid_name("device name", name, "it is empty"));
    }
    check_name_bytes("device name", name)
}

pub(crate) fn check_parent_name(parent: &[u8]) -> Result<()> {
    check_name_bytes("parent name", parent)
}

#[inline]
fn check_name_bytes(what: &'static str, name: &[u8]) -> Result<()> {
    match flaw(name) {
        Some(why) => Err(invalid(what, name, why)),
        None => Ok(()),
    }
}

#[cold]
fn invalid(what: &'static str, name: &[u8], why: &'static str) -> Error {
    Error::invalid_name(what, name, why)
}

/// What is wrong with the length or the bytes of a device's or a parent's name.
#[inline]
fn flaw(name: &[u8]) -> Option<&'static str> {
    match name {
        _ if name.len() > MAX_NAME_LEN => Some("it is longer than 511 bytes"),
        _ if has_nul(name) => Some("it holds a NUL byte"),
        _ => None,
    }
}

/// Whether there is a zero among the bytes. With the standard library's search, an open with full
/// verification takes 8 % more instructions for each device, and its line in `make bench` (reading
/// the file once) is close to its target.
fn has_nul(bytes: &[u8]) -> bool {
    // If and only if the word has a zero byte, the highest bit of some byte is left.
    let zero = |word: [u8; 8]| {
        let word = u64::from_ne_bytes(word);
        word.wrapping_sub(u64::from_ne_bytes([0x01; 8])) & !word
    };
    let found = |left: u64| left & u64::from_ne_bytes([0x80; 8]) != 0;
    // The last eight overlap with the words before them.
    let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) else {
        return bytes.contains(&0);
    };
    if bytes.len() <= 16 {
        return found(zero(*first) | zero(*last));
    }
    let words = bytes.as_chunks().0.iter();
    found(words.fold(zero(*last), |left, word| left | zero(*word)))
}

/// Refuses an error text that is longer than the store keeps. `name` is that of its device.
pub(crate) fn check_error_text(name: &[u8], text: &[u8]) -> Result<()> {
    if text.len() > MAX_ERROR_LEN {
        return Err(Error::TooLong {
            name: kept(name),
            len: text.len(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_states_count_up_from_zero() {
        for (number, state) in DeviceState::ALL.iter().enumerate() {
            assert_eq!(*state as usize, number);
            assert_eq!(DeviceState::from_number(number as i64), Some(*state));
        }
        for number in [-1, 14, i64::MAX, i64::MIN] {
            assert_eq!(DeviceState::from_number(number), None);
        }
    }

    #[test]
    fn names_up_to_the_limit_pass_and_longer_ones_are_refused() {
        assert!(check_name(&[b'n'; MAX_NAME_LEN]).is_ok());
        assert!(check_name(b"\xff\xfe").is_ok());
        for bad in [&[b'n'; MAX_NAME_LEN + 1][..], b"", b"a\0b"] {
            assert!(matches!(check_name(bad), Err(Error::InvalidName { .. })));
        }
        assert!(check_parent_name(b"").is_ok());
    }

    #[test]
    fn zero_byte_is_found_at_every_position_and_no_other_byte_is_one() {
        for fill in [0x01, 0x7f, 0x80, 0x81, 0xff] {
            for len in 0..=40 {
                let mut bytes = vec![fill; len];
                assert!(!has_nul(&bytes), "{len} of {fill}");
                for at in 0..len {
                    bytes[at] = 0;
                    assert!(has_nul(&bytes), "{len} of {fill}, {at}");
                    bytes[at] = fill;
                }
            }
        }
    }

    #[test]
    fn error_text_of_one_mib_passes_and_a_longer_one_is_refused() {
        let text = vec![b'e'; MAX_ERROR_LEN + 1];
        assert!(check_error_text(b"d", &text[1..]).is_ok());
        match check_error_text(&text, &text) {
            Err(Error::TooLong { name, len }) => {
                assert_eq!((name.len(), len), (MAX_NAME_LEN + 1, text.len()));
            }
            other => panic!("{other:?}"),
        }
    }
}
