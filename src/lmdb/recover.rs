//! Opening a store whose newest commit a power cut has left half written.
//!
//! The commit before is in force then. LMDB, which believes the meta page with the highest number,
//! must not see the other, so this comes before it opens the file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::file::process_lock::FileLock;
use crate::sync::deadline::Deadline;
use crate::verify::anchor;
use crate::verify::flush_mark::FlushMark;
use crate::verify::head::Head;
use crate::verify::{Metas, Undo};

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
/// Until then no process gets past this, so none uses that commit.
pub(super) fn undo_unfinished(
    file: &FileLock,
    path: &Path,
    read_only: bool,
    deadline: &Deadline,
    classify: impl Fn() -> Result<Head>,
) -> Result<Option<Undone>> {
    if read_only {
        // A store is then read in a copy without it, and a backup refused.
        return Err(Error::Unfinished { path: path.into() });
    }
    let _lock = file.lock_writer(path, deadline)?;
    let head = classify()?;
    let Some(found) = head.unfinished else {
        return Ok(None);
    };
    let file = file.file();
    let metas = put_in_force(file, &found.undo, head.page_size)
        .map_err(|e| Error::io("undoing a commit that was not finished", path, e))?;
    let what = match head.is_deferred {
        true => "what was committed after the last flush",
        false => "its newest commit",
    };
    let why = found.violation;
    Ok(Some(Undone {
        why: why.map(|violation| format!("{what} was half written: {violation}")),
        mark: metas.flush_mark(),
    }))
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
