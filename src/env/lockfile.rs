//! LMDB's `-lock` file: that it is one, and that all processes use the same.
//!
//! It holds the table of who reads what, without which a writer would use pages again that are being read.

use super::filelock::FileLock;
use super::path::lock_path;
use super::registry::{refuse_lock_file, Registered};
use super::{Deadline, Env};
use crate::error::{Error, Result};
use std::ffi::CString;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// `MDB_MAGIC` (mdb.c), the first word of a lock file that has been set up.
const MAGIC: [u8; 4] = 0xBEEF_C0DE_u32.to_le_bytes();
/// Enough of a file to tell a lock file from a data file, whose magic stands at 16.
const LOOKED_AT: u64 = 64;

/// Refuses to let LMDB set up its lock file over a file that is none, or that it has open already: for a store whose file
/// was moved or deleted.
pub(super) fn check(store: &Path, deadline: &Deadline) -> Result<()> {
    let path = lock_path(store);
    match find(&path)? {
        None => Ok(()),
        Some(found) => {
            refuse_lock_file(&path, &found, deadline)?;
            look_at(&path, &found)
        }
    }
}

fn find(path: &Path) -> Result<Option<Metadata>> {
    match path.symlink_metadata() {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("looking at the lock file", path, e)),
    }
}

/// Refuses a file that is no lock file. Nobody in this process has it open.
fn look_at(path: &Path, found: &Metadata) -> Result<()> {
    let refuse = || {
        Error::InvalidPath {
        path: path.into(),
        why: "the store's lock file would be there, and it is not a lock file; move it, or give another path",
    }
    };
    if !found.is_file() {
        return Err(refuse());
    }
    let mut head = Vec::new();
    open(path)
        .and_then(|file| file.take(LOOKED_AT).read_to_end(&mut head))
        .map_err(|e| Error::io("looking at the lock file", path, e))?;
    // LMDB makes the locks in it, which follow these eight bytes, before it marks it. A data file begins like that, too.
    let unmarked = head.iter().take(8).all(|byte| *byte == 0);
    let data_file = head.get(16..20).is_some_and(|word| word == MAGIC);
    if head.starts_with(&MAGIC) || (unmarked && !data_file) {
        return Ok(());
    }
    Err(refuse())
}

/// Removes the lock file of a store that another file has taken the place of. Nobody can have the new one open.
pub(super) fn discard(store: &Path) -> Result<()> {
    let path = lock_path(store);
    match find(&path)? {
        Some(found) => look_at(&path, &found)?,
        None => return Ok(()),
    }
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("removing the old lock file", &path, e))
        }
        _ => Ok(()),
    }
}

/// This process's right to a data file and its lock file, to be given up when LMDB has closed both.
pub(super) struct Held {
    /// Given up first: nobody here opens the lock file again before this descriptor of it is closed.
    lock_file: Option<FileLock>,
    registered: Vec<Registered>,
}

impl Held {
    pub fn new(data_file: Option<Registered>) -> Held {
        Held {
            lock_file: None,
            registered: data_file.into_iter().collect(),
        }
    }

    /// Makes sure that nobody uses the lock file for another data file, once LMDB has it open: they would share the
    /// number of the last commit. On a read-only mount there need not be a lock file.
    pub fn claim(&mut self, store: &Path, data_file: &Metadata, deadline: &Deadline) -> Result<()> {
        let path = lock_path(store);
        let fail = |e| Error::io("opening the lock file", &path, e);
        let found = match std::fs::metadata(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            found => found.map_err(fail)?,
        };
        self.registered
            .push(Registered::enter_lock_file(&found, deadline)?);
        let lock = FileLock::new(open(&path).map_err(fail)?);
        let lock = self.lock_file.insert(lock);
        if lock.claim_identity(Some(data_file.ino())).map_err(fail)? {
            return Ok(());
        }
        Err(Error::AlreadyOpen {
            path: store.into(),
            why: "another process uses its -lock file for a store that was here before and was moved, replaced or deleted; close it there first",
        })
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
}

impl Env {
    /// Makes sure that every process that has the file open uses the same `-lock` file.
    pub(super) fn claim_lock_file(&self) -> Result<()> {
        let fail = |e| Error::io("opening", &self.path, e);
        // LMDB reads without a lock file where it cannot write one. A process that can may be writing all the
        // same: to it, the file system need not be read-only.
        let lock_file = if self.config.read_only && on_read_only_mount(&self.path).map_err(fail)? {
            None
        } else {
            Some(
                std::fs::metadata(lock_path(&self.path))
                    .map_err(fail)?
                    .ino(),
            )
        };
        if self.process_lock.claim_identity(lock_file).map_err(fail)? {
            return Ok(());
        }
        Err(Error::AlreadyOpen {
            path: self.path.as_path().into(),
            why: match lock_file {
                Some(_) => "another process has this file open with another -lock file (by a hard link, or the -lock file was deleted meanwhile) or, through a read-only mount, with none; close it there first, and use one path",
                None => "another process has the store open, and on a read-only mount a reader cannot tell writers what it reads; open it where its -lock file can be written",
            },
        })
    }
}

fn on_read_only_mount(path: &Path) -> io::Result<bool> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: all zeros is a valid `statvfs`.
    let mut facts: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends in NUL; both outlive the call.
    if unsafe { libc::statvfs(path.as_ptr(), &mut facts) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(facts.f_flag & libc::ST_RDONLY != 0)
}
