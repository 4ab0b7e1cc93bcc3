//! Locks between processes, on the data file itself, by open file description.
//!
//! LMDB's own writer lock can only be waited for without a limit, so a writer first takes one here,
//! with a limit: that of `flock`, which is locked and unlocked in half the time of a lock on a
//! range of bytes. All others are such ranges (`F_OFD_SETLK`, Linux 3.15); the two kinds do not
//! exclude each other.
//!
//! LMDB keeps its reader table in the `-lock` file; two processes that reach one data file through
//! different `-lock` files (a hard link, or a `-lock` file deleted while in use) would overwrite
//! pages that the other still reads. Each process therefore holds a shared lock on a byte that
//! stands for its `-lock` file, and refuses the store if any process holds another such byte.
//!
//! The bytes are far beyond the end of any file. LMDB takes no locks on the data file.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{fcntl, FcntlArg, FlockArg};
use nix::time::{clock_gettime, ClockId};

use crate::error::{Error, Result};
use crate::sync::deadline::Deadline;
use crate::sync::process;

/// Held by the process whose turn it is to get the writer lock next, so that a busy process cannot
/// keep it for itself.
const TURN: i64 = (1 << 62) + 1;
/// How long a process whose turn it is may take before others go first.
const PATIENCE: Duration = Duration::from_millis(50);
/// No tick of the clock.
const NEVER: u64 = u64::MAX;
/// The bytes that stand for `-lock` files, by inode number.
const IDENTITY: std::ops::Range<i64> = 1 << 61..(1 << 61) + (1 << 60);
/// Held, shared, by every process from before LMDB opens the file there until it has closed it.
const USE: i64 = IDENTITY.start - 1;

/// A descriptor of the data file that carries this process's locks on it.
pub(crate) struct FileLock {
    file: File,
    /// How many of this process's writers wait for another's, for the statistics.
    waiters: AtomicUsize,
    /// The tick of the clock at which this last checked whether another process waits for its turn.
    checked: AtomicU64,
    /// The process that opened it.
    stamp: u64,
}

/// How a claim of an identity stands beside those of other processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// All use the same `-lock` file.
    Agreed,
    /// Another process uses another `-lock` file, or this one uses none and another uses one.
    Another,
    /// Another process reads the file without a `-lock` file.
    ReadWithout,
}

/// The writer lock, held until dropped.
pub(crate) struct WriterLock<'a>(&'a FileLock);

impl FileLock {
    pub fn new(file: File) -> FileLock {
        FileLock {
            file,
            waiters: AtomicUsize::new(0),
            checked: AtomicU64::new(NEVER),
            stamp: process::stamp(),
        }
    }

    /// The file that carries the locks.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The metadata of the file that carries the locks.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    /// Says which `-lock` file this process uses, by its inode, or that it uses none, and what
    /// stands against that. The claim stays until it is released, whatever the answer.
    pub fn claim_identity(&self, lock_file: Option<u64>) -> io::Result<Identity> {
        // The first byte of the range stands for none.
        let span = (IDENTITY.end - IDENTITY.start - 1) as u64;
        let own = match lock_file {
            Some(inode) => IDENTITY.start + 1 + (inode % span) as i64,
            None => IDENTITY.start,
        };
        self.set(libc::F_RDLCK, own, 1)?;
        let first = IDENTITY.start + 1;
        if self.held_elsewhere(first, (own - first).max(0))?
            || self.held_elsewhere(own + 1, IDENTITY.end - own - 1)?
        {
            return Ok(Identity::Another);
        }
        if lock_file.is_some() && self.held_elsewhere(IDENTITY.start, 1)? {
            return Ok(Identity::ReadWithout);
        }
        Ok(Identity::Agreed)
    }

    /// Shares the file's use with others, also after holding it alone; false while another process
    /// holds it alone.
    pub fn claim_use(&self) -> io::Result<bool> {
        self.try_set(libc::F_RDLCK, USE, 1)
    }

    /// Holds the file alone; false if it is used, in this process or another. Needs a descriptor
    /// that can write.
    pub fn claim_alone(&self) -> io::Result<bool> {
        self.try_set(libc::F_WRLCK, USE, IDENTITY.end - USE)
    }

    /// Whether another open file description claims the file's use at this moment.
    pub fn used_elsewhere(&self) -> io::Result<bool> {
        self.held_elsewhere(USE, IDENTITY.end - USE)
    }

    /// Whether another has a lock on the file's first byte, as LMDB has on its lock file for as
    /// long as it has it open.
    pub fn first_byte_locked_elsewhere(&self) -> io::Result<bool> {
        self.held_elsewhere(0, 1)
    }

    /// Releases what [`claim_alone`](FileLock::claim_alone) holds beside the file's use, for a
    /// process that goes on to share the file.
    pub fn release_identities(&self) -> io::Result<()> {
        let range = IDENTITY.end - IDENTITY.start;
        self.set(libc::F_UNLCK, IDENTITY.start, range)
    }

    /// Releases all locks of this descriptor.
    pub fn release(&self) {
        // Nothing can be done about a failure; closing the descriptor releases them as well.
        let _ = self.set(libc::F_UNLCK, 0, 0);
    }

    /// Takes the writer lock, waiting until `deadline` for a writer of another process.
    ///
    /// Called by one thread at a time. Whether another process waits is checked once a tick of the
    /// clock, some milliseconds, and not for every write: checking takes as long as locking. So a
    /// process may have to wait for the writes of a tick, but no longer. A process whose turn it is
    /// and that does not come, because it is stopped, is waited for only a little.
    pub fn lock_writer(&self, path: &Path, deadline: &Deadline) -> Result<WriterLock<'_>> {
        let mut my_turn = false;
        let patience = deadline.part(PATIENCE);
        let fail = |e| Error::io("locking the store for writing", path, e);
        let tick = tick();
        let seen = tick == Some(self.checked.load(Ordering::Relaxed));
        if seen && self.try_flock().map_err(fail)? {
            return Ok(WriterLock(self));
        }
        let mut attempt = || self.try_writer(&mut my_turn, &patience).map_err(fail);
        if let Some(lock) = attempt()? {
            self.checked.store(tick.unwrap_or(NEVER), Ordering::Relaxed);
            return Ok(lock);
        }
        self.waiters.fetch_add(1, Ordering::Relaxed);
        let got = deadline.poll("a writer of another process", attempt);
        self.waiters.fetch_sub(1, Ordering::Relaxed);
        if my_turn {
            // Nothing can be done about a failure; closing the descriptor releases it as well.
            let _ = self.set(libc::F_UNLCK, TURN, 1);
        }
        got
    }

    /// How many of this process's writers wait for another process's.
    pub fn waiting(&self) -> usize {
        self.waiters.load(Ordering::Relaxed)
    }

    fn try_writer(
        &self,
        my_turn: &mut bool,
        patience: &Deadline,
    ) -> io::Result<Option<WriterLock<'_>>> {
        let others_turn = !*my_turn && self.held_elsewhere(TURN, 1)?;
        if (!others_turn || patience.left().is_zero()) && self.try_flock()? {
            return Ok(Some(WriterLock(self)));
        }
        if !*my_turn {
            *my_turn = self.try_set(libc::F_WRLCK, TURN, 1)?;
        }
        Ok(None)
    }

    /// Takes the writer lock; false if another has it.
    fn try_flock(&self) -> io::Result<bool> {
        loop {
            match self.flock(FlockArg::LockExclusiveNonblock) {
                Ok(()) => return Ok(true),
                Err(Errno::EWOULDBLOCK) => return Ok(false),
                Err(Errno::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    // What nix has in its place owns the file while it is locked, and this file has other locks.
    #[allow(deprecated)]
    fn flock(&self, operation: FlockArg) -> nix::Result<()> {
        nix::fcntl::flock(self.file.as_raw_fd(), operation)
    }

    /// Sets a lock; false if another's is in the way.
    fn try_set(&self, kind: libc::c_int, start: i64, len: i64) -> io::Result<bool> {
        match self.set(kind, start, len) {
            Ok(()) => Ok(true),
            Err(e) if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn set(&self, kind: libc::c_int, start: i64, len: i64) -> io::Result<()> {
        let lock = range(kind, start, len);
        self.retry(|file| fcntl(file, FcntlArg::F_OFD_SETLK(&lock)))
    }

    /// Whether another open file description holds any lock in the range.
    fn held_elsewhere(&self, start: i64, len: i64) -> io::Result<bool> {
        if len == 0 {
            return Ok(false); // to fcntl, a length of zero is "to the end of the file"
        }
        let mut lock = range(libc::F_WRLCK, start, len);
        self.retry(|file| fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock)))?;
        Ok(libc::c_int::from(lock.l_type) != libc::F_UNLCK)
    }

    /// Repeats a call that a signal has interrupted.
    fn retry(&self, mut call: impl FnMut(&File) -> nix::Result<libc::c_int>) -> io::Result<()> {
        loop {
            match call(&self.file) {
                Err(Errno::EINTR) => {}
                done => return Ok(done.map(drop)?),
            }
        }
    }
}

/// A lock on `len` bytes from `start` on. The kernel asks for a zero pid with locks of open file
/// descriptions.
fn range(kind: libc::c_int, start: i64, len: i64) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start,
        l_len: len,
        l_pid: 0,
    }
}

/// The time, by a clock that takes a few nanoseconds to read and advances every few milliseconds.
fn tick() -> Option<u64> {
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

impl Drop for WriterLock<'_> {
    fn drop(&mut self) {
        // It cannot fail: the descriptor is open, and nothing is waited for.
        let _ = self.0.flock(FlockArg::Unlock);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    fn open(path: &Path) -> FileLock {
        let file = File::options().read(true).write(true).open(path).unwrap();
        FileLock::new(file)
    }

    #[test]
    fn second_writer_waits_until_its_deadline() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (a, b) = (open(file.path()), open(file.path()));
        let soon = || Deadline::after(Duration::from_millis(20));
        let held = a.lock_writer(file.path(), &soon()).unwrap();
        assert!(matches!(
            b.lock_writer(file.path(), &soon()),
            Err(Error::Timeout { .. })
        ));
        drop(held);
        drop(b.lock_writer(file.path(), &soon()).unwrap());
        drop(a.lock_writer(file.path(), &soon()).unwrap());
    }

    #[test]
    fn waiting_process_writes_before_the_one_that_just_wrote() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (a, b) = (open(file.path()), open(file.path()));
        assert!(b.try_set(libc::F_WRLCK, TURN, 1).unwrap());
        let patience = Deadline::after(Duration::from_secs(60));
        let mut my_turn = false;
        assert!(
            a.try_writer(&mut my_turn, &patience).unwrap().is_none(),
            "b waits already"
        );
        assert!(!my_turn);
        let mut bs_turn = true;
        assert!(b.try_writer(&mut bs_turn, &patience).unwrap().is_some());
    }

    #[test]
    fn stopped_turn_holder_does_not_block_writers() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (a, b) = (open(file.path()), open(file.path()));
        // b stands for a process that was stopped while it waited.
        assert!(b.try_set(libc::F_WRLCK, TURN, 1).unwrap());
        for wait in [Duration::from_millis(10), Duration::from_secs(60)] {
            let lock = a.lock_writer(file.path(), &Deadline::after(wait));
            assert!(lock.is_ok(), "{wait:?}");
        }
    }

    #[test]
    fn file_is_shared_by_many_or_held_alone() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (a, b, c) = (open(file.path()), open(file.path()), open(file.path()));
        assert!(a.claim_use().unwrap() && b.claim_use().unwrap());
        assert_eq!(a.claim_identity(Some(7)).unwrap(), Identity::Agreed);
        assert!(c.used_elsewhere().unwrap() && !c.claim_alone().unwrap());
        b.release();
        assert!(!c.claim_alone().unwrap());
        a.release();
        assert!(!c.used_elsewhere().unwrap() && c.claim_alone().unwrap());
        assert!(!a.claim_use().unwrap() && !b.claim_alone().unwrap());
        c.release();
        // A use without the first byte keeps it from being held alone, too.
        assert_eq!(a.claim_identity(None).unwrap(), Identity::Agreed);
        assert!(!c.claim_alone().unwrap());
    }

    #[test]
    fn process_that_writes_without_a_pause_lets_another_in() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (a, b) = (open(file.path()), open(file.path()));
        let minute = || Deadline::after(Duration::from_secs(60));
        drop(a.lock_writer(file.path(), &minute()).unwrap());
        assert!(b.try_set(libc::F_WRLCK, TURN, 1).unwrap());
        let (stop, start) = (AtomicBool::new(false), std::time::Instant::now());
        let looked = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    drop(a.lock_writer(file.path(), &minute()).unwrap());
                }
            });
            let mut looked = false;
            while !looked && start.elapsed() < Duration::from_secs(60) {
                looked = a.waiting() == 1;
            }
            stop.store(true, Ordering::Relaxed);
            looked
        });
        assert!(looked, "it never checked again");
    }

    #[test]
    fn dropped_lock_is_released_though_a_child_has_the_descriptor() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (a, b) = (open(file.path()), open(file.path()));
        assert!(a.claim_use().unwrap());
        // A child that has not reached its `exec` has such a copy.
        let copy = a.file.try_clone().unwrap();
        drop(a);
        assert!(b.claim_alone().unwrap());
        drop(copy);
    }

    #[test]
    fn different_identities_exclude_each_other() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (a, b, c) = (open(file.path()), open(file.path()), open(file.path()));
        let claim = |lock: &FileLock, lock_file| lock.claim_identity(lock_file).unwrap();
        for inode in [0, 7, u64::MAX] {
            assert_eq!(claim(&a, Some(inode)), Identity::Agreed);
            assert_eq!(claim(&b, Some(inode)), Identity::Agreed);
            let other = Some(inode.wrapping_add(5));
            assert_eq!(claim(&c, other), Identity::Another);
            c.release();
            assert_eq!(claim(&c, None), Identity::Another);
            assert_eq!(claim(&a, Some(inode)), Identity::ReadWithout);
            b.release();
            a.release();
            assert_eq!(claim(&b, None), Identity::Agreed);
            for lock in [&a, &b, &c] {
                lock.set(libc::F_UNLCK, 0, 0).unwrap();
            }
        }
    }
}
