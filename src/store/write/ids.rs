//! The id allocator: which device ids are free and which are faulty.
//!
//! An id that has been given out (1 to the header's `last_id`) and has no row here is taken: the
//! record that has it is the only place that says so. Free and faulty ids have a row whose key
//! begins with the state, so that the lowest free id is the first row, whatever the size.

use crate::error::Error;
use crate::format::bit_set::BitSet;
use crate::format::id_row::{self, key, row, IdState};
use crate::format::record;
use crate::format::table::Table;
use crate::limits::MAX_DEVICE_ID;
use crate::lmdb::write::Step;
use crate::store::write::batch::{down, up, Batch};

/// Gives out an id: the lowest free one, or else one that was never given out.
pub(crate) fn allocate(batch: &mut Batch<'_, '_>) -> Step<u32> {
    if batch.header.free_ids > 0 {
        let id = lowest_free(batch)?;
        clear(batch, IdState::Free, id)?;
        down(&mut batch.header.free_ids, "free ids")?;
        return Ok(id);
    }
    allocate_unused(batch).ok_or_else(|| Error::IdsExhausted.into())
}

/// Gives out an id that was never given out, if none is free and there is one.
pub(crate) fn allocate_unused(batch: &mut Batch<'_, '_>) -> Option<u32> {
    if batch.header.free_ids > 0 || batch.header.last_id >= MAX_DEVICE_ID {
        return None;
    }
    batch.header.last_id += 1;
    Some(batch.header.last_id)
}

/// Takes note that no device has `id` any more.
pub(crate) fn release(batch: &mut Batch<'_, '_>, id: u32) -> Step<()> {
    check_given_out(batch, id)?;
    if is_faulty(batch, id)? {
        clear(batch, IdState::Faulty, id)?;
        down(&mut batch.header.faulty_ids, "faulty ids")?;
    }
    set(batch, IdState::Free, id)?;
    up(&mut batch.header.free_ids, "free ids")?;
    Ok(())
}

/// Takes note that `id` is not to be trusted.
pub(crate) fn mark_faulty(batch: &mut Batch<'_, '_>, id: u32) -> Step<()> {
    check_given_out(batch, id)?;
    if !is_faulty(batch, id)? {
        set(batch, IdState::Faulty, id)?;
        up(&mut batch.header.faulty_ids, "faulty ids")?;
    }
    Ok(())
}

/// Frees a faulty id that no device has.
pub(crate) fn free(batch: &mut Batch<'_, '_>, id: u32) -> Step<()> {
    let refuse = |state| {
        let device_id = id;
        Err(Error::IdNotFaulty { device_id, state }.into())
    };
    if id == 0 || id > batch.header.last_id {
        return refuse("was never assigned");
    }
    if batch.header.free_ids > 0 && is_there(batch, IdState::Free, id)? {
        return refuse("is free already");
    }
    if is_faulty(batch, id)? && !batch.owned()?.contains(id) {
        return release(batch, id);
    }
    Err(match owner(batch, id)? {
        Some(name) => Error::IdInUse {
            device_id: id,
            name,
        },
        None => Error::corrupt(format!("id {id} is taken, and no device has it")),
    }
    .into())
}

/// Frees every faulty id that no device has and that is not in the list; how many those were.
pub(crate) fn free_all(batch: &mut Batch<'_, '_>, except: &[u32]) -> Step<u64> {
    let kept = BitSet::up_to(MAX_DEVICE_ID);
    for &id in except {
        kept.insert(id);
    }
    let mut faulty = in_state(batch, IdState::Faulty)?;
    let owned = batch.owned()?;
    faulty.retain(|id| !owned.contains(*id) && !kept.contains(*id));
    for &id in &faulty {
        release(batch, id)?;
    }
    Ok(faulty.len() as u64)
}

/// Makes those of the ids faulty that no device has; how many have changed.
pub(crate) fn withhold_all(batch: &mut Batch<'_, '_>, ids: &[u32]) -> Step<u64> {
    let mut sorted: Vec<u32> = ids.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    sorted.retain(|id| (1..=MAX_DEVICE_ID).contains(id));
    let mut changed = 0;
    for id in sorted {
        changed += u64::from(withhold(batch, id)?);
    }
    Ok(changed)
}

/// Makes the ids from 1 to `last` faulty that no device has; how many have changed.
pub(crate) fn withhold_up_to(batch: &mut Batch<'_, '_>, last: u32) -> Step<u64> {
    let mut free = in_state(batch, IdState::Free)?;
    free.retain(|id| *id <= last);
    free.extend(batch.header.last_id + 1..=last);
    for &id in &free {
        withhold(batch, id)?;
    }
    Ok(free.len() as u64)
}

/// Makes an id faulty unless a device has it; whether it has changed. Ids before it that were never
/// assigned become free.
fn withhold(batch: &mut Batch<'_, '_>, id: u32) -> Step<bool> {
    batch.txn.grow_store();
    if id > batch.header.last_id {
        for gap in batch.header.last_id + 1..id {
            set(batch, IdState::Free, gap)?;
            up(&mut batch.header.free_ids, "free ids")?;
        }
        batch.header.last_id = id;
    } else if batch.header.free_ids > 0 && is_there(batch, IdState::Free, id)? {
        clear(batch, IdState::Free, id)?;
        down(&mut batch.header.free_ids, "free ids")?;
    } else {
        return Ok(false);
    }
    set(batch, IdState::Faulty, id)?;
    up(&mut batch.header.faulty_ids, "faulty ids")?;
    Ok(true)
}

/// The ids that have a row in a state, in ascending order.
fn in_state(batch: &Batch<'_, '_>, wanted: IdState) -> Step<Vec<u32>> {
    let mut found = Vec::new();
    batch.txn.each_row(Table::Ids, |key, value| {
        let (state, id) = id_row::decode(key, value)?;
        if state == wanted {
            found.push(id);
        }
        Ok(())
    })?;
    Ok(found)
}

/// The name of the device that has an id.
fn owner(batch: &Batch<'_, '_>, id: u32) -> Step<Option<Box<[u8]>>> {
    let mut owner = None;
    batch.txn.each_device(|name, value| {
        if record::decode(name, value)?.device_id == id {
            owner = Some(name.into());
        }
        Ok(())
    })?;
    Ok(owner)
}

/// Writes the rows of an empty table: ids in ascending order, of which nothing is recorded yet.
pub(crate) fn fill(batch: &mut Batch<'_, '_>, free: &[u32], faulty: &[u32]) -> Step<()> {
    for (state, ids) in [(IdState::Free, free), (IdState::Faulty, faulty)] {
        for &id in ids {
            let (key, value) = row(state, id);
            batch.append(Table::Ids, &key, &value)?;
        }
    }
    batch.header.free_ids = free.len() as u32;
    batch.header.faulty_ids = faulty.len() as u32;
    Ok(())
}

fn lowest_free(batch: &Batch<'_, '_>) -> Step<u32> {
    let row = batch.txn.first_from(Table::Ids, &key(IdState::Free, 0))?;
    let decoded = row
        .map(|(key, value)| id_row::decode(key, value))
        .transpose()?;
    match decoded {
        Some((IdState::Free, id)) if (1..=batch.header.last_id).contains(&id) => Ok(id),
        _ => Err(Error::corrupt("its header counts free ids and none is there").into()),
    }
}

fn is_faulty(batch: &Batch<'_, '_>, id: u32) -> Step<bool> {
    if batch.header.faulty_ids == 0 {
        return Ok(false);
    }
    is_there(batch, IdState::Faulty, id)
}

fn is_there(batch: &Batch<'_, '_>, state: IdState, id: u32) -> Step<bool> {
    Ok(batch.txn.get(Table::Ids, &key(state, id))?.is_some())
}

fn check_given_out(batch: &Batch<'_, '_>, id: u32) -> Step<()> {
    if id == 0 || id > batch.header.last_id {
        return Err(
            Error::corrupt(format!("a device has id {id}, which was never given out")).into(),
        );
    }
    Ok(())
}

fn set(batch: &mut Batch<'_, '_>, state: IdState, id: u32) -> Step<()> {
    let (key, value) = row(state, id);
    batch.insert(Table::Ids, &key, &value)
}

fn clear(batch: &mut Batch<'_, '_>, state: IdState, id: u32) -> Step<()> {
    let (key, value) = row(state, id);
    batch.remove(Table::Ids, &key, &value)
}
