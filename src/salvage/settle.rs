//! Which of the records that were found are kept, and what becomes of every id.

use std::cmp::Reverse;

use crate::audit::FindingKind::*;
use crate::audit::{Fix, IdSet};
use crate::device_ids::Ids;
use crate::limits::MAX_DEVICE_ID;
use crate::salvage::free::Free;
use crate::salvage::source::Source;
use crate::salvage::{Salvage, Salvor, Taken};

impl Salvor {
    /// Looks for what is not there yet, and decides who has which id.
    pub fn conclude(mut self, source: &Source<'_>, free: &Free) -> Salvage {
        let complete = self.last && self.is_all();
        if !complete {
            self.strays(source, free);
        }
        self.tell_root();
        let rows = self.settle_devices();
        let kept = rows.iter().map(|taken| taken.share);
        let digest = kept.fold(self.ids_digest, u128::wrapping_add);
        let all = self
            .header
            .as_ref()
            .is_some_and(|header| header.digest == digest);
        let ids = self.settle_ids(&rows, all && self.last);
        let mut devices: Vec<_> = rows.into_iter().map(|taken| taken.device).collect();
        devices.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Salvage {
            devices,
            ids,
            recovered: self.recovered,
            lost_pages: self.lost_pages,
            complete: complete && self.findings.report.unfixable == 0,
            has_header: self.header.is_some(),
            report: self.findings.report,
        }
    }

    /// Decides who has which id: of two, the newer one, and of two as new, the one that the tree
    /// leads to.
    fn settle_devices(&mut self) -> Vec<Taken> {
        let mut rows: Vec<Taken> = std::mem::take(&mut self.devices).into_values().collect();
        rows.sort_by_key(|taken| (Reverse(taken.device.generation), !taken.in_tree));
        let mut owned = IdSet::default();
        let mut in_use = IdSet::default();
        rows.retain(|Taken { device, in_tree, .. }| {
            let (name, id) = (&device.name, device.device_id);
            let mut tell = |kind, what: &dyn Fn() -> String| {
                let findings = &mut self.findings;
                findings.record(kind, name, Some(id), Fix::Nothing, what);
            };
            if id == 0 || id > MAX_DEVICE_ID {
                tell(RecordId, &|| format!("has id {id}, which is none, and was left out"));
                return false;
            }
            self.last_id = self.last_id.max(id);
            if !in_tree && in_use.contains(id) {
                return false; // it was removed: its id was given out again since
            }
            if *in_tree {
                in_use.insert(id);
            }
            if !owned.insert(id) {
                tell(SharedId, &|| format!("has id {id}, which a newer record has, and was left out"));
                return false;
            }
            if !in_tree {
                self.recovered += 1;
                tell(Recovered, &|| {
                    "was found outside the tables: this may be an older record of it, or it may have been removed".to_owned()
                });
            }
            true
        });
        rows
    }

    /// Says what becomes of every id. Those that are free stay so if all rows are `certain`: a row
    /// that is older tells of an id that may have been given out since.
    fn settle_ids(&mut self, rows: &[Taken], certain: bool) -> Ids {
        let mut owners = IdSet::default();
        for taken in rows {
            owners.insert(taken.device.device_id);
        }
        let mut ids = Ids {
            last_id: self.last_id,
            ..Ids::default()
        };
        for id in 1..=self.last_id {
            let [owned, free, faulty] =
                [&owners, &self.free, &self.faulty].map(|set| set.contains(id));
            if owned && free {
                let what = "is free, and a device has it: it is the device's";
                self.findings.id(FreeAndOwned, id, Fix::RemoveIdRow, what);
            }
            if faulty {
                ids.faulty.push(id);
            } else if free && !owned && certain {
                ids.free.push(id);
            } else if !owned {
                let what = match free {
                    true => "was free, and may have been given out since: it is faulty now",
                    false => "was given out, and nothing tells what became of it: it is faulty now",
                };
                self.findings.id(Lost, id, Fix::MakeFaulty, what);
                ids.faulty.push(id);
            }
        }
        ids
    }
}
