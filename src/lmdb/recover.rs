//! Opening a store whose newest commit a power cut has left half written.
//!
//! The commit before is in force then. LMDB, which believes the meta page with the highest number,
//! must not see the other, so this comes before it opens the file.

use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::file::process_lock::FileLock;
use crate::sync::deadline::Deadline;
use crate::verify::flush_mark::FlushMark;
use crate::verify::head::Head;
use crate::verify::Metas;

/// A commit that was not finished, and was undone.
pub(super) struct Undone {
    /// What showed that it was not.
    pub why: String,
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
    let Some(found) = classify()?.unfinished else {
        return Ok(None);
    };
    let file = file.file();
    let undone = file
        .write_all_at(&found.undo.bytes, found.undo.offset)
        .and_then(|()| file.sync_data())
        .and_then(|()| Metas::read(file));
    let metas = undone.map_err(|e| Error::io("undoing a commit that was not finished", path, e))?;
    let violation = found.violation;
    Ok(Some(Undone {
        why: format!("its newest commit was half written: {violation}"),
        mark: metas.flush_mark(),
    }))
}
