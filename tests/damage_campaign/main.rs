//! Damaged files by the thousand. Opening one fails or gives right answers, and what is written to
//! it then is right as well; it never ends the process, hangs, or gives a wrong answer.
//!
//! Each run of the tests tries a few hundred cases, and `make damage CASES=100000 SEED=1` that
//! many; it resumes where it was stopped. `make damage CASE=17 SEED=1` repeats one case.

#[path = "../common/mod.rs"]
mod common;
mod outcome;
#[path = "../common/page_size.rs"]
#[allow(dead_code)]
mod page_size;
mod progress;

use common::peer::Peer;
use outcome::{Outcome, Verdict};
use progress::Progress;
use std::sync::Mutex;

/// How many cases a run tries by default.
const USUAL_CASES: u64 = 500;
/// How many cases a worker gets at once.
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
    // Only a long run is resumed.
    let kept = std::env::var_os("PM_DAMAGE_STATE").filter(|_| one.is_none());
    let progress = Progress::new(seed, cases, CHUNK, kept.map(Into::into));
    let progress = run(progress, seed, "full", 4096);
    println!("{progress}");
    assert_eq!(progress.violations(), 0);
}

/// Likewise with larger pages: a third of the cases of a long run for each size.
#[test]
fn damaged_files_with_larger_pages_are_refused_or_right() {
    let seed = number("PM_DAMAGE_SEED").unwrap_or(1);
    let one = number("PM_DAMAGE_CASE");
    let sizes = match number("PM_DAMAGE_CASES") {
        Some(cases) => vec![(8192, cases / 3), (16384, cases / 3), (32768, cases / 3)],
        None => vec![(16384, 150)],
    };
    for (page_size, cases) in sizes {
        let cases = one.map_or(0..cases, |case| case..case + 1);
        let progress = Progress::new(seed, cases, CHUNK, None);
        let progress = run(progress, seed, "full", page_size);
        println!("pages of {page_size} bytes: {progress}");
        assert_eq!(progress.violations(), 0);
    }
}

/// The campaign can fail: without verification, the same damage makes LMDB end processes.
#[test]
fn damage_without_verification_ends_processes() {
    let progress = run(Progress::new(1, 0..60, 10, None), 1, "none", 4096);
    assert!(progress.count(Verdict::Died) > 0, "{progress}");
}

/// Runs the remaining cases, with a worker for each processor.
fn run(progress: Progress, seed: u64, verify: &str, page_size: usize) -> Progress {
    let progress = Mutex::new(progress);
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get().min(4));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let directory = common::directory();
                if page_size != 4096 {
                    page_size::make_store(&directory.path().join("original.db"), page_size);
                }
                let place = directory.path().display();
                let argument = format!("{seed} {verify} {page_size} {place}");
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
