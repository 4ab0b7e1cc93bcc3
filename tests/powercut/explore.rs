//! Checks what a power cut at each point of a recording could leave.

use super::disk::{Broken, Disk, Image, Survivors};
use super::record::{Event, Recording};
use super::workload::STORE;
use crate::common::raw;
use crate::common::rng::Rng;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use xxhash_rust::xxh3::Xxh3;

/// What the recorded process was doing, and what may be found after a power cut.
pub trait Subject {
    /// What was found in a directory that a power cut has left.
    type Outcome: Clone;

    /// Opens what is in the directory, as the next process would.
    fn look(&self, directory: &Path, thorough: bool) -> Result<Self::Outcome, String>;

    /// Whether that may be found after the process has said these words.
    fn judge(&self, found: &Self::Outcome, said: &[&str]) -> Result<(), String>;
}

pub struct Campaign {
    pub seed: u64,
    /// Images with random survivors at every point, besides the systematic ones.
    pub random: usize,
    pub broken: Broken,
    /// The first event from which on the disk is broken.
    pub lies_from: usize,
    /// Whether every commit is marked as flushed, so that none is looked at before it is used.
    pub unchecked: bool,
    /// Whether no commit has an anchor.
    pub unanchored: bool,
    /// After how many violations to stop, and after which one.
    pub enough: usize,
    pub until: Option<&'static str>,
}

#[derive(Default)]
pub struct Found {
    /// Points at which the power was cut.
    pub cuts: usize,
    /// Images that were judged.
    pub images: usize,
    /// How many of them were different from each other, and so were opened.
    pub opened: usize,
    pub violations: Vec<String>,
}

type Seen<O> = HashMap<u128, Rc<Result<O, String>>>;

/// Cuts the power after every event of the recording.
pub fn explore<S: Subject>(recording: &Recording, campaign: &Campaign, subject: &S) -> Found {
    let place = crate::common::directory();
    let mut seen: Seen<S::Outcome> = HashMap::new();
    let mut found = Found::default();
    let mut disk = Disk::new(recording);
    let mut said = Vec::new();
    for (number, event) in recording.events.iter().enumerate() {
        if number == campaign.lies_from {
            disk.broken = campaign.broken;
        }
        disk.play(number, event);
        if let Event::Said(words) = event {
            said.push(words.as_str());
        }
        found.cuts += 1;
        let plans = plans(&disk, campaign, number);
        for (index, survivors) in plans.into_iter().enumerate() {
            let mut rng = Rng::of(campaign.seed, &[number, index]);
            let mut image = disk.image(survivors, &mut rng);
            if let Some(store) = image.get_mut(STORE) {
                if campaign.unchecked {
                    raw::mark(store);
                }
                if campaign.unanchored {
                    raw::remove_anchors(store);
                }
            }
            found.images += 1;
            let outcome = seen.entry(digest(&image)).or_insert_with(|| {
                found.opened += 1;
                put(place.path(), &image, &recording.lock_file, &mut rng);
                Rc::new(subject.look(place.path(), rng.below(8) == 0))
            });
            let judged = match &**outcome {
                Ok(outcome) => subject.judge(outcome, &said),
                Err(error) => Err(error.clone()),
            };
            if let Err(why) = judged {
                let last = said.last().unwrap_or(&"nothing");
                let seed = campaign.seed;
                let wanted = campaign.until.is_some_and(|what| why.contains(what));
                found.violations.push(format!(
                    "seed {seed}, event {number}, image {index} ({survivors:?}), \
                     after {last:?}: {why}"
                ));
                if wanted || found.violations.len() >= campaign.enough {
                    return found;
                }
            }
        }
    }
    found
}

/// Which images to make at one point: the extremes, every single write alone or missing, the last
/// one torn at every sector, and random ones; where a flush has failed, also all up to each of the
/// last.
fn plans(disk: &Disk<'_>, campaign: &Campaign, number: usize) -> Vec<Survivors> {
    const MOST: usize = 8;
    let mut plans = vec![Survivors::None, Survivors::All];
    if disk.is_settled() {
        return plans;
    }
    let mut rng = Rng::of(campaign.seed, &[number]);
    let mut some_of = |count: usize| -> Vec<usize> {
        if count <= MOST {
            return (0..count).collect();
        }
        (0..MOST)
            .map(|_| rng.below(count as u64) as usize)
            .collect()
    };
    let torn = some_of(disk.last_sectors());
    plans.extend(torn.into_iter().map(Survivors::TornEnd));
    for one in some_of(disk.unflushed()) {
        plans.push(Survivors::Only(one));
        plans.push(Survivors::AllBut(one));
    }
    if disk.has_lost() {
        // What came before a failed flush, without what undoes it.
        let count = disk.unflushed();
        plans.extend((count.saturating_sub(MOST)..count).map(Survivors::First));
    }
    for index in 0..campaign.random {
        let chance = [2, 8, 14][index / 2 % 3];
        plans.push(match index % 2 {
            0 => Survivors::Writes(chance),
            _ => Survivors::Sectors(chance),
        });
    }
    plans
}

fn digest(image: &Image) -> u128 {
    let mut hasher = Xxh3::new();
    for (name, content) in image {
        hasher.update(name.as_bytes());
        hasher.update(&content.len().to_le_bytes());
        hasher.update(content);
    }
    hasher.digest128()
}

/// Writes what the power cut has left to the directory. Nothing is promised about the lock file, so
/// it may be whole, partial or absent.
fn put(place: &Path, image: &Image, lock_file: &[u8], rng: &mut Rng) {
    for entry in fs::read_dir(place).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    for (name, content) in image {
        fs::write(place.join(name), content).unwrap();
    }
    let lock_path = place.join("pool.db-lock");
    match rng.below(4) {
        0 => fs::write(lock_path, "").unwrap(),
        1 => fs::write(lock_path, vec![0; lock_file.len()]).unwrap(),
        2 => fs::write(lock_path, lock_file).unwrap(),
        _ => {}
    }
}
