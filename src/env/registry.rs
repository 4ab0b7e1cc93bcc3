//! Which files this process has open. LMDB must not have one file open twice in one process (lmdb.h, "Caveats":
//! closing either drops the other's file locks), so a second open is an error, at once, by whatever path.

use super::process;
use super::wait::Deadline;
use crate::error::{Error, Result};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, TryLockError};

#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry {
    device: u64,
    inode: u64,
    /// The process that opened it: a forked child inherits the list, but nothing in it is open there.
    stamp: u64,
}

static OPEN: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

/// One file's entry, taken out when dropped.
pub(super) struct Registered(Entry);

impl Registered {
    /// Enters the file, or says that it is open already.
    pub fn enter(path: &Path, device: u64, inode: u64, deadline: &Deadline) -> Result<Registered> {
        let entry = Entry {
            device,
            inode,
            stamp: process::stamp(),
        };
        let mut open = deadline.poll("the list of open stores", || Ok(try_list()))?;
        if open.contains(&entry) {
            return Err(Error::AlreadyOpen {
                path: path.into(),
                why: "this process has the store open already, by this or another path; use that handle, or close it first",
            });
        }
        open.push(entry);
        Ok(Registered(entry))
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        if self.0.stamp == process::stamp() {
            let mut open = OPEN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            open.retain(|entry| *entry != self.0);
        }
    }
}

/// The list, unless another thread has it: one that held it during a fork holds it in the child for ever.
fn try_list() -> Option<MutexGuard<'static, Vec<Entry>>> {
    match OPEN.try_lock() {
        Ok(list) => Some(list),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}
