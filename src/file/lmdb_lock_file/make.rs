//! Opening the lock file, and making it for whoever can use the store.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::{AtFlags, AT_FDCWD};
use nix::unistd::linkat;

use crate::error::{Error, Result};
use crate::file::access::{Access, Required};
use crate::file::path::DESCRIPTORS;

/// How often a lock file may come and go while it is being opened.
const MOST_TRIES: u32 = 100;

pub(super) fn open(path: &Path) -> io::Result<File> {
    open_with(&mut File::options(), path)
}

/// Opens the lock file for writing, if it is there.
pub(super) fn open_to_write(path: &Path) -> io::Result<File> {
    open_with(File::options().write(true), path)
}

/// Opens the lock file for writing; whether it had to be made.
pub(super) fn open_or_make(path: &Path, access: &Access) -> Result<(File, bool)> {
    let fail = |e| Error::io("opening the lock file", path, e);
    // It can be removed, or made by others, between two of these calls.
    for _ in 0..MOST_TRIES {
        match open_to_write(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            opened => return Ok((opened.map_err(fail)?, false)),
        }
        if let Some(made) = make(path, access)? {
            return Ok((made, true));
        }
    }
    Err(fail(io::ErrorKind::NotFound.into()))
}

/// Makes the lock file, with the store's owner and mode whatever the umask; `None` if one is there
/// by now.
fn make(path: &Path, access: &Access) -> Result<Option<File>> {
    let fail = |e| Error::io("making the lock file", path, e);
    let give = |file: &File| {
        let given = access.give(file, Required::Owner);
        let doing =
            "giving the -lock file to the store's owner (open the store once as that user, \
                     or as root)";
        given.map_err(|e| Error::io(doing, path, e))
    };
    // A process of the store's owner must not find one that it may not open yet.
    if !access.is_own() {
        if let Some(file) = open_unnamed(path).map_err(fail)? {
            give(&file)?;
            return unless_taken(link(&file, path).map(|()| file)).map_err(fail);
        }
    }
    let mut options = File::options();
    let made = open_with(options.write(true).create_new(true).mode(0o600), path);
    let Some(file) = unless_taken(made).map_err(fail)? else {
        return Ok(None);
    };
    if let Err(error) = give(&file) {
        std::fs::remove_file(path).map_err(fail)?;
        return Err(error);
    }
    Ok(Some(file))
}

/// `None` if there is a file already.
fn unless_taken<T>(made: io::Result<T>) -> io::Result<Option<T>> {
    match made {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(None),
        made => made.map(Some),
    }
}

/// Opens a new file that has no name yet, in the directory of `path`; `None` where the file system
/// has no such files, or nothing could give it a name.
fn open_unnamed(path: &Path) -> io::Result<Option<File>> {
    if !Path::new(DESCRIPTORS).exists() {
        return Ok(None);
    }
    let mut options = File::options();
    options.read(true).write(true).mode(0o600);
    options.custom_flags(libc::O_TMPFILE | libc::O_CLOEXEC);
    match options.open(path.parent().unwrap_or(Path::new("/"))) {
        Err(e) if matches!(e.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR)) => Ok(None),
        opened => opened.map(Some),
    }
}

/// Gives a file without a name one that is not taken.
fn link(file: &File, path: &Path) -> io::Result<()> {
    let itself = format!("{DESCRIPTORS}/{}", file.as_raw_fd());
    let follow = AtFlags::AT_SYMLINK_FOLLOW;
    Ok(linkat(AT_FDCWD, &*itself, AT_FDCWD, path, follow)?)
}

fn open_with(options: &mut std::fs::OpenOptions, path: &Path) -> io::Result<File> {
    options
        .read(true)
        .custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
}
