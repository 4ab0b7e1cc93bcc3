//! A whole pool at once: taking another store over, and what another needs to take this one over.

use std::ffi::{c_char, c_void};

use crate::capi::guard::guard;
use crate::capi::handle::pm_store;
use crate::capi::status::{Failure, Outcome};
use crate::capi::types::*;
use crate::capi::walk::pm_walk;
use crate::capi::{block, handle, walk};
use crate::device::DeviceRef;
use crate::device_ids::Ids;

/// Fills an empty store with a whole pool's records, ids included, in one commit.
///
/// Every id from 1 to ids->last_id must belong to a device, or be free, or be faulty; a faulty one
/// may belong to a device as well. pm_walk_next and pm_walk_get_ids tell the same of a store.
///
/// @param store     A store in which no id was ever given out.
/// @param records   pm_records one behind the other, aligned to 8 bytes, in the byte order of their
/// names;   each keeps its device_id, and its generation is ignored.
/// @param size      Bytes of all records together.
/// @param ids       The ids' states.
/// @param error     NULL, or where to report a failure: its message says what does not go together.
/// @return PM_OK, PM_ERR_NOT_EMPTY, PM_ERR_INVALID_NAME, PM_ERR_INVALID_STATE, PM_ERR_TOO_LONG,
///   PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE, or one that any write can return (see
/// pm_add_device). On   PM_OK all is on disk; otherwise the store is as empty as it was.
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
    // SAFETY: this function's contract is that of each call below.
    unsafe {
        guard(error, || {
            let handle = handle::borrow(store)?;
            let records = text(records.cast::<c_char>(), size, "records")?;
            if ids.is_null() {
                return Err(Failure::null("ids"));
            }
            let ids = read_struct(ids, "ids")?;
            let ids = Ids {
                last_id: ids.last_id,
                free: list(ids.free_ids, ids.free_count, "ids.free_ids")?,
                faulty: list(ids.faulty_ids, ids.faulty_count, "ids.faulty_ids")?,
            };
            Ok(handle.store()?.import(&parse(records)?, &ids)?)
        })
    }
}

/// Returns the state of all device ids, as of the moment when the walk began. The walk stays where
/// it is.
///
/// @param walk      The walk.
/// @param ids       Where the lists go, on success only: one block of memory, to be given to
/// pm_free. @param error     NULL, or where to report a failure.
/// @return PM_OK, PM_ERR_CORRUPT, PM_ERR_NO_MEMORY, PM_ERR_BUSY (another thread is using the walk),
///   PM_ERR_FORKED, PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE.
///
/// Thread safety: may be called from any thread, one at a time for one walk.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_walk_get_ids(
    walk: *mut pm_walk,
    ids: *mut *mut pm_ids,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: this function's contract is that of each call below.
    unsafe {
        guard(error, || {
            let state = walk::borrow(walk)?;
            if ids.is_null() {
                return Err(Failure::null("ids"));
            }
            ids.write(block::new_ids(&state.walk.ids()?)?);
            Ok(())
        })
    }
}

/// # Safety
/// `from` points to `count` numbers, or `count` is 0.
unsafe fn list(from: *const u32, count: usize, name: &str) -> Outcome<Vec<u32>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    if from.is_null() {
        return Err(Failure::null(name));
    }
    if count > PM_MAX_DEVICE_ID as usize {
        return Err(Failure::argument(format!(
            "{name} has {count} ids, more than there are"
        )));
    }
    // SAFETY: says the caller.
    Ok(unsafe { std::slice::from_raw_parts(from, count) }.to_vec())
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

fn head(records: &[u8]) -> Option<(pm_record, &[u8])> {
    let (head, rest) = records.split_first_chunk::<{ size_of::<pm_record>() }>()?;
    // SAFETY: the bytes are as many as the struct has, and every pattern of them is one.
    Some((
        unsafe { head.as_ptr().cast::<pm_record>().read_unaligned() },
        rest,
    ))
}
