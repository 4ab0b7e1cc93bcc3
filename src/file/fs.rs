//! Files as the file system has them: opening one, telling whether it is still the one at its
//! path, renaming without replacing, flushing a directory, writing zeros.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::file::open_files::Listed;
use crate::file::path::{refuse_irregular, resolve};
use crate::file::process_lock::FileLock;
use crate::sync::deadline::Deadline;
use crate::verify::head;

/// Opens a file for reading all of it, and refuses one that is open as a store. The path has its
/// links resolved.
pub(crate) fn open_unused(path: &Path, deadline: &Deadline) -> Result<(File, PathBuf)> {
    let path = resolve(path)?;
    let (file, _) = open_file(&path, true, deadline)?;
    refuse_used(&file, &path)?;
    Ok((file, path))
}

/// Refuses a file that is open as a store, here or in another process.
pub(crate) fn refuse_used(file: &File, path: &Path) -> Result<()> {
    let fail = |e| Error::io("opening", path, e);
    let lock = FileLock::new(file.try_clone().map_err(fail)?);
    if lock.used_elsewhere().map_err(fail)? {
        return Err(Error::AlreadyOpen {
            path: path.into(),
            why: "it is open as a store, here or in another process, and may change while it is read; close it first, or make a backup of it and take that",
        });
    }
    Ok(())
}

/// Whether that file is at the path.
pub(crate) fn is_at(path: &Path, file: &Metadata) -> io::Result<bool> {
    match std::fs::metadata(path) {
        Ok(now) => Ok((now.dev(), now.ino()) == (file.dev(), file.ino())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Refuses a path at which there is another file than the one that was opened.
pub(crate) fn check_same(path: &Path, opened: &Metadata) -> Result<()> {
    let fail = |e| Error::io("opening", path, e);
    if is_at(path, opened).map_err(fail)? {
        return Ok(());
    }
    Err(fail(io::Error::other(
        "the file was replaced by another one; close the store and open it again",
    )))
}

/// Opens the data file for looking at it, and for the locks and the room that LMDB does not care
/// for.
pub(crate) fn open_file(
    path: &Path,
    read_only: bool,
    deadline: &Deadline,
) -> Result<(File, Metadata)> {
    let fail = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound => Error::NoSuchFile {
            path: path.into(),
            why: "there is no such file, and reading creates none",
        },
        _ => Error::io("opening the file", path, e),
    };
    // Looked at before it is opened: opening a device or a pipe could have effects.
    let found = std::fs::metadata(path).map_err(fail)?;
    refuse_irregular(path, &found)?;
    Listed::hold(deadline)?.refuse_lock_file(path, &found)?;
    let file = File::options()
        .read(true)
        .write(!read_only)
        .custom_flags(libc::O_CLOEXEC | libc::O_NONBLOCK)
        .open(path)
        .map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    refuse_irregular(path, &metadata)?;
    Ok((file, metadata))
}

/// Renames the draft unless something came to be at `path` meanwhile.
pub(crate) fn put_in_place(draft: &Path, path: &Path) -> io::Result<()> {
    let from = CString::new(draft.as_os_str().as_bytes())?;
    let to = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: both strings end in NUL and outlive the call.
    let renamed = unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            libc::AT_FDCWD,
            from.as_ptr(),
            libc::AT_FDCWD,
            to.as_ptr(),
            libc::RENAME_NOREPLACE,
        )
    };
    if renamed == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        // A file system without that flag: a link refuses an existing name as well.
        Some(libc::EINVAL | libc::ENOSYS) => {
            std::fs::hard_link(draft, path)?;
            std::fs::remove_file(draft)
        }
        _ => Err(error),
    }
}

/// Makes the store's name durable.
pub(crate) fn sync_directory(path: &Path) -> Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|e| Error::io("flushing the store's directory", path, e))
}

/// Refuses to take over a file that no maker of drafts has left: those begin as LMDB's files do, or
/// with zeros where their meta pages are still to come.
pub(crate) fn refuse_others(draft: &Path, file: &File) -> Result<()> {
    if head::is_begun(file).map_err(|e| Error::io("looking at a draft", draft, e))? {
        return Ok(());
    }
    Err(Error::InvalidPath {
        path: draft.into(),
        why: "a file that is no store's is there, under the name of a draft; move it, or give another path",
    })
}

/// Has the system begin to read the file's first `len` bytes. It is advice: whether it is taken does
/// not matter.
pub(crate) fn read_ahead(file: &File, len: u64) {
    // More than this may push out what others need, and what was read first before it is used.
    const MOST: u64 = 1 << 30;
    let len = len.min(MOST) as libc::off_t;
    // SAFETY: touches no memory; the descriptor is open.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, len, libc::POSIX_FADV_WILLNEED) };
}

/// Writes zeros from `start` to `end`.
pub(crate) fn write_zeros(file: &std::fs::File, start: u64, end: u64) -> std::io::Result<()> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    let mut at = start;
    while at < end {
        let step = (end - at).min(ZEROS.len() as u64) as usize;
        file.write_all_at(&ZEROS[..step], at)?;
        at += step as u64;
    }
    Ok(())
}
