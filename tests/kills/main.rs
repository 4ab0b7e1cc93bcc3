//! Processes that are killed (SIGKILL) at any moment while others read and write the same store.
//! Acknowledged writes are there, the write that was under way is there as a whole or not at all,
//! and what a dead process leaves delays no other.
//!
//! The victims are written in Rust and, under `scripts/kills.sh`, in C and in Go as well.
//! `PM_VICTIMS` lists the programs of the latter, `PM_KILLS` says how many processes to kill,
//! `PM_SEED` changes the campaign, and `PM_DISK` puts the store on a disk.

#[allow(dead_code)]
#[path = "../children/kills.rs"]
mod child;
#[path = "../common/mod.rs"]
mod common;
mod victim;

use child::{small, steps, write_and_read, LONGEST};
use common::peer::{self, Peer};
use common::rng::Rng;
use common::{add, check, devices, SetOnPanic};
use pool_metadata::{Change, PoolMetadata};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};
use victim::{found, judge, kill_one, may_be, Reported, Victim};

/// The most reader slots that these processes may occupy, with those of dead ones that are not yet
/// cleared.
const SLOTS: u64 = 128;
/// Threads that kill; each has one victim at a time.
const HUNTERS: usize = 3;

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |value| value.parse().unwrap())
}

/// Updates the device that exists for these writes.
fn write(store: &PoolMetadata) {
    store
        .update_device("written", |device| {
            device.size += 1;
            Ok::<(), pool_metadata::Error>(())
        })
        .unwrap();
}

/// What all threads share.
struct Ground {
    path: PathBuf,
    store: PoolMetadata,
    victims: Vec<Victim>,
    seed: u64,
    kills: usize,
    next: AtomicUsize,
    steps: AtomicUsize,
    killed_opening: AtomicUsize,
    longest: Mutex<Duration>,
    over: AtomicBool,
}

impl Ground {
    fn hunt(&self) {
        let _end = SetOnPanic(&self.over);
        loop {
            let round = self.next.fetch_add(1, Ordering::Relaxed);
            if round >= self.kills || self.over.load(Ordering::Relaxed) {
                return;
            }
            let mut rng = Rng::of(self.seed, &[round]);
            let victim = &self.victims[round % self.victims.len()];
            let prefix = format!("r{round}");
            let reported = match rng.below(8) {
                0 => self.kill_creator(victim, &prefix, &mut rng),
                _ => self.kill_here(victim, &prefix, &mut rng),
            };
            self.steps.fetch_add(reported.done, Ordering::Relaxed);
            let early = usize::from(!reported.opened);
            self.killed_opening.fetch_add(early, Ordering::Relaxed);
            if round % 50 == 49 {
                // Verifies one snapshot, while the others go on.
                self.store.verify().unwrap();
                self.check_slots();
            }
        }
    }

    /// Kills a victim that uses the store of all the others.
    fn kill_here(&self, victim: &Victim, prefix: &str, rng: &mut Rng) -> Reported {
        let reported = kill_one(victim.command(prefix, &self.path), rng);
        let first = judge(&self.store, prefix, &reported);
        self.write();
        let left = judge(&self.store, prefix, &reported);
        // If a process dies after it has written the meta page of its commit, the commit becomes
        // visible with the next one. What was visible once stays.
        assert!(first == left || first == steps::left(prefix, reported.done));
        let gone: Vec<_> = left
            .into_keys()
            .map(|name| Change::Remove { name })
            .collect();
        let start = Instant::now();
        self.store.apply(&gone).unwrap();
        self.took(start.elapsed());
        reported
    }

    /// Kills a victim that has to create its store.
    fn kill_creator(&self, victim: &Victim, prefix: &str, rng: &mut Rng) -> Reported {
        let place = common::directory();
        let path = place.path().join("pool.db");
        let reported = kill_one(victim.command(prefix, &path), rng);
        assert!(path.exists() || !reported.opened, "the store is gone");
        let store = small().open(&path).unwrap();
        judge(&store, prefix, &reported);
        let start = Instant::now();
        add(&store, "next");
        self.took(start.elapsed());
        check(&store);
        store.close().unwrap();
        let left = fs::read_dir(place.path()).unwrap();
        let mut left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["pool.db", "pool.db-lock"]);
        reported
    }

    /// Writes: the first write after a death recovers the writer lock.
    fn write(&self) {
        let start = Instant::now();
        write(&self.store);
        self.took(start.elapsed());
    }

    fn took(&self, time: Duration) {
        let mut longest = self.longest.lock().unwrap();
        *longest = longest.max(time);
        assert!(time < LONGEST, "a write took {time:?}");
    }

    fn check_slots(&self) {
        let stats = self.store.stats().unwrap();
        assert!(
            stats.readers_in_use < SLOTS,
            "{} reader slots",
            stats.readers_in_use
        );
    }
}

#[test]
fn killed_processes_lose_no_acknowledged_write() {
    // Flushes to a disk take longer, so more processes die in one.
    let directory = match std::env::var_os("PM_DISK") {
        Some(_) => tempfile::tempdir().unwrap(),
        None => common::directory(),
    };
    let path = directory.path().join("pool.db");
    let kills = number("PM_KILLS", 60);
    let mut ground = Ground {
        store: small().open(&path).unwrap(),
        path,
        victims: Victim::all(),
        seed: number("PM_SEED", 1) as u64,
        kills,
        next: AtomicUsize::new(0),
        steps: AtomicUsize::new(0),
        killed_opening: AtomicUsize::new(0),
        longest: Mutex::default(),
        over: AtomicBool::new(false),
    };
    add(&ground.store, "written");
    let mut beside = Peer::start("kills::work_beside", &ground.path);
    beside.expect("ready");
    let start = Instant::now();
    thread::scope(|scope| {
        let ground = &ground;
        let hunters: Vec<_> = (0..HUNTERS)
            .map(|_| scope.spawn(|| ground.hunt()))
            .collect();
        let _end = SetOnPanic(&ground.over);
        scope.spawn(|| {
            let _end = SetOnPanic(&ground.over);
            while !ground.over.load(Ordering::Relaxed) {
                ground.took(write_and_read(&ground.store, "in-this-process"));
            }
        });
        let hunted = || hunters.iter().all(|hunter| hunter.is_finished());
        while !hunted() {
            beside.tell("go on");
            beside.expect("done");
        }
        ground.over.store(true, Ordering::Relaxed);
    });
    beside.finish();
    ground.check_slots();
    check(&ground.store);
    let stats = ground.store.stats().unwrap();
    // Three devices stay; all others were removed, and no id was lost.
    assert_eq!([stats.devices, stats.taken_ids], [3, 3]);
    ground.store.close().unwrap();
    ground.store = small().open(&ground.path).unwrap();
    check(&ground.store);
    assert_eq!(devices(&ground.store).len(), 3);
    let (steps, early) = (
        ground.steps.into_inner(),
        ground.killed_opening.into_inner(),
    );
    println!(
        "{kills} processes killed in {:?}, {early} of them before they had the store open; \
         {steps} steps done by them; the longest write beside them took {:?}; \
         {} reader slots in use",
        start.elapsed(),
        ground.longest.into_inner().unwrap(),
        stats.readers_in_use,
    );
    assert!(
        early > 0 && steps > 2 * kills,
        "the kills met too few moments"
    );
}

/// The campaign can fail: a victim that reports steps before they are done is detected.
#[test]
fn victim_that_lies_is_detected() {
    let (_directory, path) = common::place();
    let store = small().open(&path).unwrap();
    add(&store, "written");
    let mut rng = Rng(1);
    let detected = (0..20).any(|_| {
        let reported = kill_one(peer::command("kills::liar", &path), &mut rng);
        // The commit that it died in may become visible with the next write, which must not be one
        // of those below.
        write(&store);
        let found = found(&store, "liar");
        let gone = found.keys().cloned().map(|name| Change::Remove { name });
        store.apply(&gone.collect::<Vec<_>>()).unwrap();
        !may_be(&found, "liar", reported.done)
    });
    assert!(detected);
}
