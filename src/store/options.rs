//! Options for opening a store.

use std::time::Duration;

use crate::limits::MAX_READERS;

/// How much of a store is verified when it is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// Only that the file is a store, of a known format, and not truncated. A damaged page can make
    /// LMDB end the process.
    None,
    /// Also the free list, and that the tables have as many rows as the header says. This takes a
    /// few reads, however large the store. A damaged page elsewhere can make LMDB end the process.
    Quick,
    /// Also every page and every row, and that all rows are consistent. No damage to a file that
    /// passes can make LMDB end the process. The time is proportional to the size of the store.
    #[default]
    Full,
}

/// Whether a write that has returned survives a power cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// It survives: a commit makes one fsync call.
    #[default]
    Full,
    /// Every write of the store is deferred: a power cut may undo the writes of the last
    /// second, and no more than 1,000 commits ([`OpenOptions::deferred_age`],
    /// [`OpenOptions::deferred_commits`]), last ones first and each as a whole, and never damages
    /// the store. See [`PoolMetadata::deferred`](crate::PoolMetadata::deferred).
    Relaxed,
}

/// Options for opening a store.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    pub(super) read_only: bool,
    pub(super) map_size: u64,
    pub(super) max_readers: u32,
    pub(super) lock_wait: Duration,
    pub(super) verify: Verify,
    pub(super) durability: Durability,
    pub(super) identity: Option<Vec<u8>>,
    pub(super) max_pinned_growth: u64,
    pub(super) deferred_commits: u64,
    pub(super) deferred_age: Duration,
    pub(super) expect_deferred: bool,
}

impl Default for OpenOptions {
    fn default() -> OpenOptions {
        OpenOptions {
            read_only: false,
            map_size: Self::DEFAULT_MAP_SIZE,
            max_readers: Self::DEFAULT_MAX_READERS,
            lock_wait: Self::DEFAULT_LOCK_WAIT,
            verify: Verify::default(),
            durability: Durability::default(),
            identity: None,
            max_pinned_growth: 0,
            deferred_commits: Self::DEFAULT_DEFERRED_COMMITS,
            deferred_age: Self::DEFAULT_DEFERRED_AGE,
            expect_deferred: false,
        }
    }
}

impl OpenOptions {
    /// 16 GiB of address space.
    pub const DEFAULT_MAP_SIZE: u64 = 16 << 30;
    /// 1024 readers.
    pub const DEFAULT_MAX_READERS: u32 = 1024;
    /// 10 seconds.
    pub const DEFAULT_LOCK_WAIT: Duration = Duration::from_secs(10);

    /// 1,000 commits.
    pub const DEFAULT_DEFERRED_COMMITS: u64 = 1000;
    /// 2^32 commits, more than are made between two flushes. The next commit after a power cut
    /// leaves out as many numbers, of which there have to be enough.
    pub const MAX_DEFERRED_COMMITS: u64 = 1 << 32;
    /// 1 second.
    pub const DEFAULT_DEFERRED_AGE: Duration = Duration::from_secs(1);

    /// Largest map size in bytes: 64 TiB, half of a process's address space.
    pub const MAX_MAP_SIZE: u64 = 1 << 46;
    /// Smallest number of readers: one for each read permit of a process, and as many walks.
    pub const MIN_MAX_READERS: u32 = 128;
    /// Largest number of readers.
    pub const MAX_MAX_READERS: u32 = MAX_READERS;

    /// The default options.
    pub fn new() -> OpenOptions {
        OpenOptions::default()
    }

    /// Open for reading only: the store must exist, and every write fails with
    /// [`Error::ReadOnly`](crate::Error::ReadOnly). Nothing is made or changed.
    ///
    /// The handle reads the store in place, and each call sees the newest commit, where it can tell
    /// writers what it reads: in the `-lock` file, which must be there and writable. Otherwise it
    /// reads a private copy, as of when it was opened, and nobody else notices;
    /// [`Stats::is_copy`](crate::Stats::is_copy) says so, and opening the store again shows what
    /// has changed. A copy is made with plain reads, in memory as large as the store, within the
    /// lock wait; its pages are checked whatever [`verify`](Self::verify) says. It is also read
    ///
    /// - in a container (a PID namespace other than the machine's first), unless the store is open
    ///   in that container, and in no other;
    /// - on overlayfs, unless another process has the store open.
    pub fn read_only(&mut self, read_only: bool) -> &mut OpenOptions {
        self.read_only = read_only;
        self
    }

    /// Size of the memory map in bytes, at most [`MAX_MAP_SIZE`](Self::MAX_MAP_SIZE). It takes
    /// address space, not memory or disk, is rounded up to what the file needs, and grows when the
    /// store needs more. Where the address space is limited, a smaller map is used.
    pub fn map_size(&mut self, bytes: u64) -> &mut OpenOptions {
        self.map_size = bytes;
        self
    }

    /// Number of slots in LMDB's reader table, which all processes share: at most
    /// [`MAX_MAX_READERS`](Self::MAX_MAX_READERS). Values below
    /// [`MIN_MAX_READERS`](Self::MIN_MAX_READERS) are raised to that. The first process to open the
    /// store decides.
    pub fn max_readers(&mut self, readers: u32) -> &mut OpenOptions {
        self.max_readers = readers;
        self
    }

    /// Longest time that an operation waits at one time for other threads and processes, before it
    /// fails with [`Error::Timeout`](crate::Error::Timeout). With zero it does not wait. Else a
    /// write waits on while a commit of its own process is under way.
    pub fn lock_wait(&mut self, wait: Duration) -> &mut OpenOptions {
        self.lock_wait = wait;
        self
    }

    /// How much is verified before the store is used.
    pub fn verify(&mut self, level: Verify) -> &mut OpenOptions {
        self.verify = level;
        self
    }

    /// Which pool the store has to belong to: 1 to 255 bytes of the caller's, such as the UUID of
    /// the pool's metadata device. It is stored when the store is first opened for writing with it.
    /// From then on, opening with another one fails with
    /// [`Error::OtherPool`](crate::Error::OtherPool). Without it, stores of all pools are opened.
    pub fn identity(&mut self, identity: impl Into<Vec<u8>>) -> &mut OpenOptions {
        self.identity = Some(identity.into());
        self
    }

    /// Whether a write that has returned survives a power cut.
    pub fn durability(&mut self, durability: Durability) -> &mut OpenOptions {
        self.durability = durability;
        self
    }

    /// How many deferred commits may be left unflushed, at least 1: the next one is flushed, with
    /// all before it. See [`PoolMetadata::deferred`](crate::PoolMetadata::deferred). Values above
    /// [`MAX_DEFERRED_COMMITS`](Self::MAX_DEFERRED_COMMITS) count as that.
    ///
    /// The pages that they free are not used again before the flush after the next, so this also
    /// bounds by how much the file grows.
    pub fn deferred_commits(&mut self, commits: u64) -> &mut OpenOptions {
        self.deferred_commits = commits;
        self
    }

    /// How long a deferred commit may be left unflushed: a thread of the store's own flushes it
    /// then. The thread is started by the first deferred write, or by opening with
    /// [`expect_deferred`](Self::expect_deferred), and ends with the store.
    pub fn deferred_age(&mut self, age: Duration) -> &mut OpenOptions {
        self.deferred_age = age;
        self
    }

    /// Expect deferred writes: make the flush that they need when the store is opened, and stay
    /// ready for them while nobody writes. Without it, the second of several deferred writes makes
    /// that flush, and so does the second after [`deferred_age`](Self::deferred_age) without any.
    /// The first write of another process makes two flushes more than otherwise. A store that is
    /// opened read-only ignores it.
    pub fn expect_deferred(&mut self, expect: bool) -> &mut OpenOptions {
        self.expect_deferred = expect;
        self
    }

    /// Most bytes of freed pages that running reads may keep from being used again while the file
    /// grows, in whatever process they run; 0, the default, for no limit. A write of this process
    /// that would make the file longer beyond that fails with
    /// [`Error::Pinned`](crate::Error::Pinned), which names the oldest read's process. The file can
    /// exceed the limit by what it is made longer by at a time, at most 8 MiB.
    pub fn max_pinned_growth(&mut self, bytes: u64) -> &mut OpenOptions {
        self.max_pinned_growth = bytes;
        self
    }
}
