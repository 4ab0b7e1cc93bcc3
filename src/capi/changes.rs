//! Several changes in one call: as a whole, or each by itself.

use crate::capi::guard::{check_error, guard, report};
use crate::capi::handle;
use crate::capi::handle::pm_store;
use crate::capi::status::{Failure, Outcome, PM_OK};
use crate::capi::types::*;
use crate::error::Error;
use crate::store::write::changes::Applied;
use crate::store::write::op::Op;

/// Add the device, as pm_add_device does.
pub const PM_CHANGE_ADD: i32 = 0;
/// Write the device over the one of the same name, if that one's generation is still the one given
/// and its device id the same: what pm_get_device returned, changed. Not for what was read before a
/// restore: see pm_device.generation.
pub const PM_CHANGE_UPDATE: i32 = 1;
/// Set the state of the device of that name; of the device given, only name and state are looked
/// at.
pub const PM_CHANGE_STATE: i32 = 2;
/// Mark the device of that name, and its id, as faulty; only the name is looked at.
pub const PM_CHANGE_MARK_FAULTY: i32 = 3;
/// Remove the device of that name; only the name is looked at.
pub const PM_CHANGE_REMOVE: i32 = 4;

/// One change of a list for pm_apply or pm_apply_each.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_change {
    /// What to do, PM_CHANGE_*.
    pub kind: i32,
    /// The device to do it to. On success its device_id and generation are set to what the store
    /// has then; for a removed device, to the id that it had.
    pub device: *mut pm_device,
}

/// Makes a list of changes in one commit: all of them, in their order, or none. A change sees what
/// those before it did.
///
/// @param store     The store.
/// @param changes   The changes, count of them.
/// @param count     How many, at most PM_MAX_DEVICE_ID; 0 does nothing.
/// @param refused   NULL, or where the position of the change that was refused goes, counted from
/// 0; count if   the failure was not one change's. Written on failure only.
/// @param error     NULL, or where to report a failure.
/// @return PM_OK; PM_ERR_CONFLICT if an update's record is of another generation by now, changed by
/// another   process or by another thread of this one,
///   PM_ERR_IDENTITY_CHANGED if its device id is not the one in the store; PM_ERR_INVALID_ARGUMENT,
///   PM_ERR_STRUCT_SIZE; else what the change's own function returns. On PM_OK all is on disk;
/// otherwise   nothing has changed.
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
            // It grows with the changes that are there to be read, not with what a wrong count
            // says.
            let mut ops = Vec::new();
            for (index, change) in changes.iter().enumerate() {
                ops.push(op(change).inspect_err(|_| position = index)?);
            }
            let applied = handle.store()?.pool().apply_ops(&ops).map_err(|failed| {
                position = failed.index.unwrap_or(count);
                failed.error
            })?;
            for (change, applied) in changes.iter().zip(applied) {
                set_applied(change, applied);
            }
            Ok(())
        });
        if status != PM_OK && !refused.is_null() {
            refused.write(position);
        }
        status
    }
}

/// Makes each change of a list by itself, as if each came from a thread of its own: one that is
/// refused keeps no other from being made. Changes of different devices share commits; those of one
/// device are made in their order. Devices that an update has locked are waited for last, and once
/// one has been waited for in vain, no others are.
///
/// For runtimes that have many writers in few threads. pm_apply makes a list as a whole.
///
/// @param store     The store.
/// @param changes   The changes, count of them. The device_id and generation of those that were
/// made are set, as   by pm_apply.
/// @param count     How many, at most PM_MAX_DEVICE_ID; 0 does nothing.
/// @param errors    NULL, or count structs of one struct_size: the code of each is set to PM_OK if
/// its change was   made, and else the whole struct to the reason.
/// @param error     NULL, or where to report the first failure.
/// @return PM_OK if every change was made; else the code of the first that was not: PM_ERR_CONFLICT
/// and   PM_ERR_IDENTITY_CHANGED as from pm_apply, or what the change's own function returns. With
///   PM_ERR_STRUCT_SIZE (of error or errors) and PM_ERR_INVALID_ARGUMENT for store, changes or
/// count, none was   made and errors is left alone. With PM_ERR_INTERNAL, a defect of the library,
/// it can be left alone too. What was   made is on disk.
///
/// Thread safety: may be called from any thread, with devices of its own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_apply_each(
    store: *mut pm_store,
    changes: *const pm_change,
    count: usize,
    errors: *mut pm_error,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: this function's contract is that of each call below.
    unsafe {
        guard(error, || {
            let handle = handle::borrow(store)?;
            let changes = list(changes, count)?;
            let errors = Errors::of(errors, count)?;
            if let ([change], true) = (changes, errors.first.is_null()) {
                // No memory is needed for the results of one.
                let op = op(change)?;
                set_applied(change, handle.store()?.pool().commit(&op)?.into());
                return Ok(());
            }
            let mut outcomes = Vec::new();
            let mut ops = Vec::new();
            for change in changes {
                outcomes.push(op(change).map(|op| ops.push(op)));
            }
            let store = handle.store();
            let mut results = match &store {
                Ok(store) => store.pool().apply_each_op(&ops),
                Err(error) => ops.iter().map(|_| Err(error.clone())).collect(),
            }
            .into_iter();
            let mut first = match count {
                0 => store.map(drop).map_err(Failure::from),
                _ => Ok(()),
            };
            for (index, outcome) in outcomes.into_iter().enumerate() {
                let outcome = outcome.and_then(|()| {
                    let missing = Err(Error::Internal {
                        what: "a change of a list has no result",
                    });
                    let applied = results.next().unwrap_or(missing)?;
                    set_applied(&changes[index], applied);
                    Ok(())
                });
                errors.report(index, &outcome);
                first = first.and(outcome);
            }
            first
        })
    }
}

/// The structs that a caller has given for reports, or none.
struct Errors {
    first: *mut pm_error,
    struct_size: usize,
}

impl Errors {
    /// # Safety
    /// `first` is NULL or points to `count` structs of the size that the first one tells.
    unsafe fn of(first: *mut pm_error, count: usize) -> Outcome<Errors> {
        let mut errors = Errors {
            first,
            struct_size: 0,
        };
        if first.is_null() || count == 0 {
            errors.first = std::ptr::null_mut();
            return Ok(errors);
        }
        // SAFETY: says the caller.
        errors.struct_size = unsafe { (*first).struct_size };
        for index in 0..count {
            // SAFETY: each begins with its size; one of another size ends the loop.
            unsafe { check_error(errors.at(index), errors.struct_size)? };
        }
        Ok(errors)
    }

    fn at(&self, index: usize) -> *mut pm_error {
        self.first.wrapping_byte_add(index * self.struct_size)
    }

    /// # Safety
    /// `index` is below the count that was given.
    unsafe fn report(&self, index: usize, outcome: &Outcome<()>) {
        if !self.first.is_null() {
            // SAFETY: it was looked at in the beginning.
            unsafe { report(self.at(index), outcome) };
        }
    }
}

/// # Safety
/// The change's device is one that the caller gave and that could be read.
unsafe fn set_applied(change: &pm_change, applied: Applied) {
    // SAFETY: says the caller.
    unsafe {
        (*change.device).device_id = applied.device_id;
        (*change.device).generation = applied.generation;
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
