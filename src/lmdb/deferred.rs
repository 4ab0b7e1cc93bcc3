//! Deferred commits: made without a flush of their own, and made durable by a later one.
//!
//! A single commit that is not flushed needs nothing: the one before it was, and is in its place.
//! Before a second is written over that, the first is flushed, and gets an anchor (see
//! `verify/anchor.rs`) and a pin, a read transaction that keeps its pages from being written over.
//! From then on commits need no flush, until the next durable one, `sync` or a bound. That one
//! writes its anchor over the older of the two, flushes, and gets a pin; then the pin of the older
//! one ends. So whatever a power cut leaves, the pages of two anchors are there, of which the older
//! was flushed.
//!
//! All this is one process's. The flush mark names no newest commit meanwhile, so the next writer
//! of another process flushes, removes the anchors and flushes again before it writes. So does the
//! next writer after a process that was killed, whose pins have ended with it.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::error::Result;
use crate::lmdb::deferral::{Anchored, Deferral, Deferred};
use crate::lmdb::env::Env;
use crate::lmdb::one_flush::{write_mark, OneFlush};
use crate::sync::primitives::unpoisoned;
use crate::verify::anchor::{self, Anchor};
use crate::verify::flush_mark::FlushMark;
use crate::verify::meta::{Meta, LEN as META_LEN};

impl Env {
    /// Deferred commits of this process that are not flushed.
    pub(super) fn count_unflushed(&self) -> u64 {
        let Some(one_flush) = &self.one_flush else {
            return 0;
        };
        let count = self.counters.deferred.load(Ordering::Relaxed);
        // Another process may have flushed them.
        match count > 0 && one_flush.owes_a_flush() {
            true => count,
            false => 0,
        }
    }

    /// Whether the next write can go on without a flush of what this process has deferred before.
    /// `None` if it has deferred nothing, or others have written since: then the newest commit has
    /// to be flushed. The caller holds the writer lock between processes.
    pub(super) fn go_on_deferring(&self, one_flush: &OneFlush, newest: u64) -> Option<Result<()>> {
        let mut deferred = unpoisoned(one_flush.deferred.lock());
        let mark = one_flush.pages.mark();
        match &deferred.state {
            Deferral::First(commit) if *commit == newest && mark.flushed + 1 == newest => {
                let is_plain = mark.failed == 0 && one_flush.pages.anchors() == [0; 2];
                match is_plain && self.handle.pin(newest) {
                    true => Some(self.add_anchors(one_flush, &mut deferred, newest)),
                    false => None,
                }
            }
            Deferral::Anchored(own) if is_in_force(one_flush, own, newest) => Some(Ok(())),
            _ => None,
        }
    }

    /// Flushes the newest commit, which has a pin, together with its anchors.
    fn add_anchors(
        &self,
        one_flush: &OneFlush,
        deferred: &mut Deferred,
        newest: u64,
    ) -> Result<()> {
        let flushed = self
            .anchor_of(newest)
            .and_then(|anchor| {
                self.write_anchor(0, Some(&anchor))?;
                self.write_anchor(1, Some(&anchor))
            })
            .and_then(|()| self.flush());
        if let Err(error) = flushed {
            self.note_failed(one_flush, newest);
            self.forget_deferred(one_flush, deferred);
            return Err(self.count_failure(one_flush, error));
        }
        deferred.state = Deferral::Anchored(Anchored {
            newest,
            anchors: [newest; 2],
            older: 0,
        });
        one_flush.is_anchored.store(true, Ordering::Relaxed);
        self.note_anchored(deferred, newest);
        Ok(())
    }

    /// Gives the newest commit, which was flushed, its anchors before one is deferred: the second
    /// deferred commit needs no flush then. If that fails, it has that flush, as without this. The
    /// caller holds the writer lock between processes.
    pub(super) fn get_ready(&self, one_flush: &OneFlush) {
        let newest = one_flush.newest_commit();
        let mut deferred = unpoisoned(one_flush.deferred.lock());
        let is_plain = matches!(deferred.state, Deferral::None)
            && one_flush.pages.mark() == FlushMark::of(newest)
            && one_flush.pages.anchors() == [0; 2];
        if is_plain && self.handle.pin(newest) {
            let _ = self.add_anchors(one_flush, &mut deferred, newest);
        }
    }

    /// Leaves a commit that was just written unflushed, or flushes it if a bound is reached. The
    /// caller holds the writer lock between processes.
    #[cold]
    pub(super) fn defer(&self, commit: u64) -> Result<()> {
        let Some(one_flush) = &self.one_flush else {
            return Ok(());
        };
        let mut deferred = unpoisoned(one_flush.deferred.lock());
        let goes_on = match &mut deferred.state {
            Deferral::Anchored(own) if is_in_force(one_flush, own, commit - 1) => {
                own.newest = commit;
                true
            }
            _ => {
                self.forget_deferred(one_flush, &mut deferred);
                false
            }
        };
        let unflushed = &mut deferred.unflushed;
        unflushed.last = Instant::now();
        if unflushed.count == 0 {
            unflushed.first = unflushed.last;
        }
        unflushed.count += 1;
        let reached = unflushed.count >= self.config.deferred_commits;
        if reached
            || one_flush.undone_before(commit) > 0
            || !self.watch_deferred(one_flush, unflushed)
        {
            unflushed.count -= u64::from(!goes_on);
            drop(deferred);
            return self.flush_commit(commit);
        }
        self.counters
            .deferred
            .store(unflushed.count, Ordering::Relaxed);
        one_flush.last_deferred.store(commit, Ordering::Relaxed);
        if !goes_on {
            deferred.state = Deferral::First(commit);
        }
        Ok(())
    }

    /// Flushes what this process has deferred, where the write under way needs that. The caller
    /// holds the writer lock between processes.
    #[cold]
    pub(super) fn flush_what_is_deferred(&self) -> Result<()> {
        match &self.one_flush {
            Some(one_flush) if self.counters.deferred.load(Ordering::Relaxed) > 0 => {
                let newest = one_flush.newest_commit();
                let flushed = self.flush_anchored(one_flush, newest, false);
                flushed.unwrap_or(Ok(()))
            }
            _ => Ok(()),
        }
    }

    /// Flushes the newest commit and what was deferred before it; `None` if this process has no
    /// anchors in force. If that fails, the commit is undone where it was just written.
    #[cold]
    pub(super) fn flush_anchored(
        &self,
        one_flush: &OneFlush,
        newest: u64,
        just_written: bool,
    ) -> Option<Result<()>> {
        let mut deferred = unpoisoned(one_flush.deferred.lock());
        let before = newest - u64::from(just_written);
        let Deferral::Anchored(own) = &mut deferred.state else {
            return None;
        };
        // A deferred commit that has reached a bound has been entered already.
        if !is_in_force(one_flush, own, before) && !is_in_force(one_flush, own, newest) {
            self.forget_deferred(one_flush, &mut deferred);
            return None;
        }
        own.newest = newest;
        let place = own.older;
        let is_new = own.flushed() != newest;
        let flushed = match is_new {
            true => self
                .anchor_of(newest)
                .and_then(|anchor| self.write_anchor(place, Some(&anchor))),
            false => Ok(()),
        };
        if let Err(error) = flushed.and_then(|()| self.flush()) {
            // The commit before is not known to be on the disk either: what comes next verifies it.
            self.note_failed(one_flush, newest);
            self.restore_anchor(place);
            if just_written {
                self.undo_deferred(newest);
            }
            self.forget_deferred(one_flush, &mut deferred);
            return Some(Err(self.count_failure(one_flush, error)));
        }
        if is_new {
            own.anchors[place] = newest;
            own.older = 1 - place;
        }
        let kept = own.anchors[own.older];
        one_flush.failures.store(0, Ordering::Relaxed);
        if is_new && !self.handle.pin(newest) {
            // The next commit would have nothing to be undone to.
            self.forget_deferred(one_flush, &mut deferred);
            if self.remove_anchors().is_ok() {
                self.note_flushed(newest);
                self.counters.deferred.store(0, Ordering::Relaxed);
            }
            return Some(Ok(()));
        }
        self.handle.unpin_before(kept);
        self.note_anchored(&mut deferred, newest);
        Some(Ok(()))
    }

    /// Notes that the newest commit, which has an anchor, is on the disk.
    fn note_anchored(&self, deferred: &mut Deferred, newest: u64) {
        deferred.unflushed.count = 0;
        self.counters.deferred.store(0, Ordering::Relaxed);
        let mark = FlushMark {
            deferring: true,
            process: self.process_lock.own_number().number(),
            ..FlushMark::of(newest)
        };
        // Without it, the next write of whatever process begins with a flush.
        let _ = write_mark(&self.file, self.page_size, mark);
    }

    /// Gives this process's deferral up: the next writer, of whatever process, flushes the newest
    /// commit before it writes. Until then the statistics count it.
    pub(super) fn forget_deferred(&self, one_flush: &OneFlush, deferred: &mut Deferred) {
        deferred.state = Deferral::None;
        deferred.unflushed.count = 0;
        one_flush.is_anchored.store(false, Ordering::Relaxed);
        self.handle.unpin_before(u64::MAX);
    }

    /// Forgets what this process has deferred, where the caller settles it or has settled it.
    pub(super) fn end_deferral(&self, one_flush: &OneFlush) {
        let mut deferred = unpoisoned(one_flush.deferred.lock());
        self.forget_deferred(one_flush, &mut deferred);
    }

    /// Removes the anchors, on the disk as well. The newest commit was flushed.
    pub(super) fn remove_anchors(&self) -> io::Result<()> {
        let anchors = Anchor::read_both(&self.file, self.page_size)?;
        let write = |anchors: [Option<&Anchor>; 2]| {
            (0..2).try_for_each(|place| self.write_anchor(place, anchors[place]))
        };
        let removed = write([None; 2]).and_then(|()| self.flush());
        if removed.is_err() && write(anchors.each_ref().map(Option::as_ref)).is_err() {
            // The disk may have them or not, and no process can tell.
            self.writes_stopped.store(true, Ordering::Relaxed);
        }
        removed
    }

    /// The anchor of the newest commit.
    fn anchor_of(&self, commit: u64) -> io::Result<Anchor> {
        let mut page = [0; META_LEN];
        let home = Meta::home(commit) as u64;
        self.file.read_exact_at(&mut page, home * self.page_size)?;
        let anchor = Anchor::of_page(&page, self.config.deferred_commits)
            .filter(|anchor| anchor.commit() == commit);
        anchor.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Writes an anchor, or zeros over one, without a flush.
    fn write_anchor(&self, place: usize, anchor: Option<&Anchor>) -> io::Result<()> {
        let bytes = anchor.map_or([0; anchor::LEN], Anchor::encode);
        self.file
            .write_all_at(&bytes, anchor::offset(place, self.page_size))
    }

    /// Puts the anchor of the last commit that was flushed in both places.
    fn restore_anchor(&self, place: usize) {
        let restored = Anchor::read_both(&self.file, self.page_size)
            .and_then(|anchors| self.write_anchor(place, anchors[1 - place].as_ref()));
        if restored.is_err() {
            self.writes_stopped.store(true, Ordering::Relaxed);
        }
    }
}

/// Whether this process's anchors are those of the file, no flush has failed, and this is the
/// newest commit that it knows.
fn is_in_force(one_flush: &OneFlush, own: &Anchored, newest: u64) -> bool {
    let mark = one_flush.pages.mark();
    own.newest == newest
        && one_flush.pages.anchors() == own.anchors
        && mark.deferring
        && mark.failed == 0
        && mark.flushed == own.flushed()
}
