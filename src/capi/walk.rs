//! All devices: with a callback, page by page into a caller's buffer, or only their names.

use std::ffi::c_void;
use std::sync::{Mutex, MutexGuard};

use crate::capi::cancel::Uncancelled;
use crate::capi::device::{record_buffer, too_small};
use crate::capi::guard::guard;
use crate::capi::handle::pm_store;
use crate::capi::status::{Failure, Outcome, PM_ERR_BUSY, PM_OK};
use crate::capi::types::*;
use crate::capi::{block, handle};
use crate::error::{Error, Quoted};
use crate::store::walk::Walk;
use crate::sync::primitives::try_lock;

/// A walk over all devices. Made by pm_walk_open, ended by pm_walk_close.
pub struct pm_walk {
    state: Mutex<State>,
}

pub(crate) struct State {
    pub walk: Walk,
    /// What came behind the records of the last page; the next call reports it.
    failed: Option<Error>,
}

/// Called by pm_walk_devices for each device. The device and its texts live until it returns. It
/// returns 0 to go on; any other number ends the walk and comes back in pm_error.callback_code.
pub type pm_walk_callback =
    Option<unsafe extern "C-unwind" fn(device: *const pm_device, user_data: *mut c_void) -> i32>;

/// Calls `callback` for every device, by name in byte order, as of one moment.
///
/// The callback may read and write the store; the walk does not see what it writes. A C++ exception
/// that leaves it ends the walk and goes on to the caller; it must not be left by longjmp or by
/// ending the thread.
///
/// @param store     The store.
/// @param callback  The function to call.
/// @param user_data Passed to it as it is.
/// @param error     NULL, or where to report a failure.
/// @return PM_OK, PM_ERR_CALLBACK, PM_ERR_CORRUPT (the devices before the damaged one were shown),
///   PM_ERR_TIMEOUT, PM_ERR_READERS_FULL, PM_ERR_CLOSED, PM_ERR_FORKED, PM_ERR_INVALID_ARGUMENT,
///   PM_ERR_STRUCT_SIZE.
///
/// Thread safety: may be called from any thread; never waits for writers.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pm_walk_devices(
    store: *mut pm_store,
    callback: pm_walk_callback,
    user_data: *mut c_void,
    error: *mut pm_error,
) -> i32 {
    let _uncancelled = Uncancelled::begin();
    let mut begun = None;
    // SAFETY: this function's contract is that of each call in the body.
    let status = unsafe {
        guard(error, || {
            let handle = handle::borrow(store)?;
            let callback = callback.ok_or_else(|| Failure::null("callback"))?;
            begun = Some((handle.store()?.walk()?, callback));
            Ok(())
        })
    };
    let Some((mut walk, callback)) = begun else {
        return status;
    };
    let mut texts = Vec::new();
    loop {
        let mut next = None;
        // SAFETY: as above.
        let status = unsafe {
            guard(error, || {
                next = next_device(&mut walk, &mut texts)?;
                Ok(())
            })
        };
        let Some(device) = next else {
            return status;
        };
        // SAFETY: the caller's function, called as its type says.
        let answer = unsafe { callback(&device, user_data) };
        if answer != PM_OK {
            // SAFETY: as above; the name is in `texts` still.
            return unsafe {
                guard(error, || {
                    let name = Quoted(text(device.name, device.name_len, "name")?);
                    Err(Failure::Callback(answer, format!("walk, at {name}")))
                })
            };
        }
    }
}

/// The next device, with its texts copied to `texts` so that they end in NULs.
fn next_device(walk: &mut Walk, texts: &mut Vec<u8>) -> Outcome<Option<pm_device>> {
    let Some(device) = walk.next_ref()? else {
        return Ok(None);
    };
    texts.clear();
    texts.reserve(block::texts_len(&device));
    // SAFETY: there is room for the texts, and they stay there until the next device is asked for.
    Ok(Some(unsafe {
        block::fill_device(&device, texts.as_mut_ptr(), std::ptr::null_mut())
    }))
}

/// Begins a walk over every device, by name in byte order, as of this moment.
///
/// A walk that stays open keeps the store from being closed and its map from growing, and the space
/// of records that are changed meanwhile from being used again.
///
/// @param store     The store.
/// @param walk      Where the walk's handle goes, on success only. To be given to pm_walk_close.
/// @param error     NULL, or where to report a failure.
/// @return PM_OK, PM_ERR_TIMEOUT, PM_ERR_READERS_FULL, PM_ERR_CLOSED, PM_ERR_FORKED,
///   PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE.
///
/// Thread safety: may be called from any thread; the walk may go on in another.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_walk_open(
    store: *mut pm_store,
    walk: *mut *mut pm_walk,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: this function's contract is that of each call below.
    unsafe {
        guard(error, || {
            let handle = handle::borrow(store)?;
            if walk.is_null() {
                return Err(Failure::null("walk"));
            }
            let opened = pm_walk {
                state: Mutex::new(State {
                    walk: handle.store()?.walk()?,
                    failed: None,
                }),
            };
            walk.write(Box::into_raw(Box::new(opened)));
            Ok(())
        })
    }
}

/// Fills the caller's buffer with the next devices, as many as fit, one pm_record behind the other.
///
/// @param walk      The walk.
/// @param buffer    Memory aligned to 8 bytes; 64 KiB is a good size.
/// @param capacity  Its size in bytes.
/// @param count     Where the number of records goes, on success only; 0 after the last device.
/// @param needed    NULL, or where the size of the next record goes with PM_ERR_BUFFER_TOO_SMALL.
/// @param error     NULL, or where to report a failure.
/// @return PM_OK; PM_ERR_BUFFER_TOO_SMALL if not even one record fits: call again with a larger
/// buffer;   PM_ERR_CORRUPT, once the devices before the damaged one were handed out, after which
/// the walk is at its end;   PM_ERR_BUSY if another thread is in this function with the same walk;
/// PM_ERR_FORKED, PM_ERR_INVALID_ARGUMENT,   PM_ERR_STRUCT_SIZE.
///
/// Thread safety: may be called from any thread, one at a time for one walk.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_walk_next(
    walk: *mut pm_walk,
    buffer: *mut c_void,
    capacity: usize,
    count: *mut usize,
    needed: *mut usize,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: this function's contract is that of each call below.
    unsafe {
        guard(error, || {
            let mut state = borrow(walk)?;
            let at = record_buffer(buffer, capacity)?;
            if count.is_null() {
                return Err(Failure::null("count"));
            }
            let page = fill_page(&mut state, at, capacity)?;
            match page.too_large {
                Some(size) if page.count == 0 => {
                    if !needed.is_null() {
                        needed.write(size);
                    }
                    Err(too_small(size, capacity))
                }
                _ => {
                    count.write(page.count);
                    Ok(())
                }
            }
        })
    }
}

/// # Safety
/// `walk` is NULL or an open walk.
pub(crate) unsafe fn borrow<'a>(walk: *const pm_walk) -> Outcome<MutexGuard<'a, State>> {
    // SAFETY: says the caller.
    let walk = unsafe { walk.as_ref() }.ok_or_else(|| Failure::null("walk"))?;
    try_lock(&walk.state).ok_or_else(|| {
        Failure::Edge(
            PM_ERR_BUSY,
            "another thread is using this walk; give each thread a walk of its own".to_owned(),
        )
    })
}

/// What was put into a buffer.
struct Page {
    count: usize,
    /// Size of the record that did not fit any more.
    too_large: Option<usize>,
}

/// Copies devices to `at` until one does not fit; that one is the next again.
///
/// # Safety
/// `at` is aligned for records and has `capacity` bytes.
unsafe fn fill_page(state: &mut State, at: *mut u8, capacity: usize) -> Outcome<Page> {
    if let Some(error) = state.failed.take() {
        return Err(error.into());
    }
    let mut page = Page {
        count: 0,
        too_large: None,
    };
    let mut used = 0;
    loop {
        let device = match state.walk.next_ref() {
            Ok(Some(device)) => device,
            Ok(None) => break,
            Err(error) if page.count == 0 => return Err(error.into()),
            // The sound devices in front of a damaged one are the caller's all the same.
            Err(error) => {
                state.failed = Some(error);
                break;
            }
        };
        let size = block::record_size(&device);
        if size > capacity - used {
            page.too_large = Some(size);
            state.walk.step_back();
            break;
        }
        // SAFETY: `used` is a multiple of the alignment, and there is room for the record behind
        // it.
        unsafe { block::write_record(&device, at.add(used), size) };
        used += size;
        page.count += 1;
    }
    Ok(page)
}

/// Ends a walk.
///
/// @param walk      The walk; NULL is allowed and does nothing. It must not be used again.
///
/// Thread safety: may be called from any thread, when no other is using the walk.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_walk_close(walk: *mut pm_walk) {
    // SAFETY: the walk came from a box, says the caller; no error is reported.
    unsafe {
        guard(std::ptr::null_mut(), || {
            if !walk.is_null() {
                drop(Box::from_raw(walk));
            }
            Ok(())
        });
    }
}

/// Lists the names of all devices, in byte order, as of one moment.
///
/// @param store     The store.
/// @param names     Where the list goes, on success only: one block of memory, to be given to
/// pm_free. @param error     NULL, or where to report a failure.
/// @return PM_OK, PM_ERR_CORRUPT, PM_ERR_NO_MEMORY, PM_ERR_TIMEOUT, PM_ERR_READERS_FULL,
/// PM_ERR_CLOSED,   PM_ERR_FORKED, PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE.
///
/// Thread safety: may be called from any thread; never waits for writers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_get_device_names(
    store: *mut pm_store,
    names: *mut *mut pm_names,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: this function's contract is that of each call below.
    unsafe {
        guard(error, || {
            let handle = handle::borrow(store)?;
            if names.is_null() {
                return Err(Failure::null("names"));
            }
            names.write(list_names(&mut handle.store()?.walk()?)?);
            Ok(())
        })
    }
}

/// Collects the names first, since only then their size is known.
fn list_names(walk: &mut Walk) -> Outcome<*mut pm_names> {
    let (mut lens, mut texts) = (Vec::new(), Vec::new());
    while let Some(device) = walk.next_ref()? {
        lens.push(device.name.len());
        texts.extend_from_slice(device.name);
        texts.push(0);
    }
    block::new_names(&lens, &texts)
}
