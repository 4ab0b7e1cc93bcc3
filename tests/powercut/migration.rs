//! Power cuts while the Go program takes a bbolt file over: at every moment one of the two is in
//! force, as a whole, and the old one is never lost.

use super::explore::Subject;
use super::judge::{open_left, Dump};
use super::workload::STORE;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The words that stand in the recording for the program's success.
pub const MIGRATED: &str = "migrated";

/// The old file's second name.
const KEPT: &str = "pool.db.bbolt";

pub struct Migration {
    pub program: PathBuf,
    /// The bbolt file.
    pub old: Vec<u8>,
    /// The content of the store that has taken its place.
    pub new: Dump,
}

#[derive(Clone, PartialEq)]
pub enum InForce {
    Old,
    New,
}

/// The command that migrates the file in that directory.
pub fn command(program: &Path, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .args(["-quiet", "to"])
        .arg(directory.join(STORE))
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

impl Migration {
    fn in_force(&self, directory: &Path) -> Result<InForce, String> {
        let content = |name| fs::read(directory.join(name)).unwrap_or_default();
        if content(STORE) == self.old {
            return Ok(InForce::Old);
        }
        if content(KEPT) != self.old {
            return Err("the old file is lost".to_owned());
        }
        match open_left(directory, false)? {
            Some(found) if found == self.new => Ok(InForce::New),
            _ => Err("the new store is in force, and is not what it should be".to_owned()),
        }
    }
}

impl Subject for Migration {
    type Outcome = InForce;

    fn look(&self, directory: &Path, thorough: bool) -> Result<InForce, String> {
        let found = self.in_force(directory)?;
        if thorough && found == InForce::Old {
            // The next run of the program migrates it again.
            let output = command(&self.program, directory).output().unwrap();
            if !output.status.success() {
                let message = String::from_utf8_lossy(&output.stderr);
                return Err(format!("migrating again: {message}"));
            }
            if self.in_force(directory)? != InForce::New {
                return Err("it was migrated again, and the old file is still in force".to_owned());
            }
        }
        Ok(found)
    }

    fn judge(&self, found: &InForce, said: &[&str]) -> Result<(), String> {
        match found {
            InForce::Old if said.contains(&MIGRATED) => Err("the migration is undone".to_owned()),
            _ => Ok(()),
        }
    }
}
