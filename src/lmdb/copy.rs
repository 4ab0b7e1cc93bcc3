//! Copies of a store in use, as of one commit.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::file::copying::write_metas;
use crate::file::temp_file::TempFile;
use crate::lmdb::env::Env;
use crate::lmdb::one_flush::mark_flushed;
use crate::lmdb::raw::{into_error, LmdbError, NotBegun};
use crate::lmdb::snapshot::Snapshot;
use crate::sync::deadline::Deadline;
use crate::verify::bytes::u64_at;
use crate::verify::meta::{LAST_PAGE_AT, TXNID_AT};

/// Copies a store in use to the temporary file, page by page, as of one commit.
///
/// LMDB's own copy holds its writer lock, which cannot be waited for with a limit, while it writes
/// the meta pages, and reads through the map, where a failing disk is a signal. This takes no lock
/// that a writer wants, and a read that fails is an error. The pages of the commit stay as they are
/// while the snapshot lasts.
pub(crate) fn copy_pages(env: &Arc<Env>, temp: &TempFile, deadline: &Deadline) -> Result<()> {
    let (snapshot, meta) =
        deadline.poll("a moment without a commit, to read the meta page", || {
            let snapshot = Snapshot::open(env)?;
            Ok(snapshot.meta_page()?.map(|meta| (snapshot, meta)))
        })?;
    let page_size = env.page_size;
    let end = u64_at(&meta, LAST_PAGE_AT)
        .checked_add(1)
        .and_then(|pages| pages.checked_mul(page_size))
        .ok_or_else(|| Error::corrupt("its newest meta page cannot be").at(env.path()))?;
    temp.copy_range(&env.file, env.path(), 2 * page_size..end)?;
    let commit = snapshot.commit();
    write_metas(meta, commit, page_size, |bytes, at| {
        temp.write_at(bytes, at)
    })?;
    mark_flushed(temp.file()).map_err(|e| temp.write_error(e))
}

/// How often a copy starts over after finding pages that are neither used nor free.
const RECOUNTS: u32 = 5;

/// Copies a store in use to the temporary file, as of one commit, without the pages that are free.
///
/// LMDB counts pages in a snapshot of its own, whose roots it takes from the meta page without a
/// lock (mdb.c, `mdb_txn_renew0`): if that page is written over in the middle, they are of
/// different commits, and the count comes out wrong. Where it does so each time it is the file's.
pub(crate) fn copy_compacted(env: &Arc<Env>, temp: &TempFile, deadline: &Deadline) -> Result<()> {
    let mut recounts = 0;
    loop {
        // Keeps the environment open and its map in place; LMDB makes a snapshot of its own.
        let snapshot = Snapshot::open(env)?;
        temp.truncate().map_err(|e| temp.write_error(e))?;
        let copied = snapshot.txn().environment().copy_compacted(temp.file());
        drop(snapshot);
        let error = match copied {
            Ok(()) => return Ok(()),
            Err(LmdbError::Incompatible) if recounts < RECOUNTS => {
                recounts += 1;
                continue;
            }
            Err(error) => error,
        };
        match NotBegun::from(error) {
            NotBegun::Resized => env.adopt_map_size(deadline)?,
            NotBegun::SlotsFull => env.wait_in_queue(deadline)?,
            NotBegun::Poisoned => env.reopen(deadline)?,
            _ => return Err(copy_error(env, temp, error)),
        }
    }
}

/// Of LMDB's copy, the system's errors are those of writing: it reads through the map.
fn copy_error(env: &Env, temp: &TempFile, error: LmdbError) -> Error {
    match error {
        LmdbError::Incompatible => Error::corrupt(
            "compacting it found pages that are neither used nor free; back it up without \
             compacting",
        )
        .at(env.path()),
        LmdbError::Other(errno) if errno > 0 && errno != libc::ENOMEM => {
            into_error("writing the copy", temp.path(), error)
        }
        error => env.lmdb_error("beginning a read", error),
    }
}

impl Snapshot {
    /// The meta page of this snapshot's commit; `None` if it may be under way to that of a later
    /// one.
    fn meta_page(&self) -> Result<Option<Vec<u8>>> {
        let env = self.env();
        let commit = self.commit();
        let mut page = vec![0; env.page_size as usize];
        // LMDB writes each commit's meta page over that of the one before the last.
        env.file
            .read_exact_at(&mut page, (commit & 1) * env.page_size)
            .map_err(|e| Error::io("reading the meta page", env.path(), e))?;
        let info = self.txn().environment().info();
        let newest = info
            .map_err(|e| env.lmdb_error("reading the environment's state", e))?
            .newest_commit;
        // The one after next is not begun before the next one's page is written.
        let unchanged = newest == commit && u64_at(&page, TXNID_AT) == commit;
        Ok(unchanged.then_some(page))
    }
}
