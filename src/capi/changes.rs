//! Several changes in one commit.

use super::guard::guard;
use super::handle::{self, pm_store};
use super::status::{Failure, Outcome};
use super::types::*;
use crate::pool::Op;

/// Add the device, as pm_add_device does.
pub const PM_CHANGE_ADD: i32 = 0;
/// Write the device over the one of the same name, if that one's generation is still the one given and its
/// device id the same: what pm_get_device returned, changed.
pub const PM_CHANGE_UPDATE: i32 = 1;
/// Set the state of the device of that name; of the device given, only name and state are looked at.
pub const PM_CHANGE_STATE: i32 = 2;
/// Mark the device of that name, and its id, as faulty; only the name is looked at.
pub const PM_CHANGE_MARK_FAULTY: i32 = 3;
/// Remove the device of that name; only the name is looked at.
pub const PM_CHANGE_REMOVE: i32 = 4;

/// One change of a list for pm_apply.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_change {
    /// What to do, PM_CHANGE_*.
    pub kind: i32,
    /// The device to do it to. On success its device_id and generation are set to what the store has then;
    /// for a removed device, to the id that it had.
    pub device: *mut pm_device,
}

/// Makes a list of changes in one commit: all of them, in their order, or none. A change sees what those
/// before it did.
///
/// @param store     The store.
/// @param changes   The changes, count of them.
/// @param count     How many, at most PM_MAX_DEVICE_ID; 0 does nothing.
/// @param refused   NULL, or where the position of the change that was refused goes, counted from 0; count if
///   the failure was not one change's. Written on failure only.
/// @param error     NULL, or where to report a failure.
/// @return PM_OK; PM_ERR_CONFLICT if an update's record is of another generation by now, changed by another
///   process or by another thread of this one,
///   PM_ERR_IDENTITY_CHANGED if its device id is not the one in the store; PM_ERR_INVALID_ARGUMENT,
///   PM_ERR_STRUCT_SIZE; else what the change's own function returns. On PM_OK all is on disk; otherwise
///   nothing has changed.
///
/// Thread safety: may be called from any thread, with devices of its own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_apply(
    store: *mut pm_store,
    changes: *const pm_change,
    count: usize,
    refused: *mut usize,
    error: *mut pm_error,
) -> i32 {
    let mut position = count;
    // SAFETY: this function's contract is that of each call below.
    unsafe {
        let status = guard(error, || {
            let handle = handle::borrow(store)?;
            let changes = list(changes, count)?;
            // It grows with the changes that are there to be read, not with what a wrong count says.
            let mut ops = Vec::new();
            for (index, change) in changes.iter().enumerate() {
                ops.push(op(change).inspect_err(|_| position = index)?);
            }
            let applied = handle.store()?.pool().apply_ops(&ops).map_err(|failed| {
                position = failed.index.unwrap_or(count);
                failed.error
            })?;
            for (change, applied) in changes.iter().zip(applied) {
                (*change.device).device_id = applied.device_id;
                (*change.device).generation = applied.generation;
            }
            Ok(())
        });
        if status != super::PM_OK && !refused.is_null() {
            refused.write(position);
        }
        status
    }
}

/// # Safety
/// `changes` points to `count` of them, or `count` is 0.
unsafe fn list<'a>(changes: *const pm_change, count: usize) -> Outcome<&'a [pm_change]> {
    if count == 0 {
        return Ok(&[]);
    }
    if changes.is_null() {
        return Err(Failure::null("changes"));
    }
    if count > PM_MAX_DEVICE_ID as usize {
        return Err(Failure::argument(format!(
            "{count} changes are more than a list may have: {PM_MAX_DEVICE_ID}"
        )));
    }
    // SAFETY: says the caller.
    Ok(unsafe { std::slice::from_raw_parts(changes, count) })
}

/// # Safety
/// The change's device is NULL or as the header asks for.
unsafe fn op<'a>(change: &pm_change) -> Outcome<Op<'a>> {
    if change.device.is_null() {
        return Err(Failure::null("change.device"));
    }
    // SAFETY: says the caller.
    let given = unsafe { read_struct(change.device, "change.device")? };
    // SAFETY: says the caller.
    let name = unsafe { text(given.name, given.name_len, "change.device.name")? };
    Ok(match change.kind {
        // SAFETY: says the caller.
        PM_CHANGE_ADD => Op::Add(unsafe { device(&given)? }),
        PM_CHANGE_UPDATE => Op::Update {
            // SAFETY: says the caller.
            device: unsafe { device(&given)? },
            generation: given.generation,
        },
        PM_CHANGE_STATE => Op::ChangeState {
            name,
            state: state(given.state)?,
        },
        PM_CHANGE_MARK_FAULTY => Op::MarkFaulty { name },
        PM_CHANGE_REMOVE => Op::Remove { name },
        other => {
            return Err(Failure::argument(format!(
                "{other} is no kind of change; PM_CHANGE_* are"
            )))
        }
    })
}
