//! Whether a file system has maps of files that processes share, which LMDB works with.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr;

use crate::error::Missing;

/// The error for a file that cannot be mapped as LMDB does it, for a message that says so: of the
/// file systems over a network or in user space, some have no such maps.
pub(crate) fn lacks_shared_maps(file: &File, writable: bool) -> Option<io::Error> {
    const LEN: usize = 4096;
    let access = match writable {
        true => libc::PROT_READ | libc::PROT_WRITE,
        false => libc::PROT_READ,
    };
    // SAFETY: asks for a new map, which nothing uses.
    let map = unsafe {
        let fd = file.as_raw_fd();
        libc::mmap(ptr::null_mut(), LEN, access, libc::MAP_SHARED, fd, 0)
    };
    if map != libc::MAP_FAILED {
        // SAFETY: unmaps exactly the range that was just mapped.
        unsafe { libc::munmap(map, LEN) };
        return None;
    }
    let what = "maps of files that processes share (mmap)";
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENODEV) => Some(Missing::marked(what, error)),
        Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP) => Some(Missing::mark(what, error)),
        _ => None,
    }
}
