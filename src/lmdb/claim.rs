//! Claiming a store's files: this process's right to open them, beside other copies of this
//! library, other C libraries and other processes.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::file::fs::{is_at, open_file};
use crate::file::open_files::{Kind, Registered};
use crate::file::path::lock_path;
use crate::file::process_lock::{CLibrary, FileLock};
use crate::lmdb::config::{Config, Sharing};
use crate::lmdb::create;
use crate::lmdb::env::Env;
use crate::sync::deadline::Deadline;
use crate::sync::primitives::unpoisoned;

/// The data file, and this process's right to it.
pub(super) struct Claimed {
    pub file: File,
    pub metadata: Metadata,
    pub process_lock: FileLock,
    /// Dropped after the lock: a thread that may open the file would take this process's lock for
    /// that of another copy of the library.
    pub registered: Option<Registered>,
    /// Whether this process has just created it, and holds it alone.
    pub new: bool,
}

/// Creates the store if it is absent and `config` allows that, or opens the one that is there.
pub(super) fn create_or_claim(
    path: &Path,
    config: &Config,
    deadline: &Deadline,
) -> Result<Claimed> {
    if config.read_only || config.sharing != Sharing::Many {
        return claim_file(path, config, deadline);
    }
    loop {
        if let Some(new) = create::ensure(path, deadline)? {
            let metadata = new.file.metadata();
            // No other copy of this library can have it open yet.
            let claimed = new.alone.claim_process();
            claimed.map_err(|e| Error::io("opening", path, e))?;
            refuse_other_c_library(&new.alone, path)?;
            return Ok(Claimed {
                metadata: metadata.map_err(|e| Error::io("opening", path, e))?,
                file: new.file,
                process_lock: new.alone,
                registered: Some(new.registered),
                new: true,
            });
        }
        match claim_file(path, config, deadline) {
            // Another process created it, could not open it, and has removed it again.
            Err(Error::NoSuchFile { .. }) if !deadline.left().is_zero() => {}
            claimed => return claimed,
        }
    }
}

/// Opens the data file and shares its use, once no thread or process has it alone.
fn claim_file(path: &Path, config: &Config, deadline: &Deadline) -> Result<Claimed> {
    let fail = |e| Error::io("opening", path, e);
    deadline.poll("the creation, repair or restore of the store", || {
        let (file, metadata) = open_file(path, config.read_only, deadline)?;
        // Dropped after the lock, as in `Claimed`.
        let mut registered = None;
        let process_lock = FileLock::new(file.try_clone().map_err(fail)?);
        if config.sharing != Sharing::Temporary {
            let kind = match config.sharing {
                Sharing::Alone => Kind::Alone,
                _ => Kind::Store,
            };
            registered = Registered::enter(path, &metadata, kind, deadline)?;
            if registered.is_none() {
                return Ok(None);
            }
            // Before anything opens the `-lock` file: closing it would drop the locks that another
            // copy of this library has in this process.
            if !process_lock.claim_process().map_err(fail)? {
                return Err(Error::another_copy(path));
            }
            let claimed = match config.sharing {
                Sharing::Alone if !process_lock.claim_alone().map_err(fail)? => {
                    return Err(Error::AlreadyOpen {
                        path: path.into(),
                        why: "another process has the store open; close it there first",
                    })
                }
                Sharing::Alone => true,
                _ => process_lock.claim_use().map_err(fail)?,
            };
            // Another file may have been renamed to its path during the wait.
            if !claimed || !is_at(path, &metadata).map_err(fail)? {
                return Ok(None);
            }
            refuse_other_c_library(&process_lock, path)?;
        }
        Ok(Some(Claimed {
            file,
            metadata,
            process_lock,
            registered,
            new: false,
        }))
    })
}

/// Refuses a store that a process with another C library has open, before LMDB takes its locks.
fn refuse_other_c_library(process_lock: &FileLock, path: &Path) -> Result<()> {
    let claimed = process_lock.claim_c_library(CLibrary::OWN);
    match claimed.map_err(|e| Error::io("opening", path, e))? {
        true => Ok(()),
        false => Err(Error::OtherLmdb {
            path: path.into(),
            why: "a process that was built for another C library (glibc or musl), whose locks \
                  differ, has the store open; close it there first, and use builds for one of them"
                .to_owned(),
        }),
    }
}

impl Env {
    /// Makes sure that every process that has the file open uses the same `-lock` file: that which
    /// LMDB has open, whatever is at its path by now.
    pub(crate) fn claim_lock_file(&self) -> Result<()> {
        let fail = |e| Error::io("opening", &self.path, e);
        let held = unpoisoned(self.held.lock());
        let opened = held.as_ref().and_then(|held| held.lock_file.as_ref());
        let found = match opened {
            Some(lock_file) => lock_file.metadata(),
            None => std::fs::metadata(lock_path(&self.path)),
        };
        let inode = found.map_err(fail)?.ino();
        match self.process_lock.claim_identity(inode).map_err(fail)? {
            true => Ok(()),
            false => Err(Error::AlreadyOpen {
                path: self.path.as_path().into(),
                why: "another process has this file open with another -lock file (by a hard link, \
                      or the -lock file was deleted meanwhile); close it there first, and use one \
                      path",
            }),
        }
    }
}
