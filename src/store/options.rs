//! How a store is opened.

use std::time::Duration;

use crate::limits::MAX_READERS;

/// How much of a store is checked when it is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// Only what kind of file it is, and that it is not cut short. A damaged page can end the
    /// process.
    None,
    /// Also the free list, and that the numbers of rows are those of the header: a few reads,
    /// however large the store. A damaged page among the others can end the process.
    Quick,
    /// Also every page and every row, and that all of them add up: no damage to the file can make
    /// LMDB end the process. Takes time in proportion to the store's size.
    #[default]
    Full,
}

/// What a write's return means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The write survives a power cut. Two flushes a write.
    #[default]
    Full,
    /// A power cut can undo the last write, as a whole; what was written before it stays, and the
    /// file stays sound (LMDB's `MDB_NOMETASYNC`). One flush a write.
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

    /// The largest map size that can be asked for: 64 TiB, half of a process's address space.
    pub const MAX_MAP_SIZE: u64 = 1 << 46;
    /// The fewest readers: those that are pooled, and as many walks.
    pub const MIN_MAX_READERS: u32 = 128;
    /// The most readers that can be asked for.
    pub const MAX_MAX_READERS: u32 = MAX_READERS;

    /// The default options.
    pub fn new() -> OpenOptions {
        OpenOptions::default()
    }

    /// Open for reading only: the store must exist, and every write fails with [`Error::ReadOnly`](crate::Error::ReadOnly).
    ///
    /// The directory, or an existing `-lock` file, must still be writable, unless the file system
    /// is read-only: readers tell writers there what they read.
    pub fn read_only(&mut self, read_only: bool) -> &mut OpenOptions {
        self.read_only = read_only;
        self
    }

    /// Size of the memory map in bytes: address space, not memory or disk; rounded up to what the
    /// file needs. A full map grows by itself. Where the address space is limited, less is
    /// taken.
    pub fn map_size(&mut self, bytes: u64) -> &mut OpenOptions {
        self.map_size = bytes;
        self
    }

    /// Places in LMDB's reader table, shared by all processes; the first to open the store decides.
    /// Fewer than [`MIN_MAX_READERS`](Self::MIN_MAX_READERS) are raised to that.
    pub fn max_readers(&mut self, readers: u32) -> &mut OpenOptions {
        self.max_readers = readers;
        self
    }

    /// How long an operation waits for other threads and processes, at each place where it may have
    /// to, before it fails with [`Error::Timeout`](crate::Error::Timeout). Zero: not at all.
    pub fn lock_wait(&mut self, wait: Duration) -> &mut OpenOptions {
        self.lock_wait = wait;
        self
    }

    /// How much is checked before the store is used.
    pub fn verify(&mut self, level: Verify) -> &mut OpenOptions {
        self.verify = level;
        self
    }

    /// What a write's return means.
    pub fn durability(&mut self, durability: Durability) -> &mut OpenOptions {
        self.durability = durability;
        self
    }
}
