//! Destinations: the path that a finished file is renamed to, and a claim on the file that is there
//! now.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::file::access::{Access, Required};
use crate::file::fs::{is_at, link_new, open_file, sync_directory};
use crate::file::lmdb_lock_file;
use crate::file::open_files::{Kind, Registered};
use crate::file::path::{resolve, with_suffix};
use crate::file::process_lock::FileLock;
use crate::sync::deadline::Deadline;
use crate::verify::head::Head;
use crate::verify::{evidence, head};

/// How many files are kept under one name before it is an error that the names are in use.
const MOST_KEPT: u32 = 1000;

/// A destination, and the file there, which no other thread or process uses until this is dropped.
pub(crate) struct Destination {
    path: PathBuf,
    old: Option<Old>,
}

struct Old {
    metadata: Metadata,
    /// What its first pages say, if it is a store that can be read as far as that.
    head: Option<Head>,
    _alone: FileLock,
    _registered: Option<Registered>,
}

impl Destination {
    /// A path where nothing is.
    pub fn empty(path: &Path, deadline: &Deadline) -> Result<Destination> {
        let path = resolve(path)?;
        let destination = Destination { path, old: None };
        match destination.path.symlink_metadata() {
            Ok(_) => Err(destination.file_exists()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                lmdb_lock_file::check(&destination.path, deadline)?;
                Ok(destination)
            }
            Err(e) => Err(Error::io("looking at", &destination.path, e)),
        }
    }

    /// A path for a new store, where nothing is, or an empty file that no process uses; `None` if
    /// one does at this moment, such as containerd, which makes its own store in an empty file.
    pub fn new_store(path: &Path, deadline: &Deadline) -> Result<Option<Destination>> {
        if !path
            .try_exists()
            .map_err(|e| Error::io("looking at", path, e))?
        {
            return Destination::empty(path, deadline).map(Some);
        }
        let fail = |e| Error::io("opening the empty file", path, e);
        let (file, metadata) = open_file(path, false, deadline)?;
        let registered = match Registered::enter(path, &metadata, Kind::Alone, deadline) {
            Err(Error::AlreadyOpen { .. }) => return Ok(None),
            entered => entered?,
        };
        let alone = FileLock::new(file);
        let claimed = alone.claim_alone().map_err(fail)? && alone.try_lock_whole().map_err(fail)?;
        let is_empty = || Ok(is_blank(&alone.metadata()?) && is_at(path, &metadata)?);
        if !claimed || !is_empty().map_err(fail)? {
            return Ok(None);
        }
        lmdb_lock_file::check(path, deadline)?;
        Ok(Some(Destination {
            path: path.into(),
            old: Some(Old {
                metadata,
                head: None,
                _alone: alone,
                _registered: registered,
            }),
        }))
    }

    /// A path where nothing is: `path` with `suffix` and a number, the lowest that is not taken.
    pub fn numbered(path: &Path, suffix: &str, deadline: &Deadline) -> Result<Destination> {
        for number in 1..=MOST_KEPT {
            let path = with_suffix(path, &format!("{suffix}{number}"));
            // Whatever has the name keeps it, a link that leads nowhere as well.
            if path.symlink_metadata().is_ok() {
                continue;
            }
            match Destination::empty(&path, deadline) {
                Err(Error::FileExists { .. }) => {}
                other => return other,
            }
        }
        Err(Error::InvalidPath {
            path: with_suffix(path, suffix).into(),
            why: "1000 files with this name and a number exist already; move some",
        })
    }

    /// A path where nothing is, or a store, sound or not, that no process has open. Files of other
    /// kinds are not for this library to replace.
    pub fn store(path: &Path, deadline: &Deadline) -> Result<Destination> {
        let path = resolve(path)?;
        let old = deadline.poll("a store that other processes keep replacing", || {
            claim_old(&path, deadline)
        })?;
        lmdb_lock_file::check(&path, deadline)?;
        Ok(Destination { path, old })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn is_empty(&self) -> bool {
        self.old.is_none()
    }

    /// What the first pages of the store there say, if there is one and they can be read.
    pub fn old_head(&self) -> Option<&Head> {
        self.old.as_ref()?.head.as_ref()
    }

    /// Whether the file that was there still is.
    pub fn is_in_place(&self) -> bool {
        let still = |old: &Old| is_at(&self.path, &old.metadata);
        self.old
            .as_ref()
            .is_some_and(|old| matches!(still(old), Ok(true)))
    }

    /// Refuses to replace a file by what is made of it.
    pub fn refuse_source(&self, source: &File, path: &Path) -> Result<()> {
        let fail = |e| Error::io("looking at", path, e);
        let source = source.metadata().map_err(fail)?;
        let same = |old: &Old| {
            let old = &old.metadata;
            (old.dev(), old.ino()) == (source.dev(), source.ino())
        };
        if self.old.as_ref().is_some_and(same) {
            return Err(Error::InvalidPath {
                path: path.into(),
                why: "it is the same file as the one that it would replace",
            });
        }
        Ok(())
    }

    /// The error for a destination that is not empty.
    pub fn file_exists(&self) -> Error {
        Error::FileExists {
            path: self.path.as_path().into(),
        }
    }

    /// Gives `file`, at `path`, the owner and the mode of the file there, or else, as far as this
    /// process may, those of the file that it is made from.
    pub fn pass_access_on(&self, file: &File, path: &Path, from: &Access) -> Result<()> {
        let given = match &self.old {
            Some(old) => Access::of(&old.metadata).give(file, Required::All),
            None => from.give(file, Required::Nothing),
        };
        given.map_err(|e| Error::io("setting the owner", path, e))
    }

    /// Links the file there to a second name, its own with `suffix` and, if that is taken, a
    /// number: there it is kept when another takes its place.
    pub fn link_old(&self, suffix: &str) -> Result<Option<BackupLink>> {
        let Some(old) = &self.old else {
            return Ok(None);
        };
        for number in 0..MOST_KEPT {
            let name = match number {
                0 => with_suffix(&self.path, suffix),
                n => with_suffix(&self.path, &format!("{suffix}.{n}")),
            };
            let created = match link_new(&self.path, &name) {
                Ok(()) => true,
                // A process that was killed here may have come as far.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    match is_at(&name, &old.metadata) {
                        Ok(true) => false,
                        _ => continue,
                    }
                }
                Err(e) => return Err(Error::io("keeping the old file", &name, e)),
            };
            let link = BackupLink {
                path: name,
                remove: created,
            };
            sync_directory(&link.path)?;
            return Ok(Some(link));
        }
        Err(Error::InvalidPath {
            path: with_suffix(&self.path, suffix).into(),
            why: "1000 old files are kept under this name; move some",
        })
    }
}

/// Whether it is an empty file, which `mktemp`, a container's `hostPath` of type `FileOrCreate`, or
/// a power cut during the first start of containerd's own store leaves.
pub(crate) fn is_blank(found: &Metadata) -> bool {
    found.is_file() && found.len() == 0
}

/// Claims the store at the path, if there is one, for this process alone; `None` to try again,
/// because another file has replaced it.
fn claim_old(path: &Path, deadline: &Deadline) -> Result<Option<Option<Old>>> {
    let fail = |e| Error::io("looking at", path, e);
    if !path.try_exists().map_err(fail)? {
        return Ok(Some(None));
    }
    let (file, metadata) = open_file(path, false, deadline)?;
    let in_use = || Error::AlreadyOpen {
        path: path.into(),
        why: "the store is open in this or another process; close it everywhere first",
    };
    let registered = Registered::enter(path, &metadata, Kind::Alone, deadline);
    let registered = registered.map_err(|e| match e {
        Error::AlreadyOpen { .. } => in_use(),
        other => other,
    })?;
    let alone = FileLock::new(file.try_clone().map_err(fail)?);
    if !alone.claim_alone().map_err(fail)? {
        return Err(in_use());
    }
    if !is_at(path, &metadata).map_err(fail)? {
        return Ok(None);
    }
    let head = match head::identify(&file, path, deadline) {
        Ok(head) => Some(head),
        Err(Error::Corrupt { .. } | Error::NewerFormat { .. }) => None,
        // Some file systems leave zeros in the place of a file whose data a crash has lost.
        Err(Error::NotAStore { .. }) if evidence::is_zeros(&file).map_err(fail)? => None,
        Err(other) => return Err(other),
    };
    Ok(Some(Some(Old {
        metadata,
        head,
        _alone: alone,
        _registered: registered,
    })))
}

/// The old file's second name, removed when this is dropped without [`persist`](Self::persist).
pub(crate) struct BackupLink {
    path: PathBuf,
    remove: bool,
}

impl BackupLink {
    /// Lets the name stay.
    pub fn persist(mut self) -> PathBuf {
        self.remove = false;
        std::mem::take(&mut self.path)
    }
}

impl Drop for BackupLink {
    fn drop(&mut self) {
        if self.remove {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
