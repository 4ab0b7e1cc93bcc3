//! The arguments of the C functions: each pointer is checked here, once, and becomes a value that
//! is safe to use.
//!
//! What the functions here ask of a pointer is what the documentation of the exported functions
//! asks of their callers: that it is NULL, or points to what the parameter is for as long as the
//! call lasts.

use std::ffi::{c_char, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::{ptr, slice};

use crate::capi::status::{Failure, Outcome, PM_ERR_STRUCT_SIZE};
use crate::capi::types::{pm_device, state};
use crate::device::DeviceRef;
use crate::error::Error;
use crate::file::path::{LONGEST_PATH, TOO_LONG};
use crate::limits::MAX_POOL_ID;

/// Largest struct size that is accepted; a larger one is taken for memory that was never set.
pub(crate) const LARGEST_STRUCT: usize = 1 << 16;

/// A handle, or another object of the library's, that stays the caller's.
///
/// # Safety
/// `pointer` is NULL or points to a T that lives while `'a` lasts.
#[inline]
pub(crate) unsafe fn handle<'a, T>(pointer: *const T, name: &str) -> Outcome<&'a T> {
    // SAFETY: the caller promises that there is a T, or NULL.
    unsafe { pointer.as_ref() }.ok_or_else(|| Failure::null(name))
}

/// A handle that the call ends; nothing for NULL.
///
/// # Safety
/// `pointer` is NULL or came from `Box::into_raw`, and nothing uses it after this.
pub(crate) unsafe fn owned<T>(pointer: *mut T) -> Option<Box<T>> {
    // SAFETY: the caller promises that it came from a box, which is only now taken back.
    (!pointer.is_null()).then(|| unsafe { Box::from_raw(pointer) })
}

/// A number of values in the caller's memory.
///
/// # Safety
/// `len` is 0, or `pointer` is NULL or points to `len` values that do not change while `'a` lasts.
#[inline]
pub(crate) unsafe fn values<'a, T>(
    pointer: *const T,
    len: usize,
    most: usize,
    name: &str,
) -> Outcome<&'a [T]> {
    if len == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() {
        return Err(Failure::null(name));
    }
    if len > most {
        return Err(Failure::argument(format!(
            "{name} has the impossible length {len}"
        )));
    }
    // SAFETY: the caller promises that the values are there.
    Ok(unsafe { slice::from_raw_parts(pointer, len) })
}

/// A text of the caller's: a name, a path, an error text.
///
/// # Safety
/// `len` is 0, or `pointer` is NULL or points to `len` bytes that do not change while `'a` lasts.
#[inline]
pub(crate) unsafe fn text<'a>(pointer: *const c_char, len: usize, name: &str) -> Outcome<&'a [u8]> {
    // SAFETY: the caller promises that the bytes are there; a c_char is a byte.
    unsafe { values(pointer.cast(), len, isize::MAX as usize, name) }
}

/// Device ids of the caller's, each of which a pool can have once.
///
/// # Safety
/// `count` is 0, or `ids` is NULL or points to `count` ids that do not change while `'a` lasts.
pub(crate) unsafe fn id_values<'a>(
    ids: *const u32,
    count: usize,
    name: &str,
) -> Outcome<&'a [u32]> {
    // SAFETY: the caller promises that the ids are there.
    unsafe { values(ids, count, MAX_POOL_ID as usize + 1, name) }
}

/// A path of the caller's. One that is too long for the system is refused at once: its length may
/// be wrong, and then the memory behind it must be neither searched nor copied.
///
/// # Safety
/// As for [`text`].
pub(crate) unsafe fn path<'a>(pointer: *const c_char, len: usize, name: &str) -> Outcome<&'a Path> {
    // SAFETY: the caller promises what `text` asks for.
    let path = unsafe { text(pointer, len, name)? };
    if path.len() > LONGEST_PATH {
        return Err(Failure::Core(Error::InvalidPath {
            path: Path::new(OsStr::from_bytes(&path[..LONGEST_PATH])).into(),
            why: TOO_LONG,
        }));
    }
    Ok(Path::new(OsStr::from_bytes(path)))
}

/// A copy of a caller's struct, as far as this library knows its fields.
///
/// # Safety
/// T is plain data whose first field is its size, a `usize`. `pointer` is NULL or points to as many
/// readable bytes as that field says.
#[inline]
pub(crate) unsafe fn read_struct<T: Copy>(pointer: *const T, name: &str) -> Outcome<T> {
    if pointer.is_null() {
        return Err(Failure::null(name));
    }
    let known = size_of::<T>();
    // SAFETY: the caller promises that the struct begins with its size.
    let size = unsafe { pointer.cast::<usize>().read() };
    if size < known || size > LARGEST_STRUCT {
        return Err(bad_size(name, size, known));
    }
    // SAFETY: the struct has `size` bytes; these are the ones behind the fields that are known.
    let newer = unsafe { slice::from_raw_parts(pointer.cast::<u8>().add(known), size - known) };
    if newer.iter().any(|byte| *byte != 0) {
        return Err(bad_size(name, size, known));
    }
    // SAFETY: the struct has at least `known` bytes, which are plain data.
    Ok(unsafe { pointer.read() })
}

/// A copy of a caller's struct, or nothing for NULL.
///
/// # Safety
/// As for [`read_struct`].
pub(crate) unsafe fn read_optional<T: Copy>(pointer: *const T, name: &str) -> Outcome<Option<T>> {
    // SAFETY: the caller promises what `read_struct` asks for.
    (!pointer.is_null())
        .then(|| unsafe { read_struct(pointer, name) })
        .transpose()
}

#[cold]
fn bad_size(name: &str, size: usize, known: usize) -> Failure {
    Failure::Edge(
        PM_ERR_STRUCT_SIZE,
        format!(
            "{name}.struct_size is {size}; this library knows {known} bytes: \
             initialise the struct with its _INIT macro, or use a newer library"
        ),
    )
}

/// A caller's device, borrowed.
///
/// # Safety
/// Each text is of length 0, or NULL, or as many bytes as its length says, unchanged while `'a`
/// lasts.
pub(crate) unsafe fn device<'a>(from: &pm_device) -> Outcome<DeviceRef<'a>> {
    // SAFETY: the caller promises the same of each text.
    let (name, parent_name, error) = unsafe {
        (
            text(from.name, from.name_len, "device.name")?,
            text(from.parent_name, from.parent_name_len, "device.parent_name")?,
            text(from.error, from.error_len, "device.error")?,
        )
    };
    Ok(DeviceRef {
        name,
        device_id: from.device_id,
        size: from.size,
        parent_name,
        state: state(from.state)?,
        error,
        generation: from.generation,
    })
}

/// Where the caller wants a result.
pub(crate) struct Out<T>(*mut T);

impl<T> Out<T> {
    /// A result that the caller must take: NULL is refused.
    ///
    /// # Safety
    /// `pointer` is NULL or points to memory for a T, which the library may write during the call.
    #[inline]
    pub unsafe fn new(pointer: *mut T, name: &str) -> Outcome<Out<T>> {
        match pointer.is_null() {
            true => Err(Failure::null(name)),
            false => Ok(Out(pointer)),
        }
    }

    /// A result that the caller may do without: nothing for NULL.
    ///
    /// # Safety
    /// As for [`new`](Self::new).
    #[inline]
    pub unsafe fn optional(pointer: *mut T) -> Option<Out<T>> {
        (!pointer.is_null()).then_some(Out(pointer))
    }

    #[inline]
    pub fn set(&self, value: T) {
        // SAFETY: the constructor was promised memory for a T.
        unsafe { self.0.write(value) };
    }
}

/// Gives the caller a result that it may do without: nothing for NULL.
///
/// # Safety
/// As for [`Out::new`].
#[inline]
pub(crate) unsafe fn set_optional<T>(pointer: *mut T, value: T) {
    // SAFETY: the caller promises that there is memory for a T, or NULL.
    if let Some(out) = unsafe { Out::optional(pointer) } {
        out.set(value);
    }
}

/// Where the caller wants a struct that begins with its own size.
pub(crate) struct OutStruct<T> {
    to: *mut T,
    /// How many bytes of T the caller's struct has.
    room: usize,
}

impl<T: Copy> OutStruct<T> {
    /// A result that the caller may do without: nothing for NULL.
    ///
    /// # Safety
    /// As for [`new`](Self::new).
    pub unsafe fn optional(pointer: *mut T, least: usize, name: &str) -> Outcome<Option<Self>> {
        // SAFETY: the caller promises what `new` asks for.
        (!pointer.is_null())
            .then(|| unsafe { Self::new(pointer, least, name) })
            .transpose()
    }

    /// A result that the caller must take: NULL is refused, and a struct of fewer than `least`
    /// bytes.
    ///
    /// # Safety
    /// T is plain data whose first field is its size, a `usize`. `pointer` is NULL or points to as
    /// many bytes as that field says, which the library may write during the call.
    pub unsafe fn new(pointer: *mut T, least: usize, name: &str) -> Outcome<Self> {
        if pointer.is_null() {
            return Err(Failure::null(name));
        }
        // SAFETY: the caller promises that the struct begins with its size.
        let size = unsafe { pointer.cast::<usize>().read() };
        if size < least.max(size_of::<usize>()) || size > LARGEST_STRUCT {
            return Err(bad_size(name, size, size_of::<T>()));
        }
        Ok(OutStruct {
            to: pointer,
            room: size.min(size_of::<T>()),
        })
    }

    /// Fills the caller's struct as far as it goes, and leaves its size as the caller has set it.
    pub fn set(&self, value: &T) {
        let head = size_of::<usize>();
        let (from, to) = (ptr::from_ref(value).cast::<u8>(), self.to.cast::<u8>());
        // SAFETY: both have `room` bytes, which are no fewer than `head`.
        unsafe { ptr::copy_nonoverlapping(from.add(head), to.add(head), self.room - head) };
    }
}
