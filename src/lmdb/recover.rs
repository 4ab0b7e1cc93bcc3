//! Opening a store that a power cut has left with its newest commit half written, or unflushed.
//!
//! The commit before is in force then. LMDB, which believes the meta page with the highest number,
//! must not see the other, so this comes before it opens the file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::file::fs::read_ahead;
use crate::file::process_lock::FileLock;
use crate::file::process_number::ProcessNumber;
use crate::lmdb::config::Config;
use crate::lmdb::env::Env;
use crate::lmdb::one_flush::{write_mark, OneFlush};
use crate::sync::deadline::Deadline;
use crate::sync::primitives::unpoisoned;
use crate::verify::anchor;
use crate::verify::anchored::lost;
use crate::verify::flush_mark::FlushMark;
use crate::verify::head::Head;
use crate::verify::{Level, Metas, Report, Undo};

/// A commit that was not finished, and was undone.
pub(super) struct Undone {
    /// What showed that it was not; `None` if it has left nothing but places in the meta pages.
    pub why: Option<String>,
    /// The mark that says so. No read has seen that commit, so nothing is to be waited for, or to
    /// be verified, before the next one is written.
    pub mark: FlushMark,
}

/// Undoes the commit that was not finished, on the disk as well. `None` if another process has done
/// so meanwhile.
///
/// Until then no process gets past this, so after a power cut none uses that commit. If one does,
/// or if the commit before is not sound either, the file stays as it is.
pub(super) fn undo_unfinished(
    file: &FileLock,
    path: &Path,
    config: &Config,
    deadline: &Deadline,
    classify: impl Fn() -> Result<Head>,
) -> Result<Option<Undone>> {
    if config.read_only {
        // A store is then read in a copy without it, and a backup refused.
        return Err(Error::Unfinished { path: path.into() });
    }
    let _lock = file.lock_writer(path, deadline)?;
    let head = classify()?;
    let Some(found) = head.unfinished else {
        return Ok(None);
    };
    if found.is_shown {
        refuse_in_use(file, path)?;
    }
    let file = file.file();
    let what = match head.is_deferred {
        true => "what was committed after the last flush",
        false => "its newest commit",
    };
    if let Some(level) = config.check {
        if level != Level::Quick {
            read_ahead(file, (head.last_page + 1) * head.page_size);
        }
        let report = Report::of_bytes(file, level);
        let report = report.map_err(|e| Error::io("reading the file", path, e))?;
        if !report.is_sound() {
            let what = format!("{report}; and {what} was half written");
            return Err(Error::corrupt(what).at(path));
        }
    }
    let metas = put_in_force(file, &found.undo, head.page_size)
        .map_err(|e| Error::io("undoing a commit that was not finished", path, e))?;
    let why = found.violation;
    Ok(Some(Undone {
        why: why.map(|violation| format!("{what} was half written: {violation}")),
        mark: metas.flush_mark(),
    }))
}

/// Refuses to undo the newest commit of a store that another process has open. No power was cut
/// since that process saw it whole: a failing disk has lost pages of it. The process may have
/// acknowledged it and go on after it, or read it: it knows its own last commit by number alone,
/// and the next commit gets the number and the pages of one that is undone.
fn refuse_in_use(file: &FileLock, path: &Path) -> Result<()> {
    let found = file.processes_with_lmdb();
    let found = found.map_err(|e| Error::io("looking for processes that use it", path, e))?;
    match found.is_empty() {
        true => Ok(()),
        false => Err(Error::AlreadyOpen {
            path: path.into(),
            why: "another process has the store open, and the disk has lost pages of its newest \
                  commit, which can only be undone once no process uses it; close it there first, \
                  and look at the disk",
        }),
    }
}

/// Puts the commit in force whose meta page these bytes make the newest, on the disk as well, and
/// removes anchors then. Cut in the middle, it leaves what it has found, or what it makes of that.
fn put_in_force(file: &File, undo: &[Undo], page_size: u64) -> io::Result<Metas> {
    undo.iter()
        .try_for_each(|undo| file.write_all_at(&undo.bytes, undo.offset))?;
    file.sync_data()?;
    if !Metas::read(file)?.anchors().is_empty() {
        for place in 0..2 {
            file.write_all_at(&[0; anchor::LEN], anchor::offset(place, page_size))?;
        }
        file.sync_data()?;
    }
    Metas::read(file)
}

impl Env {
    /// Flushes the newest commit of a store that was just opened and verified, if it is not known
    /// to be on the disk and nobody writes. If the flush fails, the next write tries it again.
    pub fn settle_at_open(&self) -> Result<()> {
        let Some(one_flush) = &self.one_flush else {
            return Ok(());
        };
        let is_flushed = || {
            let mark = one_flush.pages.mark();
            mark.flushed >= one_flush.newest_commit()
                && !mark.deferring
                && one_flush.pages.anchors() == [0; 2]
        };
        if is_flushed() {
            return Ok(());
        }
        let now = Deadline::over(Duration::ZERO);
        let _lock = match self.process_lock.lock_writer(&self.path, &now) {
            Err(Error::Timeout { .. }) => return Ok(()),
            lock => lock?,
        };
        if is_flushed() {
            return Ok(());
        }
        let newest = one_flush.newest_commit();
        let metas = Metas::read(&self.file)
            .map_err(|e| Error::io("reading the meta pages", &self.path, e))?;
        let anchors = metas.anchors();
        let mark = metas.flush_mark();
        if !anchors.is_empty() && mark.failed == 0 && !self.is_open_in(mark.process)? {
            let skipping = lost(&metas, &anchors, newest);
            if self.flush().is_ok() {
                // If this fails, the next write does the rest.
                let _ = self.settle_what_was_cut(one_flush, skipping);
            } else if mark.flushed < newest {
                self.note_failed(one_flush, newest);
            }
            return Ok(());
        }
        match self.settle(&self.lock_wait(), || ()) {
            Err(error @ Error::Corrupt { .. }) => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether the process of that number, which has deferred, has the store open still. Then no
    /// power was cut since.
    fn is_open_in(&self, process: i64) -> Result<bool> {
        let found = self.process_lock.processes_with_lmdb();
        let found =
            found.map_err(|e| Error::io("looking for the process that defers", &self.path, e))?;
        Ok(found.contains(&ProcessNumber::from_number(process)))
    }

    /// Removes the anchors, where a power cut may have left pages of commits that were deferred,
    /// without their meta pages. The newest commit was flushed, and this mark has the next one
    /// leave out numbers. It is on the disk before the anchors are gone, which show that it is
    /// needed.
    fn settle_what_was_cut(&self, one_flush: &OneFlush, skipping: FlushMark) -> io::Result<()> {
        write_mark(&self.file, self.page_size, skipping)?;
        self.flush()?;
        self.remove_anchors()?;
        one_flush.undone.store(skipping.failed, Ordering::Relaxed);
        *unpoisoned(one_flush.settled.lock()) = skipping;
        Ok(())
    }
}
