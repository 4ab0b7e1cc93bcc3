//! Following the trees, and searching the pages that they do not lead to.

use std::collections::BTreeMap;

use crate::audit::FindingKind::*;
use crate::audit::{Findings, Fix};
use crate::device::DeviceRef;
use crate::format::header::Header;
use crate::format::id_ledger::IdLedger;
use crate::format::id_row::IdState;
use crate::format::journal_row::{self, JournalRow};
use crate::format::table::Table;
use crate::format::{digest, id_row, record};
use crate::journal::JournalContent;
use crate::limits::MAX_DEVICE_ID;
use crate::salvage::candidate::Candidate;
use crate::salvage::free::Free;
use crate::salvage::orphan::{self, OrphanRecord};
use crate::salvage::root::Root;
use crate::salvage::source::Source;
use crate::salvage::tree;
use crate::salvage::trust::{Evidence, Trust};
use crate::verify::page::TreeRecord;

/// What was found so far.
pub(crate) struct Salvager {
    pub findings: Findings,
    /// The header, if it is there.
    pub header: Option<Header>,
    pub trust: Trust,
    /// The newest record of each name.
    pub candidates: BTreeMap<Vec<u8>, Candidate>,
    /// Rows of ids; the owners are entered at the end.
    pub ids: IdLedger,
    /// The digest of the rows of ids and of the journal alone.
    pub other_digest: u128,
    pub last_id: u32,
    pub journal: JournalContent,
    pub lost_pages: u64,
    /// What shows that deferred commits after this one are not whole, if there are such.
    pub left_out: Option<String>,
    /// The digest of the records that the trees lead to.
    records_digest: u128,
}

/// A table, as far as its tree leads.
#[derive(Default)]
struct Followed {
    pages: Vec<u64>,
    /// Whether every page and row is whole, and the header counts as many rows.
    whole: bool,
}

impl Salvager {
    /// Takes the rows that the trees lead to: those of the last commit, or of the latest commit
    /// that a page of the file holds.
    pub fn begin(source: &Source<'_>, free: &Free, limit: usize) -> Salvager {
        let in_force = Root::in_force(source, free).map(|root| {
            let mut found = Salvager::follow(source, Some(free), limit, &root);
            let standing = source.deferred.as_ref();
            found.left_out = standing.and_then(|standing| standing.left_out.clone());
            found
        });
        let is_complete = |found: &Salvager| found.trust == Trust::Complete;
        let found = match in_force {
            Some(found) if is_complete(&found) => Some(found),
            found => Salvager::whole_of_others(source, limit).or(found),
        };
        let latest = || Root::latest(source);
        let Some(salvager) = found else {
            return Salvager::follow(source, None, limit, &latest());
        };
        if is_complete(&salvager) {
            return salvager;
        }
        // If meta pages or roots went back to an older content, the pages of the last commit are
        // still there, and some of them lie over pages of this root.
        let latest = latest();
        if latest.is_later_than(salvager.commit()) {
            let later = Salvager::follow(source, None, limit, &latest);
            // Where commits were deferred, later ones were not finished, unless they are whole.
            let is_lost = !salvager.trust.is_last() && source.deferred.is_none();
            if is_lost || later.trust == Trust::SomeCommit {
                return later;
            }
        }
        salvager
    }

    /// Takes the rows of the newest commit of which all are there, among those that may be in force
    /// where commits were deferred: the others were left half written, or are damaged.
    fn whole_of_others(source: &Source<'_>, limit: usize) -> Option<Salvager> {
        let others = &source.deferred.as_ref()?.others;
        others.iter().find_map(|other| {
            let free = Free::read(source, Some(&other.meta));
            let root = Root::of_candidate(source, &other.meta, &free)?;
            let mut whole = Salvager::follow(source, Some(&free), limit, &root);
            if whole.trust != Trust::Complete {
                return None;
            }
            whole.left_out = Some("the other commits are damaged".to_owned());
            if !other.has_all_flushed {
                whole.trust = Trust::SomeCommit;
            }
            Some(whole)
        })
    }

    /// Takes the rows that a root leads to. They are the last commit's if a free list is given, and
    /// agrees.
    fn follow(source: &Source<'_>, free: Option<&Free>, limit: usize, root: &Root) -> Salvager {
        let last_id = root.header.as_ref().map_or(0, |header| header.last_id);
        let mut salvager = Salvager {
            findings: Findings::new(limit),
            header: root.header.clone(),
            trust: Trust::Fragments,
            candidates: BTreeMap::new(),
            ids: IdLedger::up_to(MAX_DEVICE_ID),
            other_digest: 0,
            last_id: last_id.min(MAX_DEVICE_ID),
            journal: JournalContent::default(),
            lost_pages: 0,
            left_out: None,
            records_digest: 0,
        };
        let record = |table| root.tables.get(table).as_ref();
        let ids = salvager.follow_ids(source, record(Table::Ids));
        let records = salvager.follow_records(source, record(Table::Devices));
        let journal = salvager.follow_journal(source, record(Table::Journal));
        // Older trees lead to pages that were freed since, or used again.
        let mut pages = ids.pages.iter().chain(&records.pages).chain(&journal);
        let in_use = free.is_some_and(|free| !pages.any(|page| free.has(*page)));
        salvager.trust = Trust::of(&Evidence {
            is_last: in_use && !salvager.has_newer(),
            digest_agrees: salvager.digest_agrees(),
            records_whole: records.whole,
            ids_whole: ids.whole,
        });
        salvager
    }

    fn commit(&self) -> Option<u64> {
        self.header.as_ref().map(|header| header.commit)
    }

    /// Whether a record is of a commit after the header's.
    fn has_newer(&self) -> bool {
        let mut candidates = self.candidates.values();
        candidates.any(|candidate| Some(candidate.device.generation) > self.commit())
    }

    /// Whether the trees lead to all rows that the header's digest covers.
    fn digest_agrees(&self) -> bool {
        let digest = self.records_digest.wrapping_add(self.other_digest);
        let header = self.header.as_ref();
        header.is_some_and(|header| header.digest == digest)
    }

    fn report_lost(&mut self, table: Table, pages: &[u64]) {
        let table = table.name();
        self.lost_pages += pages.len() as u64;
        for page in pages {
            self.findings.store(PageLost, Fix::Nothing, || {
                format!("page {page} of the table \"{table}\" is damaged")
            });
        }
    }

    fn report_lost_table(&mut self, table: Table) {
        let table = table.name();
        self.findings.store(PageLost, Fix::Nothing, || {
            format!("nothing leads to the table \"{table}\"")
        });
    }

    /// Enters the rows of the table of ids.
    fn follow_ids(&mut self, source: &Source<'_>, record: Option<&TreeRecord>) -> Followed {
        let Some(record) = record else {
            self.report_lost_table(Table::Ids);
            return Followed::default();
        };
        let [mut free_ids, mut faulty_ids] = [0; 2];
        let walked = tree::walk(source, record, &mut |key, value| {
            let (state, id) = match id_row::decode(key, value) {
                Ok(row) if (1..=MAX_DEVICE_ID).contains(&row.1) => row,
                _ => {
                    self.findings.id_row(key, None);
                    return false;
                }
            };
            let row_hash = id_row::row_hash(state, id);
            self.other_digest = self.other_digest.wrapping_add(row_hash);
            self.last_id = self.last_id.max(id);
            let counter = match state {
                IdState::Free => &mut free_ids,
                IdState::Faulty => &mut faulty_ids,
            };
            *counter += u32::from(self.ids.put(state, id));
            true
        });
        self.report_lost(Table::Ids, &walked.lost);
        let counted = |header: &Header| [header.free_ids, header.faulty_ids];
        let expected = self.header.as_ref().map(counted);
        Followed {
            pages: walked.pages,
            whole: walked.whole && expected == Some([free_ids, faulty_ids]),
        }
    }

    /// Takes the records.
    fn follow_records(&mut self, source: &Source<'_>, record: Option<&TreeRecord>) -> Followed {
        let Some(record) = record else {
            self.report_lost_table(Table::Devices);
            return Followed::default();
        };
        let walked = tree::walk(source, record, &mut |name, value| {
            let Ok(device) = record::decode_validated(name, value) else {
                self.findings
                    .record(RecordDamaged, name, None, Fix::Nothing, || {
                        "has a damaged record".to_owned()
                    });
                return false;
            };
            let row_hash = digest::row_hash(Table::Devices, name, value);
            self.records_digest = self.records_digest.wrapping_add(row_hash);
            self.take(device, row_hash, true);
            true
        });
        self.report_lost(Table::Devices, &walked.lost);
        let header = self.header.as_ref();
        let counted = header.is_some_and(|header| header.devices as usize == self.candidates.len());
        Followed {
            pages: walked.pages,
            whole: walked.whole && counted,
        }
    }

    /// Takes what the new store can have of the journal. Its rows need not be those of the last
    /// commit to name the pool; what was begun is known only if they are.
    fn follow_journal(&mut self, source: &Source<'_>, record: Option<&TreeRecord>) -> Vec<u64> {
        let Some(record) = record else {
            if self
                .header
                .as_ref()
                .is_some_and(|header| header.journal_rows > 0)
            {
                self.report_lost_table(Table::Journal);
            }
            return Vec::new();
        };
        let mut kept = JournalContent::default();
        let mut digest = 0_u128;
        let walked = tree::walk(source, record, &mut |key, value| {
            let Ok(row) = JournalRow::decode(key, value) else {
                self.findings
                    .journal_row(key, Fix::RemoveJournalRow, "it is damaged");
                return false;
            };
            digest = digest.wrapping_add(journal_row::row_hash(key, value));
            match row {
                JournalRow::Identity(identity) => kept.identity = Some(identity.to_vec()),
                JournalRow::Intent(intent) => kept.intents.push(intent.to_owned()),
                JournalRow::Removal { .. } => {}
            }
            true
        });
        self.report_lost(Table::Journal, &walked.lost);
        self.other_digest = self.other_digest.wrapping_add(digest);
        self.journal = kept;
        walked.pages
    }

    /// Takes a record unless one of that name is as new.
    fn take(&mut self, device: DeviceRef<'_>, row_hash: u128, in_tree: bool) {
        let older = |candidate: &Candidate| candidate.device.generation < device.generation;
        if self.candidates.get(device.name).is_none_or(older) {
            let device = device.to_owned();
            let name = device.name.clone();
            let candidate = Candidate {
                device,
                row_hash,
                in_tree,
            };
            self.candidates.insert(name, candidate);
        }
    }

    /// Searches every page for records that the trees have lost, or have in an older version: a
    /// page that went back to an older content is sound in itself, and nothing shows which it is.
    pub fn search_orphans(&mut self, source: &Source<'_>, free: &Free) {
        let commit = self.commit();
        let free_ids_hold = self.free_ids_hold();
        orphan::each(source, free, &mut |orphan| {
            let OrphanRecord { device, in_use, .. } = orphan;
            let id = device.device_id;
            if id == 0 || id > MAX_DEVICE_ID {
                return;
            }
            self.last_id = self.last_id.max(id);
            let newer = commit.is_some_and(|commit| device.generation > commit);
            // A record of a commit after the last one was never put in force.
            if newer && self.trust.is_last() && !in_use {
                return;
            }
            // A device whose id is free was removed, unless it got the id after this commit.
            let removed = free_ids_hold && self.ids.claims(id).free && !newer;
            let known = self.candidates.contains_key(device.name);
            if known || in_use || !(self.trust == Trust::IdsLost || removed) {
                self.take(device, orphan.row_hash, false);
            }
        });
    }

    /// Whether the rows of free ids are as old as the root, as far as anything shows.
    fn free_ids_hold(&self) -> bool {
        let mut candidates = self.candidates.values();
        match self.trust {
            Trust::Complete | Trust::SomeCommit => true,
            Trust::RecordsLost => {
                !candidates.any(|candidate| self.ids.claims(candidate.device.device_id).free)
            }
            Trust::IdsLost | Trust::BothLost | Trust::Fragments => false,
        }
    }
}
