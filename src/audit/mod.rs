//! Everything that is wrong with a store's rows, and how to fix it without guessing.
//!
//! `verify` checks whether a store is sound; an audit finds out how to fix one that is not. If the
//! two tables contradict each other, the records are right, because the pool's devices were created
//! with them. An id that belongs to nothing is taken out of use.

mod report;

pub(crate) use report::Findings;
pub use report::{Finding, FindingKind, Fix, Report};
use FindingKind::*;

use crate::error::{Error, Result};
use crate::format::bit_set::BitSet;
use crate::format::header::Header;
use crate::format::id_ledger::IdLedger;
use crate::format::id_row::IdState;
use crate::format::table::Table;
use crate::format::{digest, id_row, journal_row, record};
use crate::limits::MAX_DEVICE_ID;
use crate::lmdb::snapshot::Snapshot;

/// No store gets to a commit of this number. A record of such a commit is not believed.
const NO_COMMIT: u64 = 1 << 63;

/// The changes that fix everything that can be fixed.
pub(crate) struct Plan {
    /// The rows to remove, of the table of ids and of the journal.
    pub remove: Vec<(Table, Vec<u8>)>,
    /// Ids whose row in the free state is to be removed.
    pub not_free: BitSet,
    /// Ids to make faulty.
    pub faulty: BitSet,
    /// The header that the rows will add up to then.
    pub header: Header,
}

/// The findings, and the plan that fixes them.
pub(crate) struct Audit {
    pub report: Report,
    pub plan: Plan,
}

/// Reads every row, and keeps the first `limit` findings.
pub(crate) fn audit(snapshot: &Snapshot, limit: usize) -> Result<Audit> {
    let mut auditor = Auditor::new(limit);
    auditor.header(snapshot.header_row()?);
    snapshot.each_row(Table::Devices, |name, value| {
        auditor.record(name, value);
        Ok(())
    })?;
    if !auditor.shared.is_empty() {
        snapshot.each_row(Table::Devices, |name, value| {
            auditor.shared_id(name, value);
            Ok(())
        })?;
    }
    snapshot.each_row(Table::Ids, |key, value| {
        auditor.id_row(key, value);
        Ok(())
    })?;
    snapshot.each_row(Table::Journal, |key, value| {
        auditor.journal_row(key, value);
        Ok(())
    })?;
    auditor.finish()
}

struct Auditor {
    findings: Findings,
    /// The header in the store; `None` if it is damaged.
    recorded: Option<Header>,
    /// The limits of ids and generations by the header; 0 if it is damaged.
    last_id: u32,
    commit: u64,
    /// The header that the rows add up to.
    found: Header,
    ids: IdLedger,
    /// Ids that several records have.
    shared: BitSet,
    remove: Vec<(Table, Vec<u8>)>,
    removed: u128,
    damaged_journal_rows: u32,
}

impl Auditor {
    fn new(limit: usize) -> Auditor {
        Auditor {
            findings: Findings::new(limit),
            recorded: None,
            last_id: 0,
            commit: 0,
            found: Header::default(),
            ids: IdLedger::up_to(MAX_DEVICE_ID),
            shared: BitSet::up_to(MAX_DEVICE_ID),
            remove: Vec::new(),
            removed: 0,
            damaged_journal_rows: 0,
        }
    }

    /// Plans to remove a row.
    fn remove(&mut self, table: Table, key: &[u8], row_hash: u128) {
        self.remove.push((table, key.to_vec()));
        self.removed = self.removed.wrapping_add(row_hash);
    }

    fn header(&mut self, row: Option<&[u8]>) {
        match row.and_then(|row| Header::parse(row).header()) {
            Some(header) => {
                if header.last_id <= MAX_DEVICE_ID {
                    self.last_id = header.last_id;
                } else {
                    self.findings.store(Counters, Fix::Header, || {
                        let last = header.last_id;
                        format!("the header's last id is {last}, which is out of range")
                    });
                }
                self.commit = header.commit;
                self.found.removals_since = header.removals_since;
                self.found.last_intent = header.last_intent;
                self.recorded = Some(header);
            }
            _ => {
                self.findings.store(HeaderDamaged, Fix::Header, || {
                    "the header row is damaged".to_owned()
                });
            }
        }
        self.found.last_id = self.last_id;
        self.found.commit = self.commit;
    }

    fn record(&mut self, name: &[u8], value: &[u8]) {
        self.found.devices += 1;
        self.count(digest::row_hash(Table::Devices, name, value));
        let device = match record::decode_validated(name, value) {
            Ok(device) => device,
            Err(_) => {
                return self
                    .findings
                    .record(RecordDamaged, name, None, Fix::Nothing, || {
                        "has a damaged record".to_owned()
                    })
            }
        };
        self.generation(name, device.generation);
        let id = device.device_id;
        if id == 0 || id > MAX_DEVICE_ID {
            return self
                .findings
                .record(RecordId, name, Some(id), Fix::Nothing, || {
                    format!("has id {id}, which is out of range")
                });
        }
        // Without a header there is no limit to compare the id with.
        if id > self.last_id && self.recorded.is_some() {
            let last = self.last_id;
            self.findings
                .record(RecordId, name, Some(id), Fix::Header, || {
                    format!("has id {id}, and ids were given out only up to {last}")
                });
        }
        self.found.last_id = self.found.last_id.max(id);
        if !self.ids.own(id) {
            self.shared.insert(id);
        }
    }

    fn generation(&mut self, name: &[u8], generation: u64) {
        let known = self.recorded.is_some();
        let fix = match generation {
            NO_COMMIT.. if generation > self.commit => Fix::Nothing,
            _ => {
                self.found.commit = self.found.commit.max(generation);
                Fix::Header
            }
        };
        if generation > self.commit && (known || fix == Fix::Nothing) {
            let last = self.commit;
            self.findings.record(RecordGeneration, name, None, fix, || {
                format!("was written by commit {generation}, and the last was {last}")
            });
        }
    }

    fn shared_id(&mut self, name: &[u8], value: &[u8]) {
        let Ok(device) = record::decode_validated(name, value) else {
            return;
        };
        let id = device.device_id;
        if self.shared.contains(id) {
            self.findings
                .record(SharedId, name, Some(id), Fix::Nothing, || {
                    format!("has id {id}, which another device has as well")
                });
        }
    }

    fn id_row(&mut self, key: &[u8], value: &[u8]) {
        let row_hash = digest::row_hash(Table::Ids, key, value);
        self.count(row_hash);
        let outside = "has a state, and there is no such id";
        let (state, id) = match id_row::decode(key, value) {
            Ok((state, id)) if (1..=MAX_DEVICE_ID).contains(&id) => (state, id),
            Ok((_, id)) => {
                self.findings
                    .id(IdRowOutside, id, Fix::RemoveIdRow, outside);
                return self.remove(Table::Ids, key, row_hash);
            }
            Err(_) => {
                let id = key.last_chunk().copied().map(u32::from_be_bytes);
                self.findings.id_row(key, id.filter(|_| key.len() == 5));
                return self.remove(Table::Ids, key, row_hash);
            }
        };
        if id > self.last_id && self.recorded.is_some() {
            let what = "has a state, and was never given out by what the header says";
            self.findings.id(IdRowOutside, id, Fix::Header, what);
        }
        self.found.last_id = self.found.last_id.max(id);
        self.ids.put(state, id);
        match state {
            IdState::Free => self.found.free_ids += 1,
            IdState::Faulty => self.found.faulty_ids += 1,
        }
    }

    fn journal_row(&mut self, key: &[u8], value: &[u8]) {
        let row_hash = journal_row::row_hash(key, value);
        self.count(row_hash);
        self.found.journal_rows += 1;
        let row = match journal_row::JournalRow::decode(key, value) {
            Ok(row) if row.commit() < NO_COMMIT => row,
            _ => {
                self.findings
                    .journal_row(key, Fix::RemoveJournalRow, "it is damaged");
                self.damaged_journal_rows += 1;
                return self.remove(Table::Journal, key, row_hash);
            }
        };
        // Without a header there is no limit to compare the row with.
        let limits = self.recorded.as_ref();
        if let Some(why) = limits.and_then(|limits| row.contradiction(limits)) {
            self.findings.journal_row(key, Fix::Header, &why);
        }
        let found = &mut self.found;
        found.commit = found.commit.max(row.commit());
        found.last_intent = found.last_intent.max(row.intent_number());
        found.removals += u32::from(row.is_removal());
    }

    fn count(&mut self, row_hash: u128) {
        self.found.digest = self.found.digest.wrapping_add(row_hash);
    }

    /// Compares the header with the rows, and the ids with each other.
    fn finish(mut self) -> Result<Audit> {
        self.counters();
        let mut plan = Plan {
            remove: self.remove,
            not_free: BitSet::up_to(MAX_DEVICE_ID),
            faulty: BitSet::up_to(MAX_DEVICE_ID),
            header: self.found.clone(),
        };
        let header = &mut plan.header;
        for (id, claims) in self.ids.contradictions(self.found.last_id) {
            let (kind, fix, what) = if claims.free && claims.owned {
                let what = "is free, and a device has it";
                (FreeAndOwned, Fix::RemoveIdRow, what)
            } else if claims.free {
                let what = "is free and faulty at once";
                (FreeAndFaulty, Fix::RemoveIdRow, what)
            } else {
                let what = "was given out, and is neither a device's nor free nor faulty";
                (Lost, Fix::MakeFaulty, what)
            };
            self.findings.id(kind, id, fix, what);
            if kind == Lost {
                plan.faulty.insert(id);
                header.faulty_ids += 1;
                header.digest = header
                    .digest
                    .wrapping_add(id_row::row_hash(IdState::Faulty, id));
            } else {
                plan.not_free.insert(id);
                header.free_ids -= 1;
                header.digest = header
                    .digest
                    .wrapping_sub(id_row::row_hash(IdState::Free, id));
            }
        }
        header.digest = header.digest.wrapping_sub(self.removed);
        header.journal_rows -= self.damaged_journal_rows;
        let next = header.commit.checked_add(1);
        header.commit = next.ok_or_else(|| Error::corrupt("its number of commits cannot be"))?;
        if self.recorded.is_none() || self.damaged_journal_rows > 0 {
            // Which removals are missing is not known.
            header.removals_since = header.commit;
        }
        Ok(Audit {
            report: self.findings.report,
            plan,
        })
    }

    fn counters(&mut self) {
        let (Some(recorded), found) = (&self.recorded, &self.found) else {
            return;
        };
        if counters(recorded) != counters(found) {
            let (a, b) = (counters(recorded), counters(found));
            self.findings.store(Counters, Fix::Header, || {
                format!("the header counts {}, and there are {}", list(a), list(b))
            });
        }
        if recorded.digest != found.digest {
            self.findings.store(Digest, Fix::Header, || {
                "the rows are not those that the header's digest is of: \
                 some were lost, added, or are older"
                    .to_owned()
            });
        }
    }
}

/// What the header counts, row by row.
fn counters(header: &Header) -> [u32; 5] {
    let ids = [header.free_ids, header.faulty_ids];
    [
        header.devices,
        ids[0],
        ids[1],
        header.journal_rows,
        header.removals,
    ]
}

fn list([devices, free, faulty, journal, removals]: [u32; 5]) -> String {
    format!(
        "{devices} devices, {free} free and {faulty} faulty ids, {journal} journal rows, \
         {removals} of them removals"
    )
}
