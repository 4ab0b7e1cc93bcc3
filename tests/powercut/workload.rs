//! The scripts of the recorded processes.

use crate::common::rng::Rng;
use crate::common::{device, options};
use pool_metadata::{
    Change, DeviceInfo, DeviceState, Durability, Intent, IntentKind, PoolMetadata,
};
use std::path::Path;
use std::time::Duration;

pub const STORE: &str = "pool.db";
pub const BACKUP: &str = "backup.db";
/// What a store that a backup has replaced is called.
pub const REPLACED: &str = "pool.db.before-restore";
/// Where a backup is restored to.
pub const RESTORED: &str = "restored.db";
/// Where a damaged store is salvaged to.
pub const SALVAGED: &str = "salvaged.db";
/// The file that a recorded process writes its words to. It is no part of the disk.
pub const SAID: &str = "said";
/// What a word begins with that has so many of the next flushes fail.
pub const FAIL: &str = "fail ";

/// One step of a process. All but the last four are writes.
#[derive(Clone, Debug)]
pub enum Op {
    Add(DeviceInfo),
    Text {
        name: Vec<u8>,
        len: usize,
    },
    State {
        name: Vec<u8>,
        state: DeviceState,
    },
    Faulty(Vec<u8>),
    Remove(Vec<u8>),
    Apply(Vec<Change>),
    Import(usize),
    /// Bring the store in step with a pool and a snapshotter that have lost these devices.
    Reconcile(Vec<Vec<u8>>),
    /// Close the store and open it again.
    Reopen,
    /// Keep a snapshot from here on, whose pages are not reused; or release it.
    Hold,
    /// Flush what was deferred.
    Sync,
    /// A write that may be deferred.
    Deferred(Box<Op>),
}

/// A process: opens a store and takes these steps one after the other.
#[derive(Clone)]
pub struct Script {
    pub ops: Vec<Op>,
    pub durability: Durability,
    /// How many commits, and how long, may be left unflushed.
    pub deferred_commits: u64,
    pub deferred_age: Duration,
}

impl Script {
    /// Random steps on devices whose names begin with that prefix.
    pub fn random(seed: u64, prefix: &str, steps: usize, durability: Durability) -> Script {
        let mut writer = Writer {
            rng: Rng::of(seed, &[steps]),
            prefix: prefix.to_owned(),
            next: 0,
            begun: 0,
            open: Vec::new(),
            alive: Vec::new(),
            faulty: Vec::new(),
        };
        let ops = (0..steps).map(|_| writer.step(durability)).collect();
        Script {
            ops,
            durability,
            deferred_commits: 1000,
            deferred_age: Duration::from_secs(3600),
        }
    }

    pub fn open(&self, path: &Path) -> PoolMetadata {
        // A small map, so that it has to grow.
        let mut options = options(60_000);
        options
            .map_size(1 << 20)
            .durability(self.durability)
            .deferred_commits(self.deferred_commits)
            .deferred_age(self.deferred_age);
        options.open(path).unwrap()
    }

    /// Has some of the writes deferred: of sixteen, so many.
    pub fn deferring(mut self, seed: u64, sixteenths: u64) -> Script {
        let mut rng = Rng::of(seed, &[0xdefe]);
        let is_write = |op: &Op| !matches!(op, Op::Reopen | Op::Hold | Op::Sync);
        self.ops = self
            .ops
            .drain(..)
            .collect::<Vec<_>>()
            .into_iter()
            .map(|op| match is_write(&op) && rng.below(16) < sixteenths {
                true => Op::Deferred(Box::new(op)),
                false => op,
            })
            .collect();
        self
    }

    /// Whether what was done up to this step survives a power cut once it has returned.
    pub fn is_durable(&self, step: usize) -> bool {
        match &self.ops[step] {
            Op::Sync | Op::Reopen => true,
            Op::Hold | Op::Deferred(_) => false,
            _ => self.durability == Durability::Full,
        }
    }
}

/// Chooses random steps that succeed.
struct Writer {
    rng: Rng,
    prefix: String,
    next: usize,
    /// How many intents have begun, and the numbers of those that are open.
    begun: u64,
    open: Vec<u64>,
    alive: Vec<Vec<u8>>,
    faulty: Vec<Vec<u8>>,
}

impl Writer {
    fn step(&mut self, durability: Durability) -> Op {
        // Numbers of ids and intents are known where no other script writes.
        let kind = self.rng.below(if self.prefix.is_empty() { 29 } else { 24 });
        match kind {
            7..=10 if !self.alive.is_empty() => Op::Text {
                name: self.pick(),
                len: self.len(),
            },
            11 | 12 if !self.alive.is_empty() => Op::State {
                name: self.pick(),
                state: DeviceState::Suspended,
            },
            13..=15 if !self.alive.is_empty() => Op::Remove(self.take()),
            16 if !self.alive.is_empty() => {
                let name = self.take();
                self.faulty.push(name.clone());
                Op::Faulty(name)
            }
            17 if !self.faulty.is_empty() => {
                let name = self.faulty.pop().unwrap();
                self.alive.push(name.clone());
                Op::Add(device(name))
            }
            18..=20 => self.list(),
            21 => Op::Reopen,
            22 => Op::Hold,
            23 if durability == Durability::Relaxed => Op::Sync,
            24..=27 => Op::Apply(vec![self.in_step(kind)]),
            28 if self.alive.len() > 3 => Op::Reconcile((0..3).map(|_| self.take()).collect()),
            _ => Op::Add(self.new_device()),
        }
    }

    /// A change of ids, or an intent.
    fn in_step(&mut self, kind: u64) -> Change {
        match kind {
            24 => Change::MarkIdsFaulty {
                ids: (0..4).map(|_| 1 + self.rng.below(60) as u32).collect(),
            },
            25 => Change::FreeFaultyIds {
                except: (1..=1 + self.rng.below(60) as u32).collect(),
            },
            26 if !self.open.is_empty() => Change::FinishIntent {
                number: self.open.remove(0),
            },
            _ => {
                self.begun += 1;
                self.open.push(self.begun);
                let name = format!("intent-{}", self.begun);
                Change::BeginIntent(Intent::new(IntentKind::Snapshot, name, 7, self.begun))
            }
        }
    }

    /// Changes that are made as a whole; one list in three makes the map and the file larger.
    fn list(&mut self) -> Op {
        let large = self.rng.below(3) == 0;
        let mut changes = Vec::new();
        for _ in 0..3 + self.rng.below(5) {
            if self.alive.len() > 3 && self.rng.below(2) == 0 {
                changes.push(Change::Remove { name: self.take() });
                continue;
            }
            let mut device = self.new_device();
            if large {
                device.error = vec![b'L'; 60_000];
            }
            changes.push(Change::Add(device));
        }
        changes.push(Change::ChangeState {
            name: self.pick(),
            state: DeviceState::Activated,
        });
        Op::Apply(changes)
    }

    fn new_device(&mut self) -> DeviceInfo {
        self.next += 1;
        let name = format!("{}d{}", self.prefix, self.next).into_bytes();
        self.alive.push(name.clone());
        DeviceInfo {
            error: vec![b'n'; self.len()],
            ..device(name)
        }
    }

    fn len(&mut self) -> usize {
        [0, 0, 10, 200, 1500, 6000, 30_000][self.rng.below(7) as usize]
    }

    fn pick(&mut self) -> Vec<u8> {
        self.alive[self.rng.below(self.alive.len() as u64) as usize].clone()
    }

    fn take(&mut self) -> Vec<u8> {
        let index = self.rng.below(self.alive.len() as u64);
        self.alive.swap_remove(index as usize)
    }
}

/// Several threads that write at once, each on devices of its own.
pub struct Threads {
    pub scripts: Vec<Script>,
}

impl Threads {
    pub fn random(seed: u64, threads: usize, steps: usize) -> Threads {
        let script = |thread: usize| {
            let prefix = format!("t{thread}-");
            let seed = seed.wrapping_add(1000 * thread as u64);
            let mut script = Script::random(seed, &prefix, steps, Durability::Full);
            // These steps would disturb the other threads.
            script.ops.retain(|op| !matches!(op, Op::Reopen | Op::Hold));
            script
        };
        Threads {
            scripts: (0..threads).map(script).collect(),
        }
    }
}

pub fn one(seed: u64) -> Script {
    let mut script = Script::random(seed, "", 40, Durability::Full);
    // Too large for the first map.
    let large = |index| DeviceInfo {
        error: vec![b'L'; 400_000],
        ..device(format!("large-{index}"))
    };
    script
        .ops
        .insert(15, Op::Apply((0..3).map(large).map(Change::Add).collect()));
    script
}

pub fn relaxed(seed: u64) -> Script {
    Script::random(seed, "", 40, Durability::Relaxed)
}

/// Commits that are deferred and others, with bounds that are reached.
pub fn deferred(seed: u64) -> Script {
    let mut script = one(seed).deferring(seed, [8, 13, 16, 11][seed as usize % 4]);
    script.deferred_commits = [1000, 1000, 5, 2][seed as usize % 4];
    if seed % 8 > 5 {
        script.deferred_age = Duration::from_millis(3);
    }
    script
}

/// Commits that are deferred, by a process that finds a store which a power cut has left.
pub fn deferred_next(seed: u64) -> Script {
    next(seed).deferring(seed, 11)
}

/// Commits of which some cannot be flushed at first.
pub fn failing(seed: u64) -> Script {
    Script::random(seed, "", 12, Durability::Full)
}

/// Commits of which some are deferred, and some of the others cannot be flushed at first.
pub fn failing_deferred(seed: u64) -> Script {
    Script::random(seed, "", 16, Durability::Full).deferring(seed, 9)
}

pub fn import(seed: u64) -> Script {
    let mut script = Script::random(seed, "", 10, Durability::Full);
    script.ops.insert(0, Op::Import(500));
    script
}

/// Steps of several processes, some of which defer.
pub fn deferred_turns(seed: u64) -> Script {
    turns(seed).deferring(seed, 12)
}

/// Steps of several processes.
pub fn turns(seed: u64) -> Script {
    let mut script = Script::random(seed, "", 24, Durability::Full);
    script.ops.retain(|op| !matches!(op, Op::Hold));
    script
}

pub fn next(seed: u64) -> Script {
    Script::random(!seed, "next-", 25, Durability::Full)
}

/// Steps on a store that stays open.
pub fn second(seed: u64) -> Script {
    let mut script = Script::random(seed, "second-", 4, Durability::Full);
    script.ops.retain(|op| !matches!(op, Op::Reopen | Op::Hold));
    script
}

pub fn threads(seed: u64) -> Threads {
    Threads::random(seed, 6, 12)
}

/// Threads of which some defer, so that commits are shared by both kinds.
pub fn deferred_threads(seed: u64) -> Threads {
    let mut threads = threads(seed);
    for (number, script) in threads.scripts.iter_mut().enumerate() {
        *script = script
            .clone()
            .deferring(seed + number as u64, [4, 12, 16][number % 3]);
    }
    threads
}
