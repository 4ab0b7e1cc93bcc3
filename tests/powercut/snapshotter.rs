//! Power cuts while containerd's devmapper snapshotter works on a pool.
//!
//! The store defers changes of state (`WithDeferredStates` of the Go package). What the snapshotter
//! makes of the store when it starts again must be what it could have made of it if every write had
//! been flushed, had the power been cut in the same call of the snapshotter. So after a call has
//! returned, there is exactly what there would be without deferred writes.

use super::disk::Broken;
use super::explore::Subject;
use super::further::nothing_more_can_be_deferred;
use super::judge::{open_left, Dump};
use super::record::{record, Event, FileId, Recording};
use super::workload::{SAID, STORE};
use super::{finds, seeds, survive};
use crate::common;
use pool_metadata::DeviceState;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

/// The versions of containerd whose snapshotters are in the directory.
pub fn versions(programs: &Path) -> Vec<String> {
    let entries = fs::read_dir(programs).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut versions: Vec<String> = names
        .filter_map(|name| name.strip_suffix("-ours").map(str::to_owned))
        .collect();
    versions.sort();
    assert!(versions.len() >= 2, "{versions:?}");
    versions
}

/// Cuts the power at every point of one version's work.
pub fn campaign(programs: &Path, version: &str) {
    let play = |store: &str, settings| {
        let (place, mapper) = (common::directory(), common::directory());
        let program = programs.join(format!("{version}-{store}"));
        record(
            place.path(),
            &mut command(&program, place.path(), mapper.path(), settings),
        )
    };
    let stock = play("stock", ["", ""]);
    let flushed = play("ours", ["off", ""]);
    let deferred = play("ours", ["on", ""]);
    compare_flushes(version, [&stock, &flushed, &deferred].map(flushes));
    let everything = play("ours", ["on", "everything"]);
    for seed in seeds(1) {
        let may_be = Flushed::default();
        let what = format!("snapshotter {version}, flushed");
        survive(&what, seed, &flushed, &may_be, 100);
        nothing_more_can_be_deferred(&deferred, &may_be.0.borrow());
        let subject = Deferred(may_be);
        let what = format!("snapshotter {version}, deferred");
        survive(&what, seed, &deferred, &subject, 100);
        // Were an add or the last change of a call deferred as well, it would be found.
        for what in [
            "flushed writes cannot leave this",
            "an acknowledged call is lost",
        ] {
            finds(&everything, &subject, Broken::Nothing, what);
        }
    }
}

/// Prints how often each step has flushed the file of each store, and checks the targets: two
/// flushes for a prepare, and a quarter of the stock store's for the cycle.
fn compare_flushes(version: &str, [stock, flushed, deferred]: [Vec<(String, usize)>; 3]) {
    let mut sums = [0; 3];
    for (index, (step, count)) in stock.iter().enumerate() {
        let counts = [*count, flushed[index].1, deferred[index].1];
        assert_eq!([&flushed[index].0, &deferred[index].0], [step, step]);
        println!("{version}, {step}: {counts:?} flushes");
        // The cycle is from the second step to the one called "remove".
        if (1..=8).contains(&index) {
            (0..3).for_each(|store| sums[store] += counts[store]);
        }
    }
    println!("{version}, the cycle: {sums:?} flushes (stock, ours, ours with deferred states)");
    assert!(deferred[1].0 == "prepare" && deferred[1].1 <= 2);
    assert!(deferred[8].0 == "remove" && 4 * sums[2] <= sums[0]);
}

/// The command that runs the snapshotter in that directory, on a fake device mapper in another.
///
/// The snapshotter's own metadata is not recorded: a link leads out of the directory.
fn command(program: &Path, directory: &Path, mapper: &Path, settings: [&str; 2]) -> Command {
    for name in ["devices", "ids", "bin"] {
        fs::create_dir(mapper.join(name)).unwrap();
    }
    let fake = "go-binding/containerdtest/scenario/dmsetup.sh";
    for name in ["bin/dmsetup", "bin/blkdiscard"] {
        fs::copy(fake, mapper.join(name)).unwrap();
    }
    fs::write(mapper.join("bin/mkfs.ext4"), "#!/bin/sh\n").unwrap();
    for name in ["bin/dmsetup", "bin/blkdiscard", "bin/mkfs.ext4"] {
        fs::set_permissions(mapper.join(name), Permissions::from_mode(0o700)).unwrap();
    }
    for name in ["devices/pool", "metadata.db"] {
        fs::write(mapper.join(name), "").unwrap();
    }
    symlink(mapper.join("metadata.db"), directory.join("metadata.db")).unwrap();
    let path = std::env::var("PATH").unwrap();
    let [deferred_states, defer] = settings;
    let mut command = Command::new(program);
    command
        .arg("-test.run=^TestCycle$")
        .env("DM", mapper)
        .env("ROOT", directory)
        .env("SAID", directory.join(SAID))
        .env("PATH", format!("{}:{path}", mapper.join("bin").display()))
        .env("PM_COMPARE_POOL", "off")
        .env("PM_DEFERRED_STATES", deferred_states)
        .env("DEFER", defer)
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// The number of the store's file.
pub fn store_of(recording: &Recording) -> FileId {
    let mut names = recording.names.clone();
    for event in &recording.events {
        if let Event::Names { given, .. } = event {
            names.extend(given.clone());
        }
    }
    names[STORE]
}

/// How often each step flushed the store's file.
fn flushes(recording: &Recording) -> Vec<(String, usize)> {
    let store = store_of(recording);
    let mut steps = Vec::new();
    for event in &recording.events {
        match event {
            Event::Said(words) => {
                if let Some(step) = words.strip_prefix("begin ") {
                    steps.push((step.to_owned(), 0));
                }
            }
            Event::Flush { file, .. } if *file == store => {
                if let Some((_, flushes)) = steps.last_mut() {
                    *flushes += 1;
                }
            }
            _ => {}
        }
    }
    steps
}

/// What the snapshotter makes of a state when it starts (`ensureDeviceStates`). The three states
/// that it leaves as they are mean the same to the rest of it; Removed does not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Recovered {
    Faulty,
    Activated,
    Left,
    Removed,
}

fn recovered(state: DeviceState) -> Recovered {
    match state {
        DeviceState::Activated => Recovered::Activated,
        DeviceState::Suspended | DeviceState::Resumed | DeviceState::Deactivated => Recovered::Left,
        DeviceState::Removed => Recovered::Removed,
        _ => Recovered::Faulty,
    }
}

/// A device after the snapshotter has started again: its id, size and parent, and its state.
type Device = (u32, u64, String, Recovered);

/// The store after the snapshotter has started again: its devices by name, the ids that are free,
/// and those that are faulty.
type Store = (BTreeMap<String, Device>, Vec<u32>, BTreeSet<u32>);

/// What there is after the snapshotter has started again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct World {
    /// How many calls had begun or returned before the power cut.
    call: usize,
    store: Option<Store>,
    /// The ids that the pool has, and the devices whose blocks are discarded. Both are on disk at
    /// once.
    pool: (BTreeSet<String>, BTreeSet<String>),
}

impl World {
    pub fn new(found: &Option<Dump>, said: &[&str]) -> World {
        let store = found.as_ref().map(|dump| {
            let mut faulty: BTreeSet<u32> = dump.ids.faulty.iter().copied().collect();
            let mut devices = BTreeMap::new();
            for device in dump.devices.iter() {
                let (id, state) = (device.device_id, recovered(device.state));
                if state == Recovered::Faulty {
                    faulty.insert(id);
                }
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let found = (id, device.size, text(&device.parent_name), state);
                devices.insert(text(&device.name), found);
            }
            (devices, dump.ids.free.clone(), faulty)
        });
        let mut pool = (BTreeSet::new(), BTreeSet::new());
        let mut call = 0;
        for words in said {
            let words: Vec<&str> = words.split(' ').collect();
            match words[..] {
                ["begin" | "done", ..] => call += 1,
                ["pool", "create_thin", id] | ["pool", "create_snap", id, _] => {
                    pool.0.insert(id.to_owned());
                }
                ["pool", "delete", id] => {
                    pool.0.remove(id);
                }
                ["pool", "discard", name] => {
                    pool.1.insert(name.to_owned());
                }
                _ => panic!("unknown words: {words:?}"),
            }
        }
        World { call, store, pool }
    }
}

/// Collects what power cuts leave when every write is flushed.
#[derive(Default)]
struct Flushed(RefCell<BTreeSet<World>>);

impl Subject for Flushed {
    type Outcome = Option<Dump>;

    fn look(&self, directory: &Path, thorough: bool) -> Result<Option<Dump>, String> {
        open_left(directory, thorough)
    }

    fn judge(&self, found: &Option<Dump>, said: &[&str]) -> Result<(), String> {
        self.0.borrow_mut().insert(World::new(found, said));
        Ok(())
    }
}

/// Allows only what power cuts leave when every write is flushed.
struct Deferred(Flushed);

impl Subject for Deferred {
    type Outcome = Option<Dump>;

    fn look(&self, directory: &Path, thorough: bool) -> Result<Option<Dump>, String> {
        open_left(directory, thorough)
    }

    fn judge(&self, found: &Option<Dump>, said: &[&str]) -> Result<(), String> {
        let world = World::new(found, said);
        if self.0 .0.borrow().contains(&world) {
            return Ok(());
        }
        let last = said.iter().rev().find(|words| !words.starts_with("pool"));
        match last.is_some_and(|words| words.starts_with("done")) {
            true => Err(format!("an acknowledged call is lost: {world:?}")),
            false => Err(format!("flushed writes cannot leave this: {world:?}")),
        }
    }
}
