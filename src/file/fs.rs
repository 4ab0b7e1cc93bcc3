//! Files as the file system has them: opening one, checking that it is still the one at its path,
//! renaming without replacing, flushing a directory, writing zeros.

use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{posix_fadvise, PosixFadviseAdvice};

use crate::error::{Error, Missing, Result};
use crate::file::open_files::Listed;
use crate::file::path::{refuse_irregular, resolve};
use crate::file::process_lock::FileLock;
use crate::sync::deadline::Deadline;

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
            why: "it is open as a store in this or another process, and may change while it is \
                  read; close it first, or make a backup and use that",
        });
    }
    Ok(())
}

/// Whether the file is still at the path.
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

/// Opens the data file, to look at it, and for the locks and the preallocation that LMDB does not
/// do.
pub(crate) fn open_file(
    path: &Path,
    read_only: bool,
    deadline: &Deadline,
) -> Result<(File, Metadata)> {
    let fail = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound => Error::NoSuchFile {
            path: path.into(),
            why: "the file does not exist, and opening it for reading does not create it",
        },
        _ => Error::io("opening the file", path, e),
    };
    // Before it is opened: opening a device or a pipe could have effects.
    let found = std::fs::metadata(path).map_err(fail)?;
    refuse_irregular(path, &found)?;
    Listed::hold(deadline)?.refuse_lock_file(path, &found)?;
    let file = File::options()
        .read(true)
        .write(!read_only)
        .custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    refuse_irregular(path, &metadata)?;
    Ok((file, metadata))
}

/// Renames a file unless something is at the new name.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    let refused = match rename_no_replace(from, to) {
        Ok(()) => return Ok(()),
        // No such call here, no such flag of the file system, or a sandbox that does not know it.
        Err(e @ (Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::EPERM)) => e,
        Err(error) => return Err(error.into()),
    };
    // A link refuses an existing name as well.
    match std::fs::hard_link(from, to) {
        Ok(()) => std::fs::remove_file(from),
        // Neither is allowed: this is about rights.
        Err(e) if refused == Errno::EPERM && e.raw_os_error() == Some(libc::EPERM) => Err(e),
        Err(e) => Err(mark_links(
            "hard links, and renames that replace nothing (renameat2),",
            e,
        )),
    }
}

/// Gives a file a second name unless something has it.
pub(crate) fn link_new(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::hard_link(from, to).map_err(|e| mark_links("hard links", e))
}

/// File systems without links say that they are not permitted. To a file that this process may
/// write, they are.
fn mark_links(what: &'static str, error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::EPERM) => Missing::marked(what, error),
        _ => Missing::mark(what, error),
    }
}

/// Gives a file that this process has just made these permissions.
pub(crate) fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    let what = "permissions of files (chmod)";
    file.set_permissions(Permissions::from_mode(mode))
        .map_err(|error| match error.raw_os_error() {
            // The owner is permitted to, except where there are none.
            Some(libc::EPERM) => Missing::marked(what, error),
            _ => Missing::mark(what, error),
        })
}

#[cfg(target_env = "gnu")]
fn rename_no_replace(from: &Path, to: &Path) -> nix::Result<()> {
    use nix::fcntl::{renameat2, RenameFlags, AT_FDCWD};
    renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE)
}

/// The C library has no such function.
#[cfg(not(target_env = "gnu"))]
fn rename_no_replace(_: &Path, _: &Path) -> nix::Result<()> {
    Err(Errno::ENOSYS)
}

/// Flushes the directory of `path` to disk, which makes a new name durable.
pub(crate) fn sync_directory(path: &Path) -> Result<()> {
    let directory = open_directory(path)?;
    directory
        .sync_all()
        .map_err(|e| Missing::mark("flushes of directories (fsync)", e))
        .map_err(|e| Error::io("flushing the store's directory", path, e))
}

/// Makes sure that [`sync_directory`] can be called, before a file is made there.
pub(crate) fn check_directory(path: &Path) -> Result<()> {
    open_directory(path).map(drop)
}

fn open_directory(path: &Path) -> Result<File> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let doing = "reading the directory, without which it cannot be flushed (chmod u+r)";
    File::open(directory).map_err(|e| match e.kind() {
        io::ErrorKind::PermissionDenied => Error::io(doing, directory, e),
        _ => Error::io("opening the store's directory", path, e),
    })
}

/// Has the system begin to read the file's first `len` bytes. This is advice, which need not be
/// taken.
pub(crate) fn read_ahead(file: &File, len: u64) {
    // More than this may push out what others need, and what was read first before it is used.
    const MOST: u64 = 1 << 30;
    let len = len.min(MOST) as libc::off_t;
    let _ = posix_fadvise(file, 0, len, PosixFadviseAdvice::POSIX_FADV_WILLNEED);
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
