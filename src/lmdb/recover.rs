//! Opening a store whose newest commit a power cut has left half written.
//!
//! The commit before is in force then. LMDB, which believes the meta page with the highest number,
//! must not see the other, so this comes before it opens the file.

use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::file::process_lock::FileLock;
use crate::lmdb::one_flush::mark_flushed;
use crate::sync::deadline::Deadline;
use crate::verify::head::Head;

/// Undoes the commit that was not finished, on the disk as well; what showed that it was not.
/// `None` if another process has done so meanwhile.
///
/// Until then no process gets past this, so none uses that commit.
pub(super) fn undo_unfinished(
    file: &FileLock,
    path: &Path,
    read_only: bool,
    deadline: &Deadline,
    classify: impl Fn() -> Result<Head>,
) -> Result<Option<String>> {
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
        .and_then(|()| file.sync_data());
    undone.map_err(|e| Error::io("undoing a commit that was not finished", path, e))?;
    // No read has seen that commit. Without the note, the next write makes sure of that once more.
    let _ = mark_flushed(file);
    let violation = found.violation;
    Ok(Some(format!(
        "its newest commit was half written: {violation}"
    )))
}
