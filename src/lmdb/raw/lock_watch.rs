//! Watching the map of LMDB's lock file.
//!
//! Every read writes to its reader slot, through a map of the `-lock` file. Once the file system
//! has shut down or turned read-only, such a write is a signal that ends the process. So the file
//! system is probed every now and then: by a change of the file's times, which it refuses once it
//! takes no more writes, and by having the system make all pages of the map writable, which is an
//! error where a write would be a signal.
//!
//! When a probe fails, LMDB is given memory in the place of the map, with what the file had, and
//! goes on reading. Other processes no longer see what this one reads, so that is only sound while
//! nobody writes: see `Env::detach_lock_file`.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use nix::errno::Errno;
use nix::sys::stat::futimens;
use nix::sys::time::TimeSpec;

use crate::file::process_lock::{tick, FileLock};

/// How long a change of the file's times is good for, in nanoseconds. It goes into the file
/// system's journal; making the pages writable does not, and is good for a tick of the clock.
const INTERVAL: u64 = 100_000_000;
/// When a probe is due that never is.
const NEVER: u64 = u64::MAX;
/// Where LMDB has the state of the reader table's mutex; zero if it is unlocked (mdb.c,
/// `MDB_txbody`).
const MUTEX: usize = 8;
/// How often the mutex is looked at.
const MOST_YIELDS: u32 = 1000;

/// The map of an open store's lock file, if it has one.
pub(crate) struct LockWatch {
    /// Held by the claims on the file, which end with it.
    file: Weak<FileLock>,
    start: AtomicUsize,
    len: AtomicUsize,
    /// The time, by a coarse clock, at which the next probe is due.
    due: AtomicU64,
    /// And at which it is to change the file's times.
    times_due: AtomicU64,
    detached: AtomicBool,
}

impl LockWatch {
    /// Watches nothing until [`find`](LockWatch::find) has found the map.
    pub fn new(file: Option<&Arc<FileLock>>) -> LockWatch {
        LockWatch {
            file: file.map(Arc::downgrade).unwrap_or_default(),
            start: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
            due: AtomicU64::new(NEVER),
            times_due: AtomicU64::new(0),
            detached: AtomicBool::new(false),
        }
    }

    /// Finds the map that LMDB has made, among those of this process. Without `/proc` there is
    /// nothing to find, and nothing is watched.
    pub fn find(&self, path: &Path) {
        let found = || {
            let file = self.file.upgrade()?.metadata().ok()?;
            let maps = std::fs::read("/proc/self/maps").ok()?;
            maps.split(|byte| *byte == b'\n')
                .find_map(|line| shared_map(line, &file, path.as_os_str().as_bytes()))
        };
        self.detached.store(false, Ordering::Relaxed);
        if let Some((start, len)) = found() {
            self.start.store(start, Ordering::Relaxed);
            self.len.store(len, Ordering::Relaxed);
            self.due.store(0, Ordering::Release);
        }
    }

    /// Whether LMDB may touch the map: the last probe is recent and was good, or this one is. The
    /// caller keeps the environment open.
    #[inline]
    pub fn is_sound(&self) -> bool {
        let due = self.due.load(Ordering::Acquire);
        due == NEVER || tick().is_some_and(|now| now < due) || self.probe()
    }

    /// Has the next use probe the map, since a write has failed.
    pub fn expire(&self) {
        self.times_due.store(0, Ordering::Relaxed);
        if self.due.load(Ordering::Relaxed) != NEVER {
            self.due.store(0, Ordering::Relaxed);
        }
    }

    /// Whether LMDB has memory in the place of the map.
    pub fn is_detached(&self) -> bool {
        self.detached.load(Ordering::Acquire)
    }

    #[cold]
    fn probe(&self) -> bool {
        let Some(file) = self.file.upgrade() else {
            return true;
        };
        let now = tick().unwrap_or(0);
        let change_times = now >= self.times_due.load(Ordering::Relaxed);
        if (change_times && !takes_writes(file.file())) || !self.advise(POPULATE_WRITE) {
            return self.is_detached();
        }
        if change_times {
            let next = now.saturating_add(INTERVAL);
            self.times_due.store(next, Ordering::Relaxed);
        }
        self.due.store(now.saturating_add(1), Ordering::Release);
        true
    }

    fn range(&self) -> (*mut libc::c_void, usize) {
        let start = self.start.load(Ordering::Relaxed);
        let len = self.len.load(Ordering::Relaxed);
        (ptr::with_exposed_provenance_mut(start), len)
    }

    /// Has the system get every page of the map; false where using one would be a signal. Systems
    /// before Linux 5.14 do not know how to, and a sandbox may forbid it.
    fn advise(&self, advice: libc::c_int) -> bool {
        let (start, len) = self.range();
        // SAFETY: the range is a map that LMDB keeps while the caller keeps the environment open;
        // this advice changes no content.
        let done = unsafe { libc::madvise(start, len, advice) };
        done == 0 || !matches!(Errno::last(), Errno::EFAULT | Errno::EHWPOISON)
    }

    /// Gives LMDB memory in the place of the map, with its content. The caller keeps the
    /// environment open, and calls this in one thread at a time.
    pub fn detach(&self) -> io::Result<()> {
        let (start, len) = self.range();
        if len == 0 || self.is_detached() {
            return Ok(());
        }
        // Without all pages in memory, copying them would be a signal as well.
        if !self.advise(POPULATE_READ) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        // SAFETY: asks for new memory.
        let copy = unsafe {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            libc::mmap(ptr::null_mut(), len, access, kind, -1, 0)
        };
        if copy == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: both ranges have `len` bytes. Other threads and processes may write to the map
        // meanwhile; a slot that is copied before or after such a write is as good. A mutex that is
        // copied while it is locked would never be unlocked here, so that is waited for a little;
        // its owner may be dead. The new memory then replaces the map in one step.
        let moved = unsafe {
            let mutex = start.cast::<u8>().add(MUTEX).cast::<AtomicU32>();
            for _ in 0..MOST_YIELDS {
                if (*mutex).load(Ordering::Acquire) == 0 {
                    break;
                }
                std::thread::yield_now();
            }
            ptr::copy_nonoverlapping(start.cast::<u8>(), copy.cast::<u8>(), len);
            copy.cast::<u8>().add(MUTEX).cast::<u32>().write(0);
            libc::mremap(
                copy,
                len,
                len,
                libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED,
                start,
            )
        };
        if moved == libc::MAP_FAILED {
            let error = io::Error::last_os_error();
            // SAFETY: this is the memory that was just mapped.
            unsafe { libc::munmap(copy, len) };
            return Err(error);
        }
        self.detached.store(true, Ordering::Release);
        self.due.store(NEVER, Ordering::Release);
        Ok(())
    }

    /// Before LMDB closes its environment, which writes to the map: detaches it if it is not sound.
    pub fn before_close(&self) {
        self.times_due.store(0, Ordering::Relaxed);
        if self.due.load(Ordering::Relaxed) != NEVER && !self.probe() {
            // Nothing else can be done.
            let _ = self.detach();
        }
        self.due.store(NEVER, Ordering::Release);
    }
}

/// Whether the file's times can be changed. Any other error than these says nothing of the file
/// system: the process may have lost the right to change them.
fn takes_writes(file: &File) -> bool {
    let now = TimeSpec::UTIME_NOW;
    !matches!(
        futimens(file, &now, &now),
        Err(Errno::EIO | Errno::EROFS | Errno::ESHUTDOWN | Errno::EUCLEAN)
    )
}

/// The advice of Linux 5.14 that is not in every C library's headers.
const POPULATE_READ: libc::c_int = 22;
const POPULATE_WRITE: libc::c_int = 23;

/// Start and length of a shared map that a line of `/proc/self/maps` describes, if it is of that
/// file. btrfs gives another device there than `stat` does, so the path decides with the inode.
fn shared_map(line: &[u8], file: &Metadata, path: &[u8]) -> Option<(usize, usize)> {
    let facts = line.strip_suffix(path)?.strip_suffix(b" ")?;
    let mut words = std::str::from_utf8(facts).ok()?.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let shared = words.next()?.ends_with('s');
    let inode: u64 = words.nth(2)?.parse().ok()?;
    if !shared || inode != file.ino() {
        return None;
    }
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    Some((start, end.checked_sub(start)?))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn map_is_found_by_the_inode_and_the_whole_path() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let metadata = file.as_file().metadata().unwrap();
        let inode = metadata.ino();
        let line = |access: &str, inode: u64, path: &str| {
            format!("7f00-7f20 {access} 00000000 07:00 {inode}      /a b{path}").into_bytes()
        };
        let find = |line: &[u8]| shared_map(line, &metadata, b"/a b/pool.db-lock");
        let found = Some((0x7f00, 0x20));
        assert_eq!(find(&line("rw-s", inode, "/pool.db-lock")), found);
        assert_eq!(find(&line("rw-p", inode, "/pool.db-lock")), None);
        assert_eq!(find(&line("rw-s", inode + 1, "/pool.db-lock")), None);
        assert_eq!(find(&line("rw-s", inode, "/c/pool.db-lock")), None);
        assert_eq!(find(b""), None);
    }
}
