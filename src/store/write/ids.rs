//! The id allocator: which device ids are free and which are faulty.
//!
//! An id that has been given out (1 to the header's `last_id`) and has no row here is taken: the
//! record that has it is the only place that says so. Free and faulty ids have a row whose key
//! begins with the state, so that the lowest free id is the first row, whatever the size.

use crate::error::Error;
use crate::format::id_row::{self, key, row, IdState};
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
    Ok(batch
        .txn
        .get(Table::Ids, &key(IdState::Faulty, id))?
        .is_some())
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
