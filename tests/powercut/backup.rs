//! Power cuts while a store is backed up, changed, and restored.

use super::explore::Subject;
use super::judge::{left_at, open_left, states, Dump, Single};
use super::workload::{Script, BACKUP, REPLACED};
use std::path::Path;

pub struct Backup {
    first: Single,
    /// What the store holds when it is replaced.
    last: Dump,
}

#[derive(Clone)]
pub struct Left {
    store: Option<Dump>,
    backup: Option<Dump>,
    replaced: Option<Dump>,
}

impl Backup {
    pub fn new(first: &Script, second: &Script, start: &Path) -> Backup {
        let first = Single::new(first, start);
        let last = states(second, start).pop().unwrap();
        Backup { first, last }
    }
}

impl Subject for Backup {
    type Outcome = Left;

    fn look(&self, directory: &Path, thorough: bool) -> Result<Left, String> {
        Ok(Left {
            backup: left_at(&directory.join(BACKUP), false)?,
            replaced: left_at(&directory.join(REPLACED), false)?,
            store: open_left(directory, thorough)?,
        })
    }

    fn judge(&self, found: &Left, said: &[&str]) -> Result<(), String> {
        let is = |dump: &Option<Dump>, state| dump.as_ref() == Some(state);
        let saved = self.first.states.last().unwrap();
        let wrong = |what: &str| Err(what.to_owned());
        if found.backup.is_some() && !is(&found.backup, saved) {
            return wrong("the backup is not what was backed up");
        }
        if found.replaced.is_some() && !is(&found.replaced, &self.last) {
            return wrong("what is kept is not what the store was");
        }
        if !said.contains(&"backing up") {
            return self.first.judge(&found.store, said);
        }
        if said.contains(&"backed up") && found.backup.is_none() {
            return wrong("the backup is gone");
        }
        let replaced = is(&found.store, saved) && found.replaced.is_some();
        match (said.contains(&"restoring"), said.contains(&"restored")) {
            (_, true) if !replaced => wrong("the restored store is not in place"),
            (true, false) if !replaced && !is(&found.store, &self.last) => {
                wrong("neither the store nor its backup is in place")
            }
            // Other tests check the writes themselves.
            _ if found.store.is_none() => wrong("the store is gone"),
            _ => Ok(()),
        }
    }
}
