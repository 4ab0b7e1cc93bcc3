//! Reading on after the file system has shut down, or turned read-only.
//!
//! LMDB writes to its `-lock` file for every read. When that would be a signal, it is given memory
//! in the place of the file. Then no other process sees what this one reads, and could overwrite
//! it; so this process takes the writer lock and keeps it until it closes the store.

use std::sync::atomic::Ordering;

use crate::error::{Error, Result};
use crate::file::process_lock::WriterLock;
use crate::lmdb::env::Env;
use crate::sync::deadline::Deadline;

impl Env {
    /// Detaches LMDB from its lock file, unless that is sound again. The caller has no read permit:
    /// the writer that is waited for may wait for that.
    pub(crate) fn detach_lock_file(&self, deadline: &Deadline) -> Result<()> {
        let _writer = self.writer.acquire(deadline)?;
        self.check_usable()?;
        if self.handle.watch().is_sound() {
            return Ok(()); // another thread has done it
        }
        self.detach_locked(self.process_lock.lock_writer(&self.path, deadline)?)
    }

    /// Makes sure that LMDB may touch its lock file. The caller has no read permit.
    pub(crate) fn check_lock_file(&self, deadline: &Deadline) -> Result<()> {
        let permit = self.enter(deadline)?;
        let sound = self.handle.watch().is_sound();
        drop(permit);
        match sound {
            true => Ok(()),
            false => self.detach_lock_file(deadline),
        }
    }

    /// Detaches LMDB from its lock file, and stops all writes, of other processes too. The caller
    /// is the process's writer.
    pub(crate) fn detach_locked(&self, lock: WriterLock<'_>) -> Result<()> {
        self.writes_stopped.store(true, Ordering::Relaxed);
        let detached = self.handle.watch().detach();
        detached.map_err(|e| Error::io("reading on without the lock file", &self.path, e))?;
        lock.keep();
        Ok(())
    }
}
