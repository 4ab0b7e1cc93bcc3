//! Device ids: what each is used for, and bringing them in step with the pool.

use std::ffi::c_char;

use crate::capi::args::{handle, id_values, set_optional, text, Out};
use crate::capi::block;
use crate::capi::guard::guard;
use crate::capi::handle::pm_store;
use crate::capi::lists::{self, pm_id_list, PM_ID_FAULTY, PM_ID_FREE, PM_ID_TAKEN};
use crate::capi::status::{Failure, Outcome};
use crate::capi::types::*;
use crate::device_ids::IdFilter;

/// Looks a device up by its id and returns a copy of it. This looks at every device: it takes about
/// as long as a walk.
///
/// @param store     The store.
/// @param device_id The id.
/// @param device    Receives a pointer to the copy, on success only. Free it with pm_free.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK, PM_ERR_NOT_FOUND, PM_ERR_CORRUPT, PM_ERR_NO_MEMORY, PM_ERR_TIMEOUT,
///   PM_ERR_READERS_FULL, PM_ERR_CLOSED, PM_ERR_FORKED, PM_ERR_INVALID_ARGUMENT,
///   PM_ERR_STRUCT_SIZE.
///
/// Thread safety: may be called from any thread; never waits for writers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_get_device_by_id(
    store: *mut pm_store,
    device_id: u32,
    device: *mut *mut pm_device,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the handle, the memory for the result and the error are as documented above.
    unsafe {
        guard(error, || {
            let store = handle(store, "store")?;
            let device = Out::new(device, "device")?;
            let found = store.store()?.get_device_by_id(device_id)?;
            device.set(block::new_device(&found.as_ref())?);
            Ok(())
        })
    }
}

/// Lists device ids that were ever assigned, in ascending order, with the devices that have them,
/// as of one moment.
///
/// @param store     The store.
/// @param states    The states of the ids that are wanted: bit n for the state n, so
///   1 << PM_ID_FAULTY for faulty ids. 0 for all.
/// @param first_id  The lowest id that is wanted.
/// @param last_id   The highest id that is wanted, 0 for no limit.
/// @param ids       Receives the list, on success only: free it with pm_free.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK, PM_ERR_CORRUPT, PM_ERR_NO_MEMORY, PM_ERR_TIMEOUT, PM_ERR_READERS_FULL,
///   PM_ERR_CLOSED, PM_ERR_FORKED, PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE.
///
/// Thread safety: may be called from any thread; never waits for writers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_list_ids(
    store: *mut pm_store,
    states: u32,
    first_id: u32,
    last_id: u32,
    ids: *mut *mut pm_id_list,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the handle, the memory for the result and the error are as documented above.
    unsafe {
        guard(error, || {
            let store = handle(store, "store")?;
            let out = Out::new(ids, "ids")?;
            let filter = id_filter(states, first_id, last_id)?;
            let list = store.store()?.list_ids(&filter)?;
            out.set(lists::new_id_list(&list)?);
            Ok(())
        })
    }
}

fn id_filter(states: u32, first: u32, last: u32) -> Outcome<IdFilter> {
    let has = |state: i32| states == 0 || states & (1 << state) != 0;
    if states >> (PM_ID_FAULTY + 1) != 0 {
        let what = format!("states is {states:#x}, which has a bit that is not one of PM_ID_*");
        return Err(Failure::argument(what));
    }
    Ok(IdFilter {
        free: has(PM_ID_FREE),
        taken: has(PM_ID_TAKEN),
        faulty: has(PM_ID_FAULTY),
        first,
        last: if last == 0 { u32::MAX } else { last },
    })
}

/// Frees a faulty id that no device has, so that it can be assigned again: once the pool has
/// nothing under it any more.
///
/// @param store     The store.
/// @param device_id The id.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK, PM_ERR_ID_IN_USE if a device has the id, PM_ERR_ID_NOT_FAULTY if it is free or
///   was never assigned, PM_ERR_INVALID_ARGUMENT (also for an id of more than 24 bits),
///   PM_ERR_STRUCT_SIZE, or a code that any write can return (see pm_add_device).
///
/// Thread safety: may be called from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_free_id(
    store: *mut pm_store,
    device_id: u32,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the handle and the error are as documented above.
    unsafe {
        guard(error, || {
            let store = handle(store, "store")?;
            Ok(store.store()?.free_id(device_id)?)
        })
    }
}

/// Frees all faulty ids that no device has, except those in a list: the ids that are in the pool.
///
/// @param store     The store.
/// @param except    The ids to leave alone, except_count of them in any order.
/// @param except_count Number of ids in except.
/// @param freed     NULL, or receives the number of ids that were freed, on success only.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK, PM_ERR_INVALID_ARGUMENT (also for an id of more than 24 bits),
///   PM_ERR_STRUCT_SIZE, or a code that any write can return (see pm_add_device).
///
/// Thread safety: may be called from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_free_faulty_ids(
    store: *mut pm_store,
    except: *const u32,
    except_count: usize,
    freed: *mut u64,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the handle, the list, `freed` and the error are as documented above.
    unsafe {
        guard(error, || {
            let store = handle(store, "store")?;
            let except = id_values(except, except_count, "except")?;
            set_optional(freed, store.store()?.free_faulty_ids(except)?);
            Ok(())
        })
    }
}

/// Keeps ids out of use that no device has: each becomes faulty, whether it was free or never
/// assigned. Ids that a device has, and faulty ones, stay as they are.
///
/// After a restore of an older backup, pass the ids that are in the pool: the store would assign
/// those of devices that it does not know.
///
/// @param store     The store.
/// @param ids       The ids, count of them in any order.
/// @param count     Number of ids.
/// @param marked    NULL, or receives the number of ids that have become faulty, on success only.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK, PM_ERR_INVALID_ARGUMENT (also for an id of more than 24 bits),
///   PM_ERR_STRUCT_SIZE, or a code that any write can return (see pm_add_device).
///
/// Thread safety: may be called from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_mark_ids_faulty(
    store: *mut pm_store,
    ids: *const u32,
    count: usize,
    marked: *mut u64,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the handle, the list, `marked` and the error are as documented above.
    unsafe {
        guard(error, || {
            let store = handle(store, "store")?;
            let ids = id_values(ids, count, "ids")?;
            set_optional(marked, store.store()?.mark_ids_faulty(ids)?);
            Ok(())
        })
    }
}

/// Keeps all ids from 1 to last_id out of use that no device has, as pm_mark_ids_faulty does.
///
/// @param store     The store.
/// @param last_id   The last of the ids, at most PM_MAX_DEVICE_ID. 0 does nothing.
/// @param marked    NULL, or receives the number of ids that have become faulty, on success only.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK, PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE, or a code that any write can return
///   (see pm_add_device).
///
/// Thread safety: may be called from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_mark_ids_faulty_up_to(
    store: *mut pm_store,
    last_id: u32,
    marked: *mut u64,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the handle, `marked` and the error are as documented above.
    unsafe {
        guard(error, || {
            let store = handle(store, "store")?;
            set_optional(marked, store.store()?.mark_ids_faulty_up_to(last_id)?);
            Ok(())
        })
    }
}

/// Gives a device another id because the kernel has refused the one that it has (EEXIST): that one
/// becomes faulty and the next one is assigned, in one commit.
///
/// @param store     The store.
/// @param name      The device's name, name_len bytes.
/// @param device_id The id that was refused. If the device has another id by now, nothing changes.
/// @param new_id    Receives the new id, on success only.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK, PM_ERR_NOT_FOUND, PM_ERR_CONFLICT if the device has another id,
///   PM_ERR_IDS_EXHAUSTED, PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE, or a code that any write
///   can return (see pm_add_device).
///
/// Thread safety: may be called from any thread; waits for an update of the same device.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_replace_device_id(
    store: *mut pm_store,
    name: *const c_char,
    name_len: usize,
    device_id: u32,
    new_id: *mut u32,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the handle, the name, the memory for the result and the error are as documented
    // above.
    unsafe {
        guard(error, || {
            let store = handle(store, "store")?;
            let name = text(name, name_len, "name")?;
            let new_id = Out::new(new_id, "new_id")?;
            new_id.set(store.store()?.replace_device_id(name, device_id)?);
            Ok(())
        })
    }
}
