//! The rows of the journal: the pool's identity, intents, removals.

use crate::error::Error;
use crate::format::journal_row::{
    identity_key, intent_key, removal_key, row_hash, IntentRow, JournalRow,
};
use crate::format::table::Table;
use crate::journal::JournalContent;
use crate::limits::{MAX_INTENTS, MAX_REMOVALS};
use crate::lmdb::write::{Fault, Step};
use crate::store::write::batch::{down, up, Batch};

/// Writes the rows of a journal that has no removals. An intent that has no number gets one.
pub(crate) fn fill(
    batch: &mut Batch<'_, '_>,
    journal: &JournalContent,
    value: &mut Vec<u8>,
) -> Step<()> {
    if let Some(identity) = &journal.identity {
        set_identity(batch, identity, false)?;
    }
    for intent in &journal.intents {
        let row = IntentRow {
            commit: batch.header.commit,
            ..IntentRow::of(intent)
        };
        if row.number == 0 {
            begin_intent(batch, row, value)?;
            continue;
        }
        insert(batch, &JournalRow::Intent(row), value)?;
        batch.header.last_intent = batch.header.last_intent.max(intent.number);
    }
    Ok(())
}

/// Notes that a change of the pool begins; the number that it gets.
pub(crate) fn begin_intent(
    batch: &mut Batch<'_, '_>,
    intent: IntentRow<'_>,
    value: &mut Vec<u8>,
) -> Step<u64> {
    let header = &batch.header;
    let open = header.journal_rows.saturating_sub(header.removals);
    if open >= MAX_INTENTS {
        return Err(Error::TooManyIntents { count: open }.into());
    }
    let next = header.last_intent.checked_add(1);
    let number = next.ok_or_else(|| Error::corrupt("its header's number of intents cannot be"))?;
    let row = IntentRow {
        number,
        commit: header.commit,
        ..intent
    };
    insert(batch, &JournalRow::Intent(row), value)?;
    batch.header.last_intent = number;
    Ok(number)
}

/// Notes that a change of the pool has ended; the device id that it was about.
pub(crate) fn finish_intent(batch: &mut Batch<'_, '_>, number: u64) -> Step<u32> {
    let key = intent_key(number);
    let Some(value) = batch.txn.get(Table::Journal, &key)? else {
        return Err(Error::NoSuchIntent { number }.into());
    };
    let JournalRow::Intent(IntentRow { device_id, .. }) = JournalRow::decode(&key, value)? else {
        return Err(other_kind());
    };
    let row_hash = row_hash(&key, value);
    batch.remove_row(Table::Journal, &key, row_hash)?;
    down(&mut batch.header.journal_rows, "journal rows")?;
    Ok(device_id)
}

/// Sets the identity of the pool, or with an empty one removes it. With `first`, one that is there
/// is not replaced: then it comes back.
pub(crate) fn set_identity(
    batch: &mut Batch<'_, '_>,
    identity: &[u8],
    first: bool,
) -> Step<Option<Vec<u8>>> {
    let key = identity_key();
    if let Some(found) = batch.txn.get(Table::Journal, &key)? {
        let JournalRow::Identity(old) = JournalRow::decode(&key, found)? else {
            return Err(other_kind());
        };
        if first || old == identity {
            return Ok(Some(old.to_vec()));
        }
        let row_hash = row_hash(&key, found);
        batch.remove_row(Table::Journal, &key, row_hash)?;
        down(&mut batch.header.journal_rows, "journal rows")?;
    }
    if !identity.is_empty() {
        insert(batch, &JournalRow::Identity(identity), &mut Vec::new())?;
    }
    Ok(None)
}

#[cold]
fn other_kind() -> Fault {
    Error::corrupt("a row of the journal is not of the kind that its key says").into()
}

/// Remembers that a device was removed. The oldest removal is forgotten if there are too many.
pub(crate) fn log_removal(
    batch: &mut Batch<'_, '_>,
    name: &[u8],
    device_id: u32,
    value: &mut Vec<u8>,
) -> Step<()> {
    if batch.header.removals >= MAX_REMOVALS {
        forget_oldest_removal(batch)?;
    }
    let row = JournalRow::Removal {
        commit: batch.header.commit,
        position: batch.removals,
        device_id,
        name,
    };
    insert(batch, &row, value)?;
    batch.removals += 1;
    up(&mut batch.header.removals, "removals")?;
    Ok(())
}

fn forget_oldest_removal(batch: &mut Batch<'_, '_>) -> Step<()> {
    let oldest = batch.txn.first_from(Table::Journal, &removal_key(0, 0))?;
    let Some((key, value)) = oldest else {
        return Err(Error::corrupt("its header counts removals and none is there").into());
    };
    let row = JournalRow::decode(key, value)?;
    let (commit, key, row_hash) = (row.commit(), row.key(), row_hash(key, value));
    batch.remove_row(Table::Journal, &key, row_hash)?;
    down(&mut batch.header.journal_rows, "journal rows")?;
    down(&mut batch.header.removals, "removals")?;
    batch.header.removals_since = batch.header.removals_since.max(commit);
    Ok(())
}

/// Writes a row that is not there.
fn insert(batch: &mut Batch<'_, '_>, row: &JournalRow<'_>, value: &mut Vec<u8>) -> Step<()> {
    row.encode(value)?;
    batch.insert(Table::Journal, &row.key(), value)?;
    up(&mut batch.header.journal_rows, "journal rows")?;
    Ok(())
}
