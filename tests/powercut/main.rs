//! Power cuts: whichever unflushed writes the disk has kept, acknowledged writes are there, others
//! are there as a whole or not at all, and the invariants hold.
//!
//! A process works on a store while every one of its writes and flushes is recorded; then the file
//! is rebuilt as a power cut after each of these events could have left it, and opened.
//! `docs/reliability.md` says what is assumed of the disk. `make powercut` runs this for longer:
//! `PM_POWERCUT` says how many times as long, and `PM_SEED` changes all random choices.

#[path = "../common/mod.rs"]
mod common;

mod backup;
mod deferring;
mod disk;
mod explore;
mod failing;
mod further;
mod judge;
mod migration;
#[path = "../common/page_size.rs"]
#[allow(dead_code)]
mod page_size;
mod perform;
mod ptrace;
mod record;
mod repairing;
mod replacing;
mod second;
mod snapshotter;
mod workload;

use backup::Backup;
use common::peer;
use disk::Broken;
use explore::{explore, Campaign, Found, Subject};
use judge::{open_left, Many, Single};
use migration::{Migration, MIGRATED};
use record::{record, Event, Recording};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use workload::{import, next, one, relaxed, threads, turns, Script, STORE};

/// How many times as long as in the short run.
fn scale() -> usize {
    std::env::var("PM_POWERCUT").map_or(1, |value| value.parse().unwrap())
}

fn seed() -> u64 {
    std::env::var("PM_SEED").map_or(1, |value| value.parse().unwrap())
}

/// Records a child process in a role, in a directory that may hold files.
fn recording_at(role: &str, seed: u64, directory: &Path) -> Recording {
    let argument = format!("{seed}:{}", directory.join(STORE).display());
    let mut command = peer::command(&format!("powercut::{role}"), argument);
    record(
        directory,
        command.stdin(Stdio::null()).stdout(Stdio::null()),
    )
}

/// Records a child process in a role, in an empty directory.
fn recording(role: &str, seed: u64) -> Recording {
    recording_at(role, seed, common::directory().path())
}

fn campaign(seed: u64) -> Campaign {
    Campaign {
        seed,
        random: 12,
        broken: Broken::Nothing,
        lies_from: 0,
        unchecked: false,
        unanchored: false,
        enough: 20,
        until: None,
    }
}

/// Cuts the power at every point, of which there must be at least `fewest`, and fails if one leaves
/// what is not allowed.
fn survive(what: &str, seed: u64, recording: &Recording, subject: &impl Subject, fewest: usize) {
    let found = explore(recording, &campaign(seed), subject);
    let Found {
        cuts,
        images,
        opened,
        violations,
    } = found;
    let wrong = violations.len();
    println!(
        "{what}, seed {seed}: {cuts} points, {images} images, {opened} of them different: \
         {wrong} violations; in all so far {}",
        count([cuts, images, opened])
    );
    assert!(violations.is_empty(), "{violations:#?}");
    assert!(cuts >= fewest && opened > cuts, "that was no campaign");
}

/// Adds to the points, images and different images of all recordings.
fn count(found: [usize; 3]) -> String {
    static ALL: [AtomicUsize; 3] = [const { AtomicUsize::new(0) }; 3];
    let sum = |at: usize| ALL[at].fetch_add(found[at], Ordering::Relaxed) + found[at];
    let [cuts, images, opened] = [0, 1, 2].map(sum);
    format!("{cuts} points, {images} images, {opened} of them different")
}

/// Fails unless a disk that is broken in this way causes a violation with these words.
fn finds(recording: &Recording, subject: &impl Subject, broken: Broken, what: &'static str) {
    let lie = Campaign {
        broken,
        enough: usize::MAX,
        until: Some(what),
        ..campaign(seed())
    };
    let violations = explore(recording, &lie, subject).violations;
    let last = violations.last().map_or("nothing", String::as_str);
    println!("{broken:?}: {} found, at last: {last}", violations.len());
    assert!(last.contains(what), "it was not found that {what}");
}

fn said<'r>(recording: &'r Recording, word: &str) -> &'r str {
    let words = recording
        .events
        .iter()
        .rev()
        .filter_map(|event| match event {
            Event::Said(words) => words.strip_prefix(word),
            _ => None,
        });
    words.into_iter().next().unwrap().trim()
}

/// Plays a script on a store that has to be created.
fn play(role: &str, script: fn(u64) -> Script, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let place = common::directory();
        let subject = Single::new(&script(seed), &place.path().join(STORE));
        let recording = recording(role, seed);
        let map: u64 = said(&recording, "map").parse().unwrap();
        assert!(role != "one" || map > 1 << 20, "the map has not grown");
        survive(role, seed, &recording, &subject, 30);
    }
}

fn seeds(count: usize) -> std::ops::Range<u64> {
    let first = seed() * 1_000_000;
    first..first + (count * scale()) as u64
}

#[test]
fn lone_writer_loses_no_acknowledged_write() {
    if !ptrace::is_allowed() {
        return;
    }
    play("one", one, seeds(1));
}

#[test]
fn import_is_there_as_a_whole_or_not_at_all() {
    if !ptrace::is_allowed() {
        return;
    }
    play("import", import, seeds(1));
}

#[test]
fn backup_and_restore_lose_neither_store() {
    if !ptrace::is_allowed() {
        return;
    }
    for seed in seeds(1) {
        let place = common::directory();
        let start = place.path().join(STORE);
        let subject = Backup::new(&import(seed), &workload::second(seed), &start);
        survive("backup", seed, &recording("backup", seed), &subject, 30);
    }
}

#[test]
fn relaxed_store_keeps_what_was_synced_and_whole_commits_after_it() {
    if !ptrace::is_allowed() {
        return;
    }
    play("relaxed", relaxed, seeds(1));
}

/// Other processes write as well, and some are killed between their commit and its flush.
#[test]
fn processes_that_write_in_turn_lose_no_acknowledged_write() {
    if !ptrace::is_allowed() {
        return;
    }
    play("turns", turns, seeds(1));
}

#[test]
fn threads_that_share_commits_lose_no_acknowledged_write() {
    if !ptrace::is_allowed() {
        return;
    }
    for seed in seeds(1) {
        let threads = threads(seed);
        let recording = recording("threads", seed);
        let writes: usize = threads.scripts.iter().map(|script| script.ops.len()).sum();
        let commits: usize = said(&recording, "commits").parse().unwrap();
        assert!(
            commits < writes,
            "no two of {writes} writes shared a commit"
        );
        survive("threads", seed, &recording, &Many::new(&threads), 30);
    }
}

/// LMDB made such stores on kernels with larger pages. The second meta page is elsewhere in them,
/// and a page takes more.
#[test]
fn store_with_larger_pages_loses_no_acknowledged_write() {
    let sizes: &[usize] = if scale() > 1 {
        &[8192, 16384, 32768]
    } else {
        &[16384]
    };
    for (seed, page_size) in seeds(sizes.len()).zip(sizes.iter().copied().cycle()) {
        let (place, start) = (common::directory(), common::directory());
        for directory in [&place, &start] {
            page_size::make_store(&directory.path().join(STORE), page_size);
        }
        let subject = Single::new(&one(seed), &start.path().join(STORE));
        let recording = recording_at("one", seed, place.path());
        let what = format!("pages of {page_size} bytes");
        survive(&what, seed, &recording, &subject, 30);
    }
}

/// The upgrade is one commit: what is left is the old store, which the next open upgrades, or the
/// new one.
#[test]
fn upgrade_from_an_older_format_loses_nothing() {
    if !ptrace::is_allowed() {
        return;
    }
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/store-v1.db");
    for seed in seeds(1) {
        let (place, start) = (common::directory(), common::directory());
        for directory in [&place, &start] {
            let path = directory.path().join(STORE);
            std::fs::copy(&fixture, &path).unwrap();
            // As its maker had it.
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        let subject = Single::new(&next(seed), &start.path().join(STORE));
        let recording = recording_at("next", seed, place.path());
        survive("upgrade", seed, &recording, &subject, 30);
    }
}

/// The campaign can fail: without any one kind of flush, and without a look at the newest commit,
/// it finds violations.
#[test]
fn disk_that_lies_is_detected() {
    if !ptrace::is_allowed() {
        return;
    }
    let (seed, place) = (seeds(1).start, common::directory());
    let subject = Single::new(&one(seed), &place.path().join(STORE));
    let recording = recording("one", seed);
    let opened = recording
        .events
        .iter()
        .position(|event| matches!(event, Event::Said(words) if words == "opened"))
        .unwrap();
    let violation = |broken, lies_from, unchecked, until| {
        let campaign = Campaign {
            broken,
            lies_from,
            unchecked,
            enough: usize::MAX,
            until: Some(until),
            ..campaign(seed)
        };
        let violations = explore(&recording, &campaign, &subject).violations;
        let last = violations.last().map_or("nothing", String::as_str);
        println!("{broken:?}, unchecked: {unchecked}: {last}");
        last.to_owned()
    };
    let finds = |broken, lies_from, unchecked, what| {
        assert!(violation(broken, lies_from, unchecked, what).contains(what));
    };
    // Without flushes of commits, acknowledged writes are undone, and the store is damaged.
    for what in ["what is there is that after", "the store is damaged"] {
        finds(Broken::Flushes, opened, false, what);
    }
    // Without a look at the newest commit, it is used though it is not whole.
    finds(Broken::Nothing, opened, true, "the store is damaged");
    // Without flushes while the store is created.
    finds(Broken::Flushes, 0, false, "opening: ");
    // Without flushes of the directory, the store's name is lost.
    finds(Broken::NameFlushes, 0, false, "the store is gone");
    assert_eq!(violation(Broken::Nothing, 0, false, "any"), "nothing");
}

/// `scripts/powercut.sh` builds the Go program and names it in `PM_MIGRATE`.
#[test]
#[ignore = "needs a program in Go: make test-powercut"]
fn migration_leaves_the_old_or_the_new_file_whole() {
    if !ptrace::is_allowed() {
        return;
    }
    let program = Path::new(&std::env::var_os("PM_MIGRATE").unwrap()).to_owned();
    let old = std::fs::read("go-binding/testdata/pool.bolt").unwrap();
    let place = common::directory();
    std::fs::write(place.path().join(STORE), &old).unwrap();
    let mut command = migration::command(&program, place.path());
    let mut recording = record(place.path(), &mut command);
    recording.events.push(Event::Said(MIGRATED.to_owned()));
    let new = open_left(place.path(), false).unwrap().unwrap();
    assert!(new.devices.len() > 10);
    let subject = Migration { program, old, new };
    for seed in seeds(1) {
        survive("migration", seed, &recording, &subject, 20);
    }
    finds(&recording, &subject, Broken::NameFlushes, "lost");
}

/// `scripts/powercut.sh` builds the snapshotters and names their directory in `PM_SNAPSHOTTERS`.
#[test]
#[ignore = "needs programs in Go: make test-powercut"]
fn snapshotter_recovers_as_if_every_write_was_flushed() {
    if !ptrace::is_allowed() {
        return;
    }
    let programs = Path::new(&std::env::var_os("PM_SNAPSHOTTERS").unwrap()).to_owned();
    for version in snapshotter::versions(&programs) {
        snapshotter::campaign(&programs, &version);
    }
}
