//! Locks between processes, on the data file itself, by open file description.
//!
//! LMDB's own writer lock can only be waited for without a limit, so a writer first takes one here,
//! with a limit: the lock of the whole file. `turn.rs` has the order in which processes get it. All
//! other locks are on ranges of bytes.
//!
//! LMDB keeps its reader table in the `-lock` file; two processes that reach one data file through
//! different `-lock` files (a hard link, or a `-lock` file deleted while in use) would overwrite
//! pages that the other still reads. Each process therefore holds a shared lock on a byte that
//! stands for its `-lock` file, and refuses the store if any process holds another such byte.
//!
//! The bytes are far beyond the end of any file. LMDB takes no locks on the data file.

use std::fs::{File, Metadata};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::OnceLock;

use nix::time::{clock_gettime, ClockId};

use crate::error::{Error, Result};
use crate::file::descriptor_locks::{DescriptorLocks, Found};
use crate::file::process_number::ProcessNumber;
use crate::file::turn::{Contest, PassedOver, PATIENCE};
use crate::sync::deadline::Deadline;
use crate::sync::process;

/// No tick of the clock.
const NEVER: u64 = u64::MAX;
/// The bytes that stand for `-lock` files, by inode number.
const IDENTITY: std::ops::Range<i64> = 1 << 61..(1 << 61) + (1 << 60);
/// Held, shared, by every process from before LMDB opens the file there until it has closed it.
const USE: i64 = IDENTITY.start - 1;

/// The bytes that stand for C libraries. LMDB's locks in the `-lock` file are the C library's
/// (robust mutexes), of one size and different layouts, so that processes of two would take each
/// other's locks for free.
const C_LIBRARIES: std::ops::Range<i64> = USE - 2..USE;

/// A C library, by its place among these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CLibrary {
    Glibc = 0,
    Musl = 1,
}

impl CLibrary {
    /// That of this program.
    pub const OWN: CLibrary = match cfg!(target_env = "musl") {
        true => CLibrary::Musl,
        false => CLibrary::Glibc,
    };
}

/// The bytes that stand for processes, two for each. A process holds the first from before it opens
/// LMDB, the other while it has LMDB open with a `-lock` file.
const PROCESSES: std::ops::Range<i64> = 1 << 60..(1 << 60) + 2 * ProcessNumber::COUNT;

/// A descriptor of the data file that carries this process's locks on it.
pub(crate) struct FileLock {
    locks: DescriptorLocks,
    /// How many of this process's writers wait for another's, for the statistics.
    waiters: AtomicUsize,
    /// The tick of the clock at which this last checked whether another process has the turn.
    checked: AtomicU64,
    /// The turns of others that are passed over.
    passed_over: PassedOver,
    /// The process that opened it.
    stamp: u64,
    /// That process's number, once it was asked for.
    number: OnceLock<ProcessNumber>,
}

/// The writer lock, held until dropped.
pub(crate) struct WriterLock<'a>(&'a FileLock);

impl FileLock {
    pub fn new(file: File) -> FileLock {
        FileLock {
            locks: DescriptorLocks::new(file),
            waiters: AtomicUsize::new(0),
            checked: AtomicU64::new(NEVER),
            passed_over: PassedOver::default(),
            stamp: process::stamp(),
            number: OnceLock::new(),
        }
    }

    /// The number of this process.
    pub fn own_number(&self) -> ProcessNumber {
        *self.number.get_or_init(ProcessNumber::own)
    }

    /// The first byte that stands for this process.
    fn own_byte(&self) -> i64 {
        PROCESSES.start + 2 * self.own_number().number()
    }

    /// The file that carries the locks.
    pub fn file(&self) -> &File {
        self.locks.file()
    }

    /// The metadata of the file that carries the locks.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.file().metadata()
    }

    /// Says which `-lock` file this process uses, by its inode; false if another process uses
    /// another one. The claim stays until it is released, whatever the answer.
    pub fn claim_identity(&self, lock_file: u64) -> io::Result<bool> {
        self.locks.set(libc::F_RDLCK, identity_byte(lock_file), 1)?;
        Ok(!self.uses_another_lock_file(lock_file)?)
    }

    /// Whether another process uses another `-lock` file than this one.
    pub fn uses_another_lock_file(&self, lock_file: u64) -> io::Result<bool> {
        let own = identity_byte(lock_file);
        Ok(self
            .locks
            .held_elsewhere(IDENTITY.start, own - IDENTITY.start)?
            || self.locks.held_elsewhere(own + 1, IDENTITY.end - own - 1)?)
    }

    /// Says which C library this process has; false if a process with another one uses the file.
    pub fn claim_c_library(&self, own: CLibrary) -> io::Result<bool> {
        let byte = |library| C_LIBRARIES.start + library as i64;
        self.locks.set(libc::F_RDLCK, byte(own), 1)?;
        let other = match own {
            CLibrary::Glibc => CLibrary::Musl,
            CLibrary::Musl => CLibrary::Glibc,
        };
        Ok(!self.locks.held_elsewhere(byte(other), 1)?)
    }

    /// Says that this process opens the file; false if it has it open already. That can only be
    /// through another copy of this library, of which no other lock tells: LMDB's belong to the
    /// process.
    pub fn claim_process(&self) -> io::Result<bool> {
        let own = self.own_byte();
        match self.locks.try_set(libc::F_WRLCK, own, 1) {
            // A descriptor that cannot write takes shared locks only.
            Err(e) if e.raw_os_error() == Some(libc::EBADF) => {
                let claimed = self.locks.try_set(libc::F_RDLCK, own, 1)?;
                Ok(claimed && !self.locks.held_elsewhere(own, 1)?)
            }
            claimed => claimed,
        }
    }

    /// Whether this process has claimed the file by another descriptor.
    pub fn is_claimed_by_process(&self) -> io::Result<bool> {
        let own = self.own_byte();
        self.locks.held_elsewhere(own, 1)
    }

    /// Says that this process has LMDB open, with LMDB's locks on the `-lock` file.
    pub fn mark_lmdb_open(&self) -> io::Result<()> {
        let own = self.own_byte() + 1;
        self.locks.set(libc::F_RDLCK, own, 1)
    }

    /// Takes back [`mark_lmdb_open`](FileLock::mark_lmdb_open): LMDB is about to be closed.
    pub fn unmark_lmdb_open(&self) -> io::Result<()> {
        let own = self.own_byte() + 1;
        self.locks.set(libc::F_UNLCK, own, 1)
    }

    /// The other processes that have LMDB open with a `-lock` file, and those that had it open and
    /// have left their locks with a forked child.
    pub fn processes_with_lmdb(&self) -> io::Result<Vec<ProcessNumber>> {
        let all = self.locks.all_elsewhere(PROCESSES.start, PROCESSES.end)?;
        let both = |lock: &&Found| lock.start % 2 == 1 || lock.len == 2;
        let process = |lock: &Found| {
            let byte = lock.start - PROCESSES.start;
            ProcessNumber::from_number(byte / 2)
        };
        Ok(all.iter().filter(both).map(process).collect())
    }

    /// Whether another has LMDB's lock for a process id: the byte of the `-lock` file that has it
    /// as its number (mdb.c, `mdb_reader_pid`).
    pub fn pid_locked_elsewhere(&self, pid: u32) -> io::Result<bool> {
        self.locks.held_elsewhere(i64::from(pid), 1)
    }

    /// Locks that byte for this process's id, as LMDB does, but by this descriptor.
    #[cfg(all(test, not(loom)))]
    pub fn lock_pid(&self) -> io::Result<bool> {
        let pid = std::process::id().into();
        self.locks.try_set(libc::F_WRLCK, pid, 1)
    }

    /// Shares the file's use with others, also after holding it alone; false while another process
    /// holds it alone.
    pub fn claim_use(&self) -> io::Result<bool> {
        self.locks.try_set(libc::F_RDLCK, USE, 1)
    }

    /// Holds the file alone; false if it is used, in this process or another. Needs a descriptor
    /// that can write.
    pub fn claim_alone(&self) -> io::Result<bool> {
        self.locks.try_set(libc::F_WRLCK, USE, IDENTITY.end - USE)
    }

    /// Makes sure that there is a writer lock on this file system, without taking it.
    pub fn probe_writer_lock(&self) -> io::Result<()> {
        self.locks.probe_flock()
    }

    /// Locks the whole file as well, as bbolt does; false if another has that lock.
    pub fn try_lock_whole(&self) -> io::Result<bool> {
        self.locks.try_flock()
    }

    /// Whether another open file description claims the file's use at this moment.
    pub fn used_elsewhere(&self) -> io::Result<bool> {
        self.locks.held_elsewhere(USE, IDENTITY.end - USE)
    }

    /// Whether another has a lock on the file's first byte, as LMDB has on its lock file for as
    /// long as it has it open.
    pub fn first_byte_locked_elsewhere(&self) -> io::Result<bool> {
        self.locks.held_elsewhere(0, 1)
    }

    /// Of a lock file: whether processes of this one's PID namespace have it open with LMDB, and
    /// no others. LMDB locks, for each process, the byte that has its id as its number (mdb.c,
    /// `mdb_reader_pid`). The system gives the id of a lock's holder as it is in the PID namespace
    /// of the process that asks.
    pub fn is_lmdbs_here_alone(&self) -> io::Result<bool> {
        /// More than any process id (`PID_MAX_LIMIT` of the kernel).
        const PID_END: i64 = 1 << 22;
        let all = self.locks.all_elsewhere(1, PID_END)?;
        let is_here = |lock: &Found| lock.start == i64::from(lock.pid);
        Ok(!all.is_empty() && all.iter().all(is_here))
    }

    /// Releases what [`claim_alone`](FileLock::claim_alone) holds beside the file's use, for a
    /// process that goes on to share the file.
    pub fn release_identities(&self) -> io::Result<()> {
        let range = IDENTITY.end - IDENTITY.start;
        self.locks.set(libc::F_UNLCK, IDENTITY.start, range)
    }

    /// Releases a writer lock that was kept.
    pub fn release_writer(&self) {
        self.locks.unlock();
    }

    /// Releases all locks of this descriptor but the writer lock.
    pub fn release(&self) {
        // Nothing can be done about a failure; closing the descriptor releases them as well.
        let _ = self.locks.set(libc::F_UNLCK, 0, 0);
    }

    /// Takes the writer lock, waiting until `deadline` for a writer of another process.
    ///
    /// Called by one thread at a time. Whether another process has the turn is checked once a tick
    /// of the clock, some milliseconds, and not for every write: checking takes as long as locking.
    /// So a process may have to wait for the writes of a tick, but no longer.
    pub fn lock_writer(&self, path: &Path, deadline: &Deadline) -> Result<WriterLock<'_>> {
        let fail = |e| Error::io("locking the store for writing", path, e);
        let now = tick();
        let seen = now == Some(self.checked.load(Ordering::Relaxed));
        if seen && self.locks.try_flock().map_err(fail)? {
            return Ok(WriterLock(self));
        }
        let mut contest = Contest::new(&self.locks, &self.passed_over, deadline.part(PATIENCE));
        let mut attempt = || contest.attempt().map_err(fail);
        match attempt()? {
            ControlFlow::Break(()) => {
                self.checked.store(now.unwrap_or(NEVER), Ordering::Relaxed);
                return Ok(WriterLock(self));
            }
            ControlFlow::Continue(_) => {
                self.waiters.fetch_add(1, Ordering::Relaxed);
                let got = deadline.poll_paced("a writer of another process", attempt);
                self.waiters.fetch_sub(1, Ordering::Relaxed);
                got?;
            }
        }
        // The process writes until the next tick before it yields again.
        self.checked
            .store(tick().unwrap_or(NEVER), Ordering::Relaxed);
        Ok(WriterLock(self))
    }

    /// How many of this process's writers wait for another process's.
    pub fn waiting(&self) -> usize {
        self.waiters.load(Ordering::Relaxed)
    }
}

/// The byte that stands for a `-lock` file, by its inode.
fn identity_byte(lock_file: u64) -> i64 {
    let span = (IDENTITY.end - IDENTITY.start) as u64;
    IDENTITY.start + (lock_file % span) as i64
}

/// The time, by a clock that takes a few nanoseconds to read and advances every few milliseconds.
pub(crate) fn tick() -> Option<u64> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).ok()?;
    Some((now.tv_sec() as u64).wrapping_mul(1_000_000_000) + now.tv_nsec() as u64)
}

impl Drop for FileLock {
    /// Closing the descriptor releases the locks only once no child that is being started has a
    /// copy of it.
    fn drop(&mut self) {
        // A forked child's copy stands for the same locks, and they are its parent's.
        if process::stamp() == self.stamp {
            self.release();
        }
    }
}

impl WriterLock<'_> {
    /// Keeps every other process from writing until [`FileLock::release_writer`], or until the
    /// file is closed.
    pub fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for WriterLock<'_> {
    fn drop(&mut self) {
        self.0.locks.unlock();
    }
}

#[cfg(test)]
mod tests;
