//! Which of the records that were found are kept, and what becomes of every id.

use std::cmp::Reverse;

use crate::audit::FindingKind::*;
use crate::audit::{Fix, Report};
use crate::device::DeviceInfo;
use crate::device_ids::Ids;
use crate::format::bit_set::BitSet;
use crate::journal::JournalContent;
use crate::limits::MAX_DEVICE_ID;
use crate::salvage::candidate::Candidate;
use crate::salvage::free::Free;
use crate::salvage::salvager::Salvager;
use crate::salvage::source::Source;
use crate::salvage::trust::Trust;

/// The usable content of a file.
pub(crate) struct Salvage {
    /// Sorted by name.
    pub devices: Vec<DeviceInfo>,
    pub ids: Ids,
    pub journal: JournalContent,
    /// How many of the devices no tree leads to.
    pub recovered: u64,
    /// How many pages of the tables are lost.
    pub lost_pages: u64,
    /// Whether this is all that the store held, by its own digest.
    pub complete: bool,
    /// The commit of the header row, if there was one.
    pub commit: Option<u64>,
    pub report: Report,
}

impl Salvage {
    /// Whether there was nothing of a store in the file.
    pub fn is_nothing(&self) -> bool {
        self.devices.is_empty() && self.ids.last_id == 0 && self.commit.is_none()
    }
}

/// The records that are kept, and how many of them no tree leads to.
struct Kept {
    candidates: Vec<Candidate>,
    recovered: u64,
}

impl Salvager {
    /// Searches for what is missing, and decides which device has which id.
    pub fn finish(mut self, source: &Source<'_>, free: &Free) -> Salvage {
        let complete = self.trust == Trust::Complete;
        if !complete {
            self.search_orphans(source, free);
        }
        self.report_root();
        let Kept {
            candidates,
            recovered,
        } = self.resolve_devices();
        let kept = candidates.iter().map(|candidate| candidate.row_hash);
        let digest = kept.fold(self.other_digest, u128::wrapping_add);
        let header = self.header.as_ref();
        let digest_agrees = header.is_some_and(|header| header.digest == digest);
        let ids = self.resolve_ids(digest_agrees && self.trust.is_last());
        let journal = self.resolve_journal();
        let devices = candidates.into_iter().map(|candidate| candidate.device);
        let mut devices: Vec<_> = devices.collect();
        devices.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Salvage {
            devices,
            ids,
            journal,
            recovered,
            lost_pages: self.lost_pages,
            complete: complete && self.findings.report.unfixable == 0,
            commit: self.header.as_ref().map(|header| header.commit),
            report: self.findings.report,
        }
    }

    /// Decides what the new journal has. An intent may have been finished since, and whoever finds
    /// it undoes what it names: it is kept only if all rows are those of the last commit.
    fn resolve_journal(&mut self) -> JournalContent {
        let mut kept = std::mem::take(&mut self.journal);
        if self.trust != Trust::Complete {
            for intent in std::mem::take(&mut kept.intents) {
                let (name, id) = (&intent.name, Some(intent.device_id));
                let findings = &mut self.findings;
                findings.record(JournalRow, name, id, Fix::RemoveJournalRow, || {
                    let kind = intent.kind;
                    format!("has an intent to {kind} that may be finished: it was left out")
                });
            }
        }
        kept
    }

    /// Reports a root that is lost, or may not be the last.
    fn report_root(&mut self) {
        match self.header.as_ref().map(|header| header.commit) {
            Some(commit) if self.trust.is_last() => {
                if let Some(why) = self.left_out.take() {
                    self.findings.store(PageLost, Fix::Nothing, || {
                        format!(
                            "this is commit {commit}: what was committed after it, without a \
                             flush, is not whole, and was left out: {why}"
                        )
                    });
                }
            }
            Some(commit) => self.findings.store(PageLost, Fix::Nothing, || {
                format!(
                    "the meta pages, or what they point to, are damaged: this is commit {commit}, \
                     and may not be the last"
                )
            }),
            None => self.findings.store(HeaderDamaged, Fix::Nothing, || {
                "the header row is lost: ids above the highest that was seen may be in use"
                    .to_owned()
            }),
        }
    }

    /// Decides which record keeps an id that several have: the newest, and of two that are as new,
    /// the one that a tree leads to.
    fn resolve_devices(&mut self) -> Kept {
        let candidates = std::mem::take(&mut self.candidates).into_values();
        let mut candidates: Vec<Candidate> = candidates.collect();
        candidates.sort_by_key(|c| (Reverse(c.device.generation), !c.in_tree));
        let owned_in_tree = BitSet::up_to(MAX_DEVICE_ID);
        let mut recovered = 0;
        candidates.retain(|Candidate { device, in_tree, .. }| {
            let (name, id) = (&device.name, device.device_id);
            let mut report = |kind, what: &dyn Fn() -> String| {
                let findings = &mut self.findings;
                findings.record(kind, name, Some(id), Fix::Nothing, what);
            };
            if id == 0 || id > MAX_DEVICE_ID {
                report(RecordId, &|| {
                    format!("has id {id}, which is out of range, and was left out")
                });
                return false;
            }
            self.last_id = self.last_id.max(id);
            if !in_tree && owned_in_tree.contains(id) {
                return false; // the device was removed: its id was given out again since
            }
            if *in_tree {
                owned_in_tree.insert(id);
            }
            if !self.ids.own(id) {
                report(SharedId, &|| {
                    format!("has id {id}, which a newer record has, and was left out")
                });
                return false;
            }
            if !in_tree {
                recovered += 1;
                report(Recovered, &|| {
                    "was found outside the tables: this may be an older record of it, or it may \
                     have been removed"
                        .to_owned()
                });
            }
            true
        });
        Kept {
            candidates,
            recovered,
        }
    }

    /// Decides what becomes of every id. Free ids stay free if all rows are `certain`: an older row
    /// may be of an id that was given out since.
    fn resolve_ids(&mut self, certain: bool) -> Ids {
        let mut ids = Ids {
            last_id: self.last_id,
            ..Ids::default()
        };
        for id in 1..=self.last_id {
            let claims = self.ids.claims(id);
            if claims.owned && claims.free {
                let what = "is free, and a device has it: it is the device's";
                self.findings.id(FreeAndOwned, id, Fix::RemoveIdRow, what);
            }
            if claims.faulty {
                ids.faulty.push(id);
            } else if claims.free && !claims.owned && certain {
                ids.free.push(id);
            } else if !claims.owned {
                let what = match claims.free {
                    true => "was free, and may have been given out since: it is faulty now",
                    false => "was given out, and nothing shows what became of it: it is faulty now",
                };
                self.findings.id(Lost, id, Fix::MakeFaulty, what);
                ids.faulty.push(id);
            }
        }
        ids
    }
}
