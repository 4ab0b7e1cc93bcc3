//! Preallocation: the file is made longer, with zeros, before a commit needs the space.
//!
//! LMDB makes the file longer page by page. In preallocated space, a commit overwrites blocks that
//! the file system has allocated already, so its fsync need not write the file's size and extents
//! as well; a full disk is an error before the commit has written anything; and the file always
//! covers its last page, so that a truncated file can be distinguished from a whole one.

use std::sync::atomic::Ordering;

use crate::error::{Error, Result};
use crate::file::fs::write_zeros;
use crate::lmdb::env::Env;
use crate::lmdb::raw::Environment;

/// Pages that a commit may need beyond those of its rows: the unnamed database and the free list.
const SPARE_PAGES: u64 = 24;
/// Pages on the way to a row, and those that splitting them makes.
const PATH_PAGES: u64 = 10;
/// Least and most that the file is made longer by.
const MIN_STEP: u64 = 256 << 10;
const MAX_STEP: u64 = 8 << 20;

impl Env {
    /// Preallocates what a commit of `rows` rows of `bytes` together can need behind the `used`
    /// bytes of the last one. The caller holds LMDB's writer lock.
    pub(crate) fn preallocate(&self, used: u64, rows: u64, bytes: u64) -> Result<()> {
        // Each row needs its path, with a split at every level; all of them at most every page
        // there is, and new ones half full.
        let paths = rows.saturating_mul(PATH_PAGES * self.page_size);
        let most = paths.min(used.saturating_add(bytes)) + bytes + SPARE_PAGES * self.page_size;
        self.extend_to(used.saturating_add(most))
    }

    /// Makes sure that the file reaches to the end of its last page, where `used` ends, whatever
    /// the commit needed.
    pub(crate) fn cover(&self, used: u64) -> Result<()> {
        self.extend_to(used)
    }

    /// Bytes up to the end of the last page that the newest commit uses.
    pub(crate) fn used(&self, lmdb: &Environment) -> Result<u64> {
        let info = lmdb
            .info()
            .map_err(|e| self.lmdb_error("reading the environment's state", e))?;
        Ok(info.pages as u64 * self.page_size)
    }

    fn extend_to(&self, wanted: u64) -> Result<()> {
        if wanted <= self.known_len.load(Ordering::Relaxed) {
            return Ok(());
        }
        let fail = |e| Error::io("preallocating the file", &self.path, e);
        let len = self.file.metadata().map_err(fail)?.len();
        let mut end = len;
        if wanted > len {
            // If a process died in the middle of a read, its reader slot keeps every page freed
            // since from being used again, and otherwise only a reader that finds the table full
            // clears such slots. A failure here is no reason to fail.
            let _ = self.clear_dead_readers();
            let ahead = (len / 8).clamp(MIN_STEP, MAX_STEP);
            // A disk without space for later commits can still have enough for this one.
            end = self
                .add_zeros(len, wanted.saturating_add(ahead))
                .or_else(|_| self.add_zeros(len, wanted))
                .map_err(fail)?;
        }
        self.known_len.store(end, Ordering::Relaxed);
        Ok(())
    }

    /// Makes the file `end` bytes long, or leaves it at `len`.
    fn add_zeros(&self, len: u64, end: u64) -> std::io::Result<u64> {
        write_zeros(&self.file, len, end).inspect_err(|_| {
            let _ = self.file.set_len(len);
        })?;
        Ok(end)
    }
}
