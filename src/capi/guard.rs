//! The edge that every call crosses: panics become codes, failures become `pm_error`s, and nobody
//! is cancelled behind it.

use std::ffi::c_char;
use std::fmt::{self, Write};
use std::mem::offset_of;
use std::panic::{catch_unwind, AssertUnwindSafe};

use crate::capi::cancel::Uncancelled;
use crate::capi::status::{Failure, Outcome, PM_ERR_INTERNAL, PM_ERR_STRUCT_SIZE, PM_OK};
use crate::capi::types::{pm_error, LARGEST_STRUCT, PM_ERROR_MESSAGE_SIZE};

/// Runs a call's body and reports how it ended.
///
/// # Safety
/// `error` is NULL or points to a `pm_error` as the header asks for.
#[inline]
pub(crate) unsafe fn guard(error: *mut pm_error, body: impl FnOnce() -> Outcome<()>) -> i32 {
    let _uncancelled = Uncancelled::begin();
    // SAFETY: says the caller.
    unsafe { guard_look(error, body) }
}

/// The same for a body that sees to it by itself that its thread is not cancelled: for a read,
/// asking for that costs a third of it.
///
/// # Safety
/// As for [`guard`].
#[inline]
pub(crate) unsafe fn guard_look(error: *mut pm_error, body: impl FnOnce() -> Outcome<()>) -> i32 {
    // SAFETY: says the caller.
    let Ok(room) = (unsafe { message_room(error) }) else {
        return PM_ERR_STRUCT_SIZE;
    };
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => PM_OK,
        // SAFETY: as above; `room` is what the struct has for the message.
        Ok(Err(failure)) => unsafe { tell(error, room, &failure) },
        Err(panic) => {
            let failure = Failure::Edge(PM_ERR_INTERNAL, panic_text(panic));
            // SAFETY: as above.
            unsafe { tell(error, room, &failure) }
        }
    }
}

/// Refuses a struct of an array for reports, all of which are of one size.
///
/// # Safety
/// As for [`guard`].
pub(crate) unsafe fn check_error(error: *const pm_error, struct_size: usize) -> Outcome<()> {
    let aligned = struct_size.is_multiple_of(align_of::<pm_error>());
    // SAFETY: says the caller.
    match unsafe { ((*error).struct_size == struct_size, message_room(error)) } {
        (true, Ok(_)) if aligned => Ok(()),
        _ => Err(Failure::Edge(
            PM_ERR_STRUCT_SIZE,
            "the structs in errors are not of one possible size".to_owned(),
        )),
    }
}

/// Reports how a part of a call ended, in a struct of an array.
///
/// # Safety
/// [`check_error`] has taken the struct.
pub(crate) unsafe fn report(error: *mut pm_error, outcome: &Outcome<()>) {
    match outcome {
        // SAFETY: says the caller.
        Ok(()) => unsafe { (*error).code = PM_OK },
        Err(failure) => {
            // SAFETY: says the caller.
            if let Ok(room) = unsafe { message_room(error) } {
                // SAFETY: as above.
                unsafe { tell(error, room, failure) };
            }
        }
    }
}

/// How many bytes of message the caller's struct has room for.
///
/// # Safety
/// As for [`guard`].
unsafe fn message_room(error: *const pm_error) -> Result<usize, ()> {
    if error.is_null() {
        return Ok(0);
    }
    // SAFETY: the caller gives a struct that begins with its size.
    let size = unsafe { (*error).struct_size };
    let fixed = offset_of!(pm_error, message);
    match size.checked_sub(fixed) {
        Some(room) if room > 0 && size <= LARGEST_STRUCT => Ok(room.min(PM_ERROR_MESSAGE_SIZE)),
        _ => Err(()),
    }
}

/// Fills the caller's struct and returns the code.
///
/// # Safety
/// As for [`guard`]; `room` is what [`message_room`] said.
#[cold]
unsafe fn tell(error: *mut pm_error, room: usize, failure: &Failure) -> i32 {
    let code = failure.code();
    if error.is_null() {
        return code;
    }
    let (callback_code, os_error) = match failure {
        Failure::Callback(answer, _) => (*answer, 0),
        Failure::Core(core) => (0, core.os_error().unwrap_or(0)),
        Failure::Edge(..) => (0, 0),
    };
    let mut text = Text {
        bytes: [0; PM_ERROR_MESSAGE_SIZE],
        len: 0,
        room: room - 1,
    };
    // A message that does not fit ends where the room does.
    let _ = write!(text, "{failure}");
    // SAFETY: the struct has these fields, and `room` bytes of message; `len` is below `room`.
    unsafe {
        (*error).code = code;
        (*error).callback_code = callback_code;
        (*error).os_error = os_error;
        let message = (&raw mut (*error).message).cast::<c_char>();
        std::ptr::copy_nonoverlapping(text.bytes.as_ptr().cast(), message, text.len + 1);
    }
    code
}

/// A message in the making: as much as there is room for, and a NUL.
struct Text {
    bytes: [u8; PM_ERROR_MESSAGE_SIZE],
    len: usize,
    room: usize,
}

impl Write for Text {
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
    format!("a defect of the library, please report it: {said}")
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
    fn a_panic_becomes_the_internal_code_with_its_words() {
        let mut e = error(size_of::<pm_error>());
        // SAFETY: `e` is a whole struct.
        let code = unsafe { guard(&mut e, || panic!("on purpose {}", 7)) };
        assert_eq!((code, e.code), (PM_ERR_INTERNAL, PM_ERR_INTERNAL));
        assert!(message(&e).ends_with("on purpose 7"));
    }

    #[test]
    fn a_message_is_cut_to_the_room_there_is() {
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
    fn a_struct_of_impossible_size_is_refused_before_anything_is_done() {
        for size in [
            0,
            8,
            offset_of!(pm_error, message),
            LARGEST_STRUCT + 1,
            usize::MAX,
        ] {
            let mut e = error(size);
            let mut ran = false;
            // SAFETY: nothing but the size is looked at.
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
