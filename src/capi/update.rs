//! Updates: with a callback, or in two calls for runtimes that are better not called back.
//!
//! A callback runs outside the guard and with no lock or transaction of LMDB held, between
//! "C-unwind" functions: a C++ exception that leaves it passes through to the C++ caller, and the
//! update is given up on its way.

use std::ffi::{c_char, c_void};
use std::ptr;

use crate::capi::cancel::Uncancelled;
use crate::capi::guard::guard;
use crate::capi::handle::pm_store;
use crate::capi::status::{Failure, Outcome, PM_OK};
use crate::capi::types::*;
use crate::capi::{block, handle};
use crate::device::{check_error_text, check_parent_name, DeviceRef};
use crate::error::{Quoted, Result};
use crate::store::write::update::Update;

/// An update that has begun. Made by pm_update_begin, ended by pm_update_commit or pm_update_abort.
///
/// It may move between threads and be used by one at a time.
pub struct pm_update {
    update: Update,
    device: pm_device,
    /// What the device's texts point to: as they were, and as pm_device_set_* gave them.
    texts: Vec<Vec<u8>>,
}

/// An update that is known by its address alone, which `device.owner` and the caller have as well:
/// no box of it may move while they use theirs. Dropped, by a callback's exception too, it is given
/// up.
struct Begun(*mut pm_update);

impl Begun {
    /// Hands the update to whoever ends it.
    fn into_raw(self) -> *mut pm_update {
        let raw = self.0;
        std::mem::forget(self);
        raw
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        // SAFETY: it came from a box, and nobody else ends it.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

/// Called by pm_update_device with a copy of the record to change. It returns 0 to have it written;
/// any other number writes nothing and comes back in pm_error.callback_code.
pub type pm_update_callback =
    Option<unsafe extern "C-unwind" fn(device: *mut pm_device, user_data: *mut c_void) -> i32>;

impl pm_update {
    fn begin(handle: &pm_store, name: &[u8]) -> Result<Begun> {
        let update = handle.store()?.begin_update(name)?;
        let record = update.device().as_ref();
        let mut texts = vec![0; block::texts_len(&record)];
        // SAFETY: the memory has that length, and stays where it is for as long as the update
        // lives.
        let device = unsafe { block::fill_device(&record, texts.as_mut_ptr(), ptr::null_mut()) };
        let begun = Box::into_raw(Box::new(pm_update {
            update,
            device,
            texts: vec![texts],
        }));
        // SAFETY: it was just made, and nobody else has it yet.
        unsafe { (*begun).device.owner = begun.cast() };
        Ok(Begun(begun))
    }

    /// Takes the caller's changes over and commits them.
    ///
    /// # Safety
    /// The texts of `self.device` point to as many bytes as their lengths say.
    unsafe fn commit(self: Box<Self>) -> Outcome<()> {
        // SAFETY: says the caller.
        let changed: DeviceRef<'_> = unsafe { device(&self.device)? };
        self.update.commit_as(changed)?;
        Ok(())
    }
}

/// Changes a device: `callback` gets a copy of its record, once, on this thread, and what it leaves
/// there is written.
///
/// The callback may change size, state, parent_name and error, not name or device_id. Texts that it
/// points to must live until pm_update_device returns; pm_device_set_error and
/// pm_device_set_parent_name copy theirs. While it runs, other devices can be written, and this one
/// waits. It may read the store; its writes fail with PM_ERR_NESTED_WRITE. A C++ exception that
/// leaves it gives the update up and goes on to the caller; it must not be left by longjmp or by
/// ending the thread.
///
/// @param store     The store.
/// @param name      The device's name, name_len bytes.
/// @param callback  The function to call.
/// @param user_data Passed to it as it is.
/// @param error     NULL, or where to report a failure.
/// @return PM_OK, PM_ERR_NOT_FOUND, PM_ERR_CALLBACK, PM_ERR_IDENTITY_CHANGED, PM_ERR_INVALID_STATE,
///   PM_ERR_INVALID_NAME (the parent's), PM_ERR_TOO_LONG, PM_ERR_CONFLICT (another process changed
/// the   device meanwhile), PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE, or one that any write can
/// return (see   pm_add_device). On PM_OK the change is on disk; otherwise nothing has changed.
///
/// Thread safety: may be called from any thread; updates of one device take turns.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pm_update_device(
    store: *mut pm_store,
    name: *const c_char,
    name_len: usize,
    callback: pm_update_callback,
    user_data: *mut c_void,
    error: *mut pm_error,
) -> i32 {
    let _uncancelled = Uncancelled::begin();
    let mut begun = None;
    // SAFETY: this function's contract is that of each call in the body.
    let status = unsafe {
        guard(error, || {
            let handle = handle::borrow(store)?;
            let name = text(name, name_len, "name")?;
            let callback = callback.ok_or_else(|| Failure::null("callback"))?;
            begun = Some((pm_update::begin(handle, name)?, callback));
            Ok(())
        })
    };
    let Some((begun, callback)) = begun else {
        return status;
    };
    // SAFETY: the update is there until `begun` is dropped. Only its device is the callback's.
    let inside = unsafe { (*begun.0).update.enter_callback() };
    // SAFETY: the caller's function, called as its type says.
    let answer = unsafe { callback(&raw mut (*begun.0).device, user_data) };
    drop(inside);
    // SAFETY: the callback has left the device as this function's contract asks.
    unsafe {
        guard(error, || match answer {
            PM_OK => Box::from_raw(begun.into_raw()).commit(),
            answer => {
                let update = &(*begun.0).update;
                let name = Quoted(&update.device().name);
                Err(Failure::Callback(answer, format!("update of {name}")))
            }
        })
    }
}

/// Begins an update: locks the device against writers of this process, and reads it.
///
/// Change `**device` as a callback of pm_update_device would, then end the update with
/// pm_update_commit or pm_update_abort. No transaction is open in between: other devices can be
/// written, and this one waits.
///
/// @param store     The store.
/// @param name      The device's name, name_len bytes.
/// @param update    Where the update's handle goes, on success only.
/// @param device    Where the address of its record goes, on success only; it lives as long as the
/// update. @param error     NULL, or where to report a failure.
/// @return PM_OK, PM_ERR_NOT_FOUND, PM_ERR_TIMEOUT (another update of the device has not ended
/// within the   lock wait), PM_ERR_READ_ONLY, PM_ERR_NESTED_WRITE, PM_ERR_WRITES_STOPPED,
/// PM_ERR_CORRUPT,   PM_ERR_READERS_FULL, PM_ERR_CLOSED, PM_ERR_FORKED, PM_ERR_INVALID_ARGUMENT,
/// PM_ERR_STRUCT_SIZE.
///
/// Thread safety: may be called from any thread; the update may be ended in another.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_update_begin(
    store: *mut pm_store,
    name: *const c_char,
    name_len: usize,
    update: *mut *mut pm_update,
    device: *mut *mut pm_device,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: this function's contract is that of each call below.
    unsafe {
        guard(error, || {
            let handle = handle::borrow(store)?;
            let name = text(name, name_len, "name")?;
            if update.is_null() {
                return Err(Failure::null("update"));
            }
            if device.is_null() {
                return Err(Failure::null("device"));
            }
            let begun = pm_update::begin(handle, name)?.into_raw();
            update.write(begun);
            device.write(&raw mut (*begun).device);
            Ok(())
        })
    }
}

/// Writes the record of an update and ends the update, whatever is returned: the handle and the
/// record must not be used again.
///
/// @param update    The update.
/// @param error     NULL, or where to report a failure.
/// @return PM_OK, PM_ERR_NOT_FOUND or PM_ERR_CONFLICT (another process removed or changed the
/// device   meanwhile), PM_ERR_IDENTITY_CHANGED, PM_ERR_INVALID_STATE, PM_ERR_INVALID_NAME (the
/// parent's),   PM_ERR_TOO_LONG, PM_ERR_INVALID_ARGUMENT, or one that any write can return (see
/// pm_add_device). On   PM_OK the change is on disk; otherwise nothing has changed. With
/// PM_ERR_STRUCT_SIZE (of `error`) and   with a NULL `update` the update has not ended.
///
/// Thread safety: may be called from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_update_commit(update: *mut pm_update, error: *mut pm_error) -> i32 {
    // SAFETY: this function's contract is that of each call below.
    unsafe {
        guard(error, || {
            if update.is_null() {
                return Err(Failure::null("update"));
            }
            Box::from_raw(update).commit()
        })
    }
}

/// Gives an update up: nothing is written. The handle and the record must not be used again.
///
/// @param update    The update; NULL is allowed and does nothing.
///
/// Thread safety: may be called from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_update_abort(update: *mut pm_update) {
    // SAFETY: the update came from a box, says the caller; no error is reported.
    unsafe {
        guard(ptr::null_mut(), || {
            if !update.is_null() {
                drop(Box::from_raw(update));
            }
            Ok(())
        });
    }
}

/// Gives the device of an update another parent name, copying the text.
///
/// @param device    The record that a callback of pm_update_device or pm_update_begin was given.
/// @param text      The name, text_len bytes; a text_len of 0 takes the parent away.
/// @param error     NULL, or where to report a failure.
/// @return PM_OK; PM_ERR_INVALID_ARGUMENT for a NULL, or for a device that is not an update's;
///   PM_ERR_INVALID_NAME for more than PM_MAX_NAME_LEN bytes, or for a NUL among them;
/// PM_ERR_STRUCT_SIZE.
///
/// Thread safety: one thread at a time for one update.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_device_set_parent_name(
    device: *mut pm_device,
    text: *const c_char,
    text_len: usize,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: this function's contract is that of each call below.
    unsafe {
        guard(error, || {
            let kept = keep_text(device, text, text_len, |_, parent| {
                check_parent_name(parent)
            })?;
            (*device).parent_name = kept;
            (*device).parent_name_len = text_len;
            Ok(())
        })
    }
}

/// Gives the device of an update another error text, copying the text; a text_len of 0 takes it
/// away.
///
/// @param device    The record that a callback of pm_update_device or pm_update_begin was given.
/// @param text      The text, text_len bytes.
/// @param error     NULL, or where to report a failure.
/// @return PM_OK; PM_ERR_INVALID_ARGUMENT for a NULL, or for a device that is not an update's;
///   PM_ERR_TOO_LONG for more than PM_MAX_ERROR_LEN bytes; PM_ERR_STRUCT_SIZE.
///
/// Thread safety: one thread at a time for one update.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_device_set_error(
    device: *mut pm_device,
    text: *const c_char,
    text_len: usize,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: this function's contract is that of each call below.
    unsafe {
        guard(error, || {
            let kept = keep_text(device, text, text_len, check_error_text)?;
            (*device).error = kept;
            (*device).error_len = text_len;
            Ok(())
        })
    }
}

/// Copies a text into the memory of the update that `device` belongs to, unless `check`, which is
/// given the device's name and the text, refuses it.
///
/// # Safety
/// As for the functions that call it.
unsafe fn keep_text(
    device: *mut pm_device,
    from: *const c_char,
    len: usize,
    check: impl FnOnce(&[u8], &[u8]) -> Result<()>,
) -> Outcome<*const c_char> {
    if device.is_null() {
        return Err(Failure::null("device"));
    }
    // SAFETY: says the caller.
    let (given, owner) = unsafe {
        (
            text(from, len, "text")?,
            (*device).owner.cast::<pm_update>(),
        )
    };
    if owner.is_null() {
        return Err(Failure::argument(
            "device is not the record of an update: set its fields instead",
        ));
    }
    // SAFETY: an owner that is not NULL is the update that the record belongs to. The record itself
    // is in the caller's hands, so only the other fields are borrowed.
    let (update, texts) = unsafe { (&(*owner).update, &mut (*owner).texts) };
    check(&update.device().name, given)?;
    let mut copy = Vec::with_capacity(len + 1);
    copy.extend_from_slice(given);
    copy.push(0);
    texts.push(copy);
    Ok(texts
        .last()
        .map_or(ptr::null(), |text| text.as_ptr().cast()))
}
