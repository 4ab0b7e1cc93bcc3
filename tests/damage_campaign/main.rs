//! Damaged files by the thousand: whatever happened to a store's file, opening it gives an error or
//! right answers, and what is written to it then is right as well. Never does it end the process,
//! or hang, or give a wrong answer.
//!
//! A few hundred cases in each run of the tests, and as many as are asked for with `make damage
//! CASES=100000 SEED=1`, which goes on where it was stopped. `make damage CASE=17 SEED=1` tries one
//! of them again.

#[path = "../common/mod.rs"]
mod common;
mod outcome;
mod progress;

use common::peer::Peer;
use outcome::{Outcome, Verdict};
use progress::Progress;
use std::sync::Mutex;

/// Cases of a run that nobody asked for more of.
const USUAL_CASES: u64 = 500;
/// Cases that a worker is given at once.
const CHUNK: u64 = 50;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().expect("a number"))
}

#[test]
fn damaged_files_are_refused_or_right() {
    let seed = number("PM_DAMAGE_SEED").unwrap_or(1);
    let one = number("PM_DAMAGE_CASE");
    let cases = match one {
        Some(case) => case..case + 1,
        None => 0..number("PM_DAMAGE_CASES").unwrap_or(USUAL_CASES),
    };
    // Only a long run is worth going on with.
    let kept = std::env::var_os("PM_DAMAGE_STATE").filter(|_| one.is_none());
    let progress = Progress::new(seed, cases, CHUNK, kept.map(Into::into));
    let progress = run(progress, seed, "full");
    println!("{progress}");
    assert_eq!(progress.violations(), 0);
}

/// The campaign can fail: without verification, LMDB follows what it finds, and the same damage
/// ends processes.
#[test]
fn without_verification_processes_end() {
    let progress = run(Progress::new(1, 0..60, 10, None), 1, "none");
    assert!(progress.count(Verdict::Died) > 0, "{progress}");
}

/// Has a worker for each processor try the cases that are left.
fn run(progress: Progress, seed: u64, verify: &str) -> Progress {
    let progress = Mutex::new(progress);
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get().min(4));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let directory = common::directory();
                let argument = format!("{seed} {verify} {}", directory.path().display());
                let mut peer = Peer::start("damage_campaign::worker", argument);
                loop {
                    let next = progress.lock().unwrap().next();
                    let Some(chunk) = next else {
                        break;
                    };
                    peer.tell(&format!("{} {}", chunk.start, chunk.end));
                    let outcomes = chunk.clone().map(|_| Outcome::parse(&peer.hear()));
                    let outcomes = outcomes.collect();
                    progress.lock().unwrap().done(chunk, outcomes);
                }
                peer.finish();
            });
        }
    });
    progress.into_inner().unwrap()
}
