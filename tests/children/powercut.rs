//! Roles of `tests/powercut`: the processes that it records. An argument is a seed and a path.

#[path = "../powercut/perform.rs"]
mod perform;
#[path = "../powercut/workload.rs"]
#[allow(dead_code)]
mod workload;

use crate::common::rng::Rng;
use crate::common::seccomp::die_at_the_next_flush;
use perform::{attempt, perform};
use pool_metadata::{BackupOptions, Error, OpenOptions, PoolMetadata, RepairOptions, Walk};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use workload::{second, Op, Script, Threads};
use workload::{BACKUP, FAIL, REPLACED, RESTORED, SAID, SALVAGED};

fn parse(argument: &str) -> (u64, &Path) {
    let (seed, path) = argument.split_once(':').unwrap();
    (seed.parse().unwrap(), Path::new(path))
}

/// Writes to the file that the recorder reads.
struct Mouth(File);

impl Mouth {
    fn of(store: &Path) -> Mouth {
        let path = store.with_file_name(SAID);
        Mouth(File::options().append(true).open(path).unwrap())
    }

    fn say(&mut self, words: &str) {
        self.0.write_all(format!("{words}\n").as_bytes()).unwrap();
    }
}

/// Takes the steps of a script, and reports each before and after it.
fn play(script: &Script, path: &Path) {
    play_with(script, path, |_, _, _, _| {}, || {});
}

/// Does that, with something done before and after each step on the open store. What comes before
/// also gets a snapshot that is kept, and the number of the step.
fn play_with(
    script: &Script,
    path: &Path,
    mut before_each: impl FnMut(&PoolMetadata, &mut Option<Walk>, &mut Mouth, usize),
    mut after_each: impl FnMut(),
) {
    let mut said = Mouth::of(path);
    let mut store = script.open(path);
    let mut held = None;
    said.say("opened");
    for (index, op) in script.ops.iter().enumerate() {
        let reopens = matches!(op, Op::Reopen);
        if !reopens {
            before_each(&store, &mut held, &mut said, index);
        }
        said.say(&format!("begin {index}"));
        if reopens {
            held = None;
            store.close().unwrap();
            store = script.open(path);
        } else {
            perform(&store, &mut held, op);
            after_each();
        }
        said.say(&format!("done {index}"));
    }
    let grown = store.stats().unwrap().map_size;
    said.say(&format!("map {grown}"));
}

pub fn failing(argument: &str) {
    let (seed, path) = parse(argument);
    play_failing(&workload::failing(seed), seed, path);
}

pub fn failing_deferred(argument: &str) {
    let (seed, path) = parse(argument);
    play_failing(&workload::failing_deferred(seed), seed, path);
}

/// Takes the steps of a script. Each that is to be flushed is tried once before, while flushes
/// fail.
fn play_failing(script: &Script, seed: u64, path: &Path) {
    let mut rng = Rng::of(seed, &[0xfa11]);
    let try_it = |store: &PoolMetadata, held: &mut Option<Walk>, said: &mut Mouth, index: usize| {
        let op = &script.ops[index];
        if !script.is_durable(index) || matches!(op, Op::Sync) {
            return;
        }
        // The flush of the commit, that of what undoes it, and those of the next write.
        let flushes = 1 + rng.below(4);
        said.say(&format!("try {flushes}"));
        said.say(&format!("{FAIL}{flushes}"));
        match attempt(store, held, op) {
            Err(error) => {
                assert_fails(Err(error));
                said.say("failed");
                make_up(store, &mut rng, said);
            }
            // A step that changes nothing flushes nothing.
            Ok(()) => said.say(&format!("{FAIL}0")),
        }
    };
    play_with(script, path, try_it, || {});
}

fn assert_fails(done: pool_metadata::Result<()>) {
    let error = done.unwrap_err();
    assert_eq!(error.os_error(), Some(libc::EIO), "{error}");
}

/// Makes up for a failed flush, once flushes work again, by a flush or by a write that is refused;
/// or leaves that to the next write.
fn make_up(store: &PoolMetadata, rng: &mut Rng, said: &mut Mouth) {
    match rng.below(3) {
        0 => while store.sync().map_err(|e| assert_fails(Err(e))).is_err() {},
        1 => loop {
            match store.remove_device("missing") {
                Err(Error::NotFound { .. }) => break,
                done => assert_fails(done),
            }
        },
        _ => return said.say(&format!("{FAIL}0")),
    }
    said.say("settled");
}

pub fn import(argument: &str) {
    let (seed, path) = parse(argument);
    play(&workload::import(seed), path);
}

pub fn next(argument: &str) {
    let (seed, path) = parse(argument);
    play(&workload::next(seed), path);
}

pub fn one(argument: &str) {
    let (seed, path) = parse(argument);
    play(&workload::one(seed), path);
}

pub fn relaxed(argument: &str) {
    let (seed, path) = parse(argument);
    play(&workload::relaxed(seed), path);
}

pub fn deferred(argument: &str) {
    let (seed, path) = parse(argument);
    play(&workload::deferred(seed), path);
}

/// As `deferred`, but that nothing keeps freed pages from being used again.
pub fn unpinned(argument: &str) {
    /// Where LMDB's reader table begins in the lock file, and bytes of a slot (mdb.c).
    const READERS_AT: usize = 128;
    const SLOT: usize = 64;
    let (seed, path) = parse(argument);
    let lock_path = path.with_file_name("pool.db-lock");
    let mut lock_file = None;
    let free_slots = || {
        // Closing the file would drop the locks that this process has on it.
        let file: &File = lock_file.get_or_insert_with(|| {
            let mut options = File::options();
            options.read(true).write(true).open(&lock_path).unwrap()
        });
        let len = file.metadata().unwrap().len() as usize;
        for at in (READERS_AT..len - SLOT).step_by(SLOT) {
            // As a slot whose read has ended.
            file.write_all_at(&u64::MAX.to_ne_bytes(), at as u64)
                .unwrap();
        }
    };
    play_with(&workload::deferred(seed), path, |_, _, _, _| {}, free_slots);
    std::mem::forget(lock_file);
}

pub fn deferred_next(argument: &str) {
    let (seed, path) = parse(argument);
    play(&workload::deferred_next(seed), path);
}

/// Takes the steps of a script in turn with other processes, of which every other one is killed
/// once its step is done.
pub fn deferred_turns(argument: &str) {
    let (seed, path) = parse(argument);
    let script = workload::deferred_turns(seed);
    let mut said = Mouth::of(path);
    let mut store = script.open(path);
    said.say("opened");
    for (index, op) in script.ops.iter().enumerate() {
        said.say(&format!("begin {index}"));
        match Turn::of(index / 2) {
            _ if matches!(op, Op::Reopen) => {
                store.close().unwrap();
                store = script.open(path);
            }
            Turn::Own => perform(&store, &mut None, op),
            turn => {
                let ended = other("powercut::deferred_turn", argument, index);
                let killed = ended.signal() == Some(libc::SIGKILL);
                assert!(killed == (turn == Turn::Killed) && (killed || ended.success()));
            }
        }
        said.say(&format!("done {index}"));
    }
    said.say(&format!("map {}", store.stats().unwrap().map_size));
}

/// Takes one step of that script.
pub fn deferred_turn(argument: &str) {
    let (seed, path) = parse(argument);
    let script = workload::deferred_turns(seed);
    let index: usize = std::env::var(STEP).unwrap().parse().unwrap();
    let store = script.open(path);
    perform(&store, &mut None, &script.ops[index]);
    if Turn::of(index / 2) == Turn::Killed {
        nix::sys::signal::raise(nix::sys::signal::SIGKILL).unwrap();
    }
}

/// Takes the steps of a script in turn with other processes, of which every other one is killed
/// before it can flush its commit: that is done once the next step is.
pub fn turns(argument: &str) {
    let (seed, path) = parse(argument);
    let script = workload::turns(seed);
    let mut said = Mouth::of(path);
    let mut store = script.open(path);
    said.say("opened");
    let mut killed = None;
    for (index, op) in script.ops.iter().enumerate() {
        said.say(&format!("begin {index}"));
        match Turn::of(index) {
            _ if matches!(op, Op::Reopen) => {
                store.close().unwrap();
                store = script.open(path);
            }
            Turn::Own => perform(&store, &mut None, op),
            turn => {
                let ended = other("powercut::turn", argument, index);
                // A step that writes nothing has no flush to be killed at.
                if turn == Turn::Killed && !ended.success() {
                    assert_eq!(ended.signal(), Some(libc::SIGSYS), "{ended}");
                    killed = Some(index);
                    continue;
                }
                assert!(ended.success());
            }
        }
        for done in killed.take().into_iter().chain([index]) {
            said.say(&format!("done {done}"));
        }
    }
    said.say(&format!("map {}", store.stats().unwrap().map_size));
}

/// Has another process take a step, and waits for its end.
fn other(role: &str, argument: &str, step: usize) -> ExitStatus {
    let mut other = Command::new(std::env::current_exe().unwrap());
    other.args([role, argument]).env(STEP, step.to_string());
    other.status().unwrap()
}

/// Who takes a step.
#[derive(PartialEq)]
enum Turn {
    Own,
    Other,
    Killed,
}

impl Turn {
    fn of(index: usize) -> Turn {
        match index % 4 {
            1 => Turn::Other,
            3 => Turn::Killed,
            _ => Turn::Own,
        }
    }
}

/// Which step another process takes.
const STEP: &str = "PM_STEP";

/// Takes one step of that script.
pub fn turn(argument: &str) {
    let (seed, path) = parse(argument);
    let script = workload::turns(seed);
    let index: usize = std::env::var(STEP).unwrap().parse().unwrap();
    let store = script.open(path);
    if Turn::of(index) == Turn::Killed {
        die_at_the_next_flush();
    }
    perform(&store, &mut None, &script.ops[index]);
}

pub fn threads(argument: &str) {
    let (seed, path) = parse(argument);
    play_in_threads(&workload::threads(seed), path);
}

pub fn deferred_threads(argument: &str) {
    let (seed, path) = parse(argument);
    play_in_threads(&workload::deferred_threads(seed), path);
}

/// Runs the scripts in threads, and reports at the end how many commits were made.
fn play_in_threads(threads: &Threads, path: &Path) {
    let store = threads.scripts[0].open(path);
    Mouth::of(path).say("opened");
    std::thread::scope(|scope| {
        for (thread, script) in threads.scripts.iter().enumerate() {
            let store = &store;
            scope.spawn(move || {
                let mut said = Mouth::of(path);
                for op in &script.ops {
                    said.say(&format!("begin {thread}"));
                    perform(store, &mut None, op);
                    said.say(&format!("done {thread}"));
                }
            });
        }
    });
    Mouth::of(path).say(&format!("commits {}", store.stats().unwrap().commits));
}

/// Takes the steps of a script, makes a backup, takes the steps of a second script, and restores
/// the backup.
pub fn backup(argument: &str) {
    let (seed, path) = parse(argument);
    play(&workload::import(seed), path);
    let mut said = Mouth::of(path);
    let store = PoolMetadata::open(path).unwrap();
    let backup = path.with_file_name(BACKUP);
    said.say("backing up");
    store.backup(&backup, &BackupOptions::new()).unwrap();
    said.say("backed up");
    for op in &second(seed).ops {
        perform(&store, &mut None, op);
    }
    store.close().unwrap();
    said.say("restoring");
    let restored = PoolMetadata::restore(&backup, path).unwrap();
    assert!(restored.kept.unwrap().ends_with(REPLACED));
    said.say("restored");
}

/// Replaces the backup by one of the store as it is, then, after some more steps, by a compacted
/// one, restores that to another path, and compacts the store itself.
pub fn replacing(argument: &str) {
    let (seed, path) = parse(argument);
    let script = second(seed);
    let mut said = Mouth::of(path);
    let backup = path.with_file_name(BACKUP);
    let store = script.open(path);
    let mut how = BackupOptions::new();
    said.say("backing up");
    store.backup(&backup, how.overwrite(true)).unwrap();
    said.say("backed up");
    for op in &script.ops {
        perform(&store, &mut None, op);
    }
    said.say("compacting");
    store.backup(&backup, how.compact(true)).unwrap();
    said.say("compacted");
    let restored = path.with_file_name(RESTORED);
    said.say("restoring");
    PoolMetadata::restore(&backup, restored).unwrap();
    said.say("restored");
    store.close().unwrap();
    PoolMetadata::compact(path).unwrap();
}

pub fn repair(argument: &str) {
    let (_, path) = parse(argument);
    let mut said = Mouth::of(path);
    said.say("repairing");
    let repaired = OpenOptions::new().repair(path, &RepairOptions::new());
    assert!(repaired.unwrap().after.is_sound());
    said.say("repaired");
}

pub fn salvage(argument: &str) {
    let (_, path) = parse(argument);
    let mut said = Mouth::of(path);
    said.say("salvaging");
    let target = path.with_file_name(SALVAGED);
    OpenOptions::new().salvage(path, &target, 1000).unwrap();
    said.say("salvaged");
}
