//! What is still whole in a file that LMDB cannot be let near.
//!
//! First the tables' trees are followed as far as they lead. If they lead to all that the header's
//! digest is of, and nothing shows that they are older than the last commit's, that is the store.
//! Otherwise every page of the file is searched for records, which their checksums make known
//! wherever they are. Pages that are not free have what is in force; the others have records of
//! removed devices as well, so one whose id is known to be free is not taken from them. All that no
//! tree leads to is told.

mod free;
mod root;
mod settle;
mod source;
mod stray;
mod tree;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use free::Free;
use root::Root;
use source::Source;
use stray::Stray;

use crate::audit::FindingKind::*;
use crate::audit::{Findings, Fix, IdSet, Report};
use crate::device::{DeviceInfo, DeviceRef};
use crate::device_ids::Ids;
use crate::format::header::Header;
use crate::format::id_row::IdState;
use crate::format::table::{Table, DEVICES, IDS};
use crate::format::{digest, id_row, record};
use crate::limits::MAX_DEVICE_ID;
use crate::verify::page::TreeRecord;

/// What a file holds that can be used.
pub(crate) struct Salvage {
    /// By name.
    pub devices: Vec<DeviceInfo>,
    pub ids: Ids,
    /// How many of the devices no tree leads to.
    pub recovered: u64,
    /// How many pages of the tables are lost.
    pub lost_pages: u64,
    /// Whether this is all that the store held, as far as its own digest tells.
    pub complete: bool,
    /// Whether there was a header row.
    pub has_header: bool,
    pub report: Report,
}

impl Salvage {
    /// Whether there was nothing of a store in the file.
    pub fn is_nothing(&self) -> bool {
        self.devices.is_empty() && self.ids.last_id == 0 && !self.has_header
    }
}

/// Reads what is whole in a file that nobody changes; keeps the first `limit` findings.
pub(crate) fn read(file: &File, limit: usize) -> io::Result<Salvage> {
    let source = Source::new(file)?;
    let free = Free::read(&source);
    let found = Salvor::begin(&source, &free, limit).conclude(&source, &free);
    match source.failure() {
        // Nobody knows then whether it is a store.
        Some(error) if found.is_nothing() => Err(error),
        _ => Ok(found),
    }
}

struct Salvor {
    findings: Findings,
    /// What the header says, if it is there.
    header: Option<Header>,
    /// Whether the trees are certainly those of the last commit.
    last: bool,
    devices: BTreeMap<Vec<u8>, Taken>,
    /// Whether the trees led to the tables without a gap, and to as many rows as the header
    /// counts. They can be older all the same.
    devices_whole: bool,
    ids_whole: bool,
    lost_pages: u64,
    recovered: u64,
    free: IdSet,
    faulty: IdSet,
    /// How many rows of ids there are, of those that are free and of the others.
    counted: [u32; 2],
    last_id: u32,
    /// Of the rows of ids, and of all rows that the trees lead to.
    ids_digest: u128,
    digest: u128,
}

/// A record, and whether a tree leads to it.
struct Taken {
    device: DeviceInfo,
    share: u128,
    in_tree: bool,
}

impl Salvor {
    /// Takes what the trees lead to: those of the last commit, or of the latest that a page of the
    /// file tells of.
    fn begin(source: &Source<'_>, free: &Free, limit: usize) -> Salvor {
        let Some(root) = Root::in_force(source, free) else {
            return Salvor::follow(source, None, limit, &Root::latest(source));
        };
        let salvor = Salvor::follow(source, Some(free), limit, &root);
        if salvor.last && salvor.is_all() {
            return salvor;
        }
        // Where meta pages or roots went back, the last commit's pages are there, some of them over
        // this one's.
        let latest = Root::latest(source);
        if latest.is_later_than(root.commit()) {
            let later = Salvor::follow(source, None, limit, &latest);
            if !salvor.last || later.is_all() {
                return later;
            }
        }
        salvor
    }

    /// Takes what a root leads to; it is the last commit's if a free list is given, and agrees.
    fn follow(source: &Source<'_>, free: Option<&Free>, limit: usize, root: &Root) -> Salvor {
        let last_id = root.header.as_ref().map_or(0, |header| header.last_id);
        let mut salvor = Salvor {
            findings: Findings::new(limit),
            header: root.header.clone(),
            last: free.is_some(),
            devices: BTreeMap::new(),
            devices_whole: false,
            ids_whole: false,
            lost_pages: 0,
            recovered: 0,
            free: IdSet::default(),
            faulty: IdSet::default(),
            counted: [0; 2],
            last_id: last_id.min(MAX_DEVICE_ID),
            ids_digest: 0,
            digest: 0,
        };
        let ids = salvor.ids(source, root.ids.as_ref());
        let devices = salvor.devices(source, root.devices.as_ref());
        // Older trees lead to pages that were left since, or used again.
        let mut pages = ids.iter().chain(&devices);
        salvor.last &= free.is_some_and(|free| !pages.any(|page| free.has(*page)));
        salvor
    }

    /// Whether the trees lead to all that the header's digest is of. The same digest is of the same
    /// rows, however the trees led to them.
    fn is_all(&self) -> bool {
        let header = self.header.as_ref();
        header.is_some_and(|header| header.digest == self.digest)
    }

    /// Tells if it is not certain what was put in force last.
    fn tell_root(&mut self) {
        match self.header.as_ref().map(|header| header.commit) {
            Some(_) if self.last => {}
            Some(commit) => self.findings.store(PageLost, Fix::Nothing, || {
                format!("the meta pages, or what they point to, are damaged: this is commit {commit}, and may not be the last")
            }),
            None => self.findings.store(HeaderDamaged, Fix::Nothing, || {
                "the header row is lost: ids above the highest that was seen may be in use".to_owned()
            }),
        }
    }

    fn lost(&mut self, table: &str, pages: &[u64]) {
        self.lost_pages += pages.len() as u64;
        for page in pages {
            self.findings.store(PageLost, Fix::Nothing, || {
                format!("page {page} of the table \"{table}\" is damaged")
            });
        }
    }

    fn lost_table(&mut self, table: &str) {
        self.findings.store(PageLost, Fix::Nothing, || {
            format!("nothing leads to the table \"{table}\"")
        });
    }

    /// Takes the rows of the table of ids; which pages it has.
    fn ids(&mut self, source: &Source<'_>, record: Option<&TreeRecord>) -> Vec<u64> {
        let Some(record) = record else {
            self.lost_table(IDS);
            return Vec::new();
        };
        let walked = tree::walk(source, record, &mut |key, value| {
            let (state, id) = match id_row::decode(key, value) {
                Ok(row) if (1..=MAX_DEVICE_ID).contains(&row.1) => row,
                _ => {
                    self.findings.id_row(key, None);
                    return false;
                }
            };
            self.ids_digest = self.ids_digest.wrapping_add(id_row::row_hash(state, id));
            self.last_id = self.last_id.max(id);
            let (ids, counted) = match state {
                IdState::Free => (&mut self.free, &mut self.counted[0]),
                IdState::Faulty => (&mut self.faulty, &mut self.counted[1]),
            };
            *counted += u32::from(ids.insert(id));
            true
        });
        self.lost(IDS, &walked.lost);
        let header = self.header.as_ref();
        let said = header.map(|header| [header.free_ids, header.faulty_ids]);
        self.ids_whole = walked.whole && said == Some(self.counted);
        self.digest = self.ids_digest;
        walked.pages
    }

    /// Takes the records; which pages the table has.
    fn devices(&mut self, source: &Source<'_>, record: Option<&TreeRecord>) -> Vec<u64> {
        let Some(record) = record else {
            self.lost_table(DEVICES);
            return Vec::new();
        };
        let commit = self.header.as_ref().map(|header| header.commit);
        let walked = tree::walk(source, record, &mut |name, value| {
            let Ok(device) = record::decode_validated(name, value) else {
                self.findings
                    .record(RecordDamaged, name, None, Fix::Nothing, || {
                        "has a damaged record".to_owned()
                    });
                return false;
            };
            let share = digest::row_hash(Table::Devices, name, value);
            self.digest = self.digest.wrapping_add(share);
            self.last &= Some(device.generation) <= commit;
            self.take(device, share, true);
            true
        });
        self.lost(DEVICES, &walked.lost);
        let header = self.header.as_ref();
        let counted = header.is_some_and(|header| header.devices as usize == self.devices.len());
        self.devices_whole = walked.whole && counted;
        walked.pages
    }

    /// Takes a record, if there is none of that name that is as new.
    fn take(&mut self, device: DeviceRef<'_>, share: u128, in_tree: bool) {
        let newer = |taken: &Taken| taken.device.generation < device.generation;
        let taken = self.devices.get(device.name);
        if taken.is_none_or(newer) {
            let device = device.to_owned();
            let name = device.name.clone();
            let taken = Taken {
                device,
                share,
                in_tree,
            };
            self.devices.insert(name, taken);
        }
    }

    /// Searches every page for records that the trees have lost, or have of an older commit: a page
    /// that went back to an older content is sound in itself, and nothing tells which it is.
    fn strays(&mut self, source: &Source<'_>, free: &Free) {
        let commit = self.header.as_ref().map(|header| header.commit);
        // Where the table of ids alone is damaged, the devices are all there.
        let none_lost = self.last && self.devices_whole && !self.ids_whole;
        let free_ids_hold = self.free_ids_hold();
        stray::each(source, free, &mut |stray| {
            let Stray { device, in_use, .. } = stray;
            let id = device.device_id;
            if id == 0 || id > MAX_DEVICE_ID {
                return;
            }
            self.last_id = self.last_id.max(id);
            let newer = commit.is_some_and(|commit| device.generation > commit);
            // What was written behind the last commit was never put in force.
            if newer && self.last && !in_use {
                return;
            }
            // A device whose id is free was removed, unless it is the one that got the id since.
            let removed = free_ids_hold && self.free.contains(id) && !newer;
            let known = self.devices.contains_key(device.name);
            if known || in_use || !(none_lost || removed) {
                self.take(device, stray.share, false);
            }
        });
    }

    /// Whether the rows of free ids are as old as the root, as far as anything shows.
    fn free_ids_hold(&self) -> bool {
        if !self.last {
            return self.is_all();
        }
        let mut devices = self.devices.values();
        self.ids_whole && !devices.any(|taken| self.free.contains(taken.device.device_id))
    }
}
