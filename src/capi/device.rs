//! Operations on one device: add, get, change its state, mark it faulty, remove it.

use std::ffi::{c_char, c_void};

use crate::capi::args::{handle, read_struct, set_optional, text, Out};
use crate::capi::guard::{guard, guard_cancellable};
use crate::capi::handle::pm_store;
use crate::capi::status::{Failure, Outcome, PM_ERR_BUFFER_TOO_SMALL};
use crate::capi::types::{pm_device, pm_error, pm_record};
use crate::capi::{args, block, types};
use crate::device::DeviceRef;

/// Adds a device to the store and assigns it a device id: the lowest free one, or if none is free
/// the next that was never used.
///
/// A faulty device of the same name is replaced. The new device gets another id, and the id of the
/// old one stays faulty and out of use.
///
/// @param store     The store.
/// @param device    The device: PM_DEVICE_INIT, then at least the name. Its device_id and
///   generation are ignored, and written back on success only. Its texts are copied.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK, PM_ERR_ALREADY_EXISTS, PM_ERR_INVALID_NAME (for the device's or the parent's
///   name), PM_ERR_INVALID_STATE, PM_ERR_TOO_LONG, PM_ERR_IDS_EXHAUSTED, PM_ERR_INVALID_ARGUMENT,
///   PM_ERR_STRUCT_SIZE, or a code that any write can return: PM_ERR_READ_ONLY,
///   PM_ERR_NESTED_WRITE, PM_ERR_TIMEOUT, PM_ERR_DISK_FULL, PM_ERR_MAP_FULL,
///   PM_ERR_PINNED, PM_ERR_IO,
///   PM_ERR_WRITES_STOPPED, PM_ERR_CORRUPT, PM_ERR_CLOSED, PM_ERR_FORKED. After PM_OK the device is
///   on disk; after any other code nothing has changed.
///
/// Thread safety: may be called from any thread. `device` must not be in use by another one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_add_device(
    store: *mut pm_store,
    device: *mut pm_device,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the handle, the device with its texts, and the error are as documented above.
    unsafe {
        guard(error, || {
            let store = handle(store, "store")?;
            let given = read_struct(device, "device")?;
            let added = args::device(&given)?;
            let added = store.store()?.add_device_ref(added)?;
            ((*device).device_id, (*device).generation) = added;
            Ok(())
        })
    }
}

/// Looks a device up by name and returns a copy of it.
///
/// @param store     The store.
/// @param name      The device's name, name_len bytes.
/// @param device    Receives a pointer to the copy, on success only. Free it with pm_free.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK, PM_ERR_NOT_FOUND (also for names that no device can have), PM_ERR_CORRUPT,
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
    // SAFETY: the handle, the name, the memory for the result and the error are as documented
    // above.
    unsafe {
        guard_cancellable(error, || {
            let store = handle(store, "store")?;
            let name = text(name, name_len, "name")?;
            let device = Out::new(device, "device")?;
            device.set(store.read(name, |found| Ok(block::new_device(&found)))??);
            Ok(())
        })
    }
}

/// Looks a device up by name and copies it into the caller's buffer as a pm_record. It allocates no
/// memory.
///
/// @param store     The store.
/// @param name      The device's name, name_len bytes.
/// @param buffer    Memory aligned to 8 bytes. Written on success only.
/// @param capacity  Size of buffer in bytes. 2048 bytes hold every device whose error text is no
///   longer than 980 bytes.
/// @param needed    NULL, or receives the size of the record in bytes, on success and with
///   PM_ERR_BUFFER_TOO_SMALL.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK, PM_ERR_BUFFER_TOO_SMALL, PM_ERR_NOT_FOUND (also for names that no device can
///   have), PM_ERR_CORRUPT, PM_ERR_TIMEOUT, PM_ERR_READERS_FULL, PM_ERR_CLOSED, PM_ERR_FORKED,
///   PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE.
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
    // SAFETY: the handle, the name, the buffer, `needed` and the error are as documented above.
    unsafe {
        guard_cancellable(error, || {
            let store = handle(store, "store")?;
            let name = text(name, name_len, "name")?;
            let mut buffer = RecordBuffer::new(buffer, capacity)?;
            let size = store.read(name, |found| match buffer.put(&found) {
                Ok(size) | Err(size) => Ok(size),
            })?;
            set_optional(needed, size);
            if size > capacity {
                return Err(too_small(size, capacity));
            }
            Ok(())
        })
    }
}

/// Memory of the caller's for records, aligned for them.
pub(crate) struct RecordBuffer {
    /// Where the next record goes.
    next: *mut u8,
    /// How many bytes there are from there on.
    room: usize,
}

impl RecordBuffer {
    /// Refuses NULL, unless it has no size, and memory that is not aligned.
    ///
    /// # Safety
    /// `buffer` is NULL or points to `capacity` bytes, which the library may write during the call.
    #[inline]
    pub unsafe fn new(buffer: *mut c_void, capacity: usize) -> Outcome<RecordBuffer> {
        if buffer.is_null() && capacity > 0 {
            return Err(Failure::null("buffer"));
        }
        if !buffer.addr().is_multiple_of(align_of::<pm_record>()) {
            return Err(Failure::argument("buffer is not aligned to 8 bytes"));
        }
        Ok(RecordBuffer {
            next: buffer.cast(),
            room: capacity,
        })
    }

    /// Copies a device behind those that are there, and returns the size of its record: as an error
    /// if there is no room for it.
    //
    // A call for each device would make a page of `pm_walk_next` 10 % slower; see its line in
    // `make bench`.
    #[inline(always)]
    pub fn put(&mut self, device: &DeviceRef<'_>) -> Result<usize, usize> {
        let size = block::record_size(device);
        if size > self.room {
            return Err(size);
        }
        // SAFETY: there is room for the record. It is aligned, as the buffer is and because the
        // size of every record is a multiple of the alignment.
        self.next = unsafe {
            block::write_record(device, self.next, size);
            self.next.add(size)
        };
        self.room -= size;
        Ok(size)
    }
}

/// The failure for a record that a buffer of this capacity has no room for.
#[cold]
pub(crate) fn too_small(size: usize, capacity: usize) -> Failure {
    Failure::Edge(
        PM_ERR_BUFFER_TOO_SMALL,
        format!(
            "the record takes {size} bytes and the buffer has {capacity}; \
             retry with a buffer of {size} bytes"
        ),
    )
}

/// Sets the state of a device.
///
/// @param store     The store.
/// @param name      The device's name, name_len bytes.
/// @param state     One of PM_STATE_*. PM_STATE_FAULTY leaves the device id as it is;
///   pm_mark_faulty marks both the device and its id.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK, PM_ERR_NOT_FOUND, PM_ERR_INVALID_STATE, PM_ERR_INVALID_ARGUMENT,
///   PM_ERR_STRUCT_SIZE, or a code that any write can return (see pm_add_device).
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
    // SAFETY: the handle, the name and the error are as documented above.
    unsafe {
        guard(error, || {
            let store = handle(store, "store")?;
            let name = text(name, name_len, "name")?;
            let state = types::state(state)?;
            Ok(store.store()?.change_device_state(name, state)?)
        })
    }
}

/// Marks a device and its id as faulty.
///
/// The device can then be added again and gets another id; the faulty id stays out of use until the
/// device is removed. Marking a faulty device again succeeds.
///
/// @param store     The store.
/// @param name      The device's name, name_len bytes.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK, PM_ERR_NOT_FOUND, PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE, or a code that any
///   write can return (see pm_add_device).
///
/// Thread safety: may be called from any thread; waits for an update of the same device.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_mark_faulty(
    store: *mut pm_store,
    name: *const c_char,
    name_len: usize,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the handle, the name and the error are as documented above.
    unsafe {
        guard(error, || {
            let store = handle(store, "store")?;
            let name = text(name, name_len, "name")?;
            Ok(store.store()?.mark_faulty(name)?)
        })
    }
}

/// Removes a device and frees its id, also if the device was faulty.
///
/// @param store     The store.
/// @param name      The device's name, name_len bytes.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK, PM_ERR_NOT_FOUND, PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE, or a code that any
///   write can return (see pm_add_device).
///
/// Thread safety: may be called from any thread; waits for an update of the same device.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_remove_device(
    store: *mut pm_store,
    name: *const c_char,
    name_len: usize,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the handle, the name and the error are as documented above.
    unsafe {
        guard(error, || {
            let store = handle(store, "store")?;
            let name = text(name, name_len, "name")?;
            Ok(store.store()?.remove_device(name)?)
        })
    }
}
