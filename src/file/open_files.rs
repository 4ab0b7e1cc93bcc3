//! Which files this process has open. LMDB must not have one file open twice in one process
//! (lmdb.h, "Caveats": closing either drops the other's file locks), so a second open is an error,
//! at once, by whatever path.
//!
//! A `-lock` file that is in use here is not opened either, not even to read it: closing it would
//! drop LMDB's locks on it, and other processes would take this one for dead, and write over what
//! it reads.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::sync::deadline::Deadline;
use crate::sync::primitives::{try_lock, unpoisoned};
use crate::sync::process;

#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry {
    device: u64,
    inode: u64,
    /// The process that opened it: a forked child inherits the list, but nothing in it is open
    /// there.
    stamp: u64,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A store that is used.
    Store,
    /// A store that is being fixed or replaced, which has an end.
    Alone,
    LockFile,
}

impl Entry {
    fn of(file: &Metadata, kind: Kind) -> Entry {
        Entry {
            device: file.dev(),
            inode: file.ino(),
            stamp: process::stamp(),
            kind,
        }
    }
}

static OPEN: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

/// One file's entry, taken out when dropped.
pub(crate) struct Registered(Entry);

impl Registered {
    /// Enters the file, or fails if it is open already; `None` if the caller has to wait until it
    /// is fixed or replaced.
    pub fn enter(
        path: &Path,
        file: &Metadata,
        kind: Kind,
        deadline: &Deadline,
    ) -> Result<Option<Registered>> {
        let mut list = Listed::hold(deadline)?;
        if !list.is_free(path, file, kind)? {
            return Ok(None);
        }
        let entry = Entry::of(file, kind);
        list.0.push(entry);
        Ok(Some(Registered(entry)))
    }
}

/// The list, held by a thread that opens a `-lock` file: meanwhile no other thread opens it for
/// LMDB.
pub(crate) struct Listed(MutexGuard<'static, Vec<Entry>>);

impl Listed {
    pub fn hold(deadline: &Deadline) -> Result<Listed> {
        list(deadline).map(Listed)
    }

    /// Whether this process may open a store now; false if the caller has to wait until it is fixed
    /// or replaced. Fails if it is open already.
    pub fn is_free(&self, path: &Path, file: &Metadata, kind: Kind) -> Result<bool> {
        let is = |kind| self.0.contains(&Entry::of(file, kind));
        let alone = is(Kind::Alone);
        if alone && kind == Kind::Store {
            return Ok(false);
        }
        if alone || is(Kind::Store) {
            return Err(Error::AlreadyOpen {
                path: path.into(),
                why: "this process has the store open already, by this or another path; use that \
                      handle, or close it first",
            });
        }
        Ok(true)
    }

    /// Refuses a file that is the `-lock` file of a store that this process has open.
    pub fn refuse_lock_file(&self, path: &Path, file: &Metadata) -> Result<()> {
        if self.0.contains(&Entry::of(file, Kind::LockFile)) {
            return Err(Error::AlreadyOpen {
                path: path.into(),
                why: "it is the lock file of a store that this process has open; close that store \
                      first",
            });
        }
        Ok(())
    }

    /// Enters a `-lock` file, before LMDB opens it.
    pub fn enter_lock_file(mut self, file: &Metadata) -> Registered {
        let entry = Entry::of(file, Kind::LockFile);
        self.0.push(entry);
        Registered(entry)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        if self.0.stamp == process::stamp() {
            let mut open = unpoisoned(OPEN.lock());
            open.retain(|entry| *entry != self.0);
        }
    }
}

fn list(deadline: &Deadline) -> Result<MutexGuard<'static, Vec<Entry>>> {
    // A thread has it for a moment only, which even a caller waits for that does not want to wait.
    // But a thread that had it during a fork has it for ever in the child.
    const LEAST: Duration = Duration::from_secs(1);
    match try_lock(&OPEN) {
        Some(list) => Ok(list),
        None => Deadline::after(deadline.left().max(LEAST))
            .poll("the list of open stores", || Ok(try_lock(&OPEN))),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn list_is_waited_for_even_with_no_lock_wait() {
        std::thread::scope(|scope| {
            let held = unpoisoned(OPEN.lock());
            let listed = scope.spawn(|| list(&Deadline::after(Duration::ZERO)).map(drop));
            std::thread::sleep(Duration::from_millis(30));
            drop(held);
            assert!(listed.join().unwrap().is_ok());
        });
    }
}
