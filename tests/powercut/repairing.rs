//! Power cuts while a damaged store is repaired, and while one is salvaged.

use super::disk::Broken;
use super::explore::Subject;
use super::judge::{left_at, states, Dump};
use super::ptrace;
use super::workload::{import, SALVAGED, STORE};
use super::{finds, recording_at, seeds, survive};
use crate::common::pages::{Pages, Tree, PAGE};
use crate::common::{self, raw};
use lmdb::WriteFlags;
use pool_metadata::{DeviceInfo, OpenOptions, PoolMetadata, RepairOptions, Report, Verify};
use std::fs;
use std::path::Path;

/// The file that a repair keeps a copy in.
const KEPT: &str = "pool.db.before-repair-1";

/// How many findings are listed: more than there are.
const LIMIT: usize = 1000;

fn content(directory: &Path, name: &str) -> Option<Vec<u8>> {
    let path = directory.join(name);
    path.exists().then(|| fs::read(path).unwrap())
}

/// A directory with a store that was used for a while.
fn used_store(seed: u64) -> (tempfile::TempDir, Dump) {
    let place = common::directory();
    let sound = states(&import(seed), &place.path().join(STORE)).pop();
    (place, sound.unwrap())
}

/// Another directory with a copy of the store's file.
fn twin(place: &Path) -> tempfile::TempDir {
    let twin = common::directory();
    fs::copy(place.join(STORE), twin.path().join(STORE)).unwrap();
    twin
}

struct Repair {
    /// The damaged file, the report of a check of it, and its devices.
    file: Vec<u8>,
    report: Report,
    devices: Vec<DeviceInfo>,
    fixed: Dump,
}

#[derive(Clone)]
struct Repaired {
    fixed: bool,
    kept: bool,
}

impl Repair {
    /// Marks ids of devices as free, through LMDB alone, in so many rows that fixing them takes
    /// many pages.
    fn prepare(seed: u64) -> (tempfile::TempDir, Repair) {
        let (place, sound) = used_store(seed);
        let path = place.path().join(STORE);
        raw::edit(&path, |txn, tables| {
            for device in sound.devices.iter().filter(|d| d.device_id <= 500) {
                let [a, b, c, d] = device.device_id.to_be_bytes();
                let (key, mut value) = ([0, a, b, c, d], [0; 4]);
                raw::seal(&key, &mut value);
                let flags = WriteFlags::empty();
                txn.put(tables.ids, &key, &value, flags).unwrap();
            }
            assert!(raw::keys(txn, tables.ids).len() > 300);
        });
        let apart = twin(place.path());
        let again = apart.path().join(STORE);
        let found = OpenOptions::new().repair(&again, &RepairOptions::new());
        let fixed = left_at(&again, false).unwrap().unwrap();
        assert_eq!(fixed.devices, sound.devices);
        let subject = Repair {
            file: fs::read(&path).unwrap(),
            report: found.unwrap().before,
            devices: sound.devices.to_vec(),
            fixed,
        };
        (place, subject)
    }

    fn is_fixed(&self, path: &Path, thorough: bool) -> Result<bool, String> {
        let told = |e: pool_metadata::Error| format!("the store: {e}");
        let report = OpenOptions::new().check_file(path, LIMIT).map_err(told)?;
        if report.is_sound() {
            return match left_at(path, thorough)? {
                Some(found) if found == self.fixed => Ok(true),
                _ => Err("the store is sound, and not what it should be".to_owned()),
            };
        }
        let store = OpenOptions::new().verify(Verify::None).open(path);
        let walk = store.and_then(|store| store.walk()).map_err(told)?;
        let devices: Vec<_> = walk.collect::<Result<_, _>>().map_err(told)?;
        match report == self.report && devices == self.devices {
            true => Ok(false),
            false => Err(format!("the store is half fixed: {report:?}")),
        }
    }
}

impl Subject for Repair {
    type Outcome = Repaired;

    fn look(&self, directory: &Path, thorough: bool) -> Result<Repaired, String> {
        let path = directory.join(STORE);
        let kept = content(directory, KEPT);
        if kept.as_ref().is_some_and(|kept| *kept != self.file) {
            return Err("what is kept is not what the store was".to_owned());
        }
        let fixed = self.is_fixed(&path, thorough)?;
        if thorough && !fixed {
            // The next repair fixes it, and keeps this file and the earlier copy.
            let now = kept.clone().or(content(directory, STORE));
            let again = OpenOptions::new().repair(&path, &RepairOptions::new());
            again.map_err(|e| format!("repairing again: {e}"))?;
            if !self.is_fixed(&path, false)? || content(directory, KEPT) != now {
                return Err("it was repaired again, and is not fixed and kept".to_owned());
            }
        }
        let kept = kept.is_some();
        Ok(Repaired { fixed, kept })
    }

    fn judge(&self, found: &Repaired, said: &[&str]) -> Result<(), String> {
        let repaired = said.contains(&"repaired");
        match found {
            Repaired { kept: false, .. } if found.fixed || repaired => {
                Err("what the store was is not kept".to_owned())
            }
            Repaired { fixed: false, .. } if repaired => Err("the repair is undone".to_owned()),
            _ => Ok(()),
        }
    }
}

#[test]
fn repair_leaves_the_store_fixed_or_unchanged() {
    if !ptrace::is_allowed() {
        return;
    }
    for seed in seeds(1) {
        let (place, subject) = Repair::prepare(seed);
        let recording = recording_at("repair", seed, place.path());
        survive("repair", seed, &recording, &subject, 10);
    }
}

#[test]
fn disk_that_lies_during_a_repair_is_detected() {
    if !ptrace::is_allowed() {
        return;
    }
    let seed = seeds(1).start;
    let (place, subject) = Repair::prepare(seed);
    let recording = recording_at("repair", seed, place.path());
    // Without flushes of the copy, of its name, and of the fixes.
    for (broken, what) in [
        (Broken::Flushes, "what is kept is not what the store was"),
        (Broken::NameFlushes, "what the store was is not kept"),
        (Broken::Flushes, "the repair is undone"),
    ] {
        finds(&recording, &subject, broken, what);
    }
}

struct Salvage {
    file: Vec<u8>,
    salvaged: Dump,
}

impl Salvage {
    /// Destroys a page of devices and a meta page.
    fn prepare(seed: u64) -> (tempfile::TempDir, Salvage) {
        let (place, sound) = used_store(seed);
        let path = place.path().join(STORE);
        let mut pages = Pages::read(&path);
        let leaf = pages.at(pages.leaves(Tree::Devices)[3]);
        let meta = pages.newest() * PAGE;
        for page in [leaf, meta] {
            pages.0[page..page + PAGE].fill(0xa5);
        }
        pages.write(&path);
        assert!(PoolMetadata::open(&path).is_err());
        let apart = twin(place.path());
        let target = apart.path().join(SALVAGED);
        let again = apart.path().join(STORE);
        OpenOptions::new().salvage(again, &target, LIMIT).unwrap();
        let salvaged = left_at(&target, false).unwrap().unwrap();
        let (all, found) = (sound.devices.len(), salvaged.devices.len());
        assert!(found > 400 && found < all, "{found} of {all}");
        let file = fs::read(&path).unwrap();
        (place, Salvage { file, salvaged })
    }

    /// Whether the new store is there; it is whole then.
    fn is_there(&self, directory: &Path, thorough: bool) -> Result<bool, String> {
        match left_at(&directory.join(SALVAGED), thorough)? {
            Some(found) if found != self.salvaged => {
                Err("the new store is not what was salvaged".to_owned())
            }
            found => Ok(found.is_some()),
        }
    }
}

impl Subject for Salvage {
    type Outcome = bool;

    fn look(&self, directory: &Path, thorough: bool) -> Result<bool, String> {
        if content(directory, STORE).as_ref() != Some(&self.file) {
            return Err("the damaged file has changed".to_owned());
        }
        let there = self.is_there(directory, thorough)?;
        if thorough && !there {
            let (from, to) = (directory.join(STORE), directory.join(SALVAGED));
            let again = OpenOptions::new().salvage(from, to, LIMIT);
            again.map_err(|e| format!("salvaging again: {e}"))?;
            if !self.is_there(directory, false)? {
                return Err("it was salvaged again, and is not there".to_owned());
            }
        }
        Ok(there)
    }

    fn judge(&self, there: &bool, said: &[&str]) -> Result<(), String> {
        match there {
            false if said.contains(&"salvaged") => Err("the new store is gone".to_owned()),
            _ => Ok(()),
        }
    }
}

#[test]
fn salvage_leaves_a_whole_store_or_none() {
    if !ptrace::is_allowed() {
        return;
    }
    for seed in seeds(1) {
        let (place, subject) = Salvage::prepare(seed);
        let recording = recording_at("salvage", seed, place.path());
        survive("salvage", seed, &recording, &subject, 20);
    }
}

#[test]
fn disk_that_lies_during_a_salvage_is_detected() {
    if !ptrace::is_allowed() {
        return;
    }
    let seed = seeds(1).start;
    let (place, subject) = Salvage::prepare(seed);
    let recording = recording_at("salvage", seed, place.path());
    finds(&recording, &subject, Broken::Flushes, "opening: ");
    finds(
        &recording,
        &subject,
        Broken::NameFlushes,
        "the new store is gone",
    );
}
