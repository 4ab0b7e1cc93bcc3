//! Preallocation: the file is made longer, with zeros, before a commit needs the space.
//!
//! LMDB makes the file longer page by page. In preallocated space, a commit overwrites blocks that
//! the file system has allocated already, so its fsync need not write the file's size and extents
//! as well; a full disk is an error before the commit has written anything; and the file always
//! covers its last page, so that a truncated file can be distinguished from a whole one.
//!
//! A commit that makes the store larger leaves a reserve behind. The others, which remove devices
//! or change their states, may use it on a full disk: that is how an operator frees space.

use std::sync::atomic::Ordering;

use crate::error::{Error, Result};
use crate::file::fs::write_zeros;
use crate::lmdb::env::Env;
use crate::lmdb::raw::Environment;

/// Pages that a commit may need beyond those of its rows: the unnamed database and the free list.
const SPARE_PAGES: u64 = 24;
/// Pages on the way to a row, and those that splitting them makes.
const PATH_PAGES: u64 = 10;
/// Pages that a commit which makes the store larger leaves for those that do not.
const RESERVE_PAGES: u64 = 32;
/// Least and most that the file is made longer by.
const MIN_STEP: u64 = 256 << 10;
const MAX_STEP: u64 = 8 << 20;

/// What the file has for a commit.
pub(crate) enum Space {
    /// All that the commit can need.
    Ample,
    /// The disk is full: the commit fails unless the `len` bytes of the file are enough for it.
    Tight { len: u64, full: Error },
}

impl Env {
    /// Preallocates what a commit of `rows` rows of `bytes` together can need behind the `used`
    /// bytes of the last one, and a reserve if it `grows` the store. The caller holds LMDB's writer
    /// lock.
    #[inline]
    pub(crate) fn preallocate(
        &self,
        used: u64,
        rows: u64,
        bytes: u64,
        grows: bool,
    ) -> Result<Space> {
        // Each row needs its path, with a split at every level; all of them at most every page
        // there is, and new ones half full.
        let paths = rows.saturating_mul(PATH_PAGES * self.page_size);
        let most = paths.min(used.saturating_add(bytes)) + bytes + SPARE_PAGES * self.page_size;
        let reserve = if grows { self.reserve() } else { 0 };
        let wanted = used.saturating_add(most);
        match self.has(wanted.saturating_add(reserve)) {
            true => Ok(Space::Ample),
            false => self.make_space(wanted, reserve, grows),
        }
    }

    /// Whether the file is known to have this many bytes.
    #[inline]
    fn has(&self, len: u64) -> bool {
        len <= self.known_len.load(Ordering::Relaxed)
    }

    #[cold]
    fn make_space(&self, wanted: u64, reserve: u64, grows: bool) -> Result<Space> {
        if self.config.max_pinned_growth > 0 {
            self.limit_pinned_growth(wanted.saturating_add(reserve))?;
        }
        match self.extend_to(wanted, reserve) {
            Ok(()) => Ok(Space::Ample),
            // That is the most that it can need. Free pages may be enough for it.
            Err(full @ Error::DiskFull { .. }) if !grows => Ok(Space::Tight {
                len: self.file_len()?,
                full,
            }),
            Err(error) => Err(error),
        }
    }

    /// Refuses to make the file `least` bytes long while running reads keep more than the limit of
    /// freed pages from being used again: without them, the file would not have to grow. The caller
    /// holds LMDB's writer lock.
    fn limit_pinned_growth(&self, least: u64) -> Result<()> {
        if self.has(least) || least <= self.file_len()? {
            return Ok(());
        }
        let _ = self.clear_dead_readers();
        let lmdb = self.lmdb()?;
        let limit = self.config.max_pinned_growth;
        match self.pinned_beyond(&lmdb, limit)? {
            None => Ok(()),
            Some((oldest, held)) => Err(Error::Pinned {
                path: self.path.as_path().into(),
                pid: oldest.pid,
                commits_behind: oldest.commits_behind,
                age: oldest.age,
                held,
                limit,
            }),
        }
    }

    fn reserve(&self) -> u64 {
        RESERVE_PAGES * self.page_size
    }

    /// Makes sure that the file reaches to the end of its last page, where `used` ends, whatever
    /// the commit needed.
    #[inline]
    pub(crate) fn cover(&self, used: u64) -> Result<()> {
        match self.has(used) {
            true => Ok(()),
            false => self.extend_or_leave_hole(used),
        }
    }

    #[cold]
    fn extend_or_leave_hole(&self, used: u64) -> Result<()> {
        self.extend_to(used, 0).or_else(|error| {
            // The last page may be a free one, which nothing was written to. A hole needs no space.
            match self.file_len()? < used {
                true => self.file.set_len(used).map_err(|_| error),
                false => Err(error),
            }
        })
    }

    /// Gives back what a commit that did not fit has made the file longer by.
    pub(crate) fn shorten_to(&self, len: u64) {
        // Nothing refers to what is behind, so a failure does no harm.
        let _ = self.file.set_len(len);
    }

    fn file_len(&self) -> Result<u64> {
        let metadata = self.file.metadata();
        Ok(metadata
            .map_err(|e| Error::io("preallocating the file", &self.path, e))?
            .len())
    }

    /// Bytes up to the end of the last page that the newest commit uses. The caller keeps others
    /// from writing.
    #[inline]
    pub(crate) fn used(&self, lmdb: &Environment) -> Result<u64> {
        let pages = match &self.one_flush {
            Some(one_flush) => one_flush.pages.used_pages(),
            None => {
                let info = lmdb
                    .info()
                    .map_err(|e| self.lmdb_error("reading the environment's state", e))?;
                info.pages as u64
            }
        };
        Ok(pages * self.page_size)
    }

    /// Makes sure that the file has `wanted` bytes, and a reserve of so many behind them.
    fn extend_to(&self, wanted: u64, reserve: u64) -> Result<()> {
        let least = wanted.saturating_add(reserve);
        if self.has(least) {
            return Ok(());
        }
        let fail = |e| Error::io("preallocating the file", &self.path, e);
        let len = self.file_len()?;
        let mut end = len;
        if least > len {
            // If a process died in the middle of a read, its reader slot keeps every page freed
            // since from being used again, and otherwise only a reader that finds the table full
            // clears such slots. A failure here is no reason to fail.
            let _ = self.clear_dead_readers();
            let ahead = (len / 8).clamp(MIN_STEP, MAX_STEP).max(2 * self.reserve());
            // A disk without space for later commits can still have enough for this one.
            end = self
                .add_zeros(len, wanted.saturating_add(ahead))
                .or_else(|_| self.add_zeros(len, least))
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
