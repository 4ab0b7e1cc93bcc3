//! Whether a file system overwrites a file's blocks where they are.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use nix::sys::statfs::{fstatfs, FsType, BTRFS_SUPER_MAGIC};

/// bcachefs's number (linux/magic.h).
const BCACHEFS_MAGIC: FsType = FsType(0xca45_1a4e);
/// The flag of files whose blocks are overwritten in place (linux/fs.h, `FS_NOCOW_FL`).
const NO_COPY_ON_WRITE: libc::c_int = 0x0080_0000;

/// Whether the file system writes what is overwritten to new blocks, unless a file has the flag.
pub(crate) fn copies_on_write(file: &File) -> bool {
    let kind = fstatfs(file).map(|facts| facts.filesystem_type());
    matches!(kind, Ok(kind) if kind == BTRFS_SUPER_MAGIC || kind == BCACHEFS_MAGIC)
}

/// Whether the file has the flag.
pub(crate) fn is_overwritten_in_place(file: &File) -> bool {
    matches!(flags(file), Ok(flags) if flags & NO_COPY_ON_WRITE != 0)
}

/// Gives the file the flag, which only an empty file takes.
pub(crate) fn overwrite_in_place(file: &File) -> io::Result<()> {
    let flags = flags(file)? | NO_COPY_ON_WRITE;
    // SAFETY: the kernel reads one `int` from `flags`, which outlives the call.
    checked(unsafe { libc::ioctl(file.as_raw_fd(), libc::FS_IOC_SETFLAGS, &flags) })
}

fn flags(file: &File) -> io::Result<libc::c_int> {
    let mut flags: libc::c_int = 0;
    // SAFETY: the kernel writes one `int` to `flags`, which outlives the call.
    checked(unsafe { libc::ioctl(file.as_raw_fd(), libc::FS_IOC_GETFLAGS, &mut flags) })?;
    Ok(flags)
}

fn checked(result: libc::c_int) -> io::Result<()> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
