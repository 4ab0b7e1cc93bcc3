//! What is still whole in a file that LMDB cannot be let near.
//!
//! First the tables' trees are followed as far as they lead. If they lead to all that the header's digest is of, that is
//! the store. Otherwise every page of the file is searched for records, which their checksums make known wherever they
//! are: those whose names belong where the trees have holes, or which are newer than what the trees have, are
//! taken. A record that was removed before stands in such pages as well, so one whose id is known to be free is
//! not taken, and the others are told.

mod source;
mod stray;
mod tree;

use crate::audit::{Findings, IdSet, Mend, Report};
use crate::device::{DeviceInfo, MAX_DEVICE_ID};
use crate::digest::{self, Table};
use crate::env::{DEVICES, IDS};
use crate::header::{self, Header, Parsed};
use crate::ids::{self, IdState};
use crate::pool::Ids;
use crate::record;
use crate::verify::bytes::u64_at;
use crate::verify::page::{Kind, Page, TreeRecord, Value};
use crate::verify::Meta;
use crate::FindingKind::*;
use source::Source;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use tree::{Hole, Holes};

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
    pub report: Report,
}

impl Salvage {
    /// Whether there was nothing of a store in the file.
    pub fn is_nothing(&self) -> bool {
        self.devices.is_empty() && self.ids.last_id == 0 && !self.complete
    }
}

/// Reads what is whole in a file that nobody changes; keeps the first `limit` findings.
pub(crate) fn read(file: &File, limit: usize) -> io::Result<Salvage> {
    let source = Source::new(file)?;
    let (root, last) = find_root(&source);
    let mut salvor = Salvor::new(limit, &root, last);
    salvor.tell_root();
    salvor.ids(&source, root.ids.as_ref());
    salvor.devices(&source, root.devices.as_ref());
    // The same digest is of the same rows, however the trees led to them.
    let header = root.header.as_ref().filter(|_| last);
    let same = header.is_some_and(|header| header.digest == salvor.digest);
    if !same {
        // Where the trees are whole, a page went back to an older content: nothing tells which. And records of later
        // commits are not where the tree of an older one leads to.
        if !last || salvor.holes.is_empty() && salvor.ids_whole {
            salvor.holes = Holes::new(vec![Hole::default()]);
        }
        salvor.strays(&source);
    }
    let found = salvor.conclude(same);
    match source.failure() {
        // Nobody knows then whether it is a store.
        Some(error) if found.is_nothing() => Err(error),
        _ => Ok(found),
    }
}

/// The row that says what the store is, and the roots of its tables.
#[derive(Default)]
struct Root {
    header: Option<Header>,
    devices: Option<TreeRecord>,
    ids: Option<TreeRecord>,
}

impl Root {
    fn is_whole(&self) -> bool {
        self.header.is_some() && self.devices.is_some() && self.ids.is_some()
    }

    /// The one of the later commit is the greater.
    fn rank(&self) -> (Option<u64>, bool) {
        let commit = self.header.as_ref().map(|header| header.commit);
        (commit, self.is_whole())
    }
}

/// The unnamed database's page, and whether it is certain that it is of the last commit: else it is the one of the latest
/// commit that a page of the file tells of.
fn find_root(source: &Source<'_>) -> (Root, bool) {
    let mut bytes = Vec::new();
    let mut at = |meta: &Meta| {
        let number = meta
            .main
            .root
            .filter(|root| source.page(*root, &mut bytes))?;
        root_of(&bytes, number)
    };
    if let Some(root) = source.in_force.as_ref().and_then(&mut at) {
        if root.is_whole() {
            return (root, true);
        }
    }
    let mut roots = source.metas.iter().filter_map(at);
    let mut latest = roots.next().unwrap_or_default();
    let mut offer = |root: Root| {
        if root.rank() > latest.rank() {
            latest = root;
        }
    };
    roots.for_each(&mut offer);
    source.each_page(|page| {
        root_of(page, u64_at(page, 0))
            .into_iter()
            .for_each(&mut offer);
    });
    (latest, false)
}

fn root_of(bytes: &[u8], number: u64) -> Option<Root> {
    let page = Page::parse(bytes, number).ok()?;
    if page.kind() != Kind::Leaf || page.nodes() > 3 {
        return None;
    }
    let mut root = Root::default();
    for at in 0..page.nodes() {
        let Ok(row) = page.row(at) else {
            continue;
        };
        match row.value {
            Value::Here(value) if row.key == header::KEY => {
                if let Parsed::Known(header) = Header::parse(value) {
                    root.header = Some(header);
                }
            }
            Value::Tree(record) => {
                let record = record.try_into().ok().map(TreeRecord::parse);
                if row.key == DEVICES.as_bytes() {
                    root.devices = record;
                } else if row.key == IDS.as_bytes() {
                    root.ids = record;
                }
            }
            _ => {}
        }
    }
    (root.header.is_some() || root.devices.is_some()).then_some(root)
}

struct Salvor {
    findings: Findings,
    /// The commit that the trees are of, if the header is there.
    commit: Option<u64>,
    /// Whether that is the last commit, for certain.
    last: bool,
    devices: BTreeMap<Vec<u8>, Taken>,
    holes: Holes,
    lost_pages: u64,
    free: IdSet,
    faulty: IdSet,
    ids_whole: bool,
    last_id: u32,
    digest: u128,
}

/// A record, and whether a tree leads to it.
struct Taken {
    device: DeviceInfo,
    in_tree: bool,
}

impl Salvor {
    fn new(limit: usize, root: &Root, last: bool) -> Salvor {
        Salvor {
            findings: Findings::new(limit),
            commit: root.header.as_ref().map(|header| header.commit),
            last,
            devices: BTreeMap::new(),
            holes: Holes::default(),
            lost_pages: 0,
            free: IdSet::default(),
            faulty: IdSet::default(),
            ids_whole: false,
            last_id: root
                .header
                .as_ref()
                .map_or(0, |header| header.last_id.min(MAX_DEVICE_ID)),
            digest: 0,
        }
    }

    /// Tells if it is not certain what was put in force last.
    fn tell_root(&mut self) {
        match self.commit {
            Some(_) if self.last => {}
            Some(commit) => self.findings.store(PageLost, Mend::Nothing, || {
                format!("the meta pages, or what they point to, are damaged: this is commit {commit}, and may not be the last")
            }),
            None => self.findings.store(HeaderDamaged, Mend::Nothing, || {
                "the header row is lost: ids above the highest that was seen may be in use".to_owned()
            }),
        }
    }

    fn lost(&mut self, table: &str, pages: &[u64]) {
        self.lost_pages += pages.len() as u64;
        for page in pages {
            self.findings.store(PageLost, Mend::Nothing, || {
                format!("page {page} of the table \"{table}\" is damaged")
            });
        }
    }

    fn lost_table(&mut self, table: &str) {
        self.findings.store(PageLost, Mend::Nothing, || {
            format!("nothing leads to the table \"{table}\"")
        });
    }

    fn ids(&mut self, source: &Source<'_>, record: Option<&TreeRecord>) {
        let Some(record) = record else {
            return self.lost_table(IDS);
        };
        let walked = tree::walk(source, record, &mut |key, value| {
            let (state, id) = match ids::decode(key, value) {
                Ok(row) if (1..=MAX_DEVICE_ID).contains(&row.1) => row,
                _ => {
                    self.findings.id_row(key, None);
                    return false;
                }
            };
            self.digest = self.digest.wrapping_add(ids::share(state, id));
            self.last_id = self.last_id.max(id);
            match state {
                IdState::Free => self.free.insert(id),
                IdState::Faulty => self.faulty.insert(id),
            };
            true
        });
        self.lost(IDS, &walked.lost);
        self.ids_whole = walked.holes.is_empty();
    }

    fn devices(&mut self, source: &Source<'_>, record: Option<&TreeRecord>) {
        let Some(record) = record else {
            self.holes = Holes::new(vec![Hole::default()]);
            return self.lost_table(DEVICES);
        };
        let walked = tree::walk(source, record, &mut |name, value| {
            let Ok(device) = record::decode_unknown(name, value) else {
                self.findings
                    .record(RecordDamaged, name, None, Mend::Nothing, || {
                        "has a damaged record".to_owned()
                    });
                return false;
            };
            let share = digest::row(Table::Devices, name, value);
            self.digest = self.digest.wrapping_add(share);
            let taken = Taken {
                device: device.to_owned(),
                in_tree: true,
            };
            self.devices.insert(name.to_vec(), taken);
            true
        });
        self.lost(DEVICES, &walked.lost);
        self.holes = Holes::new(walked.holes);
    }

    /// Searches every page for records that the trees have lost.
    fn strays(&mut self, source: &Source<'_>) {
        let (commit, last) = (self.commit, self.last);
        let Salvor {
            devices,
            holes,
            free,
            last_id,
            ..
        } = self;
        source.each_page(|page| {
            stray::records(source, page, &mut |device| {
                let id = device.device_id;
                if id == 0 || id > MAX_DEVICE_ID {
                    return;
                }
                *last_id = (*last_id).max(id);
                let newer = commit.is_some_and(|commit| device.generation > commit);
                // What was written behind the last commit was never put in force.
                if newer && last {
                    return;
                }
                match devices.get_mut(device.name) {
                    Some(taken) if taken.device.generation < device.generation => {
                        *taken = Taken {
                            device: device.to_owned(),
                            in_tree: false,
                        };
                    }
                    Some(_) => {}
                    // A device whose id is free was removed, unless it is the one that got the id since.
                    None if holes.has(device.name) && (newer || !free.contains(id)) => {
                        let taken = Taken {
                            device: device.to_owned(),
                            in_tree: false,
                        };
                        devices.insert(device.name.to_vec(), taken);
                    }
                    None => {}
                }
            });
        });
    }

    /// Decides who has which id.
    fn conclude(mut self, complete: bool) -> Salvage {
        let mut order: Vec<Taken> = std::mem::take(&mut self.devices).into_values().collect();
        // Of two with one id, the newer one has it, and of two as new, the one that the tree leads to.
        order.sort_by_key(|taken| {
            let newest_first = std::cmp::Reverse(taken.device.generation);
            (newest_first, !taken.in_tree)
        });
        let mut owned = IdSet::default();
        let mut in_use = IdSet::default();
        let mut recovered = 0;
        let mut devices = Vec::with_capacity(order.len());
        for Taken { device, in_tree } in order {
            let (name, id) = (&device.name, Some(device.device_id));
            let findings = &mut self.findings;
            if device.device_id == 0 || device.device_id > MAX_DEVICE_ID {
                findings.record(RecordId, name, id, Mend::Nothing, || {
                    format!(
                        "has id {}, which is none, and was left out",
                        device.device_id
                    )
                });
                continue;
            }
            self.last_id = self.last_id.max(device.device_id);
            if !in_tree && in_use.contains(device.device_id) {
                continue; // it was removed: its id was given out again since
            }
            if in_tree {
                in_use.insert(device.device_id);
            }
            if !owned.insert(device.device_id) {
                findings.record(SharedId, name, id, Mend::Nothing, || {
                    let id = device.device_id;
                    format!("has id {id}, which a newer record has, and was left out")
                });
                continue;
            }
            if !in_tree {
                recovered += 1;
                findings.record(Recovered, name, id, Mend::Nothing, || {
                    "was found outside the tables: this may be an older record of it, or it may have been removed".to_owned()
                });
            }
            devices.push(device);
        }
        devices.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Salvage {
            ids: self.settle_ids(&owned),
            devices,
            recovered,
            lost_pages: self.lost_pages,
            complete: complete && self.findings.report.unmendable == 0,
            report: self.findings.report,
        }
    }

    fn settle_ids(&mut self, owned: &IdSet) -> Ids {
        let mut ids = Ids {
            last_id: self.last_id,
            ..Ids::default()
        };
        for id in 1..=self.last_id {
            let [owned, free, faulty] =
                [owned, &self.free, &self.faulty].map(|set| set.contains(id));
            if owned && free {
                let what = "is free, and a device has it: it is the device's";
                self.findings.id(FreeAndOwned, id, Mend::RemoveIdRow, what);
            }
            if faulty {
                ids.faulty.push(id);
            } else if free && !owned && self.last && self.ids_whole {
                ids.free.push(id);
            } else if !owned {
                let what = match free {
                    true => "was free, and may have been given out since: it is faulty now",
                    false => "was given out, and nothing tells what became of it: it is faulty now",
                };
                self.findings.id(Lost, id, Mend::MakeFaulty, what);
                ids.faulty.push(id);
            }
        }
        ids
    }
}
