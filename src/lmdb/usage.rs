//! What is in use: the map, the reader table, free pages; and what this process has committed.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::histogram::Commits;
use crate::lmdb::env::Env;
use crate::lmdb::raw::{Database, Environment};
use crate::lmdb::snapshot::Snapshot;
use crate::sync::read_permits;

/// See [`crate::Stats`] for the meaning of each.
pub(crate) struct Usage {
    pub map_size: u64,
    pub map_used: u64,
    pub file_size: u64,
    pub page_size: u64,
    pub max_readers: u64,
    pub readers_in_use: u64,
    pub readers_active: u64,
    pub oldest_reader_commits: u64,
    pub reader_waits: u64,
    pub reader_refusals: u64,
    pub walks_open: u64,
    pub oldest_walk: Duration,
    pub writes_stopped: bool,
    /// The transaction that the oldest reader sees, if there is a reader.
    oldest: Option<u64>,
}

/// Reads in progress at one moment, in all processes.
#[derive(Default)]
struct Active {
    count: u64,
    oldest: Option<u64>,
}

impl Env {
    /// What is in use at this moment. Called before the caller opens a snapshot, which would be
    /// counted.
    pub fn usage(&self) -> Result<Usage> {
        let permit = self.enter(&self.deadline())?;
        // A dead process's read is not in progress.
        self.clear_dead_readers()?;
        let lmdb = self.lmdb()?;
        let active = active_readers(&lmdb);
        let info = lmdb
            .info()
            .map_err(|e| self.lmdb_error("reading the environment's state", e))?;
        drop(lmdb);
        drop(permit);
        let file_size = self
            .file
            .metadata()
            .map_err(|e| Error::io("reading the file's size", &self.path, e))?
            .len();
        let (walks_open, oldest_walk) = self.snapshots.open();
        let newest = info.newest_commit;
        Ok(Usage {
            map_size: info.map_size as u64,
            map_used: info.pages as u64 * self.page_size,
            file_size,
            page_size: self.page_size,
            max_readers: info.max_readers.into(),
            readers_in_use: info.readers.into(),
            readers_active: active.count,
            oldest_reader_commits: active.oldest.map_or(0, |seen| newest.saturating_sub(seen)),
            reader_waits: read_permits::WAITS.load(Ordering::Relaxed),
            reader_refusals: read_permits::REFUSALS.load(Ordering::Relaxed),
            walks_open: walks_open as u64,
            oldest_walk,
            writes_stopped: self.writes_stopped.load(Ordering::Relaxed),
            oldest: active.oldest,
        })
    }

    /// This process's commits so far.
    pub fn commits(&self) -> &Commits {
        &self.commits
    }

    /// How many threads of this process wait to write, past the commit queue.
    pub fn waiting_writers(&self) -> usize {
        self.writer.waiting() + self.process_lock.waiting()
    }

    /// Slots in LMDB's reader table.
    pub(crate) fn max_readers(&self) -> Result<u32> {
        let _permit = self.enter(&self.deadline())?;
        let info = self.lmdb()?.info();
        info.map(|info| info.max_readers)
            .map_err(|e| self.lmdb_error("reading the environment's state", e))
    }
}

fn active_readers(lmdb: &Environment) -> Active {
    let mut active = Active::default();
    lmdb.each_active_reader(|seen| {
        active.count += 1;
        active.oldest = Some(active.oldest.map_or(seen, |oldest| oldest.min(seen)));
    });
    active
}

/// Pages that were freed and not used again yet.
pub(crate) struct FreePages {
    /// All of them.
    pub all: u64,
    /// Those that the oldest reader may still see.
    pub held: u64,
}

impl Snapshot {
    /// Counts the pages in LMDB's free list: a row for each transaction that has freed some, with
    /// their number first.
    pub fn free_pages(&self, usage: &Usage) -> Result<FreePages> {
        let number = |bytes: &[u8]| {
            let first = bytes.first_chunk().copied().map(usize::from_ne_bytes);
            first
                .map(|number| number as u64)
                .ok_or_else(|| Error::corrupt("its list of free pages has a row that is none"))
        };
        let mut free = FreePages { all: 0, held: 0 };
        self.each_row_of(Database::FREE_LIST, |key, value| {
            let (freed_by, count) = (number(key)?, number(value)?);
            free.all = free.all.saturating_add(count);
            // LMDB reuses what was freed before the transaction that the oldest reader sees.
            if usage.oldest.is_some_and(|oldest| freed_by >= oldest) {
                free.held = free.held.saturating_add(count);
            }
            Ok(())
        })
        .map_err(|e| e.at(self.env().path()))?;
        Ok(free)
    }
}
