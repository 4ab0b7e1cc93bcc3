//! Making the memory map larger.
//!
//! The map may only be replaced while no transaction of this process is in use (lmdb.h,
//! `mdb_env_set_mapsize`), so growth waits for open snapshots and for short reads, within the lock
//! wait.

use crate::error::{Error, Result};
use crate::lmdb::env::{Env, Writer};
use crate::lmdb::raw::{address_space_beside, address_space_for};
use crate::sync::deadline::Deadline;

/// To which size the map grows.
pub(crate) enum To {
    /// Twice what it is: the map is full.
    Larger,
    /// What the file says: another process made it larger.
    File,
}

impl Env {
    /// Adopts a map size that another process has set.
    pub(crate) fn adopt_map_size(&self, deadline: &Deadline) -> Result<()> {
        let writer = self.writer.acquire(deadline)?;
        self.check_usable()?;
        self.grow(&writer, To::File, deadline)
    }

    /// Replaces the map. The process's writer calls this between its transactions.
    pub(crate) fn grow(&self, writer: &Writer<'_>, to: To, deadline: &Deadline) -> Result<()> {
        let (current, used) = self.map_in_use()?;
        if matches!(to, To::File) && used <= current {
            return Ok(()); // another thread has done it
        }
        // In this order, so that short reads go on while a long walk is waited for.
        let no_walk = self.block_walks(deadline)?;
        let quiesced = self.quiesce(writer, &no_walk, deadline)?;
        // Other processes may have made it larger meanwhile.
        let (current, used) = self.map_in_use()?;
        let least = match to {
            To::Larger => current.saturating_add(1),
            To::File => used,
        };
        let size = self.larger_size(current.max(used), least)?;
        let resized = quiesced.handle.set_map_size(size)?;
        resized.map_err(|e| {
            // The old map is gone and there is no new one: nothing can be read any more.
            quiesced.close();
            self.lmdb_error("mapping the store", e)
        })
    }

    /// The map's size, and how much of it the newest commit needs.
    fn map_in_use(&self) -> Result<(usize, usize)> {
        let lmdb = self.lmdb()?;
        let info = lmdb
            .info()
            .map_err(|e| self.lmdb_error("reading the map's size", e))?;
        let used = info.pages.saturating_mul(self.page_size as usize);
        Ok((info.map_size, used))
    }

    /// Twice `now`, or as much of it as fits into the address space beside what the process needs
    /// to go on, but not less than `least`.
    ///
    /// LMDB unmaps the old map before it asks for the new one, so the address space is probed
    /// before that: a refusal changes nothing.
    fn larger_size(&self, now: usize, least: usize) -> Result<usize> {
        let page = self.page_size as usize;
        let mut step = now;
        while step >= page {
            let size = now
                .checked_add(step)
                .and_then(|size| size.checked_next_multiple_of(page))
                .filter(|size| *size <= isize::MAX as usize);
            if let Some(size) = size.filter(|size| address_space_beside(*size)) {
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

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::lmdb::open::tests::open;

    /// Several threads can find the map too small at once, and then adopt its new size in turn.
    #[test]
    fn adopting_a_size_already_adopted_leaves_the_map_unchanged() {
        let directory = tempfile::tempdir().unwrap();
        let env = open(&directory);
        env.adopt_map_size(&env.deadline()).unwrap();
        assert_eq!(env.stats().unwrap().map_size, 1 << 20);
    }

    #[test]
    fn shared_environment_is_waited_for_and_keeps_the_store_open() {
        let directory = tempfile::tempdir().unwrap();
        let env = open(&directory);
        let shared = env.lmdb().unwrap();
        let short = Deadline::after(Duration::from_millis(10));
        assert!(matches!(
            env.handle.quiesce(&short),
            Err(Error::Timeout { .. })
        ));
        assert!(env.handle.is_open());
        drop(shared);
        let quiesced = env.handle.quiesce(&short).unwrap();
        let size = env.lmdb().unwrap().info().unwrap().map_size;
        quiesced.set_map_size(size).unwrap().unwrap();
    }
}
