//! Copies of a store: made while it is in use, and put back.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::file::access::Access;
use crate::file::destination::{BackupLink, Destination};
use crate::file::fs::{open_unused, refuse_used};
use crate::file::temp_file::{Purpose, TempFile};
use crate::lmdb::config::{Config, Sharing};
use crate::lmdb::copy::{copy_compacted, copy_pages};
use crate::lmdb::env::Env;
use crate::store::options::{OpenOptions, Verify};
use crate::store::verify::verify;
use crate::store::PoolMetadata;
use crate::sync::deadline::Deadline;
use crate::verify::head;

/// What a backup is made with.
#[derive(Clone, Debug)]
pub struct BackupOptions {
    compact: bool,
    overwrite: bool,
    verify: bool,
}

impl Default for BackupOptions {
    fn default() -> BackupOptions {
        BackupOptions {
            compact: false,
            overwrite: false,
            verify: true,
        }
    }
}

impl BackupOptions {
    /// The default options.
    pub fn new() -> BackupOptions {
        BackupOptions::default()
    }

    /// Leave free pages out: a smaller file, and more work.
    pub fn compact(&mut self, compact: bool) -> &mut BackupOptions {
        self.compact = compact;
        self
    }

    /// Replace the store that is at the path, if there is one that no process has open. Without it,
    /// a path at which there is a file is refused.
    pub fn overwrite(&mut self, overwrite: bool) -> &mut BackupOptions {
        self.overwrite = overwrite;
        self
    }

    /// Check the copy as a whole before it gets its name, as is the default. Without it, a store
    /// that does not pass that check can be backed up too.
    pub fn verify(&mut self, verify: bool) -> &mut BackupOptions {
        self.verify = verify;
        self
    }
}

/// What [`OpenOptions::restore`] has put in place, and how old it is.
///
/// The pool does not go back with its store. If the content is older than the pool, ids that are
/// free in it, and all above [`last_id`](Self::last_id), may belong to data of the pool by now.
/// [`PoolMetadata::reconcile`] finds those in a list of the pool's devices. Without such a list,
/// [`PoolMetadata::mark_ids_faulty_up_to`] the highest id that may have been given out keeps all of
/// them out of use: [`Replaced::last_id`], or more if that store was not the newest either.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// Where the file that was there before is kept; `None` if there was none.
    pub kept: Option<PathBuf>,
    /// How many commits the content has seen, as in [`Stats::commits`](crate::Stats::commits).
    /// A store that [`salvage`](OpenOptions::salvage) has made counts from the beginning.
    pub commits: u64,
    /// The highest device id that its store had ever given out, 0 for none.
    pub last_id: u32,
    /// The store that was there before; `None` if there was none, or its header cannot be read.
    pub replaced: Option<Replaced>,
}

/// The store that a restore has replaced, as its header describes it. If the backup is one of this
/// store, the difference in [`commits`](Self::commits) says how much is missing in the backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replaced {
    /// How many commits it has seen.
    pub commits: u64,
    /// The highest device id that it had ever given out, 0 for none.
    pub last_id: u32,
}

/// What is added to the name of a store that a backup has replaced.
const REPLACED: &str = ".before-restore";

impl PoolMetadata {
    /// Writes a copy of the store, as of this moment, to a new file at `path`: a store like this
    /// one, with its owner and mode as far as this process may set them, or with those of the file
    /// that it overwrites.
    ///
    /// The store stays in use meanwhile: a backup blocks nothing but closing the store and growing
    /// its map, as a walk does, and the space of rows that are changed meanwhile is not used again
    /// until its end. The copy is written to `<path>.partial-` and a random number, checked,
    /// flushed, and only then renamed: whatever happens, there is nothing or a whole store at
    /// `path`. A temporary file that a killed process has left is removed by the next backup to the
    /// same path.
    ///
    /// # Errors
    /// [`Error::FileExists`]; [`Error::AlreadyOpen`] if the store to be overwritten is in use, and
    /// [`Error::NotAStore`], [`Error::BboltFile`], [`Error::ForeignLmdb`] if it is none;
    /// [`Error::Corrupt`] if the copy, and so this store, does not pass the check;
    /// [`Error::InvalidPath`], [`Error::NoSuchFile`], [`Error::NotRegularFile`],
    /// [`Error::Permission`], [`Error::DiskFull`], [`Error::Io`], which name the file and carry the
    /// system's error; else those of [`get_device`](Self::get_device).
    pub fn backup(&self, path: impl AsRef<Path>, options: &BackupOptions) -> Result<()> {
        let env = &self.pool.env;
        env.check_usable()?;
        let deadline = env.deadline();
        let destination = if options.overwrite {
            Destination::store(path.as_ref(), &deadline)?
        } else {
            Destination::empty(path.as_ref(), &deadline)?
        };
        let temp = TempFile::create(destination.path(), Purpose::Copy, &deadline)?;
        if options.compact {
            copy_compacted(env, &temp, &deadline)?;
        } else {
            copy_pages(env, &temp, &deadline)?;
        }
        if options.verify {
            verify_copy(&temp, env.path())?;
        }
        temp.put_in_place(&destination, &env.access()?)
    }

    /// [`OpenOptions::restore`] with the default options.
    ///
    /// # Errors
    /// Those of [`OpenOptions::restore`].
    pub fn restore(backup: impl AsRef<Path>, path: impl AsRef<Path>) -> Result<Restored> {
        OpenOptions::new().restore(backup, path)
    }
}

impl OpenOptions {
    /// Puts a copy of the backup at `path`, where a store, sound or not, may be that nobody has
    /// open. That one is kept as `<path>.before-restore`, with a number behind it where that name
    /// is taken.
    ///
    /// The backup is copied to `<path>.restoring-` and a random number, and checked there as a
    /// whole, before anything else is touched. Killed at any moment, this leaves the store as it
    /// was or the backup's in its place, and the backup as it is always. The new file has the owner
    /// and permissions of the one before it; else those of the backup, as far as this process may
    /// set them. Of the options, only the lock wait counts.
    ///
    /// The pool does not go back with its store, which then assigns ids that devices made since
    /// the backup have. Compare the two before the store is used: [`PoolMetadata::reconcile`].
    /// [`Restored`] says how old the backup is and which ids are in doubt.
    ///
    /// # Errors
    /// [`Error::AlreadyOpen`] if the store, or the backup, is open in this or another process;
    /// [`Error::Unfinished`] if its newest commit is half written; [`Error::Corrupt`] if the backup
    /// is damaged; [`Error::NotAStore`], [`Error::BboltFile`],
    /// [`Error::ForeignLmdb`], [`Error::NotRegularFile`] if one of the files is of another
    /// kind, [`Error::NewerFormat`] if the backup is; [`Error::FileExists`] if a file comes to
    /// be at `path` meanwhile; and those of the file system. An [`Error::Io`] in flushing the
    /// directory says that the backup is in place, and that a power cut could undo that.
    pub fn restore(&self, backup: impl AsRef<Path>, path: impl AsRef<Path>) -> Result<Restored> {
        let deadline = Deadline::after(self.config()?.lock_wait);
        let (source, backup) = open_unused(backup.as_ref(), &deadline)?;
        head::identify(&source, &backup, &deadline)?;
        let destination = Destination::store(path.as_ref(), &deadline)?;
        destination.refuse_source(&source, &backup)?;
        Purpose::Restore.refuse_leftover(&backup, &destination)?;
        let temp = TempFile::create(destination.path(), Purpose::Restore, &deadline)?;
        temp.copy_file(&source, &backup)?;
        // A process that opened it meanwhile may have written to it.
        refuse_used(&source, &backup)?;
        verify_copy(&temp, &backup)?;
        let head = head::identify(temp.file(), &backup, &deadline)?;
        let metadata = source.metadata();
        let access = Access::of(&metadata.map_err(|e| Error::io("looking at", &backup, e))?);
        let link = destination.link_old(REPLACED)?;
        let placed = temp.put_in_place(&destination, &access);
        // If this link is the only name that the old file has left, it must stay.
        let kept = match (link, placed) {
            (link, Ok(())) => link.map(BackupLink::persist),
            (Some(link), Err(error)) if !destination.is_in_place() => {
                link.persist();
                return Err(error);
            }
            (_, Err(error)) => return Err(error),
        };
        Ok(Restored {
            kept,
            commits: head.commits,
            last_id: head.last_id,
            replaced: destination.old_head().map(|old| Replaced {
                commits: old.commits,
                last_id: old.last_id,
            }),
        })
    }
}

/// Checks a copy as a whole; the error names the file that it is a copy of.
pub(super) fn verify_copy(temp: &TempFile, original: &Path) -> Result<()> {
    let verified =
        Env::open(temp.path(), copy_config()).and_then(|env| verify(&Arc::new(env), Verify::Full));
    verified.map_err(|e| e.of(original))
}

/// How a file is read that this thread alone uses.
pub(super) fn copy_config() -> Config {
    Config {
        read_only: true,
        map_size: 0,
        max_readers: OpenOptions::MIN_MAX_READERS,
        lock_wait: Duration::ZERO,
        max_pinned_growth: 0,
        deferred_commits: 1,
        deferred_age: Duration::ZERO,
        sharing: Sharing::Temporary,
        check: None,
        damaged_header: false,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::device::DeviceInfo;

    /// LMDB writes from the descriptor's position on, and an attempt that failed has moved it.
    #[test]
    fn compacted_copy_starts_over_after_a_failed_attempt() {
        let directory = tempfile::tempdir().unwrap();
        let store = PoolMetadata::open(directory.path().join("pool.db")).unwrap();
        store.add_device(&mut DeviceInfo::new("a")).unwrap();
        let env = &store.pool.env;
        let deadline = env.deadline();
        let copy = directory.path().join("copy.db");
        let temp = TempFile::create(&copy, Purpose::Copy, &deadline).unwrap();
        temp.file().write_all(&[0xaa; 10_000]).unwrap();
        copy_compacted(env, &temp, &deadline).unwrap();
        verify_copy(&temp, env.path()).unwrap();
    }
}
