//! Making the memory map larger.
//!
//! The map may only be replaced while no transaction of this process is in use (lmdb.h,
//! `mdb_env_set_mapsize`), so growth waits for open snapshots and for short reads, within the lock
//! wait.

use super::error;
use super::write::Writer;
use super::{Deadline, Env};
use crate::error::{Error, Result};
use std::ptr;

/// To which size.
pub(super) enum To {
    /// Twice what it is: the map is full.
    Larger,
    /// What the file says: another process made it larger.
    File,
}

impl Env {
    /// Adopts a map size that another process has set.
    pub(super) fn adopt_map_size(&self, deadline: &Deadline) -> Result<()> {
        let writer = self.writer.acquire(deadline)?;
        self.check_usable()?;
        self.grow(&writer, To::File, deadline)
    }

    /// Replaces the map. The process's writer calls this between its transactions.
    pub(super) fn grow(&self, writer: &Writer<'_>, to: To, deadline: &Deadline) -> Result<()> {
        let (current, used) = self.map_in_use()?;
        if matches!(to, To::File) && used <= current {
            return Ok(()); // another thread has been here
        }
        // In this order, so that short reads go on while a long walk is waited for.
        let no_walk = self.snapshots.block(deadline)?;
        let quiet = self.quiet(writer, &no_walk, deadline)?;
        // Other processes may have made it larger meanwhile.
        let (current, used) = self.map_in_use()?;
        let least = match to {
            To::Larger => current.saturating_add(1),
            To::File => used,
        };
        let size = self.larger_size(current.max(used), least)?;
        self.lmdb().set_map_size(size).map_err(|e| {
            // The old map is gone and there is no new one: nothing can be read any more.
            quiet.close();
            error::from_lmdb("mapping the store", &self.path, e)
        })
    }

    /// The map's size, and how much of it the newest commit needs.
    fn map_in_use(&self) -> Result<(usize, usize)> {
        let info = self
            .lmdb()
            .info()
            .map_err(|e| self.lmdb_error("reading the map's size", e))?;
        let pages = info.last_pgno().saturating_add(1);
        Ok((
            info.map_size(),
            pages.saturating_mul(self.page_size as usize),
        ))
    }

    /// Twice `now`, or as much of it as the address space has room for, but not less than `least`.
    ///
    /// LMDB gives the old map up before it asks for the new one, so whether there is room is asked
    /// before: a refusal changes nothing.
    fn larger_size(&self, now: usize, least: usize) -> Result<usize> {
        let page = self.page_size as usize;
        let mut step = now;
        while step >= page {
            let size = now
                .checked_add(step)
                .and_then(|size| size.checked_next_multiple_of(page))
                .filter(|size| *size <= isize::MAX as usize);
            if let Some(size) = size.filter(|size| address_space_for(*size)) {
                return Ok(size);
            }
            step /= 2;
        }
        let exact = least.next_multiple_of(page);
        if exact <= now && address_space_for(exact) {
            return Ok(exact);
        }
        Err(Error::MapFull {
            size: now as u64,
            why: "the process's address space is too small; raise its limit".to_owned(),
        })
    }
}

/// Whether a mapping of this size can be made at this moment.
pub(super) fn address_space_for(size: usize) -> bool {
    // SAFETY: asks for new memory without using it.
    let addr = unsafe {
        libc::mmap(
            ptr::null_mut(),
            size,
            libc::PROT_NONE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if addr == libc::MAP_FAILED {
        return false;
    }
    // SAFETY: gives back exactly the range that was just mapped.
    unsafe { libc::munmap(addr, size) };
    true
}

#[cfg(all(test, not(loom)))]
mod tests {
    use crate::OpenOptions;

    /// Threads that read at once meet the larger map at once, and then follow one after the other.
    #[test]
    fn who_follows_another_process_after_another_thread_leaves_the_map_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let store = OpenOptions::new()
            .map_size(1 << 20)
            .open(directory.path().join("pool.db"))
            .unwrap();
        let walk = store.walk().unwrap();
        let env = std::sync::Arc::clone(walk.snapshot().env());
        drop(walk);
        env.adopt_map_size(&env.deadline()).unwrap();
        assert_eq!(store.stats().unwrap().map_size, 1 << 20);
    }
}
