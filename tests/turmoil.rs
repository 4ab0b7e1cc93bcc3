//! Processes that open, create, read, write, back up, repair and close one store in any order,
//! while they are stopped and killed at any moment: nobody dies by itself or hangs, nothing that
//! was reported as done is lost, nothing is left over.
//!
//! `make campaign` goes on for minutes; `PM_SEED` chooses another order.

mod common;

use common::child::{self, Peer};
use common::rng::Rng;
use common::{add, campaign, check, device, devices, options, place, raw, sys};
use pool_metadata::{BackupOptions, DeviceState, Error, OpenOptions, PoolMetadata, RepairOptions};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a call of an actor's may take, which waits 2 s at most in each place, and is stopped
/// now and then.
const HANGS_AFTER_SECONDS: u32 = 30;

#[test]
fn child_entry() {
    child::entry(|role, argument| match role {
        "act" => act(argument.to_str().unwrap()),
        other => panic!("no role {other}"),
    });
}

/// Small maps, which grow under way.
fn small() -> OpenOptions {
    let mut options = options(2000);
    options.map_size(1 << 20);
    options
}

/// What an actor does until it is killed.
struct Actor {
    name: String,
    path: PathBuf,
    rng: Rng,
    /// Its devices, as it was told that they are.
    own: BTreeSet<String>,
    next: usize,
}

fn act(argument: &str) {
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
    // What the process has open without a store.
    let open_files = fs::read_dir("/proc/self/fd").unwrap().count();
    loop {
        actor.visit();
        let left_open = fs::read_dir("/proc/self/fd").unwrap().count();
        assert_eq!(left_open, open_files);
    }
}

/// Makes a call, which ends the process if it does not return; `None` if it was in vain, in a way
/// that it may be.
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

/// One that another process keeps from what it wants alone.
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
                // Given up without a word.
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
        // What timed out has not been done.
        child::say("over");
    }

    /// Everything that it was told is there.
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

/// What an actor has said is there, and what it was about to add or remove.
fn told(said: &[String]) -> (BTreeSet<String>, Option<String>) {
    let (mut own, mut trying) = (BTreeSet::new(), None);
    for line in said {
        match (line.split_once(' '), line.as_str()) {
            (Some((what, name)), _) => trying = Some((what == "add", name.to_owned())),
            (None, "done") => match trying.take().unwrap() {
                (true, name) => drop(own.insert(name)),
                (false, name) => assert!(own.remove(&name)),
            },
            (None, "ready") => {}
            (None, "over") => trying = None,
            (None, other) => panic!("{other}"),
        }
    }
    (own, trying.map(|(_, name)| name))
}

/// The store is as a killed actor has said, but for what it was at, perhaps.
fn check_against(store: &PoolMetadata, name: &str, said: &[String]) {
    let (mut own, trying) = told(said);
    let prefix = format!("{name}-");
    let mut found: BTreeSet<_> = devices(store)
        .into_iter()
        .map(|device| String::from_utf8(device.name).unwrap())
        .filter(|name| name.starts_with(&prefix))
        .collect();
    if let Some(name) = trying {
        own.remove(&name);
        found.remove(&name);
    }
    assert_eq!(found, own, "of {name}");
}

fn remove_all_of(store: &PoolMetadata, name: &str) {
    let prefix = format!("{name}-");
    for name in store.get_device_names().unwrap() {
        if name.starts_with(prefix.as_bytes()) {
            store.remove_device(name).unwrap();
        }
    }
}

/// Calls of the process that stops and kills the others.
fn wait_long(path: &Path) -> PoolMetadata {
    options(60_000).map_size(1 << 20).open(path).unwrap()
}

struct Stage<'a> {
    path: &'a Path,
    seed: u64,
    actors: Vec<(String, Peer)>,
    started: usize,
}

impl Stage<'_> {
    fn start(&mut self) {
        let name = format!("a{}", self.started);
        self.started += 1;
        let argument = format!("{}:{name}:{}", self.seed, self.path.display());
        let actor = Peer::start("act", argument);
        self.actors.push((name, actor));
    }

    fn kill(&mut self, at: usize) {
        let (name, mut actor) = self.actors.swap_remove(at);
        assert!(actor.is_alive(), "{name} has ended by itself");
        let said = actor.kill();
        let store = wait_long(self.path);
        check_against(&store, &name, &said);
        // A commit that it was killed over after its meta page was written comes into force with
        // the next write. That is not to be one of those that remove what is there.
        store
            .change_device_state("base", DeviceState::Removed)
            .unwrap();
        check_against(&store, &name, &said);
        remove_all_of(&store, &name);
        store.close().unwrap();
        let copy = self.path.with_file_name(format!("copy-{name}"));
        for left in ["", ".partial"] {
            let _ = fs::remove_file(format!("{}{left}", copy.display()));
        }
    }

    /// Stops an actor. Nobody waits for it longer than it wants to, and it may not even be in the
    /// way.
    fn stop_for_a_while(&mut self, at: usize, rng: &mut Rng) {
        let (_, actor) = &self.actors[at];
        if !actor.stop(&raw::lock_path(self.path)) {
            return actor.signal(libc::SIGCONT);
        }
        let start = Instant::now();
        let written = options(100).open(self.path).and_then(|store| {
            let written = store.change_device_state("base", DeviceState::Removed);
            store.close()?;
            written
        });
        let took = start.elapsed();
        assert!(took < Duration::from_secs(20), "{took:?}");
        assert!(
            matches!(written, Ok(()) | Err(Error::Timeout { .. })),
            "{written:?}"
        );
        std::thread::sleep(Duration::from_micros(rng.below(30_000)));
        actor.signal(libc::SIGCONT);
    }
}

#[test]
fn stopped_and_killed_in_any_order() {
    let seed = std::env::var("PM_SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut rng = Rng(seed);
    let (directory, path) = place();
    let mut stage = Stage {
        path: &path,
        seed,
        actors: Vec::new(),
        started: 0,
    };
    (0..5).for_each(|_| stage.start());
    for (_, actor) in &mut stage.actors {
        actor.expect("ready");
    }
    add(&wait_long(&path), "base");
    let end = Instant::now() + Duration::from_secs(campaign(4, 120) as u64);
    while Instant::now() < end {
        std::thread::sleep(Duration::from_micros(rng.below(20_000)));
        let at = rng.below(stage.actors.len() as u64) as usize;
        match rng.below(4) {
            0 => {
                stage.kill(at);
                stage.start();
            }
            _ => stage.stop_for_a_while(at, &mut rng),
        }
    }
    while !stage.actors.is_empty() {
        stage.kill(0);
    }
    let store = wait_long(&path);
    check(&store);
    let stats = store.stats().unwrap();
    assert_eq!((stats.devices, stats.taken_ids), (1, 1));
    assert!(stats.readers_in_use < 40, "{stats:?}");
    store.close().unwrap();
    let mut left: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["pool.db", "pool.db-lock"]);
}
