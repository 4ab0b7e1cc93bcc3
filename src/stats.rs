//! Statistics of a store, for operators.

use std::fmt;
use std::time::Duration;

use crate::histogram::Histogram;

/// Counts and sizes of a store at one moment.
///
/// Reading them takes some microseconds, however large the store and however many pages a
/// reader holds back: `docs/performance.md` has the figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Devices in the store.
    pub devices: u64,
    /// Device ids that belong to devices and are not faulty.
    pub taken_ids: u64,
    /// Device ids that were freed and can be assigned again.
    pub free_ids: u64,
    /// Device ids that are faulty, whether or not a device has them.
    pub faulty_ids: u64,
    /// Highest device id that was ever assigned, 0 for none.
    pub last_id: u64,
    /// Number of the newest commit: the commits since the store was created, and the numbers that
    /// were left out for commits that were undone, or that a power cut may have ended.
    pub commits: u64,
    /// Size of this process's memory map in bytes: address space, not memory. If another process
    /// has enlarged its map, this one follows with its next read or write.
    pub map_size: u64,
    /// Bytes of the map up to the end of the last page in use. Free pages before it count.
    pub map_used: u64,
    /// Length of the file in bytes.
    pub file_size: u64,
    /// Size of a page in bytes.
    pub page_size: u64,
    /// Number of slots in LMDB's reader table.
    pub max_readers: u64,
    /// Highest number of those slots that were in use at one time, by all processes.
    pub readers_in_use: u64,
    /// Pages that are free and not used again yet; they are part of [`map_used`](Self::map_used).
    pub pages_free: u64,
    /// Free pages that cannot be used again before the oldest reader ends.
    pub pages_held: u64,
    /// Read transactions that are active at this moment, in all processes. In an idle daemon these
    /// are its open walks.
    pub readers_active: u64,
    /// Commits made since the snapshot of the oldest active reader. Pages that they freed cannot be
    /// used again before that reader ends, so the file grows.
    pub oldest_reader_commits: u64,
    /// Reads of this process, on any store, that had to wait for a read permit of the process or
    /// for a slot in a reader table, since the process began.
    pub reader_waits: u64,
    /// Reads among these that timed out and failed with [`Error::Timeout`](crate::Error::Timeout)
    /// or [`Error::ReadersFull`](crate::Error::ReadersFull).
    pub reader_refusals: u64,
    /// Open walks and running verifications of this process.
    pub walks_open: u64,
    /// Age of the oldest of these, zero for none.
    pub oldest_walk: Duration,
    /// Threads of this process that are blocked on a write: on the commit queue, on a device that
    /// an update has locked, or on the writer of another process.
    pub writers_waiting: u64,
    /// Whether flushes have failed again and again, or the file system takes no writes, so that the
    /// store takes none until it is opened again.
    pub writes_stopped: bool,
    /// Whether the handle reads a private copy of the store, as of when it was opened: see
    /// [`OpenOptions::read_only`](crate::OpenOptions::read_only). To see later commits, open the
    /// store again.
    pub is_copy: bool,
    /// Operations in each commit of this process since it opened the store. Every change of a list
    /// counts as one, an import counts as one.
    pub commit_operations: Histogram,
    /// Time that each of those commits took, in nanoseconds: to write the pages, and to flush them.
    /// The time before the commit, waiting included, does not count.
    pub commit_nanoseconds: Histogram,
    /// Flushes of the store's file that this process has made since it opened the store: one for
    /// each commit that is not deferred.
    pub flushes: u64,
    /// Commits that this process has undone: one that a power cut had left half written, when it
    /// opened the store, and those whose flush failed.
    pub undone_commits: u64,
    /// Deferred commits of this process that are not flushed yet: see
    /// [`PoolMetadata::deferred`](crate::PoolMetadata::deferred).
    pub deferred_commits: u64,
}

/// A read that is running: in this process or in another one.
///
/// Pages that were freed since the commit that it sees cannot be used again before it ends, so the
/// file grows while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunningRead {
    /// Id of the process that reads, as that process sees it: where PID namespaces differ, another
    /// id than it has elsewhere.
    pub pid: u32,
    /// Commits made since the one that it sees.
    pub commits_behind: u64,
    /// How long it has been running, for the walks, verifications and backups of this process; not
    /// known of short reads and of other processes.
    pub age: Option<Duration>,
}

/// A process that has a store open, as [`PoolMetadata::processes`] finds it.
///
/// [`PoolMetadata::processes`]: crate::PoolMetadata::processes
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessStats {
    /// Its id, as this process sees it.
    pub pid: u32,
    /// What it has counted since it opened the store, or why that is not known.
    pub counts: std::result::Result<ProcessCounts, Uncounted>,
}

/// What a process has counted since it opened a store.
///
/// It counts on while it is read, so the numbers may be of moments that differ a little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessCounts {
    /// How long it has had the store open, up to now.
    pub open_for: Duration,
    /// Its commits: see [`Stats::commit_operations`].
    pub commit_operations: Histogram,
    /// The time that each took: see [`Stats::commit_nanoseconds`].
    pub commit_nanoseconds: Histogram,
    /// Its flushes of the store's file: see [`Stats::flushes`].
    pub flushes: u64,
    /// The commits that it has undone: see [`Stats::undone_commits`].
    pub undone_commits: u64,
    /// Its deferred commits that are not flushed. If another process has flushed them, it notices
    /// that with its next write, or at the age at which it would have flushed them itself.
    pub deferred_commits: u64,
}

/// Why it is not known what a process has counted that has a store open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Uncounted {
    /// It has the store open for reading only, and counts nothing.
    ReadsOnly,
    /// It may write, and publishes nothing: it uses a release of this library that does not, or
    /// another library, or the system refuses it memory that others can read.
    NotPublished,
    /// It uses a release of this library that publishes something else.
    OtherLayout,
    /// This process has no right to look at its descriptors.
    NotPermitted,
}

impl fmt::Display for Uncounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Uncounted::ReadsOnly => "it only reads, and counts nothing",
            Uncounted::NotPublished => {
                "it publishes no counts: it uses an older release of the library, or a sandbox or \
                 a limit of descriptors has kept it from that (memfd_create)"
            }
            Uncounted::OtherLayout => {
                "it uses a release of the library that publishes other counts: look with the same \
                 release"
            }
            Uncounted::NotPermitted => "this user may not look at its counts: look as root",
        })
    }
}
