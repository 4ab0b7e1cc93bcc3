//! Whether the process has address space for a map.

use std::ptr;

/// What a map leaves to the rest of the process, in bytes: as much as it takes itself, but no more
/// than the greater of this and an eighth of it.
const MARGIN: usize = 64 << 20;

/// Whether a mapping of this size can be made at this moment, and leaves the process address space
/// to go on with: for thread stacks, its heap, and the other files that it maps.
pub(crate) fn address_space_beside(size: usize) -> bool {
    let margin = size.min(MARGIN.max(size / 8));
    size.checked_add(margin).is_some_and(address_space_for)
}

/// Whether a mapping of this size can be made at this moment, whatever it leaves.
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
