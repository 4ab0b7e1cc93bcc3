//! The rows of the journal: the pool's identity, intents, removals.

use crate::error::Error;
use crate::format::journal_row::{removal_key, row_hash, IntentRow, JournalRow};
use crate::format::table::Table;
use crate::journal::JournalContent;
use crate::limits::MAX_REMOVALS;
use crate::lmdb::write::Step;
use crate::store::write::batch::{down, up, Batch};

/// Writes the rows of an empty journal.
pub(crate) fn fill(
    batch: &mut Batch<'_, '_>,
    journal: &JournalContent,
    value: &mut Vec<u8>,
) -> Step<()> {
    if !journal.identity.is_empty() {
        insert(batch, &JournalRow::Identity(&journal.identity), value)?;
    }
    for intent in &journal.intents {
        let row = IntentRow {
            commit: batch.header.commit,
            ..IntentRow::of(intent)
        };
        insert(batch, &JournalRow::Intent(row), value)?;
        batch.header.last_intent = batch.header.last_intent.max(intent.number);
    }
    Ok(())
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
