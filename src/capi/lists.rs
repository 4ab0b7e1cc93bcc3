//! Lists that the library returns to the caller, each in one block of memory.

use std::ffi::c_char;

use crate::capi::block::{allocate, new_list, Texts};
use crate::capi::status::Outcome;
use crate::device_ids::IdList;
use crate::journal::{Intent, Removal, Removals};

/// The id was freed and can be assigned again.
pub const PM_ID_FREE: i32 = 0;
/// A device has the id.
pub const PM_ID_TAKEN: i32 = 1;
/// The id must not be assigned. A device may have it.
pub const PM_ID_FAULTY: i32 = 2;

/// One device id in a list.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_id {
    /// The device id.
    pub device_id: u32,
    /// What it is used for, one of PM_ID_*.
    pub state: i32,
    /// Name of the device that has it, empty if none has. Terminated by a NUL.
    pub name: *const c_char,
    /// Length of name in bytes.
    pub name_len: usize,
}

/// Device ids in ascending order, as pm_list_ids returns them: one block of memory, to be freed
/// with pm_free.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_id_list {
    /// Number of ids.
    pub count: usize,
    /// The ids, count of them.
    pub ids: *const pm_id,
}

/// The change creates a thin device in the pool.
pub const PM_INTENT_CREATE: i32 = 1;
/// The change creates a snapshot in the pool.
pub const PM_INTENT_SNAPSHOT: i32 = 2;
/// The change deletes a thin device from the pool.
pub const PM_INTENT_DELETE: i32 = 3;

/// A change of the pool that has begun. PM_INTENT_INIT sets the size.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_intent {
    /// sizeof(pm_intent), set by the caller, at least 56, or by the library in a list.
    /// PM_INTENT_INIT sets it.
    pub struct_size: usize,
    /// Number of the intent, from 1. pm_begin_intent sets it.
    pub number: u64,
    /// Number of the commit that wrote it. pm_begin_intent sets it.
    pub commit: u64,
    /// The pool's transaction id when the change began. The store keeps it as it is, to be compared
    /// with the pool's later.
    pub transaction_id: u64,
    /// What the change does, one of PM_INTENT_*.
    pub kind: i32,
    /// Device id in the pool, at most 2^24 - 1.
    pub device_id: u32,
    /// Name of the device, which need not be in the store.
    pub name: *const c_char,
    /// Length of name in bytes.
    pub name_len: usize,
}

/// The intents that are not finished, as pm_list_intents returns them: one block of memory, to be
/// freed with pm_free.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_intent_list {
    /// Number of intents.
    pub count: usize,
    /// Pointers to the intents in the order of their numbers, count of them.
    pub intents: *const *const pm_intent,
}

/// A device that was removed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_removal {
    /// sizeof(pm_removal), set by the library.
    pub struct_size: usize,
    /// Number of the commit that removed it.
    pub commit: u64,
    /// Device id that it had.
    pub device_id: u32,
    /// Name of the device, terminated by a NUL. A device of that name may have been added since.
    pub name: *const c_char,
    /// Length of name in bytes.
    pub name_len: usize,
}

/// The devices that were removed since a commit, as pm_walk_get_removals returns them: one block of
/// memory, to be freed with pm_free.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_removals {
    /// sizeof(pm_removals), set by the library.
    pub struct_size: usize,
    /// Number of the newest commit that the walk sees.
    pub commit: u64,
    /// 1 if these are all removals since the commit that was asked for, 0 if older ones have been
    /// forgotten. A store remembers PM_MAX_REMOVALS of them.
    pub complete: i32,
    /// Number of removals.
    pub count: usize,
    /// Pointers to the removals in the order of their commits, count of them.
    pub removals: *const *const pm_removal,
}

/// A block with a list of ids.
pub(crate) fn new_id_list(from: &IdList) -> Outcome<*mut pm_id_list> {
    let list = size_of::<pm_id_list>();
    let behind = list + from.len() * size_of::<pm_id>();
    let texts: usize = from
        .iter()
        .map(|id| id.name.map_or(0, <[u8]>::len) + 1)
        .sum();
    let block = allocate(behind + texts)?;
    // SAFETY: the block has room for the head, the list and the texts, in this order. Each is
    // aligned, because the sizes of those before the texts are multiples of a pointer's.
    unsafe {
        let mut texts = Texts(block.add(behind));
        let ids = block.add(list).cast::<pm_id>();
        for (at, id) in from.iter().enumerate() {
            let name = id.name.unwrap_or_default();
            ids.add(at).write(pm_id {
                device_id: id.device_id,
                state: id.state as i32,
                name: texts.put(name),
                name_len: name.len(),
            });
        }
        block.cast::<pm_id_list>().write(pm_id_list {
            count: from.len(),
            ids,
        });
    }
    Ok(block.cast())
}

/// A block with intents.
pub(crate) fn new_intents(from: &[Intent]) -> Outcome<*mut pm_intent_list> {
    let make = |intent: &Intent, [name]: [_; 1]| pm_intent {
        struct_size: size_of::<pm_intent>(),
        number: intent.number,
        commit: intent.commit,
        transaction_id: intent.transaction_id,
        kind: intent.kind as i32,
        device_id: intent.device_id,
        name,
        name_len: intent.name.len(),
    };
    new_list(
        from,
        |intent| [&intent.name],
        make,
        [],
        |intents, []| pm_intent_list {
            count: from.len(),
            intents,
        },
    )
}

/// A block with removals.
pub(crate) fn new_removals(from: &Removals) -> Outcome<*mut pm_removals> {
    let make = |removal: &Removal, [name]: [_; 1]| pm_removal {
        struct_size: size_of::<pm_removal>(),
        commit: removal.commit,
        device_id: removal.device_id,
        name,
        name_len: removal.name.len(),
    };
    new_list(
        &from.removed,
        |removal| [&removal.name],
        make,
        [],
        |removals, []| pm_removals {
            struct_size: size_of::<pm_removals>(),
            commit: from.commit,
            complete: from.complete.into(),
            count: from.removed.len(),
            removals,
        },
    )
}
