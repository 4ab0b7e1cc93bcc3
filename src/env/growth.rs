//! Making the memory map larger.
//!
//! The map may only be replaced while no transaction of this process is in use (lmdb.h, `mdb_env_set_mapsize`),
//! so growth waits for open snapshots and gathers all reader slots, within the lock wait.

use super::gate::Writer;
use super::slots::AllSlots;
use super::{Deadline, Env};
use crate::error::{Error, Result};
use std::ptr;
use std::sync::atomic::Ordering;

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
    pub(super) fn grow(&self, _proof: &Writer<'_>, to: To, deadline: &Deadline) -> Result<()> {
        // In this order, so that short reads go on while a long walk is waited for.
        let _quiet = self.snapshots.block(deadline)?;
        let _slots = AllSlots::acquire(deadline)?;
        self.check_usable()?;
        let info = self
            .lmdb()
            .info()
            .map_err(|e| self.lmdb_error("reading the map's size", e))?;
        let current = info.map_size();
        let (size, needed) = match to {
            To::Larger => {
                let doubled = current
                    .checked_mul(2)
                    .filter(|size| *size <= isize::MAX as usize);
                let size =
                    doubled.ok_or_else(|| self.cannot_grow(current, "it is as large as can be"))?;
                (size, size)
            }
            // Zero is LMDB's word for the size in the file; what is written there now may be up to this.
            To::File => (0, current.saturating_mul(2)),
        };
        // LMDB gives the old map up before it asks for the new one. Ask first, so that a refusal changes nothing.
        if !address_space_for(needed) {
            return Err(self.cannot_grow(current, "the process's address space is too small"));
        }
        self.lmdb().set_map_size(size).map_err(|e| {
            // The old map is gone and there is no new one: nothing can be read any more.
            self.closed.store(true, Ordering::Relaxed);
            self.lmdb_error("mapping the store", e)
        })
    }

    fn cannot_grow(&self, current: usize, why: &str) -> Error {
        Error::MapFull {
            size: current as u64,
            why: why.to_owned(),
        }
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
