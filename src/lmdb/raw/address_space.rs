//! Whether the process has address space for a map.

use std::ptr;

use crate::error::{Error, Result};
use crate::limits::MIN_MAP_SIZE;

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

/// The map size asked for, or as much of it as fits into the address space beside what the process
/// needs to go on, in whole pages. The least that opens the store is taken even if it leaves
/// nothing.
pub(crate) fn fitting_map_size(wanted: u64, used: u64, page_size: u64) -> Result<usize> {
    let least = used.max(MIN_MAP_SIZE).next_multiple_of(page_size);
    let mut size = wanted.max(least).next_multiple_of(page_size);
    loop {
        match usize::try_from(size) {
            Ok(fits) if address_space_beside(fits) => return Ok(fits),
            Ok(fits) if size == least && address_space_for(fits) => return Ok(fits),
            _ if size == least => {
                return Err(Error::NoMemory {
                    what: "mapping the store; raise the limit of the address space",
                })
            }
            _ => size = (size / 2).max(least).next_multiple_of(page_size),
        }
    }
}
