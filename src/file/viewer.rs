//! Whether a handle that only reads can share LMDB's lock file with writers, without harm to them
//! or to itself. Where it cannot, it reads a private copy of the store, and nobody else notices:
//!
//! - The lock file is not there, so no process has the store open: a look leaves none behind.
//! - This process may not write to the lock file: it is another user's, or the mount is read-only.
//! - The process is in a container with process ids of its own, and the store is not open there, or
//!   is open elsewhere. LMDB knows processes by their ids alone. A daemon that is started in
//!   another container, and happens to have the id of one that reads, could not open its store.
//! - The store is on overlayfs, and nobody has it open. There, a file that a process opens for
//!   writing is copied to the upper layer first, and a process that has mapped it before goes on
//!   with the old one, though both have the same lock file.

use std::path::Path;

use nix::sys::statfs::{fstatfs, OVERLAYFS_SUPER_MAGIC};

use crate::error::{Error, Result};
use crate::file::fs::open_file;
use crate::file::lmdb_lock_file::with_shared_lock_file;
use crate::file::open_files::{Kind, Listed};
use crate::file::process_lock::FileLock;
use crate::sync::deadline::Deadline;

/// The PID namespace of a machine's first process (`PROC_PID_INIT_INO` of the kernel).
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Whether a handle that only reads can share the store's lock file. Refuses a store that this
/// process has open.
pub(crate) fn shares_lock_file(store: &Path, deadline: &Deadline) -> Result<bool> {
    let fail = |e| Error::io("opening", store, e);
    let data_file = open_free(store, deadline)?;
    let file_system = fstatfs(data_file.file()).map_err(|e| fail(e.into()))?;
    let overlay = file_system.filesystem_type() == OVERLAYFS_SUPER_MAGIC;
    if overlay && !data_file.used_elsewhere().map_err(fail)? {
        return Ok(false);
    }
    let shared = with_shared_lock_file(store, deadline, |lock_file| {
        Ok(in_first_pid_namespace() || lock_file.is_lmdbs_here_alone()?)
    })?;
    Ok(shared.unwrap_or(false))
}

/// Opens the data file once this process does not repair or replace the store. Another copy of this
/// library may not have it open in this process either: its locks would be lost when this one
/// closes the lock file.
fn open_free(store: &Path, deadline: &Deadline) -> Result<FileLock> {
    deadline.poll("the repair or restore of the store", || {
        let (file, metadata) = open_file(store, true, deadline)?;
        let data_file = FileLock::new(file);
        // Held, so that this copy of the library opens nothing in between.
        let list = Listed::hold(deadline)?;
        if !list.is_free(store, &metadata, Kind::Store)? {
            return Ok(None);
        }
        let claimed = data_file.is_claimed_by_process();
        match claimed.map_err(|e| Error::io("opening", store, e))? {
            true => Err(Error::another_copy(store)),
            false => Ok(Some(data_file)),
        }
    })
}

/// Whether this process sees all process ids of the machine as they are. Without `/proc`, it is
/// taken for one that does.
fn in_first_pid_namespace() -> bool {
    let namespace = std::fs::read_link("/proc/self/ns/pid");
    namespace.map_or(true, |namespace| {
        namespace == Path::new(FIRST_PID_NAMESPACE)
    })
}
