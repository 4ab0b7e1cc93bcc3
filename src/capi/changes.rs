//! Several changes in one call: atomically as a whole, or each independently.

use crate::capi::args::{device, handle, id_values, read_struct, set_optional, text, values};
use crate::capi::guard::{guard, ErrorArray};
use crate::capi::handle::pm_store;
use crate::capi::journal::new_intent;
use crate::capi::lists::pm_intent;
use crate::capi::status::{Failure, Outcome, PM_OK};
use crate::capi::types::{pm_device, pm_error, state, PM_MAX_DEVICE_ID};
use crate::error::Error;
use crate::store::write::op::{Applied, Op};

/// Add the device, as pm_add_device does.
pub const PM_CHANGE_ADD: i32 = 0;
/// Write the device over the one of the same name, if the stored record still has the generation
/// and the device id given: read the device with pm_get_device, change it, and pass it here. Do not
/// use a record that was read before a restore, see pm_device.generation.
pub const PM_CHANGE_UPDATE: i32 = 1;
/// Set the state of the device of that name. Only name and state of the device given are used.
pub const PM_CHANGE_STATE: i32 = 2;
/// Mark the device of that name, and its id, as faulty. Only the name is used.
pub const PM_CHANGE_MARK_FAULTY: i32 = 3;
/// Remove the device of that name. Only the name is used.
pub const PM_CHANGE_REMOVE: i32 = 4;
/// Give the device of that name another id, as pm_replace_device_id does. Only the name is used,
/// and device_id, which is the id that was refused.
pub const PM_CHANGE_REPLACE_ID: i32 = 5;
/// Free a faulty id that no device has, as pm_free_id does. Only device_id is used.
pub const PM_CHANGE_FREE_ID: i32 = 6;
/// Free all faulty ids that no device has, except ids, as pm_free_faulty_ids does.
pub const PM_CHANGE_FREE_FAULTY_IDS: i32 = 7;
/// Keep ids out of use that no device has, as pm_mark_ids_faulty does.
pub const PM_CHANGE_MARK_IDS_FAULTY: i32 = 8;
/// Keep all ids out of use from 1 to the only one in ids that no device has, as
/// pm_mark_ids_faulty_up_to does.
pub const PM_CHANGE_MARK_IDS_FAULTY_UP_TO: i32 = 9;
/// Note that a change of the pool begins, as pm_begin_intent does.
pub const PM_CHANGE_BEGIN_INTENT: i32 = 10;
/// Note that a change of the pool has ended, as pm_finish_intent does. Only the intent's number is
/// used.
pub const PM_CHANGE_FINISH_INTENT: i32 = 11;

/// One change in a list for pm_apply or pm_apply_each. Fields that its kind does not use are
/// neither read nor written.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_change {
    /// Kind of the change, one of PM_CHANGE_*.
    pub kind: i32,
    /// The device to change, for the kinds up to PM_CHANGE_FREE_ID. On success its device_id and
    /// generation are set to those in the store; for a removed device, device_id is set to the id
    /// that it had.
    pub device: *mut pm_device,
    /// The ids of the kinds from PM_CHANGE_FREE_FAULTY_IDS to PM_CHANGE_MARK_IDS_FAULTY_UP_TO, in
    /// any order.
    pub ids: *const u32,
    /// Number of ids in ids.
    pub id_count: usize,
    /// NULL, or receives, on success only, the number of ids that a change with ids has made free
    /// or faulty.
    pub changed: *mut u64,
    /// The intent of PM_CHANGE_BEGIN_INTENT, whose number and commit are set on success, and of
    /// PM_CHANGE_FINISH_INTENT.
    pub intent: *mut pm_intent,
}

/// Makes a list of changes in one commit: all of them, in order, or none. A change sees the effects
/// of those before it.
///
/// @param store     The store.
/// @param changes   The changes, count of them.
/// @param count     Number of changes, at most PM_MAX_DEVICE_ID. 0 does nothing.
/// @param refused   NULL, or receives, on failure only, the index of the change that was refused,
///   starting at 0; count if the failure does not concern a single change.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK; PM_ERR_CONFLICT if a record that PM_CHANGE_UPDATE replaces has another generation
///   by now, because another process or thread has changed it; PM_ERR_IDENTITY_CHANGED if its
///   device id differs from the stored one; PM_ERR_TOO_MANY_CHANGES if the list adds devices and
///   removes more than 100,000, or changes more pages than one commit can take;
///   PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE; otherwise what the function for the kind of
///   change returns. After PM_OK all changes are on disk; after any other code nothing has changed.
///   Of several faults, the structs, kinds and states of all changes come first, then the names and
///   texts of all, and then what the stored devices refuse; of each, the first in the list.
///
/// Thread safety: may be called from any thread. What the changes point to must not be in use by
/// another one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_apply(
    store: *mut pm_store,
    changes: *const pm_change,
    count: usize,
    refused: *mut usize,
    error: *mut pm_error,
) -> i32 {
    let mut position = count;
    // SAFETY: the handle, the changes with what they point to, `refused` and the error are as
    // documented above.
    unsafe {
        let status = guard(error, || {
            let store = handle(store, "store")?;
            let changes = list(changes, count)?;
            // Memory is allocated for changes that were read, not for what a wrong count says.
            let mut ops = Vec::new();
            for (index, change) in changes.iter().enumerate() {
                ops.push(op(change).inspect_err(|_| position = index)?);
            }
            let applied = store.store()?.pool().apply_ops(&ops).map_err(|failed| {
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

/// Makes every change of a list independently, as if each came from a thread of its own: a change
/// that is refused does not keep the others from being made. Changes of different devices share
/// commits (group commit); changes of one device are made in order. Changes of devices that an
/// update has locked come last; once waiting for one of them has timed out, the call does not wait
/// for the others.
///
/// It suits runtimes that run many writers on few threads. pm_apply makes a list of changes
/// atomically.
///
/// @param store     The store.
/// @param changes   The changes, count of them. As with pm_apply, the results of the changes that
///   were made are set.
/// @param count     Number of changes, at most PM_MAX_DEVICE_ID. 0 does nothing.
/// @param errors    NULL, or an array of count structs that all have the same struct_size. Each
///   receives PM_OK in its code if its change was made, otherwise all details of the failure.
/// @param error     NULL, or receives the details of the first failure.
/// @return PM_OK if every change was made, otherwise the code of the first that was not:
///   PM_ERR_CONFLICT and PM_ERR_IDENTITY_CHANGED as from pm_apply, or what the function for the
///   kind of change returns. After PM_ERR_STRUCT_SIZE for error or errors, and
///   PM_ERR_INVALID_ARGUMENT for store, changes or count, no change was made and errors is not
///   written. After PM_ERR_INTERNAL, a bug of the library, errors may not be written either. What
///   was made is on disk.
///
/// Thread safety: may be called from any thread. What the changes point to must not be in use by
/// another one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_apply_each(
    store: *mut pm_store,
    changes: *const pm_change,
    count: usize,
    errors: *mut pm_error,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the handle, the changes with what they point to, `errors` and the error are as
    // documented above.
    unsafe {
        guard(error, || {
            let store = handle(store, "store")?;
            let changes = list(changes, count)?;
            let errors = ErrorArray::new(errors, count)?;
            if let ([change], true) = (changes, errors.is_empty()) {
                // A single change needs no memory for results.
                let op = op(change)?;
                set_applied(change, store.store()?.pool().commit(&op)?);
                return Ok(());
            }
            let mut outcomes = Vec::new();
            let mut ops = Vec::new();
            for change in changes {
                outcomes.push(op(change).map(|op| ops.push(op)));
            }
            let store = store.store();
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
                errors.set(index, &outcome);
                first = first.and(outcome);
            }
            first
        })
    }
}

/// # Safety
/// `changes` points to `count` of them, or `count` is 0.
unsafe fn list<'a>(changes: *const pm_change, count: usize) -> Outcome<&'a [pm_change]> {
    // SAFETY: the caller promises that the changes are there.
    unsafe { values(changes, count, PM_MAX_DEVICE_ID as usize, "changes") }
}

/// Gives the caller what a change has done.
///
/// # Safety
/// [`op`] has read the change.
unsafe fn set_applied(change: &pm_change, applied: Applied) {
    // SAFETY: the struct that the kind uses is there, and the caller of the exported function lets
    // it be written.
    unsafe {
        match change.kind {
            PM_CHANGE_FREE_FAULTY_IDS
            | PM_CHANGE_MARK_IDS_FAULTY
            | PM_CHANGE_MARK_IDS_FAULTY_UP_TO => {
                set_optional(change.changed, applied.number);
            }
            PM_CHANGE_BEGIN_INTENT => {
                (*change.intent).number = applied.number;
                (*change.intent).commit = applied.generation;
            }
            PM_CHANGE_FINISH_INTENT => {}
            _ => {
                (*change.device).device_id = applied.device_id;
                (*change.device).generation = applied.generation;
            }
        }
    }
}

/// # Safety
/// What the change's kind uses is as the header asks for.
unsafe fn op<'a>(change: &pm_change) -> Outcome<Op<'a>> {
    // SAFETY: the caller promises that the ids and the intent are as the header asks for.
    unsafe {
        Ok(match change.kind {
            PM_CHANGE_FREE_FAULTY_IDS => Op::FreeFaultyIds {
                except: id_values(change.ids, change.id_count, "change.ids")?,
            },
            PM_CHANGE_MARK_IDS_FAULTY => Op::MarkIdsFaulty {
                ids: id_values(change.ids, change.id_count, "change.ids")?,
            },
            PM_CHANGE_MARK_IDS_FAULTY_UP_TO => {
                match id_values(change.ids, change.id_count, "change.ids")? {
                    [last] => Op::MarkIdsFaultyUpTo { last: *last },
                    _ => {
                        let count = change.id_count;
                        let what = format!("change.id_count is {count}, where 1 is needed");
                        return Err(Failure::argument(what));
                    }
                }
            }
            PM_CHANGE_BEGIN_INTENT => {
                let intent = read_struct(change.intent, "change.intent")?;
                Op::BeginIntent(new_intent(&intent)?)
            }
            PM_CHANGE_FINISH_INTENT => Op::FinishIntent {
                number: read_struct(change.intent, "change.intent")?.number,
            },
            _ => op_on_device(change)?,
        })
    }
}

/// # Safety
/// The change's device is NULL or as the header asks for.
unsafe fn op_on_device<'a>(change: &pm_change) -> Outcome<Op<'a>> {
    // SAFETY: the device begins with its size, and its texts are as long as it says.
    unsafe {
        let given = read_struct(change.device, "change.device")?;
        let name = text(given.name, given.name_len, "change.device.name")?;
        Ok(match change.kind {
            PM_CHANGE_ADD => Op::Add(device(&given)?),
            PM_CHANGE_UPDATE => Op::Update(device(&given)?),
            PM_CHANGE_STATE => Op::ChangeState {
                name,
                state: state(given.state)?,
            },
            PM_CHANGE_MARK_FAULTY => Op::MarkFaulty { name },
            PM_CHANGE_REMOVE => Op::Remove { name },
            PM_CHANGE_REPLACE_ID => Op::ReplaceId {
                name,
                device_id: given.device_id,
            },
            PM_CHANGE_FREE_ID => Op::FreeId {
                device_id: given.device_id,
            },
            other => {
                return Err(Failure::argument(format!(
                    "change.kind is {other}, which is not one of PM_CHANGE_*"
                )))
            }
        })
    }
}
