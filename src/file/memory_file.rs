//! Files in memory, which have no name.

use std::fs::File;
use std::io;

use nix::errno::Errno;
use nix::sys::memfd::{memfd_create, MFdFlags};

/// `MFD_NOEXEC_SEAL` of Linux 6.3, which is not in every C library's headers. A system may be set
/// to refuse files without it (`vm.memfd_noexec`); older ones do not know it.
const NO_EXEC: MFdFlags = MFdFlags::from_bits_retain(8);

/// Makes an empty one. `name` is only shown, among this process's descriptors.
pub(crate) fn new(name: &str, flags: MFdFlags) -> io::Result<File> {
    let flags = flags | MFdFlags::MFD_CLOEXEC;
    let made = match memfd_create(name, flags | NO_EXEC) {
        Err(Errno::EINVAL) => memfd_create(name, flags),
        made => made,
    };
    Ok(made?.into())
}
