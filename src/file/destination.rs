//! A place that a file is to be put to: what is there now, and that nobody uses it.

use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::file::fs::{is_at, open_file, sync_directory};
use crate::file::lmdb_lock_file;
use crate::file::open_files::{Kind, Registered};
use crate::file::path::{resolve, with_suffix};
use crate::file::process_lock::FileLock;
use crate::sync::deadline::Deadline;
use crate::verify::head;

/// How many files are kept under one name before it is an error that the names are in use.
const MOST_KEPT: u32 = 1000;

/// A place, and the file there, which nobody else uses until this is dropped.
pub(crate) struct Target {
    path: PathBuf,
    old: Option<Old>,
}

struct Old {
    metadata: Metadata,
    _alone: FileLock,
    _registered: Option<Registered>,
}

impl Target {
    /// A place where nothing is.
    pub fn vacant(path: &Path, deadline: &Deadline) -> Result<Target> {
        let path = resolve(path)?;
        let target = Target { path, old: None };
        match target.path.symlink_metadata() {
            Ok(_) => Err(target.occupied()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                lmdb_lock_file::check(&target.path, deadline)?;
                Ok(target)
            }
            Err(e) => Err(Error::io("looking at", &target.path, e)),
        }
    }

    /// A place where nothing is, whose name is that of `path` with `suffix` and a number, the
    /// lowest that is not taken.
    pub fn numbered(path: &Path, suffix: &str, most: u32, deadline: &Deadline) -> Result<Target> {
        for number in 1..=most {
            match Target::vacant(&with_suffix(path, &format!("{suffix}{number}")), deadline) {
                Err(Error::FileExists { .. }) => {}
                other => return other,
            }
        }
        Err(Error::InvalidPath {
            path: with_suffix(path, suffix).into(),
            why: "a thousand files of this name, with a number, are there; move some",
        })
    }

    /// A place where nothing is, or a store, sound or not, that nobody has open. Files of other
    /// kinds are not for this library to replace.
    pub fn store(path: &Path, deadline: &Deadline) -> Result<Target> {
        let path = resolve(path)?;
        let fail = |e| Error::io("looking at", &path, e);
        let old = deadline.poll("a store that is replaced again and again", || {
            if !path.try_exists().map_err(fail)? {
                return Ok(Some(None));
            }
            let (file, metadata) = open_file(&path, false, deadline)?;
            let in_use = || Error::AlreadyOpen {
                path: path.as_path().into(),
                why: "the store is open, here or in another process; close it everywhere first",
            };
            let registered = Registered::enter(&path, &metadata, Kind::Alone, deadline).map_err(
                |e| match e {
                    Error::AlreadyOpen { .. } => in_use(),
                    other => other,
                },
            )?;
            let alone = FileLock::new(file.try_clone().map_err(fail)?);
            if !alone.claim_alone().map_err(fail)? {
                return Err(in_use());
            }
            if !is_at(&path, &metadata).map_err(fail)? {
                return Ok(None);
            }
            match head::identify(&file, &path, deadline) {
                Ok(_) | Err(Error::Corrupt { .. } | Error::NewerFormat { .. }) => {}
                Err(other) => return Err(other),
            }
            Ok(Some(Some(Old {
                metadata,
                _alone: alone,
                _registered: registered,
            })))
        })?;
        lmdb_lock_file::check(&path, deadline)?;
        Ok(Target { path, old })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn is_vacant(&self) -> bool {
        self.old.is_none()
    }

    /// Whether the file that was there still is.
    pub fn is_in_place(&self) -> bool {
        let still = |old: &Old| is_at(&self.path, &old.metadata);
        self.old
            .as_ref()
            .is_some_and(|old| matches!(still(old), Ok(true)))
    }

    /// Refuses to replace a file by what is made of it, and to draft that over it, under this
    /// place's name with `suffix`.
    pub fn refuse_source(&self, source: &File, path: &Path, suffix: &str) -> Result<()> {
        let fail = |e| Error::io("looking at", path, e);
        let source = source.metadata().map_err(fail)?;
        let same = |old: &Old| {
            let old = &old.metadata;
            (old.dev(), old.ino()) == (source.dev(), source.ino())
        };
        let refuse = |why| {
            let path = path.into();
            Err(Error::InvalidPath { path, why })
        };
        if self.old.as_ref().is_some_and(same) {
            return refuse("it is the same file as the one that it is to replace");
        }
        if is_at(&with_suffix(&self.path, suffix), &source).map_err(fail)? {
            return refuse("what is made of it is drafted under this name; rename it first");
        }
        Ok(())
    }

    /// The error for a place that is not vacant.
    pub fn occupied(&self) -> Error {
        Error::FileExists {
            path: self.path.as_path().into(),
        }
    }

    /// Gives `file` the owner and the permissions of the file there.
    pub fn pass_access_on(&self, file: &File, path: &Path) -> Result<()> {
        let Some(old) = &self.old else {
            return Ok(());
        };
        let fail = |e| Error::io("setting the owner", path, e);
        let is = file.metadata().map_err(fail)?;
        let was = &old.metadata;
        if (was.uid(), was.gid()) != (is.uid(), is.gid()) {
            std::os::unix::fs::fchown(file, Some(was.uid()), Some(was.gid())).map_err(fail)?;
        }
        file.set_permissions(Permissions::from_mode(was.mode() & 0o7777))
            .map_err(fail)
    }

    /// Gives the file there a second name, its own with `suffix` and, where that is taken, a
    /// number: there it is kept when another takes its place.
    pub fn keep(&self, suffix: &str) -> Result<Option<Kept>> {
        let Some(old) = &self.old else {
            return Ok(None);
        };
        for number in 0..MOST_KEPT {
            let name = match number {
                0 => with_suffix(&self.path, suffix),
                n => with_suffix(&self.path, &format!("{suffix}.{n}")),
            };
            let fresh = match std::fs::hard_link(&self.path, &name) {
                Ok(()) => true,
                // Who was killed here before came as far.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    match is_at(&name, &old.metadata) {
                        Ok(true) => false,
                        _ => continue,
                    }
                }
                Err(e) => return Err(Error::io("keeping the old file", &name, e)),
            };
            let kept = Kept {
                path: name,
                drop_it: fresh,
            };
            sync_directory(&kept.path)?;
            return Ok(Some(kept));
        }
        Err(Error::InvalidPath {
            path: with_suffix(&self.path, suffix).into(),
            why: "a thousand old files are kept under this name; move some",
        })
    }
}

/// The old file's second name; given up when dropped, unless it is to stay.
pub(crate) struct Kept {
    path: PathBuf,
    drop_it: bool,
}

impl Kept {
    /// Lets the name stay.
    pub fn stay(mut self) -> PathBuf {
        self.drop_it = false;
        std::mem::take(&mut self.path)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.drop_it {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
