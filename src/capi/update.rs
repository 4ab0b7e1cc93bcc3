//! Updates of a device: with a callback, or in two calls for runtimes that cannot be called back.
//!
//! A callback runs outside the guard and while no lock and no transaction of LMDB is held, between
//! "C-unwind" functions: a C++ exception that leaves it passes through to the C++ caller, and the
//! update is aborted on its way.

use std::ffi::{c_char, c_void};
use std::ptr;

use crate::capi::args::{handle, owned, text, Out};
use crate::capi::cancel::Uncancelled;
use crate::capi::guard::guard;
use crate::capi::handle::pm_store;
use crate::capi::status::{Failure, Outcome, PM_OK};
use crate::capi::types::{pm_device, pm_error};
use crate::capi::{args, block};
use crate::device::{check_error_text, check_parent_name};
use crate::error::{Quoted, Result};
use crate::store::write::update::Update;

/// An open update. pm_update_begin makes it; pm_update_commit or pm_update_abort ends it.
///
/// It may be passed between threads, and used by one thread at a time.
pub struct pm_update {
    update: Update,
    device: pm_device,
    /// The texts that `device` points to: those of the record, and those that pm_device_set_*
    /// copied.
    texts: Vec<Vec<u8>>,
}

/// An update that is known by its address alone, since `device.owner` and the caller have that as
/// well: it is never moved, and no box of it is made before its end. Dropping this, as an exception
/// of a callback does, aborts the update.
struct Begun(*mut pm_update);

impl Begun {
    /// Leaves it to the caller of the C function to end the update.
    fn into_raw(self) -> *mut pm_update {
        let raw = self.0;
        std::mem::forget(self);
        raw
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        // SAFETY: it came from a box, and only its owner ends it.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

/// Callback of pm_update_device. It receives a copy of the record and changes it. It returns 0 to
/// have the record written; with any other value nothing is written, and pm_error.callback_code
/// receives the value.
pub type pm_update_callback =
    Option<unsafe extern "C-unwind" fn(device: *mut pm_device, user_data: *mut c_void) -> i32>;

impl pm_update {
    fn begin(handle: &pm_store, name: &[u8]) -> Result<Begun> {
        let update = handle.store()?.begin_update(name)?;
        let record = update.device().as_ref();
        let mut texts = vec![0; block::texts_len(&record)];
        // SAFETY: the memory has that length, and stays in place for as long as the update lives.
        let device = unsafe { block::fill_device(&record, texts.as_mut_ptr(), ptr::null_mut()) };
        let begun = Box::into_raw(Box::new(pm_update {
            update,
            device,
            texts: vec![texts],
        }));
        // SAFETY: it was just made, and nothing else has its address yet.
        unsafe { (*begun).device.owner = begun.cast() };
        Ok(Begun(begun))
    }

    /// Commits the record as the caller has changed it.
    ///
    /// # Safety
    /// The texts of `self.device` point to as many bytes as their lengths say.
    unsafe fn commit(self: Box<Self>) -> Outcome<()> {
        // SAFETY: the caller promises that the texts are there.
        let changed = unsafe { args::device(&self.device)? };
        self.update.commit_as(changed)?;
        Ok(())
    }
}

/// Changes a device: calls `callback` once, on this thread, with a copy of the record, and writes
/// the record as the callback leaves it.
///
/// The callback may change size, state, parent_name and error, but not name or device_id. Texts
/// that it points to must live until pm_update_device returns; pm_device_set_error and
/// pm_device_set_parent_name copy them. While it runs, other devices can be written, and writes of
/// this device wait. It may read the store; a write from inside it fails with PM_ERR_NESTED_WRITE.
/// A C++ exception that leaves the callback aborts the update and propagates to the caller. The
/// callback must not be left by longjmp or by ending the thread.
///
/// @param store     The store.
/// @param name      The device's name, name_len bytes.
/// @param callback  The function to call.
/// @param user_data Passed to the callback unchanged.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK, PM_ERR_NOT_FOUND, PM_ERR_CALLBACK, PM_ERR_IDENTITY_CHANGED, PM_ERR_INVALID_STATE,
///   PM_ERR_INVALID_NAME (the parent's), PM_ERR_TOO_LONG, PM_ERR_CONFLICT (another process changed
///   the device during the update), PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE, or a code that any
///   write can return (see pm_add_device). After PM_OK the change is on disk; after any other code
///   nothing has changed.
///
/// Thread safety: may be called from any thread; waits for other updates of the device, in FIFO
/// order.
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
    // SAFETY: the handle, the name and the error are as documented above.
    let status = unsafe {
        guard(error, || {
            let store = handle(store, "store")?;
            let name = text(name, name_len, "name")?;
            let callback = callback.ok_or_else(|| Failure::null("callback"))?;
            begun = Some((pm_update::begin(store, name)?, callback));
            Ok(())
        })
    };
    let Some((begun, callback)) = begun else {
        return status;
    };
    // SAFETY: the update lives until `begun` is dropped. Only its device is the callback's.
    let scope = unsafe { (*begun.0).update.enter_callback() };
    // SAFETY: the caller's function, called as its type says.
    let answer = unsafe { callback(&raw mut (*begun.0).device, user_data) };
    drop(scope);
    // SAFETY: the callback has left the device as documented above.
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

/// Begins an update: locks the device against other writers of this process, and reads its record.
///
/// Change `**device` as a callback of pm_update_device would, then end the update with
/// pm_update_commit or pm_update_abort. No transaction is open in between: other devices can be
/// written, and writes of this device wait.
///
/// @param store     The store.
/// @param name      The device's name, name_len bytes.
/// @param update    Receives the handle of the update, on success only.
/// @param device    Receives the address of the record, on success only. It is valid until the
///   update ends.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK, PM_ERR_NOT_FOUND, PM_ERR_TIMEOUT (another update of the device did not end within
///   the lock wait), PM_ERR_READ_ONLY, PM_ERR_NESTED_WRITE, PM_ERR_WRITES_STOPPED, PM_ERR_CORRUPT,
///   PM_ERR_READERS_FULL, PM_ERR_CLOSED, PM_ERR_FORKED, PM_ERR_INVALID_ARGUMENT,
///   PM_ERR_STRUCT_SIZE.
///
/// Thread safety: may be called from any thread; another thread may end the update.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_update_begin(
    store: *mut pm_store,
    name: *const c_char,
    name_len: usize,
    update: *mut *mut pm_update,
    device: *mut *mut pm_device,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the handle, the name, the memory for both results and the error are as documented
    // above.
    unsafe {
        guard(error, || {
            let store = handle(store, "store")?;
            let name = text(name, name_len, "name")?;
            let update = Out::new(update, "update")?;
            let device = Out::new(device, "device")?;
            let begun = pm_update::begin(store, name)?.into_raw();
            update.set(begun);
            device.set(&raw mut (*begun).device);
            Ok(())
        })
    }
}

/// Writes the record of an update and ends the update. It ends whatever the result: the handle and
/// the record must not be used again.
///
/// @param update    The update.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK, PM_ERR_NOT_FOUND or PM_ERR_CONFLICT (another process removed or changed the
///   device during the update), PM_ERR_IDENTITY_CHANGED, PM_ERR_INVALID_STATE, PM_ERR_INVALID_NAME
///   (the parent's), PM_ERR_TOO_LONG, PM_ERR_INVALID_ARGUMENT, or a code that any write can return
///   (see pm_add_device). After PM_OK the change is on disk; after any other code nothing has
///   changed. Two failures leave the update open: PM_ERR_STRUCT_SIZE for `error`, and
///   PM_ERR_INVALID_ARGUMENT because `update` is NULL.
///
/// Thread safety: may be called from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_update_commit(update: *mut pm_update, error: *mut pm_error) -> i32 {
    // SAFETY: the update, with the texts of its record, and the error are as documented above.
    unsafe {
        guard(error, || {
            owned(update)
                .ok_or_else(|| Failure::null("update"))?
                .commit()
        })
    }
}

/// Aborts an update: nothing is written. The handle and the record must not be used again.
///
/// @param update    The update. NULL is allowed and does nothing.
///
/// Thread safety: may be called from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_update_abort(update: *mut pm_update) {
    // SAFETY: the update is open, or NULL; no error is reported.
    unsafe {
        guard(ptr::null_mut(), || {
            drop(owned(update));
            Ok(())
        });
    }
}

/// Sets the parent name of the device of an update to a copy of a text.
///
/// @param device    The record that pm_update_begin or a callback of pm_update_device received.
/// @param text      The name, text_len bytes. A text_len of 0 removes the parent.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK; PM_ERR_INVALID_ARGUMENT for NULL, or for a device that is not the record of an
///   update; PM_ERR_INVALID_NAME for more than PM_MAX_NAME_LEN bytes, or a NUL among them;
///   PM_ERR_STRUCT_SIZE.
///
/// Thread safety: may be called by one thread at a time for an update.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_device_set_parent_name(
    device: *mut pm_device,
    text: *const c_char,
    text_len: usize,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the record, the text and the error are as documented above.
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

/// Sets the error text of the device of an update to a copy of a text.
///
/// @param device    The record that pm_update_begin or a callback of pm_update_device received.
/// @param text      The text, text_len bytes. A text_len of 0 removes the error text.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK; PM_ERR_INVALID_ARGUMENT for NULL, or for a device that is not the record of an
///   update; PM_ERR_TOO_LONG for more than PM_MAX_ERROR_LEN bytes; PM_ERR_STRUCT_SIZE.
///
/// Thread safety: may be called by one thread at a time for an update.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_device_set_error(
    device: *mut pm_device,
    text: *const c_char,
    text_len: usize,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the record, the text and the error are as documented above.
    unsafe {
        guard(error, || {
            let kept = keep_text(device, text, text_len, check_error_text)?;
            (*device).error = kept;
            (*device).error_len = text_len;
            Ok(())
        })
    }
}

/// Copies a text into the memory of the update that `device` belongs to. `check` gets the device's
/// name and the text, and may refuse it.
///
/// # Safety
/// `device` is NULL, the record of an open update, or a struct whose owner is NULL. The text has
/// `len` bytes.
unsafe fn keep_text(
    device: *mut pm_device,
    from: *const c_char,
    len: usize,
    check: impl FnOnce(&[u8], &[u8]) -> Result<()>,
) -> Outcome<*const c_char> {
    // SAFETY: the caller promises that the struct and the text are there.
    let (owner, given) = unsafe {
        let owner = handle(device, "device")?.owner.cast::<pm_update>();
        (owner, text(from, len, "text")?)
    };
    if owner.is_null() {
        return Err(Failure::argument(
            "device is not the record of an update: set its fields instead",
        ));
    }
    // SAFETY: an owner that is not NULL is the update that the record belongs to. The caller has
    // the record itself, so only the other fields are borrowed.
    let (update, texts) = unsafe { (&(*owner).update, &mut (*owner).texts) };
    check(&update.device().name, given)?;
    let mut copy = Vec::with_capacity(len + 1);
    copy.extend_from_slice(given);
    copy.push(0);
    let kept = copy.as_ptr().cast();
    texts.push(copy);
    Ok(kept)
}
