//! Temporary files: what is to be at a destination is written under another name beside it, flushed
//! to disk, and only then renamed. So whatever happens, the destination has what it had before, or
//! the whole new file.
//!
//! The name of a copy has a random part: nobody has chosen that name for a file of his own, which a
//! copy under a fixed name would overwrite. A new store, which is empty, has a fixed name, so that
//! of several makers one makes it.
//!
//! A maker that is killed leaves a temporary file behind at most. The next maker for the same
//! destination removes it, or takes it over. While a temporary file exists, and until its new name
//! is durable, its maker holds the file alone: a thread or process that opens it as a store waits.

use std::collections::hash_map::RandomState;
use std::fs::{File, Metadata, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Seek};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::file::access::Access;
use crate::file::copying::{chunk, copy_range};
use crate::file::destination::Destination;
use crate::file::fs::{check_directory, is_at, rename_new, set_mode, sync_directory};
use crate::file::lmdb_lock_file;
use crate::file::path::{is_too_long, lock_path, refuse_other_owner, with_suffix};
use crate::file::process_lock::FileLock;
use crate::sync::deadline::Deadline;
use crate::verify::head;

/// What is added to the name of a store while it is being created.
const NEW_STORE: &str = ".new";
/// How many hexadecimal digits the random part of a name has.
const RANDOM_LEN: usize = 16;

/// What a temporary file with a random name is made for, which says its suffix.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A copy of a store, for a backup or before a repair.
    Copy,
    /// A copy of a backup that replaces a store.
    Restore,
    /// A store of what was salvaged from a damaged one.
    Salvage,
}

impl Purpose {
    /// What is added to the destination's name, in front of the random part.
    fn suffix(self) -> &'static str {
        match self {
            Purpose::Copy => ".partial-",
            Purpose::Restore => ".restoring-",
            Purpose::Salvage => ".salvaging-",
        }
    }

    /// Refuses a destination whose name is too long for that of its temporary file.
    fn check_room(self, destination: &Path) -> Result<()> {
        let longest = with_suffix(destination, self.suffix());
        let random = "0".repeat(RANDOM_LEN);
        // It is opened as a store before it is put in place.
        if !is_too_long(&lock_path(&with_suffix(&longest, &random))) {
            return Ok(());
        }
        Err(Error::InvalidPath {
            path: destination.into(),
            why: match self {
                Purpose::Copy => {
                    "it is too long: beside the 30 bytes that its temporary file adds, a copy's \
                     whole path may have 4,065 bytes, and its name 225"
                }
                Purpose::Restore | Purpose::Salvage => {
                    "it is too long: beside the 32 bytes that its temporary file adds, the whole \
                     path may have 4,063 bytes, and its name 223"
                }
            },
        })
    }

    /// Refuses to read a temporary file that a killed maker has left for the same destination: it
    /// is removed before the next one is made.
    pub fn refuse_leftover(self, path: &Path, destination: &Destination) -> Result<()> {
        match self.has_made(path, destination.path()) {
            false => Ok(()),
            true => Err(Error::InvalidPath {
                path: path.into(),
                why: "this name is used for temporary files; rename the file first",
            }),
        }
    }

    /// Whether `path` is a name that temporary files for `destination` have.
    fn has_made(self, path: &Path, destination: &Path) -> bool {
        let start = with_suffix(destination, self.suffix());
        let [path, start] = [path, &start].map(|path| path.as_os_str().as_encoded_bytes());
        let digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        path.strip_prefix(start)
            .is_some_and(|random| random.len() == RANDOM_LEN && random.iter().all(digit))
    }
}

/// A temporary file, removed when it is dropped without having been put in place.
pub(crate) struct TempFile {
    path: PathBuf,
    file: File,
    /// Held until the end: the locks of another descriptor would end with that one.
    alone: Option<FileLock>,
    in_place: bool,
}

impl TempFile {
    /// Makes an empty temporary file of mode 0600 for what is to be at `destination`, and removes
    /// those that killed makers have left.
    pub fn create(destination: &Path, purpose: Purpose, deadline: &Deadline) -> Result<TempFile> {
        purpose.check_room(destination)?;
        check_directory(destination)?;
        remove_dead(destination, purpose);
        deadline.poll(
            "another thread or process that removes temporary files",
            || {
                let random = RandomState::new().build_hasher().finish();
                let suffix = format!("{}{random:0width$x}", purpose.suffix(), width = RANDOM_LEN);
                TempFile::try_create(with_suffix(destination, &suffix))
            },
        )
    }

    /// Makes an empty file of mode 0600 at `path`; `None` if one is there, or another maker, which
    /// holds it for that of a dead one, removes it at this moment.
    fn try_create(path: PathBuf) -> Result<Option<TempFile>> {
        let fail = |path: &Path, e| Error::io("creating the temporary file", path, e);
        let file = match options().create_new(true).open(&path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            opened => opened.map_err(|e| fail(&path, e))?,
        };
        // From here on it is removed if anything fails.
        let mut temp = TempFile {
            path,
            file,
            alone: None,
            in_place: false,
        };
        let claimed = temp.claim().map_err(|e| fail(&temp.path, e))?;
        Ok(claimed.then_some(temp))
    }

    /// Claims a file that was just created.
    fn claim(&mut self) -> io::Result<bool> {
        let alone = FileLock::new(self.file.try_clone()?);
        if !alone.claim_alone()? || !is_at(&self.path, &self.file.metadata()?)? {
            return Ok(false);
        }
        self.alone = Some(alone);
        // Whatever the umask.
        set_mode(&self.file, 0o600)?;
        Ok(true)
    }

    /// Makes an empty temporary file of mode 0600 for a new store, or takes over one that was left
    /// behind; `None` if another maker has it at this moment.
    pub fn try_create_store(destination: &Path, deadline: &Deadline) -> Result<Option<TempFile>> {
        let path = with_suffix(destination, NEW_STORE);
        let fail = |e| Error::io("creating the temporary file", &path, e);
        check_directory(&path)?;
        // Before it is opened as well: the system may refuse that, and say less.
        if let Ok(found) = path.symlink_metadata() {
            refuse_other_owner(&path, &found, destination)?;
            refuse_stray(&path, &found)?;
        }
        let file = options().create(true).truncate(false).open(&path);
        let file = file.map_err(fail)?;
        let opened = file.metadata().map_err(fail)?;
        refuse_stray(&path, &opened)?;
        refuse_other_owner(&path, &opened, destination)?;
        let has_lock_file = || lock_path(&path).exists();
        // Opening a store does not wait for another one to be closed.
        refuse_store(&path, has_lock_file())?;
        let alone = FileLock::new(file.try_clone().map_err(fail)?);
        let claimed = alone.claim_alone().inspect_err(|error| {
            // Where there are no locks, no other maker can have it either.
            if error.kind() == io::ErrorKind::Unsupported && opened.len() == 0 {
                let _ = std::fs::remove_file(&path);
            }
        });
        // The maker that had it before may have put this very file in place.
        if !claimed.map_err(fail)? || !is_at(&path, &opened).map_err(fail)? {
            return Ok(None);
        }
        // A new store gets its name before anything is written to it.
        let written = || head::identify(&file, &path, deadline).is_ok_and(|head| head.commits > 0);
        refuse_store(&path, has_lock_file() || written())?;
        refuse_other_kinds(&path, &file)?;
        let temp = TempFile {
            path,
            file,
            alone: Some(alone),
            in_place: false,
        };
        let fail = |e| Error::io("creating the temporary file", &temp.path, e);
        temp.truncate().map_err(fail)?;
        // One that was left behind may have been made with other permissions.
        set_mode(&temp.file, 0o600).map_err(fail)?;
        Ok(Some(temp))
    }

    /// Empties the file, so that the next write is to its beginning.
    pub fn truncate(&self) -> io::Result<()> {
        self.file.set_len(0)?;
        (&self.file).rewind()
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Flushes its content and its length to disk.
    pub fn sync(&self) -> Result<()> {
        self.file
            .sync_all()
            .map_err(|e| Error::io("flushing", &self.path, e))
    }

    /// Flushes the file, with the owner and the mode of the one that it replaces or of the one that
    /// it is made from, renames it to its destination, and flushes the directory.
    pub fn put_in_place(mut self, destination: &Destination, from: &Access) -> Result<()> {
        destination.pass_access_on(&self.file, &self.path, from)?;
        self.sync()?;
        self.rename(destination)?;
        // A lock file that is there was another store's. This one cannot be opened yet.
        lmdb_lock_file::discard(destination.path())?;
        sync_directory(destination.path())
    }

    /// Renames a new store, which was flushed, to its destination. Its directory is flushed when it
    /// is opened, before anything is written to it: its maker may be killed before it could do so.
    /// The lock file that is there is kept, and refused if others use it for another store.
    ///
    /// The maker goes on holding the file alone, by the lock that is returned with it.
    pub fn put_new_store_in_place(mut self, destination: &Destination) -> Result<(File, FileLock)> {
        let fail = |e| Error::io("creating the store", destination.path(), e);
        let file = self.file.try_clone().map_err(fail)?;
        self.rename(destination)?;
        let alone = self.alone.take().ok_or(Error::Internal {
            what: "a temporary file was put in place twice",
        })?;
        Ok((file, alone))
    }

    fn rename(&mut self, destination: &Destination) -> Result<()> {
        let path = destination.path();
        let renamed = if destination.is_empty() {
            rename_new(&self.path, path)
        } else {
            std::fs::rename(&self.path, path)
        };
        renamed.map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => destination.file_exists(),
            io::ErrorKind::ResourceBusy => Error::InvalidPath {
                path: path.into(),
                why:
                    "the file is a mount point of its own; mount its directory instead, where its \
                      -lock file is shared as well",
            },
            _ => Error::io("putting the file in place", path, e),
        })?;
        self.in_place = true;
        Ok(())
    }

    /// Copies a whole file that nobody changes.
    pub fn copy_file(&self, from: &File, path: &Path) -> Result<()> {
        let metadata = from.metadata();
        let metadata = metadata.map_err(|e| Error::io("reading the file's size", path, e))?;
        self.copy_range(from, path, 0..metadata.len())
    }

    /// Copies a range of the file at `path` to the same offsets.
    pub fn copy_range(&self, from: &File, path: &Path, range: Range<u64>) -> Result<()> {
        copy_range(from, path, range, &mut chunk(), |bytes, at| {
            self.write_at(bytes, at)
        })
    }

    pub fn write_at(&self, bytes: &[u8], at: u64) -> Result<()> {
        let written = self.file.write_all_at(bytes, at);
        written.map_err(|e| self.write_error(e))
    }

    pub fn write_error(&self, e: io::Error) -> Error {
        Error::io("writing the copy", &self.path, e)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.in_place {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// How temporary files are opened.
fn options() -> OpenOptions {
    let mut options = File::options();
    let flags = libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK;
    options
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags(flags);
    options
}

/// Removes the temporary files that killed makers have left, as far as that works: they are in
/// nobody's way.
fn remove_dead(destination: &Path, purpose: Purpose) {
    let directory = destination.parent().map(std::fs::read_dir);
    let Some(Ok(entries)) = directory else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file && purpose.has_made(&path, destination) {
            let _ = remove_if_dead(&path);
        }
    }
}

/// Removes a temporary file unless its maker has it, or somebody uses it as a store.
fn remove_if_dead(path: &Path) -> io::Result<()> {
    let file = options().open(path)?;
    let opened = file.metadata()?;
    let alone = FileLock::new(file);
    let is_dead = alone.claim_alone()? && is_at(path, &opened)? && !lock_path(path).exists();
    match is_dead {
        true => std::fs::remove_file(path),
        false => Ok(()),
    }
}

/// Refuses what is no file: nobody can have left it for the store.
fn refuse_stray(path: &Path, found: &Metadata) -> Result<()> {
    match found.is_file() {
        true => Ok(()),
        false => Err(Error::InvalidPath {
            path: path.into(),
            why: "a directory, a link, or something else that is no file has the name of a \
                  temporary file; move it, or use another path",
        }),
    }
}

/// Refuses to take over a store that has the name of a temporary file. Unlike a store, a temporary
/// file has no lock file.
fn refuse_store(path: &Path, is_store: bool) -> Result<()> {
    if !is_store {
        return Ok(());
    }
    Err(Error::InvalidPath {
        path: path.into(),
        why: "a store has the name of a temporary file; move it, or use another path",
    })
}

/// Refuses to take over a file that no maker of temporary files has left: those begin as LMDB's
/// files do, or with zeros if their meta pages are still to be written.
fn refuse_other_kinds(path: &Path, file: &File) -> Result<()> {
    if head::is_begun(file).map_err(|e| Error::io("examining the temporary file", path, e))? {
        return Ok(());
    }
    Err(Error::InvalidPath {
        path: path.into(),
        why: "a file that is not a store has the name of a temporary file; move it, or use \
              another path",
    })
}
