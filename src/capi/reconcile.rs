//! The store compared with its pool, and brought in step with it.

use std::ffi::c_char;

use crate::capi::args::{handle, id_values, read_struct, set_optional, text, values, Out};
use crate::capi::block::new_list;
use crate::capi::guard::guard;
use crate::capi::handle::pm_store;
use crate::capi::status::{Failure, Outcome};
use crate::capi::types::*;
use crate::reconcile::{
    Difference, DifferenceKind, PoolDevice, PoolState, Reconciliation, StoreAction,
};

/// The store has a device that is not in the pool.
pub const PM_DIFFERENCE_ONLY_IN_STORE: i32 = 1;
/// The pool has a device that is not in the store, and whose id the store keeps out of use.
pub const PM_DIFFERENCE_ONLY_IN_POOL: i32 = 2;
/// The pool has a device that is not in the store, and whose id the store would assign: the kernel
/// would refuse it (EEXIST).
pub const PM_DIFFERENCE_ID_WOULD_COLLIDE: i32 = 3;
/// The pool has a device with an id that no store assigns, 0 or the last one: another program has
/// made it.
pub const PM_DIFFERENCE_FOREIGN_ID: i32 = 4;
/// An id is faulty, no device has it, and the pool has nothing under it.
pub const PM_DIFFERENCE_ID_LEAKED: i32 = 5;
/// No snapshot has the device: the snapshotter cannot make one of that name.
pub const PM_DIFFERENCE_NO_SNAPSHOT: i32 = 6;
/// A snapshot's device is not in the store.
pub const PM_DIFFERENCE_NO_DEVICE: i32 = 7;

/// The store stays as it is.
pub const PM_ACTION_NOTHING: i32 = 0;
/// Free the id.
pub const PM_ACTION_FREE_ID: i32 = 1;
/// Keep the id out of use.
pub const PM_ACTION_MARK_ID_FAULTY: i32 = 2;
/// Remove the device's record, which frees its id.
pub const PM_ACTION_REMOVE_RECORD: i32 = 3;
/// Remove the device's record, and keep its id out of use: the pool has a device under it, or may
/// have one.
pub const PM_ACTION_REMOVE_RECORD_KEEP_ID: i32 = 4;

/// What is known of a pool and its snapshotter: the devices, the snapshots, or both.
/// PM_POOL_STATE_INIT sets the size.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_pool_state {
    /// sizeof(pm_pool_state), set by the caller, at least 56. PM_POOL_STATE_INIT sets it.
    pub struct_size: usize,
    /// The ids of all devices that the pool has, in any order, each once and at most 2^24 - 1. NULL
    /// if they are not known; a pointer that is not NULL, with a count of 0, if the pool has none.
    pub device_ids: *const u32,
    /// Number of ids in device_ids.
    pub device_count: usize,
    /// The names of all devices that the snapshotter has a snapshot for, in any order. NULL if they
    /// are not known; a pointer that is not NULL, with a count of 0, if there are no snapshots.
    pub snapshots: *const pm_name,
    /// Number of names in snapshots.
    pub snapshot_count: usize,
    /// The store's commit (pm_stats.commits) before the lists were made. Used if in_use is 1:
    /// devices that were written later are left alone, since the lists cannot have them.
    pub commit: u64,
    /// 1 if the store was in use while the lists were made, 0 if not.
    pub in_use: i32,
}

/// One thing that a store and its pool disagree about.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_difference {
    /// sizeof(pm_difference), set by the library.
    pub struct_size: usize,
    /// Number of the commit that last wrote the device's record, 0 without a record.
    pub generation: u64,
    /// What the difference is, one of PM_DIFFERENCE_*.
    pub kind: i32,
    /// What brings the store in step, one of PM_ACTION_*.
    pub action: i32,
    /// The device's state in the store, one of PM_STATE_*. -1 if the store does not have it.
    pub state: i32,
    /// The device id, 0 with PM_DIFFERENCE_NO_DEVICE.
    pub device_id: u32,
    /// 1 if the pool is known to have the device, else 0.
    pub in_pool: i32,
    /// 1 if the device should be deleted from the pool, if it is there; else 0. That is the
    /// operator's to do, and destroys the device's data: dmsetup remove NAME, if the device is
    /// active, then dmsetup message POOL 0 'delete ID'.
    pub delete_from_pool: i32,
    /// Name of the device, terminated by a NUL. Empty if neither the store nor the snapshotter has
    /// one.
    pub name: *const c_char,
    /// Length of name in bytes.
    pub name_len: usize,
    /// What is wrong, in words, terminated by a NUL.
    pub text: *const c_char,
    /// Length of text in bytes.
    pub text_len: usize,
}

/// Everything that a store and its pool disagree about, as pm_reconcile returns it: one block of
/// memory, to be freed with pm_free.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_reconciliation {
    /// sizeof(pm_reconciliation), set by the library.
    pub struct_size: usize,
    /// Number of the commit that was compared.
    pub commit: u64,
    /// Number of devices that are in both. 0 if the pool's are not known.
    pub in_both: u64,
    /// Number of devices of the store that were left alone because they are newer than the lists.
    pub newer: u64,
    /// Number of differences. 0 if store and pool are in step.
    pub count: usize,
    /// Pointers to the differences: of devices by name, then of ids, then of snapshots that have no
    /// device; count of them.
    pub differences: *const *const pm_difference,
}

/// Compares the store, as of one moment, with what is known of its pool and of the snapshotter:
/// what is in one of them only, and what would bring the store in step. Nothing is changed, so this
/// is also the dry run of pm_apply_reconciliation.
///
/// A device that belongs to no snapshot is to be removed from the store, and its id kept out of use
/// unless the pool is known not to have it. A device that a snapshot has and the pool lacks is only
/// reported. One in PM_STATE_REMOVED is left alone, since its removal is pending, unless the pool
/// lacks it.
///
/// If the store is in use meanwhile, read pm_stats.commits before the lists are made, and pass it
/// as `commit`, with 1 as `in_use`. A snapshotter adds the device of a new snapshot first and the
/// snapshot last: let the time that this takes pass between reading the commit and listing the
/// snapshots.
///
/// @param store     The store.
/// @param pool      What is known. Devices and snapshots that are both unknown are refused.
/// @param found     Receives the differences, on success only: free them with pm_free.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK (also if there are differences), PM_ERR_CORRUPT, PM_ERR_NO_MEMORY, PM_ERR_TIMEOUT,
///   PM_ERR_READERS_FULL, PM_ERR_CLOSED, PM_ERR_FORKED, PM_ERR_INVALID_ARGUMENT (also if neither
///   list is given, for an id of more than 24 bits, and for one that is listed twice),
///   PM_ERR_STRUCT_SIZE.
///
/// Thread safety: may be called from any thread; never waits for writers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_reconcile(
    store: *mut pm_store,
    pool: *const pm_pool_state,
    found: *mut *mut pm_reconciliation,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the handle, the lists, the memory for the result and the error are as documented
    // above.
    unsafe {
        guard(error, || {
            let store = handle(store, "store")?;
            let pool = pool_state(&read_struct(pool, "pool")?)?;
            let out = Out::new(found, "found")?;
            out.set(new_reconciliation(&store.store()?.reconcile(&pool)?)?);
            Ok(())
        })
    }
}

/// Does the store's part of differences that pm_reconcile has found, in one commit, all of it or
/// nothing. What the pool has to do comes after it: see pm_difference.delete_from_pool.
///
/// Pass pm_reconciliation.differences with its count for all of them, or an array of pointers to
/// those that are wanted. Of each, action, device_id, name and generation are used.
///
/// @param store     The store.
/// @param differences Pointers to the differences, count of them. They are only read.
/// @param count     Number of differences.
/// @param applied   NULL, or receives the number of differences that the store had a part in, on
///   success only.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK, PM_ERR_CONFLICT or PM_ERR_NOT_FOUND if a device was written or removed since,
///   PM_ERR_ID_IN_USE or PM_ERR_ID_NOT_FAULTY if an id was assigned or freed since: compare again.
///   PM_ERR_INVALID_ARGUMENT (also for an action that is not one of PM_ACTION_*, and an id of more
///   than 24 bits), PM_ERR_STRUCT_SIZE, or a code that any write can return (see pm_add_device).
///
/// Thread safety: may be called from any thread; waits for updates of the devices that it writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_apply_reconciliation(
    store: *mut pm_store,
    differences: *const *const pm_difference,
    count: usize,
    applied: *mut u64,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the handle, the differences with their names, `applied` and the error are as
    // documented above.
    unsafe {
        guard(error, || {
            let store = handle(store, "store")?;
            let given = list(differences, count, "differences")?;
            let differences = given.iter().enumerate();
            let plan = Reconciliation {
                differences: differences
                    .map(|(at, given)| difference(*given, at))
                    .collect::<Outcome<_>>()?,
                ..Reconciliation::default()
            };
            let done = store.store()?.apply_reconciliation(&plan)?;
            set_optional(applied, done);
            Ok(())
        })
    }
}

/// # Safety
/// `pointer` points to `count` values that do not change while `'a` lasts, or `count` is 0.
unsafe fn list<'a, T>(pointer: *const T, count: usize, name: &str) -> Outcome<&'a [T]> {
    let most = isize::MAX as usize / size_of::<T>();
    // SAFETY: the caller promises that the values are there.
    unsafe { values(pointer, count, most, name) }
}

/// # Safety
/// The lists have as many values as their counts say, and each name as many bytes as its length.
unsafe fn pool_state(from: &pm_pool_state) -> Outcome<PoolState> {
    if !(0..=1).contains(&from.in_use) {
        let what = format!("pool.in_use is {}, which is neither 0 nor 1", from.in_use);
        return Err(Failure::argument(what));
    }
    // SAFETY: the caller promises that the values are there.
    let (ids, names) = unsafe {
        (
            id_values(from.device_ids, from.device_count, "pool.device_ids")?,
            list(from.snapshots, from.snapshot_count, "pool.snapshots")?,
        )
    };
    let copy = |name: &pm_name| {
        // SAFETY: the caller promises that the bytes are there.
        let name = unsafe { text(name.name, name.name_len, "pool.snapshots[].name")? };
        Ok(name.to_vec())
    };
    let snapshots = (!from.snapshots.is_null())
        .then(|| names.iter().map(copy).collect::<Outcome<_>>())
        .transpose()?;
    let device = |&device_id| PoolDevice {
        device_id,
        ..PoolDevice::default()
    };
    Ok(PoolState {
        devices: (!from.device_ids.is_null()).then(|| ids.iter().map(device).collect()),
        snapshots,
        commit: (from.in_use != 0).then_some(from.commit),
    })
}

/// What the store's part of a difference needs, which was the one at this position of a list.
///
/// # Safety
/// `from` is NULL or points to as many bytes as its size says, and its name has its length.
unsafe fn difference(from: *const pm_difference, at: usize) -> Outcome<Difference> {
    let place = format!("differences[{at}]");
    // SAFETY: the caller promises that the struct and the name are there.
    let (given, name) = unsafe {
        let given = read_struct(from, &place)?;
        let name = text(given.name, given.name_len, &format!("{place}.name"))?;
        (given, name)
    };
    let action = match given.action {
        PM_ACTION_NOTHING => StoreAction::Nothing,
        PM_ACTION_FREE_ID => StoreAction::FreeId,
        PM_ACTION_MARK_ID_FAULTY => StoreAction::MarkIdFaulty,
        PM_ACTION_REMOVE_RECORD => StoreAction::RemoveRecord,
        PM_ACTION_REMOVE_RECORD_KEEP_ID => StoreAction::RemoveRecordKeepId,
        other => {
            let what = format!("{place}.action is {other}, which is not one of PM_ACTION_*");
            return Err(Failure::argument(what));
        }
    };
    Ok(Difference {
        // What is done depends on the action alone.
        kind: DifferenceKind::OnlyInStore,
        name: Some(name.to_vec()),
        device_id: Some(given.device_id),
        state: None,
        generation: given.generation,
        in_pool: None,
        action,
        delete_from_pool: false,
        what: String::new(),
    })
}

/// A block with differences.
fn new_reconciliation(from: &Reconciliation) -> Outcome<*mut pm_reconciliation> {
    let name_len = |each: &Difference| each.name.as_ref().map_or(0, Vec::len);
    let make = |each: &Difference, [name, text]: [*const c_char; 2]| pm_difference {
        struct_size: size_of::<pm_difference>(),
        generation: each.generation,
        kind: each.kind as i32,
        action: each.action as i32,
        state: each.state.map_or(-1, |state| state as i32),
        device_id: each.device_id.unwrap_or(0),
        in_pool: each.in_pool.is_some().into(),
        delete_from_pool: each.delete_from_pool.into(),
        name,
        name_len: name_len(each),
        text,
        text_len: each.what.len(),
    };
    new_list(
        &from.differences,
        |each| {
            let name = each.name.as_deref().unwrap_or_default();
            [name, each.what.as_bytes()]
        },
        make,
        [],
        |differences, []| pm_reconciliation {
            struct_size: size_of::<pm_reconciliation>(),
            commit: from.commit,
            in_both: from.in_both,
            newer: from.newer,
            count: from.differences.len(),
            differences,
        },
    )
}
