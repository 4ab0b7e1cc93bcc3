//! All devices: with a callback, in pages copied to a buffer, or only their names.

use std::ffi::{c_char, c_void};
use std::sync::{Mutex, MutexGuard};

use crate::capi::args::{handle, owned, read_optional, set_optional, text, Out};
use crate::capi::block;
use crate::capi::cancel::Uncancelled;
use crate::capi::device::{too_small, RecordBuffer};
use crate::capi::guard::guard;
use crate::capi::handle::pm_store;
use crate::capi::status::{Failure, Outcome, PM_ERR_BUSY, PM_OK};
use crate::capi::types::{pm_device, pm_error, pm_names, state};
use crate::error::{Error, Quoted};
use crate::store::walk::{Walk, WalkFilter};
use crate::sync::primitives::try_lock;

/// A walk over all devices. pm_walk_open makes it, pm_walk_close ends it.
pub struct pm_walk {
    state: Mutex<State>,
}

pub(crate) struct State {
    pub walk: Walk,
    /// The error that came after the records of the last page; the next call reports it.
    failed: Option<Error>,
}

/// Callback of pm_walk_devices, called for each device. The device and its texts are valid until it
/// returns. It returns 0 to go on; any other value ends the walk, and pm_error.callback_code
/// receives the value.
pub type pm_walk_callback =
    Option<unsafe extern "C-unwind" fn(device: *const pm_device, user_data: *mut c_void) -> i32>;

/// Calls `callback` for every device, in byte order of their names, over one consistent snapshot.
///
/// The callback may read and write the store; the walk does not see what it writes. A write that
/// needs a larger map cannot wait for its own walk's end, and fails with PM_ERR_TIMEOUT; closing
/// the store fails with PM_ERR_BUSY. A C++ exception that leaves the callback ends the walk and
/// propagates to the caller. The callback must not be left by longjmp or by ending the thread.
///
/// @param store     The store.
/// @param callback  The function to call.
/// @param user_data Passed to the callback unchanged.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK, PM_ERR_CALLBACK, PM_ERR_CORRUPT (after the callback was called for the devices
///   before the damaged one), PM_ERR_TIMEOUT, PM_ERR_READERS_FULL, PM_ERR_CLOSED, PM_ERR_FORKED,
///   PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE.
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
    // SAFETY: the handle and the error are as documented above.
    let status = unsafe {
        guard(error, || {
            let store = handle(store, "store")?;
            let callback = callback.ok_or_else(|| Failure::null("callback"))?;
            begun = Some((store.store()?.walk()?, callback));
            Ok(())
        })
    };
    let Some((mut walk, callback)) = begun else {
        return status;
    };
    // Left before the walk ends, also when an exception leaves the callback.
    let _scope = walk.enter_callback();
    let mut texts = Vec::new();
    loop {
        let mut next = None;
        // SAFETY: the error is as documented above.
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
            // SAFETY: the error is as documented above; the name is still in `texts`.
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
    // SAFETY: there is room for the texts, and they stay there until the next device is read.
    Ok(Some(unsafe {
        block::fill_device(&device, texts.as_mut_ptr(), std::ptr::null_mut())
    }))
}

/// Begins a walk over all devices, in byte order of their names, over the snapshot of this moment.
///
/// While a walk is open, the store cannot be closed, its map cannot grow, and pages that are freed
/// are not used again.
///
/// @param store     The store.
/// @param walk      Receives the handle of the walk, on success only. End it with pm_walk_close.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK, PM_ERR_TIMEOUT, PM_ERR_READERS_FULL, PM_ERR_CLOSED, PM_ERR_FORKED,
///   PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE.
///
/// Thread safety: may be called from any thread; the walk may continue on another thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_walk_open(
    store: *mut pm_store,
    walk: *mut *mut pm_walk,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the handle, the memory for the result and the error are as documented above.
    unsafe {
        guard(error, || {
            let store = handle(store, "store")?;
            let out = Out::new(walk, "walk")?;
            let walk = store.store()?.walk()?;
            let state = Mutex::new(State { walk, failed: None });
            out.set(Box::into_raw(Box::new(pm_walk { state })));
            Ok(())
        })
    }
}

/// Which devices pm_walk_open_filtered shows. PM_FILTER_INIT sets the size and leaves every other
/// field 0, which selects all devices.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_filter {
    /// sizeof(pm_filter), set by the caller, at least 48. PM_FILTER_INIT sets it.
    pub struct_size: usize,
    /// The states that a device may have: bit n for the state n, so 1 << PM_STATE_FAULTY for faulty
    /// devices. 0 for any.
    pub states: u32,
    /// Lowest id that a device may have.
    pub first_id: u32,
    /// Highest id that a device may have, 0 for any.
    pub last_id: u32,
    /// Name of the parent that a device must have, NULL for any. With a length of 0 and a pointer
    /// other than NULL, only devices without a parent are shown.
    pub parent_name: *const c_char,
    /// Length of parent_name in bytes.
    pub parent_name_len: usize,
    /// Only devices that were written after this commit are shown, 0 for all.
    pub since: u64,
}

/// Begins a walk over the devices that a filter selects, in byte order of their names, over the
/// snapshot of this moment: the children of a device, the faulty ones, those that were written
/// since a commit. It looks at every device all the same.
///
/// @param store     The store.
/// @param filter    Which devices to show, NULL for all.
/// @param walk      Receives the handle of the walk, on success only. Use and end it as one of
///   pm_walk_open.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK, PM_ERR_TIMEOUT, PM_ERR_READERS_FULL, PM_ERR_CLOSED, PM_ERR_FORKED,
///   PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE.
///
/// Thread safety: may be called from any thread; the walk may continue on another thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_walk_open_filtered(
    store: *mut pm_store,
    filter: *const pm_filter,
    walk: *mut *mut pm_walk,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the handle, the filter with its text, the memory for the result and the error are as
    // documented above.
    unsafe {
        guard(error, || {
            let store = handle(store, "store")?;
            let out = Out::new(walk, "walk")?;
            let filter = match read_optional(filter, "filter")? {
                Some(filter) => walk_filter(&filter)?,
                None => WalkFilter::default(),
            };
            let walk = store.store()?.walk_filtered(&filter)?;
            let state = Mutex::new(State { walk, failed: None });
            out.set(Box::into_raw(Box::new(pm_walk { state })));
            Ok(())
        })
    }
}

/// # Safety
/// The parent's name is NULL, or as long as the filter says.
unsafe fn walk_filter(from: &pm_filter) -> Outcome<WalkFilter> {
    let bits = (0..u32::BITS).filter(|bit| from.states >> bit & 1 != 0);
    let states: Outcome<Vec<_>> = bits.map(|bit| state(bit as i32)).collect();
    // SAFETY: the caller promises that the name is there.
    let parent = unsafe { text(from.parent_name, from.parent_name_len, "filter.parent_name")? };
    let parent = (!from.parent_name.is_null()).then_some(parent);
    Ok(WalkFilter {
        states: states?,
        parent: parent.map(<[u8]>::to_vec),
        ids: from.first_id..=if from.last_id == 0 {
            u32::MAX
        } else {
            from.last_id
        },
        since: from.since,
    })
}

/// Fills the caller's buffer with the next devices, as many as fit, one pm_record after the other.
///
/// @param walk      The walk.
/// @param buffer    Memory aligned to 8 bytes. 64 KiB is a good size.
/// @param capacity  Size of buffer in bytes.
/// @param count     Receives the number of records, on success only; 0 after the last device.
/// @param needed    NULL, or receives the size of the next record in bytes with
///   PM_ERR_BUFFER_TOO_SMALL.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK; PM_ERR_BUFFER_TOO_SMALL if not even one record fits: call again with a larger
///   buffer; PM_ERR_CORRUPT after the devices before the damaged one were returned, which ends the
///   walk; PM_ERR_BUSY if another thread is in a call with the same walk; PM_ERR_FORKED,
///   PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE.
///
/// Thread safety: may be called from any thread, by one thread at a time for a walk.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_walk_next(
    walk: *mut pm_walk,
    buffer: *mut c_void,
    capacity: usize,
    count: *mut usize,
    needed: *mut usize,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the walk, the buffer, the memory for both numbers and the error are as documented
    // above.
    unsafe {
        guard(error, || {
            let mut state = lock(handle(walk, "walk")?)?;
            let buffer = RecordBuffer::new(buffer, capacity)?;
            let count = Out::new(count, "count")?;
            let page = fill_page(&mut state, buffer)?;
            match page.too_large {
                Some(size) if page.count == 0 => {
                    set_optional(needed, size);
                    Err(too_small(size, capacity))
                }
                _ => {
                    count.set(page.count);
                    Ok(())
                }
            }
        })
    }
}

/// The state of a walk, for the one thread that may use it at a time.
pub(crate) fn lock(walk: &pm_walk) -> Outcome<MutexGuard<'_, State>> {
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
    /// Size of the record for which there was no room.
    too_large: Option<usize>,
}

/// Copies devices to the buffer until one does not fit; the walk goes on with that one.
fn fill_page(state: &mut State, mut buffer: RecordBuffer) -> Outcome<Page> {
    if let Some(error) = state.failed.take() {
        return Err(error.into());
    }
    let mut page = Page {
        count: 0,
        too_large: None,
    };
    loop {
        let device = match state.walk.next_ref() {
            Ok(Some(device)) => device,
            Ok(None) => break,
            Err(error) if page.count == 0 => return Err(error.into()),
            // The caller gets the intact devices before a damaged one.
            Err(error) => {
                state.failed = Some(error);
                break;
            }
        };
        if let Err(size) = buffer.put(&device) {
            page.too_large = Some(size);
            state.walk.step_back();
            break;
        }
        page.count += 1;
    }
    Ok(page)
}

/// Ends a walk. The handle must not be used again.
///
/// @param walk      The walk. NULL is allowed and does nothing.
///
/// Thread safety: may be called from any thread, while no other thread uses the walk.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_walk_close(walk: *mut pm_walk) {
    // SAFETY: the walk is open, or NULL; no error is reported.
    unsafe {
        guard(std::ptr::null_mut(), || {
            drop(owned(walk));
            Ok(())
        });
    }
}

/// Returns the names of all devices, in byte order, over one consistent snapshot.
///
/// @param store     The store.
/// @param names     Receives the list, on success only: free it with pm_free.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK, PM_ERR_CORRUPT, PM_ERR_NO_MEMORY, PM_ERR_TIMEOUT, PM_ERR_READERS_FULL,
///   PM_ERR_CLOSED, PM_ERR_FORKED, PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE.
///
/// Thread safety: may be called from any thread; never waits for writers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_get_device_names(
    store: *mut pm_store,
    names: *mut *mut pm_names,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the handle, the memory for the result and the error are as documented above.
    unsafe {
        guard(error, || {
            let store = handle(store, "store")?;
            let names = Out::new(names, "names")?;
            names.set(list_names(&mut store.store()?.walk()?)?);
            Ok(())
        })
    }
}

/// Collects the names first, since only then is the size of the block known.
fn list_names(walk: &mut Walk) -> Outcome<*mut pm_names> {
    let (mut lens, mut texts) = (Vec::new(), Vec::new());
    while let Some(device) = walk.next_ref()? {
        lens.push(device.name.len());
        texts.extend_from_slice(device.name);
        texts.push(0);
    }
    block::new_names(&lens, &texts)
}
