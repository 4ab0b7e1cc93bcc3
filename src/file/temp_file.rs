//! A file in the making: written under another name beside its own, and given that once it is on
//! disk.
//!
//! Killed at any moment, its maker leaves a draft behind at most, which the next one for the same
//! place takes over. While a draft is made, and until its new name is durable, its maker has the
//! file alone: who opens it as a store waits.

use std::fs::{File, Permissions};
use std::io::{self, Seek};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::file::destination::Target;
use crate::file::fs::{is_at, put_in_place, refuse_others, sync_directory};
use crate::file::lmdb_lock_file;
use crate::file::path::{lock_path, refuse_irregular, with_suffix};
use crate::file::process_lock::FileLock;
use crate::sync::deadline::Deadline;

/// How much is read and written at a time.
const PIECE: usize = 1 << 20;

/// A draft, removed when it is dropped without having been put in place.
pub(crate) struct Draft {
    path: PathBuf,
    file: File,
    /// Another descriptor's locks would end with that one.
    _alone: FileLock,
    placed: bool,
}

impl Draft {
    /// Makes an empty draft of what is to be at `target`, under its name with `suffix`, with mode
    /// 0600.
    pub fn begin(target: &Path, suffix: &str, deadline: &Deadline) -> Result<Draft> {
        let path = with_suffix(target, suffix);
        let fail = |e| Error::io("making a draft", &path, e);
        let draft = deadline.poll("another maker of the same file", || {
            let file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK)
                .open(&path)
                .map_err(fail)?;
            let opened = file.metadata().map_err(fail)?;
            refuse_irregular(&path, &opened)?;
            let alone = FileLock::new(file.try_clone().map_err(fail)?);
            // Whoever had it before may have put this very file in place.
            if !alone.claim_alone().map_err(fail)? || !is_at(&path, &opened).map_err(fail)? {
                return Ok(None);
            }
            refuse_store(&path)?;
            refuse_others(&path, &file)?;
            Ok(Some(Draft {
                path: path.clone(),
                file,
                _alone: alone,
                placed: false,
            }))
        })?;
        // One that was left behind may have been made in another way.
        draft.begin_anew().map_err(fail)?;
        draft
            .file
            .set_permissions(Permissions::from_mode(0o600))
            .map_err(fail)?;
        Ok(draft)
    }

    /// Empties the file, so that the next write is to its beginning.
    pub fn begin_anew(&self) -> io::Result<()> {
        self.file.set_len(0)?;
        (&self.file).rewind()
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Flushes what is in it.
    pub fn flush(&self) -> Result<()> {
        self.file
            .sync_all()
            .map_err(|e| Error::io("flushing", &self.path, e))
    }

    /// Gives the draft, which has been flushed, its own name, in the place of what `target` has
    /// claimed.
    pub fn put_in_place(mut self, target: &Target) -> Result<()> {
        let path = target.path();
        if target.is_vacant() {
            put_in_place(&self.path, path).map_err(|e| match e.kind() {
                io::ErrorKind::AlreadyExists => target.occupied(),
                _ => Error::io("putting the file in place", path, e),
            })?;
        } else {
            std::fs::rename(&self.path, path)
                .map_err(|e| Error::io("putting the file in place", path, e))?;
        }
        self.placed = true;
        // The lock file that is there was another store's. Nobody can open this one yet.
        lmdb_lock_file::discard(path)?;
        sync_directory(path)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.placed {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Refuses to take over a store that happens to be called like a draft: drafts have no lock file.
fn refuse_store(draft: &Path) -> Result<()> {
    if lock_path(draft).exists() {
        return Err(Error::InvalidPath {
            path: draft.into(),
            why: "a store is there, under the name of a draft; move it, or give another path",
        });
    }
    Ok(())
}

/// Copies a whole file that nobody changes.
pub(crate) fn copy_file(from: &File, path: &Path, draft: &Draft) -> Result<()> {
    let len = from
        .metadata()
        .map_err(|e| Error::io("reading the file's size", path, e))?
        .len();
    copy_range(from, path, 0..len, draft)
}

pub(crate) fn copy_range(
    from: &File,
    path: &Path,
    range: std::ops::Range<u64>,
    draft: &Draft,
) -> Result<()> {
    let mut piece = vec![0; PIECE];
    let mut at = range.start;
    while at < range.end {
        let wanted = (range.end - at).min(PIECE as u64) as usize;
        let got = match from.read_at(&mut piece[..wanted], at) {
            Ok(0) => {
                return Err(Error::corrupt(format!(
                    "the file ends at byte {at}, and should have {}",
                    range.end
                ))
                .at(path))
            }
            Ok(got) => got,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Error::io("reading the file", path, e)),
        };
        write(draft, &piece[..got], at)?;
        at += got as u64;
    }
    Ok(())
}

pub(crate) fn write(draft: &Draft, bytes: &[u8], at: u64) -> Result<()> {
    draft
        .file()
        .write_all_at(bytes, at)
        .map_err(|e| fail(draft, e))
}

pub(crate) fn fail(draft: &Draft, e: io::Error) -> Error {
    Error::io("writing the copy", draft.path(), e)
}
