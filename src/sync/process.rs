//! What belongs to this process and must not survive into a forked child: its stamp and the read
//! permits.
//!
//! Both live in one anonymous mapping that the kernel replaces by zeros in a forked child
//! (`MADV_WIPEONFORK`, Linux 4.14). So one load from memory, instead of a system call per
//! operation, distinguishes a child from its parent, raw `clone` calls included, and permits that
//! other threads held at the moment of the fork are free in the child.
#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::OnceLock;

/// How many short reads can run at the same moment in one process.
pub(crate) const PERMITS: usize = 64;

/// One permit's state, alone on its cache lines (two, since processors fetch lines in pairs).
#[repr(C, align(128))]
pub(crate) struct PermitState {
    pub count: AtomicU32,
}

impl PermitState {
    #[allow(clippy::declare_interior_mutable_const)] // the first state of each, never used in place
    const FREE: PermitState = PermitState {
        count: AtomicU32::new(0),
    };
}

/// All zeros is its first state, in a new process as in a forked child.
#[repr(C)]
pub(crate) struct Area {
    stamp: AtomicU64,
    pub permits: [PermitState; PERMITS],
}

struct Mapped {
    area: NonNull<Area>,
    wiped_on_fork: bool,
}

// SAFETY: the area is only reached through shared references, and all its fields are atomics.
unsafe impl Send for Mapped {}
// SAFETY: the area's fields are atomics, which threads may share.
unsafe impl Sync for Mapped {}

fn mapped() -> &'static Mapped {
    static MAPPED: OnceLock<Mapped> = OnceLock::new();
    MAPPED.get_or_init(map)
}

fn map() -> Mapped {
    let len = std::mem::size_of::<Area>();
    // SAFETY: asks for new memory; touches none that exists.
    let addr = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if addr != libc::MAP_FAILED {
        if let Some(area) = NonNull::new(addr.cast::<Area>()) {
            // SAFETY: the range is the mapping that was just made.
            let advised = unsafe { libc::madvise(addr, len, libc::MADV_WIPEONFORK) };
            return Mapped {
                area,
                wiped_on_fork: advised == 0,
            };
        }
    }
    // No page to be had: a static serves, and only the process id distinguishes a child.
    static FALLBACK: Area = Area {
        stamp: AtomicU64::new(0),
        permits: [PermitState::FREE; PERMITS],
    };
    Mapped {
        area: NonNull::from(&FALLBACK),
        wiped_on_fork: false,
    }
}

/// This process's area.
pub(crate) fn area() -> &'static Area {
    // SAFETY: the mapping is made once, never unmapped, page-aligned, and zeros are a valid `Area`.
    unsafe { mapped().area.as_ref() }
}

/// A number that this process has to itself: a forked child gets another.
pub(crate) fn stamp() -> u64 {
    if !mapped().wiped_on_fork {
        return u64::from(std::process::id());
    }
    match area().stamp.load(Ordering::Relaxed) {
        0 => new_stamp(),
        stamp => stamp,
    }
}

#[cold]
fn new_stamp() -> u64 {
    // The counter goes on in a child, so a process id that comes up again still makes another
    // stamp.
    static COUNTER: AtomicU32 = AtomicU32::new(1);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let fresh = u64::from(std::process::id()) << 32 | u64::from(count);
    match area()
        .stamp
        .compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed)
    {
        Ok(_) => fresh,
        Err(set_by_another_thread) => set_by_another_thread,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a permit as a read does: its count is odd while it is held.
    fn take_permit() -> &'static PermitState {
        let take = |permit: &&PermitState| {
            let count = permit.count.load(Ordering::SeqCst);
            let order = Ordering::SeqCst;
            count.is_multiple_of(2)
                && permit
                    .count
                    .compare_exchange(count, count + 1, order, order)
                    .is_ok()
        };
        area().permits.iter().find(take).unwrap()
    }

    #[test]
    fn forked_child_has_another_stamp_and_free_permits() {
        let mine = stamp();
        assert_eq!(mine, stamp());
        let permit = take_permit();
        // SAFETY: the child only loads atomics, makes its stamp and exits without running anything
        // else.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let free = |permit: &PermitState| permit.count.load(Ordering::SeqCst) == 0;
            let good = stamp() != mine && area().permits.iter().all(free);
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(if good { 0 } else { 1 }) };
        }
        permit.count.fetch_add(1, Ordering::SeqCst);
        let mut status = 0;
        // SAFETY: waits for the child that was just made; `status` outlives the call.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0);
        assert_eq!(mine, stamp());
    }
}
