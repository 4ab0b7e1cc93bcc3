//! What an environment knows of the flushes of its commits, and the note of the last one.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::lmdb::raw::MetaPages;
use crate::verify::flush_mark::FlushMark;
use crate::verify::{newest_meta, Metas};

/// What an environment whose commits are flushed once knows of that.
pub(crate) struct OneFlush {
    pub(super) pages: MetaPages,
    /// The last undone commit that this process knows of.
    pub(super) undone: AtomicU64,
    /// The undone commit after which this process has flushed and verified the store.
    pub(super) settled: AtomicU64,
    /// Flushes that have failed in a row.
    pub(super) failures: AtomicU32,
    /// LMDB could not write a meta page, and refuses every transaction until it is reopened.
    pub poisoned: AtomicBool,
}

impl OneFlush {
    pub fn new(pages: MetaPages) -> OneFlush {
        OneFlush {
            pages,
            undone: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            failures: AtomicU32::new(0),
            poisoned: AtomicBool::new(false),
        }
    }

    /// LMDB's number of the newest commit. The caller keeps others from writing.
    #[inline]
    pub fn newest_commit(&self) -> u64 {
        self.pages.newest_commit()
    }

    /// Whether the commit with this number, which is being written, comes after one with the same
    /// number that was undone.
    #[inline]
    pub fn is_undone(&self, commit: u64) -> bool {
        self.undone.load(Ordering::Relaxed) == commit
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
pub(super) fn write_mark(file: &File, page_size: u64, mark: FlushMark) -> io::Result<()> {
    file.write_all_at(&mark.encode(), mark.offset(page_size))
}
