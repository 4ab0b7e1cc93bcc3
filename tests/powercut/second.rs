//! The power is cut again, while a process uses or mends what an earlier power cut has left.

use super::disk::{Disk, Survivors};
use super::judge::Single;
use super::record::Recording;
use super::workload::{next, STORE};
use super::{ptrace, recording, recording_at, seeds, survive};
use crate::common;
use crate::common::rng::Rng;
use pool_metadata::PoolMetadata;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The power is cut while a process uses a store that an earlier power cut has left.
#[test]
fn second_power_cut_loses_no_acknowledged_write() {
    if !ptrace::is_allowed() {
        return;
    }
    for seed in seeds(2) {
        let first = recording("one", seed);
        let (place, start) = (common::directory(), common::directory());
        leave(&first, seed, place.path());
        leave(&first, seed, start.path());
        let subject = Single::new(&next(seed), &start.path().join(STORE));
        let recording = recording_at("next", seed, place.path());
        survive("after another", seed, &recording, &subject, 30);
    }
}

/// The power is cut again while a process undoes a commit that the first cut has left half written,
/// and goes on.
#[test]
fn power_cut_while_a_commit_is_undone_loses_no_acknowledged_write() {
    if !ptrace::is_allowed() {
        return;
    }
    for seed in seeds(1) {
        let first = recording("one", seed);
        let (place, start) = (common::directory(), common::directory());
        leave_unfinished(&first, seed, &[place.path(), start.path()]);
        let subject = Single::new(&next(seed), &start.path().join(STORE));
        let recording = recording_at("next", seed, place.path());
        survive("undone", seed, &recording, &subject, 30);
    }
}

/// Writes to the directories what a power cut could leave in the middle of a commit, such that
/// opening it undoes that.
pub fn leave_unfinished(recording: &Recording, seed: u64, directories: &[&Path]) {
    for attempt in 0..1000 {
        leave(recording, seed + 1_000_000_000 * attempt, directories[0]);
        let opened = PoolMetadata::open(directories[0].join(STORE));
        if opened.is_ok_and(|store| store.undone_at_open().is_some()) {
            for directory in directories {
                leave(recording, seed + 1_000_000_000 * attempt, directory);
            }
            return;
        }
    }
    panic!("no commit was left half written");
}

/// Writes to the directory what a power cut at a random point of the recording could leave.
fn leave(recording: &Recording, seed: u64, directory: &Path) {
    let mut rng = Rng::of(seed, &[]);
    let mut disk = Disk::new(recording);
    let cut = rng.below(recording.events.len() as u64) as usize;
    for (number, event) in recording.events[..=cut].iter().enumerate() {
        disk.play(number, event);
    }
    for (name, content) in disk.image(Survivors::Sectors(8), &mut rng) {
        let path = directory.join(name);
        std::fs::write(&path, content).unwrap();
        // As its maker had it. For another mode, the lock file is made without a name at first.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
}
