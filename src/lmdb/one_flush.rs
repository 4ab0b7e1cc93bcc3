//! What an environment knows of the flushes of its commits, and the note of the last one.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::Mutex;

use crate::lmdb::deferral::Deferred;
use crate::lmdb::flusher::Flusher;
use crate::lmdb::raw::MetaPages;
use crate::verify::flush_mark::FlushMark;
use crate::verify::{newest_meta, Metas};

/// What an environment whose commits are flushed once knows of that.
pub(crate) struct OneFlush {
    pub(super) pages: MetaPages,
    /// The last undone commit that this process knows of.
    pub(super) undone: AtomicU64,
    /// The mark of the undone commit after which nothing is left to be done before the next: this
    /// process has flushed and verified the store, or has undone it while it opened the store.
    pub(super) settled: Mutex<FlushMark>,
    /// Flushes that have failed in a row.
    pub(super) failures: AtomicU32,
    /// What this process has deferred, which its writer looks at.
    pub(super) deferred: Mutex<Deferred>,
    /// Whether commits of this process are deferred behind anchors.
    pub(super) is_anchored: AtomicBool,
    /// The last deferred commit of this process.
    pub(super) last_deferred: AtomicU64,
    /// Whether deferred writes are expected, so that this process is to be ready for them.
    pub(super) expects_deferral: AtomicBool,
    pub(super) flusher: Flusher,
    /// LMDB could not write a meta page, and refuses every transaction until it is reopened.
    pub poisoned: AtomicBool,
}

impl OneFlush {
    /// For a file with these meta pages. `settled` is the mark of a commit that opening has undone.
    pub fn new(pages: MetaPages, settled: FlushMark) -> OneFlush {
        OneFlush {
            pages,
            undone: AtomicU64::new(0),
            settled: Mutex::new(settled),
            failures: AtomicU32::new(0),
            deferred: Mutex::default(),
            is_anchored: AtomicBool::new(false),
            last_deferred: AtomicU64::new(0),
            expects_deferral: AtomicBool::new(false),
            flusher: Flusher::default(),
            poisoned: AtomicBool::new(false),
        }
    }

    /// LMDB's number of the newest commit. The caller keeps others from writing.
    #[inline]
    pub fn newest_commit(&self) -> u64 {
        self.pages.newest_commit()
    }

    /// Whether what this process has deferred may not be on the disk. It may look so while another
    /// process writes.
    #[cold]
    pub fn owes_a_flush(&self) -> bool {
        self.pages.mark().flushed < self.last_deferred.load(Ordering::Relaxed)
    }

    /// How many with the number of this commit, which is being written, were undone.
    #[inline]
    pub fn undone_before(&self, commit: u64) -> u64 {
        match self.undone.load(Ordering::Relaxed) == commit {
            true => self.pages.skipped(commit),
            false => 0,
        }
    }
}

/// Marks the newest commit of a file as flushed, which its caller is about to flush and give its
/// name.
pub(crate) fn mark_flushed(file: &File) -> io::Result<()> {
    let metas = Metas::read(file)?;
    match newest_meta(&metas) {
        Ok(newest) => write_mark(file, metas.page_size, FlushMark::of(newest.txnid)),
        Err(_) => Ok(()),
    }
}

/// Notes in the meta page that the next commit writes which one is on the disk.
#[inline]
pub(super) fn write_mark(file: &File, page_size: u64, mark: FlushMark) -> io::Result<()> {
    file.write_all_at(&mark.encode(), mark.offset(page_size))
}
