//! The locks of one open file description: of the whole file, and of ranges of bytes.
//!
//! `flock` is locked and unlocked in half the time of a lock on a range (`F_OFD_SETLK`, Linux
//! 3.15). The two kinds do not exclude each other.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::fcntl::{fcntl, FcntlArg, FlockArg};

use crate::error::Missing;

/// What a system without `F_OFD_SETLK` lacks.
const RANGE_LOCKS: &str = "locks of open file descriptions (F_OFD_SETLK, Linux 3.15)";

const WHOLE_LOCKS: &str = "locks of whole files (flock)";

/// A descriptor that carries locks.
pub(crate) struct DescriptorLocks {
    file: File,
}

/// A lock of another open file description, or of a process.
pub(crate) struct Found {
    pub start: i64,
    pub len: i64,
    /// The process that holds it, as its id is in this PID namespace (zero if it has none there);
    /// -1 for a lock of an open file description.
    pub pid: libc::pid_t,
}

impl DescriptorLocks {
    pub fn new(file: File) -> DescriptorLocks {
        DescriptorLocks { file }
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    /// Another descriptor of the same open file description, as a forked child has one.
    #[cfg(test)]
    pub fn inherited(&self) -> DescriptorLocks {
        DescriptorLocks::new(self.file.try_clone().unwrap())
    }

    /// Takes the lock of the whole file (`flock`); false if another has it.
    pub fn try_flock(&self) -> io::Result<bool> {
        match self.flock(FlockArg::LockExclusiveNonblock) {
            Ok(()) => Ok(true),
            Err(Errno::EWOULDBLOCK) => Ok(false),
            Err(_) => Err(missing(WHOLE_LOCKS)),
        }
    }

    /// Makes sure that there are such locks, by unlocking what is not locked.
    pub fn probe_flock(&self) -> io::Result<()> {
        self.flock(FlockArg::Unlock)
            .map_err(|_| missing(WHOLE_LOCKS))
    }

    /// Gives the lock of the whole file back.
    pub fn unlock(&self) {
        // It cannot fail: the descriptor is open, and nothing is waited for.
        let _ = self.flock(FlockArg::Unlock);
    }

    // What nix has in its place owns the file while it is locked, and this file has other locks.
    #[allow(deprecated)]
    fn flock(&self, operation: FlockArg) -> nix::Result<()> {
        loop {
            match nix::fcntl::flock(self.file.as_raw_fd(), operation) {
                Err(Errno::EINTR) => {}
                done => return done,
            }
        }
    }

    /// Sets a lock; false if another's is in the way.
    pub fn try_set(&self, kind: libc::c_int, start: i64, len: i64) -> io::Result<bool> {
        match self.set(kind, start, len) {
            Ok(()) => Ok(true),
            Err(e) if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
            Err(e) => Err(e),
        }
    }

    pub fn set(&self, kind: libc::c_int, start: i64, len: i64) -> io::Result<()> {
        let lock = range(kind, start, len);
        self.retry(|file| fcntl(file, FcntlArg::F_OFD_SETLK(&lock)))
    }

    /// Whether another open file description holds any lock in the range.
    pub fn held_elsewhere(&self, start: i64, len: i64) -> io::Result<bool> {
        if len == 0 {
            return Ok(false); // to fcntl, a length of zero is "to the end of the file"
        }
        self.found_elsewhere(start, len)
            .map(|found| found.is_some())
    }

    /// A lock that another open file description holds in the range, in its whole length.
    pub fn found_elsewhere(&self, start: i64, len: i64) -> io::Result<Option<Found>> {
        let mut lock = range(libc::F_WRLCK, start, len);
        self.retry(|file| fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock)))?;
        let found = libc::c_int::from(lock.l_type) != libc::F_UNLCK;
        Ok(found.then_some(Found {
            start: lock.l_start,
            len: lock.l_len,
            pid: lock.l_pid,
        }))
    }

    /// All locks that other open file descriptions hold in the range.
    pub fn all_elsewhere(&self, start: i64, end: i64) -> io::Result<Vec<Found>> {
        let mut all = Vec::new();
        // The system names any one of them, so what is before and behind it is asked for next.
        let mut ranges = vec![(start, end)];
        while let Some((start, end)) = ranges.pop() {
            if start >= end {
                continue;
            }
            if let Some(found) = self.found_elsewhere(start, end - start)? {
                ranges.push((start, found.start));
                // To fcntl, a length of zero is "to the end of the file".
                if found.len > 0 {
                    ranges.push((found.start.saturating_add(found.len), end));
                }
                all.push(found);
            }
        }
        Ok(all)
    }

    /// Repeats a call that a signal has interrupted.
    fn retry(&self, mut call: impl FnMut(&File) -> nix::Result<libc::c_int>) -> io::Result<()> {
        loop {
            match call(&self.file) {
                Err(Errno::EINTR) => {}
                Err(_) => return Err(missing(RANGE_LOCKS)),
                Ok(_) => return Ok(()),
            }
        }
    }
}

/// The error of the call that has just failed, which may be that `what` is missing. nix does not
/// know every number that such a call gives.
fn missing(what: &'static str) -> io::Error {
    Missing::mark(what, io::Error::last_os_error())
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
