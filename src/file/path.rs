//! Where a store and what belongs to it are, and what may be there.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use crate::error::{Error, Result};

/// Where LMDB keeps its reader table and locks.
pub(crate) fn lock_path(path: &Path) -> PathBuf {
    with_suffix(path, "-lock")
}

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Where this process finds its descriptors by their numbers.
pub(crate) const DESCRIPTORS: &str = "/proc/self/fd";

/// Longest name of a file in bytes, in all common file systems (`NAME_MAX` of limits.h).
const NAME_MAX: usize = 255;
/// Longest path in bytes: the system's `PATH_MAX` counts the NUL behind it.
pub(crate) const LONGEST_PATH: usize = libc::PATH_MAX as usize - 1;

/// Whether the path, or its last name, is longer than the system takes.
pub(crate) fn is_too_long(path: &Path) -> bool {
    let name_len = path.file_name().map_or(0, |name| name.len());
    path.as_os_str().len() > LONGEST_PATH || name_len > NAME_MAX
}

/// Makes sure that no file gets the number of a standard stream that the program has closed: what
/// is printed there would be written into the store. What takes such a number here can, like a
/// closed stream, neither be written nor read; it is closed by an `exec`.
pub(crate) fn keep_standard_streams() {
    // The system gives out the lowest number that is free.
    let mut options = File::options();
    options.read(true).custom_flags(libc::O_PATH);
    while let Ok(root) = options.open("/") {
        if root.as_raw_fd() > libc::STDERR_FILENO {
            break;
        }
        let _ = root.into_raw_fd();
    }
}

/// Why a path of more than 4,090 bytes cannot be that of a store.
pub(crate) const TOO_LONG: &str = "it is too long: beside the 5 bytes that its -lock file adds, a \
                                   store's whole path may have 4,090 bytes, and its name 250";

/// The one path that stands for the file, so that every process finds the same `-lock` file.
pub(crate) fn resolve(path: &Path) -> Result<PathBuf> {
    keep_standard_streams();
    let invalid = |why| Error::InvalidPath {
        path: path.into(),
        why,
    };
    let bytes = path.as_os_str().as_encoded_bytes();
    if bytes.is_empty() {
        return Err(invalid("it is empty"));
    }
    if bytes.contains(&0) {
        return Err(invalid("it holds a NUL byte"));
    }
    if bytes.len() > LONGEST_PATH {
        return Err(invalid(TOO_LONG));
    }
    let resolved = match path.canonicalize() {
        Ok(resolved) => resolved,
        Err(e) if e.kind() == io::ErrorKind::NotFound => resolve_absent(path, invalid)?,
        Err(_) if is_too_long(path) => return Err(invalid(TOO_LONG)),
        Err(e) => return Err(Error::io("finding the file", path, e)),
    };
    // The `-lock` file's name is the longest that an open uses; found too late, a store would be
    // left without one.
    match is_too_long(&lock_path(&resolved)) {
        true => Err(invalid(TOO_LONG)),
        false => Ok(resolved),
    }
}

fn resolve_absent(path: &Path, invalid: impl Fn(&'static str) -> Error) -> Result<PathBuf> {
    // If a file is there by now that is no link, another process has just created it.
    if path
        .symlink_metadata()
        .is_ok_and(|found| found.is_symlink())
    {
        return Err(invalid(
            "it is a symbolic link to a file that does not exist",
        ));
    }
    let Some(name) = path.file_name() else {
        return Err(invalid("it does not end in a file name"));
    };
    if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Err(invalid("it ends in a slash"));
    }
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    match directory.canonicalize() {
        Ok(directory) => Ok(directory.join(name)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(Error::NoSuchFile {
            path: path.into(),
            why: "its directory does not exist; create the directory first",
        }),
        Err(e) => Err(Error::io("finding the directory", path, e)),
    }
}

/// Refuses a file that belongs to another user where this library would write to it: in a directory
/// that all may write to, its name can be taken before the store is made. Root may do anything
/// anyway, and so may the owner of the store that it belongs to.
pub(crate) fn refuse_other_owner(path: &Path, found: &Metadata, store: &Path) -> Result<()> {
    let owner = found.uid();
    let trusted = || std::fs::symlink_metadata(store).is_ok_and(|store| store.uid() == owner);
    if owner == 0 || owner == geteuid().as_raw() || trusted() {
        return Ok(());
    }
    Err(Error::OtherOwner {
        path: path.into(),
        owner,
    })
}

/// Refuses what is not a regular file.
pub(crate) fn refuse_irregular(path: &Path, metadata: &Metadata) -> Result<()> {
    let kind = metadata.file_type();
    let kind = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_dir() => "directory",
        () if kind.is_socket() => "socket",
        () if kind.is_fifo() => "named pipe",
        () => "device",
    };
    Err(Error::NotRegularFile {
        path: path.into(),
        kind,
    })
}
