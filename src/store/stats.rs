//! What an operator would ask of a store.

use std::time::Duration;

use crate::error::Result;
use crate::histogram::Histogram;
use crate::lmdb::snapshot;
use crate::lmdb::snapshot::Snapshot;
use crate::store::write::pool::Pool;

/// Counts and sizes of a store at one moment.
///
/// Asking costs about a microsecond, however large the store, and a little more for every commit
/// whose pages a read holds back: `docs/performance.md` has the figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Devices in the store.
    pub devices: u64,
    /// Device ids that devices have and that are not faulty.
    pub taken_ids: u64,
    /// Device ids that were given back and wait to be given out again.
    pub free_ids: u64,
    /// Device ids that are faulty, whether a device has them or not.
    pub faulty_ids: u64,
    /// The highest device id that was ever given out; 0 for none.
    pub last_id: u64,
    /// Commits since the store was created.
    pub commits: u64,
    /// Size of this process's memory map in bytes: address space, not memory. If another process
    /// has made it larger, this one follows with its next read or write.
    pub map_size: u64,
    /// Bytes of the map in use, up to the end of the last page. Pages freed in between count.
    pub map_used: u64,
    /// Length of the file in bytes.
    pub file_size: u64,
    /// Size of a page in bytes.
    pub page_size: u64,
    /// Places in LMDB's reader table.
    pub max_readers: u64,
    /// Places in use or kept for reuse, by all processes, at their highest so far.
    pub readers_in_use: u64,
    /// Pages that were freed and not used again yet: part of [`map_used`](Self::map_used).
    pub pages_free: u64,
    /// Those of the free pages that cannot be used again before the oldest reader ends.
    pub pages_held: u64,
    /// Reads that go on at this moment, in all processes: of a daemon at rest, its open walks.
    pub readers_active: u64,
    /// How many commits were made since the one that the oldest of those reads sees. What they
    /// freed stays where it is until that read ends, and the file grows instead.
    pub oldest_reader_commits: u64,
    /// How often a read of this process has had to wait for a slot of the process or for a place
    /// in the reader table, whatever the store, since the process began.
    pub reader_waits: u64,
    /// How often it has waited in vain, and failed with [`Error::Timeout`](crate::Error::Timeout)
    /// or [`Error::ReadersFull`](crate::Error::ReadersFull).
    pub reader_refusals: u64,
    /// Walks and verifications of this process that are open.
    pub walks_open: u64,
    /// For how long the oldest of them has been.
    pub oldest_walk: Duration,
    /// Threads of this process that wait to write: for another thread to commit their operation or
    /// to finish its own, for a device that another update has locked, or for a writer of
    /// another process.
    pub writers_waiting: u64,
    /// Whether a flush has failed, so that the store takes no writes until it is opened again.
    pub writes_stopped: bool,
    /// How many operations each commit of this process was for, since it opened the store. Of a
    /// list of changes each counts; an import is one.
    pub commit_operations: Histogram,
    /// How long LMDB took for each of those commits, in nanoseconds: to write its pages, and to
    /// flush them unless the store was opened with relaxed durability. Waiting, and the work
    /// before, is not in it.
    pub commit_nanoseconds: Histogram,
}

impl Pool {
    /// See [`PoolMetadata::stats`](super::PoolMetadata::stats).
    pub fn stats(&self) -> Result<Stats> {
        let usage = self.env.usage()?;
        let snapshot = Snapshot::open(&self.env)?;
        let header = snapshot::header(&snapshot)?;
        let pages = snapshot.free_pages(&usage)?;
        drop(snapshot);
        let waiting = self.queue.waiting() + self.locks.waiting() + self.env.waiting_writers();
        let commits = self.env.commits();
        Ok(Stats {
            devices: header.devices.into(),
            taken_ids: header.taken_ids().into(),
            free_ids: header.free_ids.into(),
            faulty_ids: header.faulty_ids.into(),
            last_id: header.last_id.into(),
            commits: header.commit,
            map_size: usage.map_size,
            map_used: usage.map_used,
            file_size: usage.file_size,
            page_size: usage.page_size,
            max_readers: usage.max_readers,
            readers_in_use: usage.readers_in_use,
            pages_free: pages.all,
            pages_held: pages.held,
            readers_active: usage.readers_active,
            oldest_reader_commits: usage.oldest_reader_commits,
            reader_waits: usage.reader_waits,
            reader_refusals: usage.reader_refusals,
            walks_open: usage.walks_open,
            oldest_walk: usage.oldest_walk,
            writers_waiting: waiting as u64,
            writes_stopped: usage.writes_stopped,
            commit_operations: commits.operations.read(),
            commit_nanoseconds: commits.nanoseconds.read(),
        })
    }
}
