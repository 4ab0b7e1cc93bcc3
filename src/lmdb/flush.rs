//! One flush for a commit: LMDB writes its pages and its meta page, and then the file is flushed.
//!
//! While that is under way others see the commit. If the flush fails, the commit is undone: the
//! commit before, which was flushed before this one began, is in force again, in every process.
//! What the disk has of the pages is unknown then, but the commit before uses none of them. So the
//! next write waits until no read sees the undone commit, writes the meta pages again, flushes once
//! more, verifies the store as the disk has it, and goes on. The flush of what undoes a commit can
//! fail as well: the system then regards that meta page as written, and the disk may have the one
//! of the undone commit. A flush alone would write nothing.
//!
//! A process that is killed between the two steps leaves a commit that was not flushed. The flush
//! mark does not name it, and the next writer, in whatever process, flushes it first. If that
//! fails, the commit stays in force: after a power cut the mark does not name a commit either that
//! was flushed. The mark says then that the next write must not trust a later flush alone.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::error::{Error, Result, SystemError};
use crate::lmdb::env::Env;
use crate::lmdb::one_flush::{write_mark, OneFlush};
use crate::lmdb::raw::{set_newest_in_lock_file, Environment, WriteTxn};
use crate::lmdb::write::Step;
use crate::sync::lock_wait::{LockWait, WaitFor};
use crate::sync::primitives::unpoisoned;
use crate::verify::flush_mark::FlushMark;
use crate::verify::{Meta, Metas, Undo};

/// How often in a row flushes may fail before the store takes no more writes.
const MOST_FAILURES: u32 = 8;
/// How often, and for how long, reads are waited for that have begun at a commit and may not have
/// copied its meta page yet, which takes them less than a microsecond.
const LOOKS: u32 = 20;
const PAUSE: Duration = Duration::from_micros(50);

impl Env {
    /// Flushes the data file.
    pub(super) fn flush(&self) -> io::Result<()> {
        self.counters.flushes.fetch_add(1, Ordering::Relaxed);
        self.file.sync_data()
    }

    /// Flushes the file, with what a process that was killed may have left unflushed.
    pub fn sync(&self) -> Result<()> {
        self.check_writable()?;
        let waits = self.lock_wait();
        let _writing = self.begin_writing(&waits)?;
        let _flushing = self.begin_flushing();
        if let Some(one_flush) = &self.one_flush {
            let newest = one_flush.newest_commit();
            if let Some(flushed) = self.flush_anchored(one_flush, newest, false) {
                return flushed;
            }
            if !one_flush.pages.is_marked(newest) {
                return self.settle_newest(one_flush, newest, &waits);
            }
        }
        // Every commit was flushed before, so a failure says nothing of them.
        self.flush()
            .map_err(|e| Error::io("flushing the store", &self.path, e))
    }

    /// Makes sure that the newest commit is on the disk before another is written over the one
    /// before it. Calls `forget` where the next commit has to be announced although the newest is
    /// this process's. The caller holds the writer lock between processes.
    #[inline]
    pub(super) fn settle(&self, waits: &LockWait, forget: impl FnOnce()) -> Result<()> {
        let Some(one_flush) = &self.one_flush else {
            return Ok(());
        };
        let newest = one_flush.newest_commit();
        match one_flush.pages.is_plain(newest) {
            true => Ok(()),
            false => {
                if one_flush.pages.announces(newest + 1) {
                    forget();
                }
                self.settle_or_defer(one_flush, newest, waits)
            }
        }
    }

    #[cold]
    fn settle_or_defer(&self, one_flush: &OneFlush, newest: u64, waits: &LockWait) -> Result<()> {
        if one_flush.pages.is_marked(newest) {
            return Ok(());
        }
        match self.go_on_deferring(one_flush, newest) {
            Some(deferring) => deferring,
            None => {
                self.end_deferral(one_flush);
                self.settle_newest(one_flush, newest, waits)
            }
        }
    }

    /// Flushes the newest commit, with all that was deferred before it by whatever process.
    #[cold]
    pub(super) fn settle_newest(
        &self,
        one_flush: &OneFlush,
        newest: u64,
        waits: &LockWait,
    ) -> Result<()> {
        let mark = one_flush.pages.mark();
        let is_deferred = one_flush.pages.anchors() != [0; 2];
        let undone = mark.failed == newest + 1;
        if undone {
            one_flush.undone.store(mark.failed, Ordering::Relaxed);
            if *unpoisoned(one_flush.settled.lock()) == mark && !is_deferred {
                return Ok(());
            }
            self.wait_for_reads_behind(newest, waits)?;
        }
        if mark.failed != 0 && mark.failed >= newest {
            // Anchors are removed once all was written again, flushed and verified. If they are
            // gone and the mark still says that there are some, a process was killed right after
            // that, or while it removed them.
            let was_written = mark.deferring && !is_deferred;
            let is_flushed = mark.flushed >= newest || was_written;
            let before = (!is_flushed).then_some(mark.flushed);
            self.write_again(newest, before)?;
        }
        if let Err(error) = self.flush() {
            if mark.flushed < newest && !undone {
                self.note_failed(one_flush, newest);
            }
            return Err(self.count_failure(one_flush, error));
        }
        // The system may have given up pages that an earlier flush could not write.
        if undone || mark.failed == newest {
            self.verify_on_disk(one_flush, newest)?;
        }
        if is_deferred {
            self.remove_anchors()
                .map_err(|error| self.count_failure(one_flush, error))?;
        }
        match undone {
            true => {
                let skipped = one_flush.pages.skipped(newest + 1);
                let mark = FlushMark::of_failed(newest + 1, skipped);
                let _ = write_mark(&self.file, self.page_size, mark);
                *unpoisoned(one_flush.settled.lock()) = mark;
            }
            false => self.note_flushed(newest),
        }
        self.counters.deferred.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Notes that the newest commit, which may have been acknowledged, could not be flushed.
    #[cold]
    pub(super) fn note_failed(&self, one_flush: &OneFlush, failed: u64) {
        let skipped = one_flush.pages.skipped(failed);
        let mark = match one_flush.pages.anchors() {
            [0, 0] => FlushMark::of_failed(failed, skipped),
            _ => FlushMark {
                failed,
                skipped,
                deferring: true,
                ..one_flush.pages.mark()
            },
        };
        if write_mark(&self.file, self.page_size, mark).is_err() {
            // A later flush would be trusted.
            self.writes_stopped.store(true, Ordering::Relaxed);
        }
    }

    /// Flushes the commit that was just written, or undoes it. The caller holds the writer lock
    /// between processes. Inlined, since docs/performance.md counts a lone write's instructions.
    #[inline(always)]
    pub(super) fn flush_commit(&self, commit: u64) -> Result<()> {
        let Some(one_flush) = &self.one_flush else {
            return Ok(());
        };
        if one_flush.is_anchored.load(Ordering::Relaxed) {
            if let Some(flushed) = self.flush_anchored(one_flush, commit, true) {
                return flushed;
            }
        }
        if let Err(error) = self.flush() {
            self.undo(commit);
            return Err(self.count_failure(one_flush, error));
        }
        self.note_flushed(commit);
        one_flush.failures.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Counts a flush that has failed; the error that says so. A full disk is no failure of the
    /// disk.
    #[cold]
    pub(super) fn count_failure(&self, one_flush: &OneFlush, error: io::Error) -> Error {
        self.handle.watch().expire();
        let doing = "flushing a commit";
        if matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT)) {
            return Error::io(doing, &self.path, error);
        }
        if one_flush.failures.fetch_add(1, Ordering::Relaxed) + 1 >= MOST_FAILURES {
            self.writes_stopped.store(true, Ordering::Relaxed);
        }
        Error::Io {
            doing,
            path: self.path.as_path().into(),
            source: SystemError::new(error),
        }
    }

    /// Notes that the newest commit is on the disk. Without the note it is flushed once more, so a
    /// failure does no harm.
    pub(super) fn note_flushed(&self, commit: u64) {
        let _ = write_mark(&self.file, self.page_size, FlushMark::of(commit));
    }

    /// Undoes the newest commit, which was not acknowledged.
    #[cold]
    fn undo(&self, commit: u64) {
        self.undo_with(commit, Undo::of_newest);
    }

    /// Undoes the newest commit, whose flush is noted as failed. What was deferred before it stays.
    pub(super) fn undo_deferred(&self, commit: u64) {
        self.undo_with(commit, |metas, newest| {
            let undo = Undo::of_newest(metas, newest)?;
            Some(undo.with_mark(mark_of_undone(metas, newest.txnid)))
        });
    }

    fn undo_with(&self, commit: u64, undo: impl FnOnce(&Metas, &Meta) -> Option<Undo>) {
        if self.try_undo(commit, undo).is_err() {
            // Others may see it, and it may be lost: nothing may be written after it.
            self.writes_stopped.store(true, Ordering::Relaxed);
        }
    }

    fn try_undo(
        &self,
        commit: u64,
        undo: impl FnOnce(&Metas, &Meta) -> Option<Undo>,
    ) -> Result<()> {
        let fail = |e| Error::io("undoing a commit that could not be flushed", &self.path, e);
        let metas = Metas::read(&self.file).map_err(fail)?;
        let newest = metas.of_commit(commit);
        let undo = newest.and_then(|newest| undo(&metas, &newest));
        let undo = undo.ok_or(Error::Internal {
            what: "the meta pages are not of the last two commits",
        })?;
        // In this order: a read that has begun at the undone commit has copied its meta page before
        // that is written over.
        self.correct_lock_file(commit - 1)?;
        for _ in 0..LOOKS {
            if !self.is_read_behind(commit - 1)? {
                break;
            }
            std::thread::sleep(PAUSE);
        }
        self.file
            .write_all_at(&undo.bytes, undo.offset)
            .map_err(fail)?;
        self.counters.undone.fetch_add(1, Ordering::Relaxed);
        // The next write flushes it again, and finds out whether that works.
        let _ = self.flush();
        Ok(())
    }

    /// Has LMDB take this commit for the newest one, as the meta pages do.
    pub(super) fn correct_lock_file(&self, newest: u64) -> Result<()> {
        let held = unpoisoned(self.held.lock());
        match held.as_ref().and_then(|held| held.lock_file.as_ref()) {
            Some(lock_file) => set_newest_in_lock_file(lock_file.file(), newest)
                .map_err(|e| Error::io("writing to the lock file", &self.path, e)),
            None => Ok(()),
        }
    }

    /// Begins LMDB's transaction once more, at this commit: a process was killed while it undid the
    /// one after it.
    #[cold]
    pub(super) fn begin_again<'l>(
        &self,
        lmdb: &'l Environment,
        txn: WriteTxn<'l>,
        newest: u64,
    ) -> Step<WriteTxn<'l>> {
        drop(txn);
        self.correct_lock_file(newest)?;
        let begun = WriteTxn::begin(lmdb, self.tables.devices);
        begun.map_err(|e| self.fault("beginning a write", e))
    }

    /// Whether the environment has to be reopened before the next write.
    pub(super) fn is_poisoned_by_a_write(&self) -> bool {
        let one_flush = self.one_flush.as_ref();
        one_flush.is_some_and(|one_flush| one_flush.poisoned.load(Ordering::Relaxed))
    }

    /// Has the environment reopened before the next write, since LMDB could not write the meta page
    /// of this commit, and puts that page right. The commit before is in force still. A temporary
    /// file takes no more writes.
    pub(super) fn reopen_before_next_write(&self, commit: u64) {
        let put_right = || {
            let metas = Metas::read(&self.file)?;
            let before = commit
                .checked_sub(1)
                .and_then(|before| metas.of_commit(before));
            let undo = before.and_then(|before| Undo::of_next(&metas, &before));
            let undo = match metas.anchors().is_empty() {
                true => undo,
                false => undo.map(|undo| undo.with_mark(mark_of_undone(&metas, commit))),
            };
            match undo {
                Some(undo) => self.file.write_all_at(&undo.bytes, undo.offset),
                None => Err(io::ErrorKind::InvalidData.into()),
            }
        };
        match &self.one_flush {
            Some(one_flush) if put_right().is_ok() => {
                one_flush.poisoned.store(true, Ordering::Relaxed);
            }
            _ => self.writes_stopped.store(true, Ordering::Relaxed),
        }
    }

    /// Whether any read, of whatever process, sees a commit after this one.
    fn is_read_behind(&self, commit: u64) -> Result<bool> {
        let mut found = false;
        self.lmdb()?
            .each_active_reader(|_, seen| found |= seen > commit);
        Ok(found)
    }

    /// Waits until no read sees a commit after this one: its pages are about to be written.
    fn wait_for_reads_behind(&self, commit: u64, waits: &LockWait) -> Result<()> {
        let what = "the end of reads of a commit that was undone, since it could not be flushed";
        waits.wait_for(WaitFor::Turn, |deadline| {
            deadline.poll(what, || {
                if !self.is_read_behind(commit)? {
                    return Ok(Some(()));
                }
                self.clear_dead_readers()?;
                Ok(None)
            })
        })
    }
}

/// The mark in the meta page of a commit that is undone, where commits before it are deferred: the
/// last that was flushed is an earlier one.
fn mark_of_undone(metas: &Metas, commit: u64) -> FlushMark {
    FlushMark {
        flushed: metas.flush_mark().flushed,
        deferring: true,
        ..FlushMark::of_failed(commit, metas.skipped(commit) + 1)
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
