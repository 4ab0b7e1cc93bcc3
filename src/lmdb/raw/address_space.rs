//! Whether the process has address space for a map.

use std::ptr;

/// Whether a mapping of this size can be made at this moment.
pub(crate) fn address_space_for(size: usize) -> bool {
    // SAFETY: asks for new memory without using it.
    let addr = unsafe {
        libc::mmap(
            ptr::null_mut(),
            size,
            libc::PROT_NONE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if addr == libc::MAP_FAILED {
        return false;
    }
    // SAFETY: unmaps exactly the range that was just mapped.
    unsafe { libc::munmap(addr, size) };
    true
}
