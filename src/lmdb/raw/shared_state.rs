//! What all processes that have a store open share, beside what LMDB shows of it: the numbers of
//! the newest commit in the data file's meta pages and in the lock file, and the flush mark.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::verify::anchor;
use crate::verify::announcement;
use crate::verify::flush_mark::{self, FlushMark};
use crate::verify::meta::{Meta, LAST_PAGE_AT, TXNID_AT};

/// Where the lock file has the number of the newest commit: behind the magic number, the version
/// and a mutex (mdb.c, `MDB_txbody`).
const NEWEST_AT: usize = 8 + size_of::<libc::pthread_mutex_t>();

/// A map of the beginning of a file, which other processes change.
pub(super) struct SharedMap {
    start: *mut libc::c_void,
    len: usize,
}

// SAFETY: the map stays where it is until it is dropped, and is accessed by atomic operations.
unsafe impl Send for SharedMap {}
// SAFETY: for the same reason.
unsafe impl Sync for SharedMap {}

impl SharedMap {
    pub fn new(file: &File, len: usize, access: libc::c_int) -> io::Result<SharedMap> {
        let fd = file.as_raw_fd();
        // SAFETY: makes a new map.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, access, libc::MAP_SHARED, fd, 0) };
        match start == libc::MAP_FAILED {
            true => Err(io::Error::last_os_error()),
            false => Ok(SharedMap { start, len }),
        }
    }

    /// What stands at an offset, for as long as the map is there.
    pub fn pointer(&self, at: usize) -> *mut libc::c_void {
        self.start.wrapping_byte_add(at)
    }

    /// The word at an offset that is a multiple of its size.
    #[inline]
    fn word(&self, at: usize) -> &AtomicU64 {
        debug_assert!(at.is_multiple_of(size_of::<u64>()) && at + size_of::<u64>() <= self.len);
        // SAFETY: the offset is aligned and inside the map, which outlives the reference, and all
        // of this process access the word atomically.
        unsafe { &*self.start.byte_add(at).cast::<AtomicU64>() }
    }
}

impl Drop for SharedMap {
    fn drop(&mut self) {
        // SAFETY: nothing refers to the map any more.
        unsafe { libc::munmap(self.start, self.len) };
    }
}

/// The two meta pages of a store that is open.
pub(crate) struct MetaPages {
    map: SharedMap,
    page_size: usize,
}

impl MetaPages {
    pub fn new(file: &File, page_size: u64) -> io::Result<MetaPages> {
        let page_size = page_size as usize;
        let map = SharedMap::new(file, 2 * page_size, libc::PROT_READ)?;
        Ok(MetaPages { map, page_size })
    }

    /// LMDB's number of the newest commit. The caller keeps others from writing.
    #[inline]
    pub fn newest_commit(&self) -> u64 {
        let commit = |page| self.map.word(page + TXNID_AT).load(Ordering::Acquire);
        commit(0).max(commit(self.page_size))
    }

    /// Pages up to the last one that the newest commit uses. The caller keeps others from writing.
    #[inline]
    pub fn used_pages(&self) -> u64 {
        let page = Meta::home(self.newest_commit()) * self.page_size;
        let last = self.map.word(page + LAST_PAGE_AT).load(Ordering::Acquire);
        last.saturating_add(1)
    }

    /// Whether that commit is the last that is known to be flushed, and no flush has failed after
    /// it. The checksum is left out, which each lone write would have to compute.
    #[inline]
    pub fn is_marked(&self, commit: u64) -> bool {
        let page = Meta::home(commit + 1) * self.page_size;
        let words = [0, 1].map(|at| {
            let at = page + flush_mark::AT + flush_mark::BODY_AT + at * size_of::<u64>();
            self.map.word(at).load(Ordering::Acquire)
        });
        words == [commit, 0]
    }

    /// Whether what the meta page of this commit has beside LMDB's fields announces one of its
    /// number. The caller keeps others from writing.
    #[inline]
    pub fn announces(&self, commit: u64) -> bool {
        let at = Meta::home(commit) * self.page_size + announcement::AT + announcement::COMMIT_AT;
        self.map.word(at).load(Ordering::Acquire) == commit
    }

    /// Whether nothing is to be done before the commit after this one: see the two above.
    #[inline]
    pub fn is_plain(&self, commit: u64) -> bool {
        self.is_marked(commit) && !self.announces(commit + 1)
    }

    /// The commits that have anchors in the first and the second meta page; 0 for none. The caller
    /// keeps others from writing.
    pub fn anchors(&self) -> [u64; 2] {
        [0, self.page_size].map(|page| {
            let start = self.map.word(page + anchor::AT).load(Ordering::Acquire);
            match start as u32 == anchor::MAGIC {
                true => self
                    .map
                    .word(page + anchor::COMMIT_AT)
                    .load(Ordering::Acquire),
                false => 0,
            }
        })
    }

    /// What is known of the newest commits. The caller keeps others from writing.
    #[inline]
    pub fn mark(&self) -> FlushMark {
        let marks = [self.mark_in(0), self.mark_in(self.page_size)];
        let marks = marks.into_iter().flatten();
        let newest = marks.max_by_key(|mark| (mark.flushed, mark.failed));
        newest.unwrap_or_default()
    }

    /// How many numbers the header row of this commit leaves out. The caller keeps others from
    /// writing.
    pub fn skipped(&self, commit: u64) -> u64 {
        let mark = self.mark_in(Meta::home(commit) * self.page_size);
        mark.filter(|mark| mark.failed == commit)
            .map_or(0, |mark| mark.skipped)
    }

    #[inline]
    fn mark_in(&self, page: usize) -> Option<FlushMark> {
        let mut bytes = [0; flush_mark::LEN];
        for (at, word) in bytes.chunks_exact_mut(size_of::<u64>()).enumerate() {
            let at = page + flush_mark::AT + at * size_of::<u64>();
            word.copy_from_slice(&self.map.word(at).load(Ordering::Acquire).to_ne_bytes());
        }
        FlushMark::parse(&bytes)
    }
}

/// Has LMDB's transactions, of all processes, begin at this commit: what they take for the newest
/// one stands in the lock file.
pub(crate) fn set_newest_in_lock_file(lock_file: &File, commit: u64) -> io::Result<()> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let map = SharedMap::new(lock_file, NEWEST_AT + size_of::<u64>(), access)?;
    map.word(NEWEST_AT).store(commit, Ordering::SeqCst);
    Ok(())
}
