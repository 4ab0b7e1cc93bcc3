//! Whether the rows add up: every invariant of docs/design.md, recomputed from the rows of one
//! snapshot.

use crate::error::{Error, Quoted};
use crate::format::header::Header;
use crate::format::id_ledger::IdLedger;
use crate::format::id_row::IdState;
use crate::format::journal_row::{self, JournalRow};
use crate::format::table::Table;
use crate::format::{digest, id_row, record};
use crate::verify::keys::Keys;
use crate::verify::page::{Row, Value};
use crate::verify::space::Space;
use crate::verify::tree::Rows;
use crate::verify::violation::{CheckError, Kind, Structure, Violations};

/// The header, and the ids that the rows claim.
pub(crate) struct Sums {
    header: Header,
    ids: IdLedger,
}

/// The counts of the rows that one thread sees.
#[derive(Default)]
pub(crate) struct Tally {
    devices: u32,
    free_ids: u32,
    faulty_ids: u32,
    digest: u128,
    journal_rows: u32,
    removals: u32,
}

/// The rows of each table.
pub(crate) struct DeviceRows<'a>(pub &'a Sums);
pub(crate) struct IdRows<'a>(pub &'a Sums);
pub(crate) struct JournalRows<'a>(pub &'a Sums);

impl Rows for DeviceRows<'_> {
    type Tally = Tally;
    const KEYS: Keys = Keys::Bytes;

    fn row(&self, space: &Space<'_>, tally: &mut Tally, row: Row<'_>) -> Result<(), CheckError> {
        match row.value {
            Value::Here(value) => self.0.device(tally, row.key, value)?,
            Value::Far { page, len } if len <= record::MAX_LEN => {
                let mut value = Vec::with_capacity(len);
                space.each_piece(page, len, |piece| {
                    value.extend_from_slice(piece);
                    Ok(())
                })?;
                self.0.device(tally, row.key, &value)?;
            }
            Value::Far { .. } | Value::Tree(_) => {
                let name = Quoted(row.key);
                let what = format!("record of device {name}: it is too long");
                return Err(Kind::Row(what).into());
            }
        }
        Ok(())
    }
}

impl Rows for IdRows<'_> {
    type Tally = Tally;
    const KEYS: Keys = Keys::Bytes;

    fn row(&self, _: &Space<'_>, tally: &mut Tally, row: Row<'_>) -> Result<(), CheckError> {
        Ok(self.0.id(tally, row.key, here(&row))?)
    }
}

impl Rows for JournalRows<'_> {
    type Tally = Tally;
    const KEYS: Keys = Keys::Bytes;

    fn row(&self, _: &Space<'_>, tally: &mut Tally, row: Row<'_>) -> Result<(), CheckError> {
        Ok(self.0.journal(tally, row.key, here(&row))?)
    }
}

/// The value of a row of a table whose rows are short: none is on overflow pages.
fn here<'a>(row: &Row<'a>) -> &'a [u8] {
    match row.value {
        Value::Here(value) => value,
        Value::Far { .. } | Value::Tree(_) => &[],
    }
}

impl Sums {
    /// The sums of a store with this header.
    pub fn new(header: Header) -> Sums {
        Sums {
            ids: IdLedger::up_to(header.last_id),
            header,
        }
    }

    fn device(&self, tally: &mut Tally, name: &[u8], value: &[u8]) -> Result<(), Kind> {
        let device = record::decode_validated(name, value).map_err(row_violation)?;
        let wrong = |what: String| Err(Kind::Row(format!("device {} {what}", Quoted(name))));
        let id = device.device_id;
        if id == 0 || id > self.header.last_id {
            let last = self.header.last_id;
            return wrong(format!(
                "has id {id}, and ids were given out only up to {last}"
            ));
        }
        if device.generation > self.header.commit {
            let (generation, last) = (device.generation, self.header.commit);
            return wrong(format!(
                "was written by commit {generation}, and the last was {last}"
            ));
        }
        if !self.ids.own(id) {
            return wrong(format!("has id {id}, which another device has as well"));
        }
        tally.devices += 1;
        tally.add(digest::row_hash(Table::Devices, name, value));
        Ok(())
    }

    fn id(&self, tally: &mut Tally, key: &[u8], value: &[u8]) -> Result<(), Kind> {
        let (state, id) = id_row::decode(key, value).map_err(row_violation)?;
        if id == 0 || id > self.header.last_id {
            let what = format!("id {id} has a state and was never given out");
            return Err(Kind::Row(what));
        }
        self.ids.put(state, id);
        match state {
            IdState::Free => tally.free_ids += 1,
            IdState::Faulty => tally.faulty_ids += 1,
        }
        tally.add(digest::row_hash(Table::Ids, key, value));
        Ok(())
    }

    fn journal(&self, tally: &mut Tally, key: &[u8], value: &[u8]) -> Result<(), Kind> {
        let row = JournalRow::decode(key, value).map_err(row_violation)?;
        if let Some(what) = row.contradiction(&self.header) {
            let what = format!("journal row \"{}\": {what}", key.escape_ascii());
            return Err(Kind::Row(what));
        }
        tally.journal_rows += 1;
        tally.removals += u32::from(row.is_removal());
        tally.add(journal_row::row_hash(key, value));
        Ok(())
    }

    /// Compares what all rows add up to with the header.
    pub fn finish(&self, tallies: impl Iterator<Item = Tally>, violations: &mut Violations) {
        let mut found = Header {
            commit: self.header.commit,
            last_id: self.header.last_id,
            removals_since: self.header.removals_since,
            last_intent: self.header.last_intent,
            ..Header::default()
        };
        for tally in tallies {
            found.devices += tally.devices;
            found.free_ids += tally.free_ids;
            found.faulty_ids += tally.faulty_ids;
            found.digest = found.digest.wrapping_add(tally.digest);
            found.journal_rows += tally.journal_rows;
            found.removals += tally.removals;
        }
        let ids_hold = self.check_ids(violations);
        if ids_hold && found != self.header {
            let what = format!(
                "its rows add up to {found:?} where its header says {:?}",
                self.header
            );
            violations.add(Structure::File, None, Kind::Row(what));
        }
    }

    /// Reports the ids that do not add up; whether all do.
    fn check_ids(&self, violations: &mut Violations) -> bool {
        let mut hold = true;
        for (id, claims) in self.ids.contradictions(self.header.last_id) {
            hold = false;
            for (wrong, why) in [
                (claims.free && claims.owned, "is free, and a device has it"),
                (claims.free && claims.faulty, "is free and faulty at once"),
                (!claims.free, "is taken, and no device has it"),
            ] {
                if wrong {
                    let what = format!("id {id} {why}");
                    violations.add(Structure::Table(Table::Ids), None, Kind::Row(what));
                }
            }
        }
        hold
    }
}

impl Tally {
    fn add(&mut self, row_hash: u128) {
        self.digest = self.digest.wrapping_add(row_hash);
    }
}

fn row_violation(error: Error) -> Kind {
    Kind::Row(match error {
        Error::Corrupt { what, .. } => what,
        other => other.to_string(),
    })
}
