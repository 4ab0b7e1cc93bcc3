//! One device: add, get, change its state, mark it faulty, remove it.

use std::ffi::{c_char, c_void};

use crate::capi::guard::{guard, guard_look};
use crate::capi::handle::pm_store;
use crate::capi::status::{Failure, Outcome, PM_ERR_BUFFER_TOO_SMALL};
use crate::capi::types::*;
use crate::capi::{block, handle};

/// Adds a device to the store and gives it a device id: the lowest that is free, or one that was
/// never used.
///
/// A faulty device of the same name is replaced: it gets another id, and the one it had stays out
/// of use.
///
/// @param store     The store.
/// @param device    The device (PM_DEVICE_INIT, then at least the name). On success device_id and
/// generation   are written back; on failure it is left as it was. Its texts are copied.
/// @param error     NULL, or where to report a failure.
/// @return PM_OK, PM_ERR_ALREADY_EXISTS, PM_ERR_INVALID_NAME (the name's or the parent's),
///   PM_ERR_INVALID_STATE, PM_ERR_TOO_LONG, PM_ERR_IDS_EXHAUSTED, PM_ERR_INVALID_ARGUMENT,
///   PM_ERR_STRUCT_SIZE, or one that any write can return: PM_ERR_READ_ONLY, PM_ERR_NESTED_WRITE,
///   PM_ERR_TIMEOUT, PM_ERR_DISK_FULL, PM_ERR_MAP_FULL, PM_ERR_IO, PM_ERR_WRITES_STOPPED,
/// PM_ERR_CORRUPT,   PM_ERR_CLOSED, PM_ERR_FORKED. On PM_OK the device is on disk; otherwise
/// nothing has changed.
///
/// Thread safety: may be called from any thread, with a `device` of its own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_add_device(
    store: *mut pm_store,
    device: *mut pm_device,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: this function's contract is that of each call below.
    unsafe {
        guard(error, || {
            let handle = handle::borrow(store)?;
            if device.is_null() {
                return Err(Failure::null("device"));
            }
            let given = read_struct(device, "device")?;
            let (device_id, generation) = handle
                .store()?
                .add_device_ref(super::types::device(&given)?)?;
            (*device).device_id = device_id;
            (*device).generation = generation;
            Ok(())
        })
    }
}

/// Looks a device up and returns a copy of it.
///
/// @param store     The store.
/// @param name      The device's name, name_len bytes.
/// @param device    Where the copy goes, on success only: one block of memory, to be given to
/// pm_free. @param error     NULL, or where to report a failure.
/// @return PM_OK, PM_ERR_NOT_FOUND (for names that no device can have as well), PM_ERR_CORRUPT,
///   PM_ERR_NO_MEMORY, PM_ERR_TIMEOUT, PM_ERR_READERS_FULL, PM_ERR_CLOSED, PM_ERR_FORKED,
///   PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE.
///
/// Thread safety: may be called from any thread; never waits for writers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_get_device(
    store: *mut pm_store,
    name: *const c_char,
    name_len: usize,
    device: *mut *mut pm_device,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: this function's contract is that of each call below.
    unsafe {
        guard_look(error, || {
            let handle = handle::borrow(store)?;
            let name = text(name, name_len, "name")?;
            if device.is_null() {
                return Err(Failure::null("device"));
            }
            let copy = handle.read(name, |found| Ok(block::new_device(&found)))??;
            device.write(copy);
            Ok(())
        })
    }
}

/// Looks a device up and copies it into the caller's buffer as a pm_record, without allocating.
///
/// @param store     The store.
/// @param name      The device's name, name_len bytes.
/// @param buffer    Memory aligned to 8 bytes. Written on success only.
/// @param capacity  Its size in bytes. 2048 are enough for every device whose error text is short.
/// @param needed    NULL, or where the record's size goes, on success and with
/// PM_ERR_BUFFER_TOO_SMALL. @param error     NULL, or where to report a failure.
/// @return PM_OK, PM_ERR_BUFFER_TOO_SMALL, or as pm_get_device.
///
/// Thread safety: may be called from any thread; never waits for writers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_read_device(
    store: *mut pm_store,
    name: *const c_char,
    name_len: usize,
    buffer: *mut c_void,
    capacity: usize,
    needed: *mut usize,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: this function's contract is that of each call below.
    unsafe {
        guard_look(error, || {
            let handle = handle::borrow(store)?;
            let name = text(name, name_len, "name")?;
            let at = record_buffer(buffer, capacity)?;
            let size = handle.read(name, |found| {
                let size = block::record_size(&found);
                if size <= capacity {
                    block::write_record(&found, at, size);
                }
                Ok(size)
            })?;
            if !needed.is_null() {
                needed.write(size);
            }
            if size > capacity {
                return Err(too_small(size, capacity));
            }
            Ok(())
        })
    }
}

/// The caller's buffer for records.
pub(crate) fn record_buffer(buffer: *mut c_void, capacity: usize) -> Outcome<*mut u8> {
    if buffer.is_null() && capacity > 0 {
        return Err(Failure::null("buffer"));
    }
    if !(buffer as usize).is_multiple_of(align_of::<pm_record>()) {
        return Err(Failure::argument("buffer is not aligned to 8 bytes"));
    }
    Ok(buffer.cast())
}

pub(crate) fn too_small(size: usize, capacity: usize) -> Failure {
    Failure::Edge(
        PM_ERR_BUFFER_TOO_SMALL,
        format!("the record takes {size} bytes and the buffer has {capacity}; retry with one of that size"),
    )
}

/// Sets a device's state.
///
/// @param store     The store.
/// @param name      The device's name, name_len bytes.
/// @param state     PM_STATE_UNKNOWN to PM_STATE_FAULTY. Setting PM_STATE_FAULTY here leaves the
/// device's id   as it is; pm_mark_faulty marks both.
/// @param error     NULL, or where to report a failure.
/// @return PM_OK, PM_ERR_NOT_FOUND, PM_ERR_INVALID_STATE, PM_ERR_INVALID_ARGUMENT,
/// PM_ERR_STRUCT_SIZE, or   one that any write can return (see pm_add_device).
///
/// Thread safety: may be called from any thread; waits for an update of the same device.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_change_device_state(
    store: *mut pm_store,
    name: *const c_char,
    name_len: usize,
    state: i32,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: this function's contract is that of each call below.
    unsafe {
        guard(error, || {
            let handle = handle::borrow(store)?;
            let name = text(name, name_len, "name")?;
            let state = super::types::state(state)?;
            Ok(handle.store()?.change_device_state(name, state)?)
        })
    }
}

/// Marks a device and its id as faulty.
///
/// The device can then be added again, with another id; this id stays out of use until the device
/// is removed. Marking a faulty device again is no error.
///
/// @param store     The store.
/// @param name      The device's name, name_len bytes.
/// @param error     NULL, or where to report a failure.
/// @return PM_OK, PM_ERR_NOT_FOUND, PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE, or one that any
/// write can   return (see pm_add_device).
///
/// Thread safety: may be called from any thread; waits for an update of the same device.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_mark_faulty(
    store: *mut pm_store,
    name: *const c_char,
    name_len: usize,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: this function's contract is that of each call below.
    unsafe {
        guard(error, || {
            let handle = handle::borrow(store)?;
            let name = text(name, name_len, "name")?;
            Ok(handle.store()?.mark_faulty(name)?)
        })
    }
}

/// Removes a device and frees its id, even if it was faulty.
///
/// @param store     The store.
/// @param name      The device's name, name_len bytes.
/// @param error     NULL, or where to report a failure.
/// @return PM_OK, PM_ERR_NOT_FOUND, PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE, or one that any
/// write can   return (see pm_add_device).
///
/// Thread safety: may be called from any thread; waits for an update of the same device.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_remove_device(
    store: *mut pm_store,
    name: *const c_char,
    name_len: usize,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: this function's contract is that of each call below.
    unsafe {
        guard(error, || {
            let handle = handle::borrow(store)?;
            let name = text(name, name_len, "name")?;
            Ok(handle.store()?.remove_device(name)?)
        })
    }
}
