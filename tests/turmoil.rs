//! Processes that open, create, read, write, back up, repair and close one store in any order,
//! while they are stopped and killed at any moment. None ends by itself or hangs, no acknowledged
//! write is lost, and no file is left.
//!
//! `make campaign` runs this for minutes; `PM_SEED` changes the order.

mod common;

use common::peer::Peer;
use common::rng::Rng;
use common::{add, campaign, check, devices, files_with, options, place, raw};
use pool_metadata::{DeviceState, Error, PoolMetadata};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// The devices that an actor has reported, and the one that it was about to add or remove.
fn reported(said: &[String]) -> (BTreeSet<String>, Option<String>) {
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

/// Fails unless the store holds what a killed actor has reported; its last write may be there or
/// not.
fn check_against(store: &PoolMetadata, name: &str, said: &[String]) {
    let (mut own, trying) = reported(said);
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

/// Opens the store for the process that stops and kills the others.
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
        let actor = Peer::start("turmoil::act", argument);
        self.actors.push((name, actor));
    }

    fn kill(&mut self, at: usize) {
        let (name, mut actor) = self.actors.swap_remove(at);
        assert!(actor.is_alive(), "{name} ended by itself");
        let said = actor.kill();
        let store = wait_long(self.path);
        check_against(&store, &name, &said);
        // If the actor died after it had written the meta page of its commit, that becomes visible
        // with the next write, which must not be one of those that remove its devices.
        store
            .change_device_state("base", DeviceState::Removed)
            .unwrap();
        check_against(&store, &name, &said);
        remove_all_of(&store, &name);
        store.close().unwrap();
        let copy = self.path.with_file_name(format!("copy-{name}"));
        let _ = fs::remove_file(&copy);
        for left in files_with(&copy, ".partial") {
            let _ = fs::remove_file(left);
        }
    }

    /// Stops an actor. Others wait for it no longer than their lock wait, if they have to wait at
    /// all.
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
fn processes_stopped_and_killed_in_any_order_lose_no_write() {
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
