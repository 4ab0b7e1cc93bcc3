//! Roles of `tests/turmoil`.

use crate::common::child;
use crate::common::rng::Rng;
use crate::common::{device, options, sys};
use pool_metadata::{BackupOptions, Error, OpenOptions, PoolMetadata, RepairOptions};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

/// The longest that a call may take. An actor waits 2 s at most for each lock, and is stopped now
/// and then.
const HANGS_AFTER_SECONDS: u32 = 30;

/// Options with a small map, so that it has to grow.
fn small() -> OpenOptions {
    let mut options = options(2000);
    options.map_size(1 << 20);
    options
}

/// A process that uses the store in every way until it is killed.
struct Actor {
    name: String,
    path: PathBuf,
    rng: Rng,
    /// Its devices, by the writes that were acknowledged.
    own: BTreeSet<String>,
    next: usize,
}

pub fn act(argument: &str) {
    let mut words = argument.splitn(3, ':');
    let mut word = || words.next().unwrap().to_owned();
    let (seed, name, path) = (word(), word(), word().into());
    let mut actor = Actor {
        rng: Rng::of(seed.parse().unwrap(), &[name[1..].parse().unwrap()]),
        name,
        path,
        own: BTreeSet::new(),
        next: 0,
    };
    drop(call(|| small().open(&actor.path)));
    child::say("ready");
    // The descriptors that the process has open without a store.
    let open_files = fs::read_dir("/proc/self/fd").unwrap().count();
    loop {
        actor.visit();
        let left_open = fs::read_dir("/proc/self/fd").unwrap().count();
        assert_eq!(left_open, open_files);
    }
}

/// Makes a call, and ends the process if it hangs. `None` if it timed out, which is allowed.
fn call<T>(call: impl FnOnce() -> Result<T, Error>) -> Option<T> {
    sys::die_after(HANGS_AFTER_SECONDS);
    let result = call();
    sys::die_after(0);
    match result {
        Ok(done) => Some(done),
        Err(Error::Timeout { .. }) => None,
        Err(other) => panic!("{other:?}: {other}"),
    }
}

/// The result of a call that needs the store for itself; `None` while another process has it open.
fn alone<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(Error::AlreadyOpen { .. }) => Ok(None),
        Err(other) => Err(other),
    }
}

impl Actor {
    fn visit(&mut self) {
        let path = self.path.clone();
        match self.rng.below(12) {
            0 => {
                let repaired = call(|| alone(small().repair(&path, &RepairOptions::new())));
                let repaired = repaired.flatten();
                assert!(repaired.is_none_or(|repaired| repaired.before.is_sound()));
            }
            1 => {
                let found = call(|| alone(small().check_file(&path, 9)));
                assert!(found.flatten().is_none_or(|report| report.is_sound()));
            }
            2 => {
                let mut look = small();
                if let Some(store) = call(|| look.read_only(true).open(&path)) {
                    self.look(&store);
                    while call(|| store.close()).is_none() {}
                }
            }
            3 => {
                // Dropped without a close.
                drop(call(|| small().open(&path)));
            }
            _ => {
                if let Some(store) = call(|| small().open(&path)) {
                    for _ in 0..self.rng.below(40) {
                        self.step(&store);
                    }
                    call(|| store.close()).unwrap();
                }
            }
        }
    }

    fn step(&mut self, store: &PoolMetadata) {
        match self.rng.below(16) {
            0 => self.look(store),
            1 => self.back_up(store),
            2..=5 if !self.own.is_empty() => {
                let at = self.rng.below(self.own.len() as u64) as usize;
                let name = self.own.iter().nth(at).unwrap().clone();
                child::say(&format!("remove {name}"));
                if call(|| store.remove_device(&name)).is_some() {
                    self.own.remove(&name);
                    child::say("done");
                }
            }
            _ => {
                let name = format!("{}-{}", self.name, self.next);
                self.next += 1;
                let mut new = device(name.as_str());
                new.error = vec![b'e'; self.rng.below(9000) as usize];
                child::say(&format!("add {name}"));
                if call(|| store.add_device(&mut new)).is_some() {
                    self.own.insert(name);
                    child::say("done");
                }
            }
        }
        // A write that timed out has changed nothing.
        child::say("over");
    }

    /// Fails unless the store holds exactly the actor's devices.
    fn look(&self, store: &PoolMetadata) {
        let Some(walk) = call(|| store.walk()) else {
            return;
        };
        let all: Vec<_> = walk.map(Result::unwrap).collect();
        let prefix = format!("{}-", self.name);
        let own = all
            .iter()
            .map(|device| String::from_utf8(device.name.clone()).unwrap())
            .filter(|name| name.starts_with(&prefix));
        assert_eq!(own.collect::<BTreeSet<_>>(), self.own);
        call(|| store.verify());
        call(|| store.stats());
    }

    fn back_up(&mut self, store: &PoolMetadata) {
        let copy = self.path.with_file_name(format!("copy-{}", self.name));
        let mut options = BackupOptions::new();
        options.compact(self.rng.below(2) == 0);
        if call(|| store.backup(&copy, &options)).is_some() {
            fs::remove_file(copy).unwrap();
        }
    }
}
