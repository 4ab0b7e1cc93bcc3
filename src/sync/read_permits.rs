//! Reader slots: who holds slot `i` has reader `i` of every store of the process to itself.
//!
//! Taking a slot is one compare-and-swap, giving it back one store, and that store is the last
//! thing a short read touches. What a read must not meet, as the end of its store, is announced
//! first, where a read looks once it has its slot; after that, [`wait_for_reads`] waits until each
//! slot was free once. All in one order (`SeqCst`), so that a read either sees what was announced
//! or is waited for. Reads of other stores go on meanwhile.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::error::Result;
use crate::sync::deadline::Deadline;
use crate::sync::process::{area, SLOTS};

/// A slot counts how often it was taken and given back: it is held while that is odd.
fn is_held(count: u32) -> bool {
    count % 2 == 1
}

/// How often a read of this process has waited, for a slot here or a place in LMDB's reader table,
/// and in vain.
pub(crate) static WAITS: AtomicU64 = AtomicU64::new(0);
pub(crate) static REFUSALS: AtomicU64 = AtomicU64::new(0);

/// One slot, held until dropped.
pub(crate) struct Slot {
    index: usize,
    /// The slot's count since it was taken.
    count: u32,
}

impl Slot {
    /// Takes a slot, waiting until `deadline` while all are held.
    #[inline]
    pub fn acquire(deadline: &Deadline) -> Result<Slot> {
        match Slot::try_acquire() {
            Some(slot) => Ok(slot),
            None => Slot::acquire_any(home(), deadline),
        }
    }

    /// Takes the slot that this thread tries first, at once or not at all.
    #[inline]
    pub fn try_acquire() -> Option<Slot> {
        take(home())
    }

    #[cold]
    fn acquire_any(first: usize, deadline: &Deadline) -> Result<Slot> {
        let any = || (1..=SLOTS).find_map(|step| take((first + step) % SLOTS));
        if let Some(slot) = any() {
            return Ok(slot);
        }
        WAITS.fetch_add(1, Ordering::Relaxed);
        deadline
            .poll("a reader slot of this process", || Ok(any()))
            .inspect_err(|_| {
                REFUSALS.fetch_add(1, Ordering::Relaxed);
            })
    }

    /// Which slot this is, below [`SLOTS`].
    pub fn index(&self) -> usize {
        self.index
    }
}

impl Drop for Slot {
    #[inline]
    fn drop(&mut self) {
        area().slots[self.index]
            .count
            .store(self.count.wrapping_add(1), Ordering::Release);
    }
}

/// Waits until every read has ended that had a slot when this was called: no more of those that
/// come later is to begin what they must not be at, which the caller has seen to.
pub(crate) fn wait_for_reads(deadline: &Deadline) -> Result<()> {
    for slot in &area().slots {
        let seen = slot.count.load(Ordering::SeqCst);
        if is_held(seen) {
            deadline.poll("reads that are in flight", || {
                let ended = slot.count.load(Ordering::SeqCst) != seen;
                Ok(ended.then_some(()))
            })?;
        }
    }
    Ok(())
}

#[inline]
fn take(index: usize) -> Option<Slot> {
    let slot = &area().slots[index].count;
    let free = slot.load(Ordering::Relaxed);
    let count = free.wrapping_add(1);
    let taken = !is_held(free)
        && slot
            .compare_exchange(free, count, Ordering::SeqCst, Ordering::Relaxed)
            .is_ok();
    taken.then_some(count).map(|count| Slot { index, count })
}

/// The slot that this thread tries first: threads are spread over the slots in the order in which
/// they come.
fn home() -> usize {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    thread_local! {
        static HOME: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    HOME.try_with(|home| {
        let mut index = home.get();
        if index == usize::MAX {
            index = NEXT.fetch_add(1, Ordering::Relaxed) as usize % SLOTS;
            home.set(index);
        }
        index
    })
    .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::time::{Duration, Instant};

    use super::*;

    /// Reads that follow each other without a pause, as many threads make them, must not keep a
    /// store from being closed.
    #[test]
    fn reads_end_though_a_slot_is_taken_again_and_again() {
        let (begun, stop) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let slot = Slot::acquire(&Deadline::after(Duration::from_secs(60))).unwrap();
                    begun.store(true, Ordering::Relaxed);
                    let start = Instant::now();
                    while start.elapsed() < Duration::from_millis(3) {}
                    drop(slot);
                }
            });
            while !begun.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            let ended =
                [(); 3].map(|()| wait_for_reads(&Deadline::after(Duration::from_secs(60))).is_ok());
            stop.store(true, Ordering::Relaxed);
            assert_eq!(ended, [true; 3]);
        });
    }

    #[test]
    fn a_read_is_waited_for_until_its_end() {
        let slot = Slot::acquire(&Deadline::after(Duration::from_secs(60))).unwrap();
        let short = Deadline::after(Duration::from_millis(10));
        assert!(wait_for_reads(&short).is_err());
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| {
                let waited = wait_for_reads(&Deadline::after(Duration::from_secs(60)));
                waited.is_ok() && ended.load(Ordering::SeqCst)
            });
            std::thread::sleep(Duration::from_millis(20));
            ended.store(true, Ordering::SeqCst);
            drop(slot);
            assert!(waits.join().unwrap());
        });
    }
}
