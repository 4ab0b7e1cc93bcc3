//! What must be found after a power cut.

use super::explore::Subject;
use super::perform::perform;
use super::workload::{Op, Script, Threads, STORE};
use crate::common::{check, device, devices};
use pool_metadata::{DeviceInfo, Ids, Intent, PoolMetadata, Removals};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

/// All that a store holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Dump {
    pub devices: Rc<Vec<DeviceInfo>>,
    pub ids: Ids,
    intents: Vec<Intent>,
    removals: Removals,
    commits: u64,
}

impl Dump {
    pub fn of(store: &PoolMetadata) -> Dump {
        Dump {
            devices: Rc::new(devices(store)),
            ids: store.walk().unwrap().ids().unwrap(),
            intents: store.intents().unwrap(),
            removals: store.walk().unwrap().removals(0).unwrap(),
            commits: store.stats().unwrap().commits,
        }
    }
}

impl Dump {
    /// Takes the numbers of commits out: after a kill, some are left out.
    fn without_commits(mut self) -> Dump {
        for device in Rc::make_mut(&mut self.devices) {
            device.generation = 0;
        }
        self.intents.iter_mut().for_each(|intent| intent.commit = 0);
        let removed = &mut self.removals.removed;
        removed.iter_mut().for_each(|removal| removal.commit = 0);
        (self.removals.commit, self.commits) = (0, 0);
        self
    }
}

/// The content of the store before the first step and after each, starting with the state in that
/// directory.
pub fn states(script: &Script, path: &Path) -> Vec<Dump> {
    let store = script.open(path);
    let mut states = vec![Dump::of(&store)];
    for op in &script.ops {
        if !matches!(op, Op::Reopen | Op::Hold) {
            perform(&store, &mut None, op);
        }
        states.push(Dump::of(&store));
    }
    states
}

/// Opens a store that a power cut has left; none if there is none. Opening verifies all of it.
pub fn open_left(directory: &Path, thorough: bool) -> Result<Option<Dump>, String> {
    let path = directory.join(STORE);
    let there = path.exists();
    let found = open_at(&path, thorough)?;
    if !there && !found.devices.is_empty() {
        return Err("devices in a store that was not there".to_owned());
    }
    Ok(there.then_some(found))
}

/// Opens a store or backup that a power cut has left, unless it is absent.
pub fn left_at(path: &Path, thorough: bool) -> Result<Option<Dump>, String> {
    match path.exists() {
        true => open_at(path, thorough).map(Some),
        false => Ok(None),
    }
}

fn open_at(path: &Path, thorough: bool) -> Result<Dump, String> {
    let told = |what: &str, error: pool_metadata::Error| format!("{what}: {error}");
    let open = || PoolMetadata::open(path).map_err(|error| told("opening", error));
    let store = open()?;
    let found = Dump::of(&store);
    if thorough {
        let add = |name: &str| store.add_device(&mut device(name));
        add("after-the-cut").map_err(|error| told("adding", error))?;
        check(&store);
        store.close().map_err(|error| told("closing", error))?;
        let again = Dump::of(&open()?);
        if again.devices.len() != found.devices.len() + 1 {
            return Err("what was added is not there, or something else has gone".to_owned());
        }
    }
    Ok(found)
}

/// The store may be absent until the call that opens it has returned.
fn store_may_be_absent(said: &[&str]) -> Result<(), String> {
    match said.is_empty() {
        true => Ok(()),
        false => Err("the store is gone".to_owned()),
    }
}

/// A process that takes the steps of one script.
pub struct Single {
    /// What the store holds before the first step and after each.
    pub states: Vec<Dump>,
    /// Whether each step makes durable what was done up to it.
    pub durable: Vec<bool>,
    /// Whether numbers of commits are compared as well.
    numbered: bool,
}

impl Single {
    pub fn new(script: &Script, start: &Path) -> Single {
        let states = states(script, start);
        let durable = (0..script.ops.len()).map(|step| script.is_durable(step));
        Single {
            states,
            durable: durable.collect(),
            numbered: true,
        }
    }

    /// Has all be compared but the numbers of commits.
    pub fn without_commits(self) -> Single {
        let states = self.states.into_iter().map(Dump::without_commits);
        Single {
            states: states.collect(),
            numbered: false,
            ..self
        }
    }
}

impl Subject for Single {
    type Outcome = Option<Dump>;

    fn look(&self, directory: &Path, thorough: bool) -> Result<Option<Dump>, String> {
        let mut found = open_left(directory, thorough)?;
        if !self.numbered {
            found = found.map(Dump::without_commits);
        }
        // There are few states and many images, so each state is kept once.
        Ok(found.map(|found| {
            let known = self.states.iter().find(|state| **state == found);
            known.cloned().unwrap_or(found)
        }))
    }

    fn judge(&self, found: &Option<Dump>, said: &[&str]) -> Result<(), String> {
        let begun = said.iter().filter(|said| said.starts_with("begin")).count();
        self.judge_begun(found, said, begun)
    }
}

impl Single {
    /// Whether that may be found after these words, and after the first steps were begun.
    pub fn judge_begun(
        &self,
        found: &Option<Dump>,
        said: &[&str],
        begun: usize,
    ) -> Result<(), String> {
        let done = said.iter().filter(|said| said.starts_with("done")).count();
        let Some(found) = found else {
            return store_may_be_absent(said);
        };
        let least = flushed(&self.durable[..done]);
        let may_be = &self.states[least..=begun];
        if may_be.contains(found) {
            return Ok(());
        }
        let is = self.states.iter().position(|state| state == found);
        Err(format!(
            "{done} steps were done, {least} of them to stay, and {begun} begun; what is there is \
             that after {is:?}"
        ))
    }
}

/// How many steps must be there, of those that were done.
fn flushed(durable: &[bool]) -> usize {
    durable
        .iter()
        .rposition(|it| *it)
        .map_or(0, |last| last + 1)
}

/// Several threads, each with devices of its own.
pub struct Many {
    states: Vec<Vec<Own>>,
    durable: Vec<Vec<bool>>,
}

/// One thread's devices, without what depends on the others.
type Own = BTreeMap<Vec<u8>, DeviceInfo>;

fn own(devices: &[DeviceInfo], thread: usize) -> Own {
    let prefix = format!("t{thread}-").into_bytes();
    let its = devices
        .iter()
        .filter(|device| device.name.starts_with(&prefix));
    let stripped = its.map(|device| DeviceInfo {
        device_id: 0,
        generation: 0,
        ..device.clone()
    });
    stripped
        .map(|device| (device.name.clone(), device))
        .collect()
}

impl Many {
    pub fn new(threads: &Threads) -> Many {
        let states = |(thread, script): (usize, &Script)| -> Vec<Own> {
            let place = crate::common::directory();
            let states = states(script, &place.path().join(STORE));
            states
                .iter()
                .map(|dump| own(&dump.devices, thread))
                .collect()
        };
        let durable = threads.scripts.iter().map(|script| {
            let steps = 0..script.ops.len();
            steps.map(|step| script.is_durable(step)).collect()
        });
        Many {
            states: threads.scripts.iter().enumerate().map(states).collect(),
            durable: durable.collect(),
        }
    }
}

impl Subject for Many {
    /// For each thread, which of its states is there; none if there is no store.
    type Outcome = Option<Vec<Vec<usize>>>;

    fn look(&self, directory: &Path, thorough: bool) -> Result<Self::Outcome, String> {
        let Some(found) = open_left(directory, thorough)? else {
            return Ok(None);
        };
        let threads = self.states.iter().enumerate();
        let is = threads.map(|(thread, states)| {
            let found = own(&found.devices, thread);
            let same = states
                .iter()
                .enumerate()
                .filter(|(_, state)| **state == found);
            same.map(|(index, _)| index).collect()
        });
        Ok(Some(is.collect()))
    }

    fn judge(&self, found: &Self::Outcome, said: &[&str]) -> Result<(), String> {
        let Some(found) = found else {
            return store_may_be_absent(said);
        };
        for (thread, is) in found.iter().enumerate() {
            let count = |word| {
                let words = format!("{word} {thread}");
                said.iter().filter(|said| **said == words).count()
            };
            let done = &self.durable[thread][..count("done")];
            let may_be = flushed(done)..=count("begin");
            if !is.iter().any(|state| may_be.contains(state)) {
                return Err(format!(
                    "thread {thread}: any of the states {may_be:?} was due, and {is:?} is there"
                ));
            }
        }
        Ok(())
    }
}
