//! A whole pool at once: taking another store over, and what another store needs to take this one
//! over.

use std::ffi::c_void;

use crate::capi::args::{handle, read_struct, text, values, Out};
use crate::capi::guard::guard;
use crate::capi::handle::pm_store;
use crate::capi::status::{Failure, Outcome};
use crate::capi::types::*;
use crate::capi::walk::pm_walk;
use crate::capi::{block, walk};
use crate::device::DeviceRef;
use crate::device_ids::Ids;

/// Fills an empty store with all records and ids of a pool, in one commit.
///
/// Every id from 1 to ids->last_id must belong to a device, be free, or be faulty; a faulty id may
/// belong to a device as well. pm_walk_next and pm_walk_get_ids return the records and ids of an
/// existing store in this form.
///
/// @param store     A store in which no id was ever assigned.
/// @param records   pm_records one after the other, aligned to 8 bytes, in byte order of their
///   names. Each device keeps its device_id; generations are ignored.
/// @param size      Size of all records together, in bytes.
/// @param ids       The state of all ids.
/// @param error     NULL, or receives the details of a failure: the message says what is
///   inconsistent.
/// @return PM_OK, PM_ERR_NOT_EMPTY, PM_ERR_INVALID_NAME, PM_ERR_INVALID_STATE, PM_ERR_TOO_LONG,
///   PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE, or a code that any write can return (see
///   pm_add_device). After PM_OK everything is on disk; after any other code the store is still
///   empty.
///
/// Thread safety: may be called from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_import(
    store: *mut pm_store,
    records: *const c_void,
    size: usize,
    ids: *const pm_ids,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the handle, the records, the ids with their lists and the error are as documented
    // above.
    unsafe {
        guard(error, || {
            let store = handle(store, "store")?;
            let records = text(records.cast(), size, "records")?;
            let ids = read_struct(ids, "ids")?;
            let most = PM_MAX_DEVICE_ID as usize;
            let ids = Ids {
                last_id: ids.last_id,
                free: values(ids.free_ids, ids.free_count, most, "ids.free_ids")?.to_vec(),
                faulty: values(ids.faulty_ids, ids.faulty_count, most, "ids.faulty_ids")?.to_vec(),
            };
            Ok(store.store()?.import(&parse(records)?, &ids)?)
        })
    }
}

/// Returns the state of all device ids, as of the moment when the walk began. The position of the
/// walk does not change.
///
/// @param walk      The walk.
/// @param ids       Receives the ids, on success only: free them with pm_free.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK, PM_ERR_CORRUPT, PM_ERR_NO_MEMORY, PM_ERR_BUSY (another thread is using the walk),
///   PM_ERR_FORKED, PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE.
///
/// Thread safety: may be called from any thread, by one thread at a time for a walk.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_walk_get_ids(
    walk: *mut pm_walk,
    ids: *mut *mut pm_ids,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the walk, the memory for the result and the error are as documented above.
    unsafe {
        guard(error, || {
            let walk = walk::lock(handle(walk, "walk")?)?;
            let ids = Out::new(ids, "ids")?;
            ids.set(block::new_ids(&walk.walk.ids()?)?);
            Ok(())
        })
    }
}

/// The devices in a caller's records.
fn parse(mut records: &[u8]) -> Outcome<Vec<DeviceRef<'_>>> {
    let mut devices = Vec::new();
    while !records.is_empty() {
        let bad = |what: &str| Failure::argument(format!("record {} {what}", devices.len() + 1));
        let (head, rest) = head(records).ok_or_else(|| bad("is cut short"))?;
        let size = head.record_size as usize;
        let lens = [head.name_len, head.parent_name_len, head.error_len].map(|len| len as usize);
        let texts_len: usize = lens.iter().sum::<usize>() + lens.len();
        let texts = rest.get(..texts_len).ok_or_else(|| bad("is cut short"))?;
        if size > records.len()
            || size < size_of::<pm_record>() + texts_len
            || !size.is_multiple_of(8)
        {
            return Err(bad("has an impossible record_size"));
        }
        let (name, behind) = texts.split_at(lens[0] + 1);
        let (parent_name, error) = behind.split_at(lens[1] + 1);
        devices.push(DeviceRef {
            name: &name[..lens[0]],
            device_id: head.device_id,
            size: head.size,
            parent_name: &parent_name[..lens[1]],
            state: state(head.state)?,
            error: &error[..lens[2]],
            generation: 0,
        });
        records = &records[size..];
    }
    Ok(devices)
}

/// The first record's fields, and the bytes behind them.
fn head(records: &[u8]) -> Option<(pm_record, &[u8])> {
    let (head, rest) = records.split_first_chunk::<{ size_of::<pm_record>() }>()?;
    // SAFETY: there are as many bytes as the struct has, and any bytes are a value of it.
    let head = unsafe { head.as_ptr().cast::<pm_record>().read_unaligned() };
    Some((head, rest))
}
