//! What a store keeps beside its devices: changes of the pool that have begun, devices that were
//! removed, the identity of the pool.

use std::ffi::c_char;

use crate::capi::args::{handle, read_struct, text, Out};
use crate::capi::guard::guard;
use crate::capi::handle::pm_store;
use crate::capi::lists::{self, pm_intent, pm_intent_list, pm_removals};
use crate::capi::status::{Failure, Outcome};
use crate::capi::types::*;
use crate::capi::walk::pm_walk;
use crate::capi::{block, walk};
use crate::format::journal_row::IntentRow;
use crate::journal::IntentKind;
use crate::store::write::op::Op;

/// Notes, on disk, that a change of the pool is about to be made. Call it before the message to the
/// kernel, and pm_finish_intent after it: what had begun when the system went down is then found
/// with pm_list_intents, to be finished or undone in the pool.
///
/// The store sends nothing to the pool, and no other operation depends on intents.
///
/// @param store     The store.
/// @param intent    The intent: PM_INTENT_INIT, then kind, device_id, name, and transaction_id. Its
///   number and commit are ignored, and written back on success only.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK, PM_ERR_INVALID_NAME, PM_ERR_TOO_MANY_INTENTS, PM_ERR_INVALID_ARGUMENT (also for a
///   kind that is not one of PM_INTENT_*, and an id of more than 24 bits), PM_ERR_STRUCT_SIZE, or a
///   code that any write can return (see pm_add_device).
///
/// Thread safety: may be called from any thread. `intent` must not be in use by another one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_begin_intent(
    store: *mut pm_store,
    intent: *mut pm_intent,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the handle, the intent with its name, and the error are as documented above.
    unsafe {
        guard(error, || {
            let store = handle(store, "store")?;
            let given = read_struct(intent, "intent")?;
            let op = Op::BeginIntent(new_intent(&given)?);
            let begun = store.store()?.pool().commit(&op)?;
            ((*intent).number, (*intent).commit) = (begun.number, begun.generation);
            Ok(())
        })
    }
}

/// The caller's intent, to begin.
///
/// # Safety
/// Its name has as many bytes as its length says, unchanged while `'a` lasts.
pub(crate) unsafe fn new_intent<'a>(given: &pm_intent) -> Outcome<IntentRow<'a>> {
    let kind = IntentKind::from_number(given.kind.into()).ok_or_else(|| {
        let kind = given.kind;
        let what = format!("intent.kind is {kind}, which is not one of PM_INTENT_*");
        Failure::argument(what)
    })?;
    // SAFETY: the caller promises that the bytes are there.
    let name = unsafe { text(given.name, given.name_len, "intent.name")? };
    Ok(IntentRow {
        number: 0,
        commit: 0,
        kind,
        device_id: given.device_id,
        transaction_id: given.transaction_id,
        name,
    })
}

/// Notes that a change of the pool has ended, made or given up.
///
/// @param store     The store.
/// @param number    Number of the intent.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK, PM_ERR_NOT_FOUND if no intent of that number is open, PM_ERR_INVALID_ARGUMENT,
///   PM_ERR_STRUCT_SIZE, or a code that any write can return (see pm_add_device).
///
/// Thread safety: may be called from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_finish_intent(
    store: *mut pm_store,
    number: u64,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the handle and the error are as documented above.
    unsafe {
        guard(error, || {
            let store = handle(store, "store")?;
            Ok(store.store()?.finish_intent(number)?)
        })
    }
}

/// Lists the changes of the pool that have begun and are not finished.
///
/// @param store     The store.
/// @param intents   Receives the list, on success only: free it with pm_free.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK, PM_ERR_CORRUPT, PM_ERR_NO_MEMORY, PM_ERR_TIMEOUT, PM_ERR_READERS_FULL,
///   PM_ERR_CLOSED, PM_ERR_FORKED, PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE.
///
/// Thread safety: may be called from any thread; never waits for writers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_list_intents(
    store: *mut pm_store,
    intents: *mut *mut pm_intent_list,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the handle, the memory for the result and the error are as documented above.
    unsafe {
        guard(error, || {
            let store = handle(store, "store")?;
            let out = Out::new(intents, "intents")?;
            out.set(lists::new_intents(&store.store()?.intents()?)?);
            Ok(())
        })
    }
}

/// Returns the devices that were removed after a commit, as of the moment when the walk began. The
/// position of the walk does not change. A walk with the same pm_filter.since shows the devices
/// that were written since.
///
/// @param walk      The walk.
/// @param since     Number of the commit, such as pm_removals.commit of an earlier call. After
///   pm_restore has put back an older backup, numbers of commits are used again.
/// @param removals  Receives the removals, on success only: free them with pm_free.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK, PM_ERR_CORRUPT, PM_ERR_NO_MEMORY, PM_ERR_BUSY (another thread is using the walk),
///   PM_ERR_FORKED, PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE.
///
/// Thread safety: may be called from any thread, by one thread at a time for a walk.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_walk_get_removals(
    walk: *mut pm_walk,
    since: u64,
    removals: *mut *mut pm_removals,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the walk, the memory for the result and the error are as documented above.
    unsafe {
        guard(error, || {
            let walk = walk::lock(handle(walk, "walk")?)?;
            let out = Out::new(removals, "removals")?;
            out.set(lists::new_removals(&walk.walk.removals(since)?)?);
            Ok(())
        })
    }
}

/// Returns the identity of the pool that the store belongs to, see pm_options.identity.
///
/// @param store     The store.
/// @param identity  Receives the identity, on success only: free it with pm_free. NULL if the store
///   has none.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK, PM_ERR_CORRUPT, PM_ERR_NO_MEMORY, PM_ERR_TIMEOUT, PM_ERR_READERS_FULL,
///   PM_ERR_CLOSED, PM_ERR_FORKED, PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE.
///
/// Thread safety: may be called from any thread; never waits for writers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_get_identity(
    store: *mut pm_store,
    identity: *mut *mut pm_name,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the handle, the memory for the result and the error are as documented above.
    unsafe {
        guard(error, || {
            let store = handle(store, "store")?;
            let out = Out::new(identity, "identity")?;
            out.set(match store.store()?.identity()? {
                Some(found) => block::new_name(&found)?,
                None => std::ptr::null_mut(),
            });
            Ok(())
        })
    }
}

/// Gives the store another identity, or none: the pool was moved, or made anew.
///
/// @param store     The store.
/// @param identity  The new identity, identity_len bytes. NULL for none.
/// @param identity_len Length of identity: 1 to PM_MAX_IDENTITY_LEN, 0 for none.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK, PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE, or a code that any write can return
///   (see pm_add_device).
///
/// Thread safety: may be called from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_set_identity(
    store: *mut pm_store,
    identity: *const c_char,
    identity_len: usize,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the handle, the identity and the error are as documented above.
    unsafe {
        guard(error, || {
            let store = handle(store, "store")?;
            let identity = text(identity, identity_len, "identity")?;
            let identity = (!identity.is_empty()).then_some(identity);
            Ok(store.store()?.set_identity(identity)?)
        })
    }
}
