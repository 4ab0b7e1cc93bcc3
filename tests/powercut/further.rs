//! Whether the snapshotter's store could defer more than it does.
//!
//! This does without a disk: a power cut leaves any one of the commits since the last flushed one,
//! as a whole. So it can ask what would be left if one more kind of change was deferred.

use super::disk::{Disk, Survivors};
use super::judge::{open_left, Dump};
use super::record::{Event, Recording};
use super::snapshotter::{store_of, World};
use crate::common;
use crate::common::rng::Rng;
use pool_metadata::DeviceState;
use std::collections::BTreeSet;
use std::fs;

/// What a commit has changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Created,
    Added,
    Removed,
    State(DeviceState, DeviceState),
}

/// A commit, or something that the process has said.
enum Moment<'r> {
    Commit {
        store: Option<Dump>,
        change: Change,
        flushed: bool,
    },
    Said(&'r str),
}

/// Fails unless each kind of change that is flushed has to be: were it deferred like the others, a
/// power cut could leave what is not allowed. A device that is marked as faulty is not looked at:
/// its call fails, and so acknowledges nothing.
pub fn nothing_more_can_be_deferred(recording: &Recording, allowed: &BTreeSet<World>) {
    let moments = moments(recording);
    let kinds = |wanted: bool| -> BTreeSet<Change> {
        let commits = moments.iter().filter_map(|moment| match moment {
            Moment::Commit {
                change, flushed, ..
            } if *flushed == wanted => Some(change.clone()),
            _ => None,
        });
        commits.collect()
    };
    // What is deferred may be flushed all the same, as when the store begins to defer.
    let flushed = &kinds(true) - &kinds(false);
    assert_eq!(first_violation(&moments, allowed, None), None);
    for kind in &flushed {
        if matches!(
            kind,
            Change::Created | Change::State(_, DeviceState::Faulty)
        ) {
            continue;
        }
        let found = first_violation(&moments, allowed, Some(kind));
        let found = found.unwrap_or_else(|| panic!("{kind:?} could be deferred"));
        println!("deferred, {kind:?} would leave, after {found}");
    }
}

/// What a power cut could leave and may not, if changes of that kind were deferred as well.
fn first_violation(
    moments: &[Moment<'_>],
    allowed: &BTreeSet<World>,
    deferred: Option<&Change>,
) -> Option<String> {
    let mut may_be = vec![&None];
    let mut said = Vec::new();
    for moment in moments {
        match moment {
            Moment::Commit {
                store,
                change,
                flushed,
            } => {
                if *flushed && deferred != Some(change) {
                    may_be.clear();
                }
                may_be.push(store);
            }
            Moment::Said(words) => said.push(*words),
        }
        for store in &may_be {
            let world = World::new(store, &said);
            if !allowed.contains(&world) {
                return Some(format!("{:?}, {world:?}", said.last().unwrap()));
            }
        }
    }
    None
}

/// The commits of a recording, and what was said, in their order.
fn moments(recording: &Recording) -> Vec<Moment<'_>> {
    let place = common::directory();
    let file_of_store = store_of(recording);
    let mut disk = Disk::new(recording);
    let mut moments = Vec::new();
    let mut last: Option<Dump> = None;
    for (number, event) in recording.events.iter().enumerate() {
        disk.play(number, event);
        match event {
            Event::Said(words) => moments.push(Moment::Said(words.as_str())),
            Event::Flush { file, .. } if *file == file_of_store => {
                let newest = moments.iter_mut().rev().find_map(|moment| match moment {
                    Moment::Commit { flushed, .. } => Some(flushed),
                    Moment::Said(_) => None,
                });
                if let Some(flushed) = newest {
                    *flushed = true;
                }
            }
            Event::Write { .. } | Event::Names { .. } => {
                for entry in fs::read_dir(place.path()).unwrap() {
                    fs::remove_file(entry.unwrap().path()).unwrap();
                }
                for (name, content) in disk.image(Survivors::All, &mut Rng::of(1, &[])) {
                    fs::write(place.path().join(name), content).unwrap();
                }
                let store = open_left(place.path(), false).unwrap();
                if let Some(change) = change(&last, &store) {
                    last.clone_from(&store);
                    moments.push(Moment::Commit {
                        store,
                        // A store is flushed before it gets its name.
                        flushed: change == Change::Created,
                        change,
                    });
                }
            }
            _ => {}
        }
    }
    moments
}

/// What has changed from one state of the store to another; none if that is no commit.
fn change(from: &Option<Dump>, to: &Option<Dump>) -> Option<Change> {
    let (Some(from), Some(to)) = (from, to) else {
        return to.as_ref().map(|_| Change::Created);
    };
    if from == to {
        return None;
    }
    if to.devices.len() < from.devices.len() {
        return Some(Change::Removed);
    }
    let mut pairs = from.devices.iter().zip(to.devices.iter());
    let same_devices = from.devices.len() == to.devices.len()
        && pairs.all(|(from, to)| from.device_id == to.device_id);
    if !same_devices {
        return Some(Change::Added);
    }
    let mut pairs = from.devices.iter().zip(to.devices.iter());
    let (from, to) = pairs.find(|(from, to)| from != to).unwrap();
    Some(Change::State(from.state, to.state))
}
