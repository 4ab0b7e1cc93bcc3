//! Power cuts while backups replace one another, while one is restored to a new path, and while a
//! compacted file replaces its store's.

use super::disk::Broken;
use super::explore::Subject;
use super::judge::{left_at, open_left, states, Dump};
use super::ptrace;
use super::workload::{import, second, BACKUP, RESTORED, STORE};
use super::{finds, recording_at, seeds, survive};
use crate::common;
use pool_metadata::{BackupOptions, PoolMetadata};
use std::path::Path;

struct Replacing {
    /// What the store holds before the first step of the script and after each.
    states: Vec<Dump>,
    /// The content of the first backup.
    old: Dump,
}

#[derive(Clone)]
struct Left {
    store: Option<Dump>,
    backup: Option<Dump>,
    restored: Option<Dump>,
}

impl Replacing {
    fn prepare(seed: u64) -> (tempfile::TempDir, Replacing) {
        let (place, apart) = (common::directory(), common::directory());
        let path = place.path().join(STORE);
        let old = states(&import(seed), &path).pop().unwrap();
        let store = PoolMetadata::open(&path).unwrap();
        let backup = place.path().join(BACKUP);
        store.backup(backup, &BackupOptions::new()).unwrap();
        common::add(&store, "later");
        store.close().unwrap();
        let twin = apart.path().join(STORE);
        std::fs::copy(&path, &twin).unwrap();
        let states = states(&second(seed), &twin);
        assert!(states.first() != states.last());
        (place, Replacing { states, old })
    }
}

impl Subject for Replacing {
    type Outcome = Left;

    fn look(&self, directory: &Path, thorough: bool) -> Result<Left, String> {
        Ok(Left {
            backup: left_at(&directory.join(BACKUP), thorough)?,
            restored: left_at(&directory.join(RESTORED), thorough)?,
            store: open_left(directory, thorough)?,
        })
    }

    fn judge(&self, found: &Left, said: &[&str]) -> Result<(), String> {
        let wrong = |what: &str| Err(what.to_owned());
        let said = |word| said.contains(&word);
        let (first, last) = (&self.states[0], self.states.last().unwrap());
        let may_be: &[&Dump] = match () {
            () if said("compacted") => &[last],
            () if said("compacting") => &[first, last],
            () if said("backed up") => &[first],
            () if said("backing up") => &[&self.old, first],
            () => &[&self.old],
        };
        match &found.backup {
            None => return wrong("there is no backup any more"),
            Some(backup) if !may_be.contains(&backup) => {
                return wrong("the backup is neither the old nor the new one");
            }
            Some(_) => {}
        }
        match &found.restored {
            None if said("restored") => return wrong("the restored store is gone"),
            Some(restored) if !said("restoring") || restored != last => {
                return wrong("the restored store is not what was backed up");
            }
            _ => {}
        }
        let may_be = match (said("backed up"), said("compacting")) {
            (_, true) => &[last][..],
            (false, _) => &[first],
            // Other tests check the writes themselves.
            (true, false) => &self.states.iter().collect::<Vec<_>>(),
        };
        match &found.store {
            Some(store) if may_be.contains(&store) => Ok(()),
            _ => wrong("the store is not what it was"),
        }
    }
}

#[test]
fn replaced_backup_or_compacted_store_is_the_old_or_the_new_one() {
    if !ptrace::is_allowed() {
        return;
    }
    for seed in seeds(1) {
        let (place, subject) = Replacing::prepare(seed);
        let recording = recording_at("replacing", seed, place.path());
        survive("replacing", seed, &recording, &subject, 30);
    }
}

#[test]
fn disk_that_lies_during_a_backup_is_detected() {
    if !ptrace::is_allowed() {
        return;
    }
    let seed = seeds(1).start;
    let (place, subject) = Replacing::prepare(seed);
    let recording = recording_at("replacing", seed, place.path());
    finds(&recording, &subject, Broken::Flushes, "opening: ");
    let neither = "the backup is neither the old nor the new one";
    finds(&recording, &subject, Broken::NameFlushes, neither);
}
