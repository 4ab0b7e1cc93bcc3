//! The edge that every call crosses: panics become codes, failures become `pm_error`s, and no
//! thread is cancelled behind it.

use std::ffi::c_char;
use std::fmt::{self, Write};
use std::mem::offset_of;
use std::panic::{catch_unwind, AssertUnwindSafe};

use crate::capi::args::LARGEST_STRUCT;
use crate::capi::cancel::Uncancelled;
use crate::capi::status::{Failure, Outcome, PM_ERR_INTERNAL, PM_ERR_STRUCT_SIZE, PM_OK};
use crate::capi::types::{pm_error, PM_ERROR_MESSAGE_SIZE};

/// Runs a call's body and reports how it ended.
///
/// # Safety
/// `error` is NULL or points to a struct that begins with its size and has as many bytes, which the
/// library may write during the call.
#[inline]
pub(crate) unsafe fn guard(error: *mut pm_error, body: impl FnOnce() -> Outcome<()>) -> i32 {
    let _uncancelled = Uncancelled::begin();
    // SAFETY: the caller promises what this asks for.
    unsafe { guard_cancellable(error, body) }
}

/// Runs a body that protects itself against cancellation where it waits, and reports how it ended.
/// Switching cancellation off and on takes a third of the time of a short read.
///
/// # Safety
/// As for [`guard`].
#[inline]
pub(crate) unsafe fn guard_cancellable(
    error: *mut pm_error,
    body: impl FnOnce() -> Outcome<()>,
) -> i32 {
    let error = ErrorOut(error);
    let Some(room) = error.room() else {
        return PM_ERR_STRUCT_SIZE;
    };
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => PM_OK,
        Ok(Err(failure)) => error.report(room, &failure),
        Err(panic) => error.report(room, &Failure::Edge(PM_ERR_INTERNAL, panic_text(panic))),
    }
}

/// Where a failure is reported: NULL, or a struct that begins with its size and has as many bytes.
#[derive(Clone, Copy)]
struct ErrorOut(*mut pm_error);

impl ErrorOut {
    /// How many bytes of message the struct has room for, its NUL included: none for NULL. Nothing
    /// if no version of the struct has its size.
    #[inline]
    fn room(self) -> Option<usize> {
        if self.0.is_null() {
            return Some(0);
        }
        // SAFETY: the struct begins with its size.
        let size = unsafe { (*self.0).struct_size };
        let room = size.checked_sub(offset_of!(pm_error, message))?;
        (room > 0 && size <= LARGEST_STRUCT).then(|| room.min(PM_ERROR_MESSAGE_SIZE))
    }

    /// Fills the struct, whose message has this much room, and returns the code.
    #[cold]
    fn report(self, room: usize, failure: &Failure) -> i32 {
        let code = failure.code();
        let Some(room) = room.checked_sub(1) else {
            return code;
        };
        let (callback_code, os_error) = match failure {
            Failure::Callback(answer, _) => (*answer, 0),
            Failure::Core(core) => (0, core.os_error().unwrap_or(0)),
            Failure::Edge(..) => (0, 0),
        };
        let mut text = Message {
            bytes: [0; PM_ERROR_MESSAGE_SIZE],
            len: 0,
            room,
        };
        // A message that does not fit ends where the room does.
        let _ = write!(text, "{failure}");
        // SAFETY: `room` is the struct's, so that it has all fields before the message, and of that
        // `room` bytes and one more; `len` is at most `room`.
        unsafe {
            (*self.0).code = code;
            (*self.0).callback_code = callback_code;
            (*self.0).os_error = os_error;
            let message = (&raw mut (*self.0).message).cast::<c_char>();
            std::ptr::copy_nonoverlapping(text.bytes.as_ptr().cast(), message, text.len + 1);
        }
        code
    }
}

/// A caller's array of structs for reports, one for each change of a list; or none.
pub(crate) struct ErrorArray {
    first: *mut pm_error,
    /// Size of each, which may be larger than this library's.
    struct_size: usize,
    count: usize,
}

impl ErrorArray {
    /// Refuses structs that are not all of one possible size.
    ///
    /// # Safety
    /// `first` is NULL or points to `count` structs of the size that the first one says, which the
    /// library may write during the call.
    pub unsafe fn new(first: *mut pm_error, count: usize) -> Outcome<ErrorArray> {
        let count = if first.is_null() { 0 } else { count };
        let struct_size = match count {
            0 => 0,
            // SAFETY: the caller promises that the struct begins with its size.
            _ => unsafe { (*first).struct_size },
        };
        let errors = ErrorArray {
            first,
            struct_size,
            count,
        };
        let aligned = struct_size.is_multiple_of(align_of::<pm_error>());
        for error in (0..count).map(|index| errors.at(index)) {
            // SAFETY: it lies behind structs of the size that the first one says.
            let same = aligned && unsafe { (*error.0).struct_size } == struct_size;
            if !same || error.room().is_none() {
                return Err(Failure::Edge(
                    PM_ERR_STRUCT_SIZE,
                    "the structs in errors are not of one possible size".to_owned(),
                ));
            }
        }
        Ok(errors)
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn at(&self, index: usize) -> ErrorOut {
        ErrorOut(self.first.wrapping_byte_add(index * self.struct_size))
    }

    /// Reports how the change at `index` ended; does nothing where there is no struct for it.
    pub fn set(&self, index: usize, outcome: &Outcome<()>) {
        if index >= self.count {
            return;
        }
        let error = self.at(index);
        match outcome {
            // SAFETY: `new` has seen that the struct has room for more than its code.
            Ok(()) => unsafe { (*error.0).code = PM_OK },
            Err(failure) => drop(error.room().map(|room| error.report(room, failure))),
        }
    }
}

/// A message that is being written: as much of it as there is room for, and a NUL.
struct Message {
    bytes: [u8; PM_ERROR_MESSAGE_SIZE],
    len: usize,
    room: usize,
}

impl Write for Message {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let mut fits = part.len().min(self.room - self.len);
        while !part.is_char_boundary(fits) {
            fits -= 1;
        }
        self.bytes[self.len..self.len + fits].copy_from_slice(&part.as_bytes()[..fits]);
        self.len += fits;
        if fits == part.len() {
            Ok(())
        } else {
            Err(fmt::Error)
        }
    }
}

fn panic_text(panic: Box<dyn std::any::Any + Send>) -> String {
    let said = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no reason given");
    format!("a bug of the library, please report it: {said}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(struct_size: usize) -> pm_error {
        pm_error {
            struct_size,
            code: -1,
            callback_code: -1,
            os_error: -1,
            message: [0x7f; PM_ERROR_MESSAGE_SIZE],
        }
    }

    fn message(error: &pm_error) -> String {
        let bytes: Vec<u8> = error.message.iter().map(|c| *c as u8).collect();
        let end = bytes.iter().position(|b| *b == 0).unwrap();
        String::from_utf8(bytes[..end].to_vec()).unwrap()
    }

    #[test]
    fn panic_becomes_the_internal_code_and_its_message() {
        let mut e = error(size_of::<pm_error>());
        // SAFETY: `e` is a whole struct.
        let code = unsafe { guard(&mut e, || panic!("on purpose {}", 7)) };
        assert_eq!((code, e.code), (PM_ERR_INTERNAL, PM_ERR_INTERNAL));
        assert!(message(&e).ends_with("on purpose 7"));
    }

    #[test]
    fn message_is_cut_to_the_room_of_the_struct() {
        let fixed = offset_of!(pm_error, message);
        for room in [1, 2, 5, PM_ERROR_MESSAGE_SIZE] {
            let mut e = error(fixed + room);
            let long = "0123456789".repeat(200);
            // SAFETY: `e` has more room than it says.
            unsafe { guard(&mut e, || Err(Failure::argument(long.as_str()))) };
            assert_eq!(message(&e), long[..room - 1]);
            assert!(e.message[room..].iter().all(|byte| *byte == 0x7f));
        }
    }

    #[test]
    fn struct_of_impossible_size_is_refused_before_the_body_runs() {
        let fixed = offset_of!(pm_error, message);
        for size in [0, 8, fixed, LARGEST_STRUCT + 1, usize::MAX] {
            let mut e = error(size);
            let mut ran = false;
            // SAFETY: nothing but the size is read.
            let code = unsafe {
                guard(&mut e, || {
                    ran = true;
                    Ok(())
                })
            };
            assert_eq!((code, ran, e.code), (PM_ERR_STRUCT_SIZE, false, -1));
        }
    }
}
