//! Reader slots: who holds slot `i` has reader `i` of every store of the process to itself.
//!
//! Taking a slot is one compare-and-swap, giving it back one store, and that store is the last thing a
//! short read touches. Whoever holds *all* slots therefore knows that no short read runs in the process,
//! which is what closing a store and growing its map need, and what makes it safe to free a store that a
//! late caller in another thread still has a handle of.

use super::process::{area, SLOTS};
use super::wait::Deadline;
use crate::error::Result;
use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

const FREE: u32 = 0;
const HELD: u32 = 1;

/// How often a read of this process has waited, for a slot here or a place in LMDB's reader table, and in vain.
pub(super) static WAITS: AtomicU64 = AtomicU64::new(0);
pub(super) static REFUSALS: AtomicU64 = AtomicU64::new(0);

/// One slot, held until dropped.
pub(crate) struct Slot {
    index: usize,
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
        let index = home();
        (!gathering() && take(index)).then(|| Slot { index })
    }

    #[cold]
    fn acquire_any(first: usize, deadline: &Deadline) -> Result<Slot> {
        let any = || {
            if gathering() {
                return None;
            }
            (1..=SLOTS)
                .map(|step| (first + step) % SLOTS)
                .find(|&index| take(index))
                .map(|index| Slot { index })
        };
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
            .state
            .store(FREE, Ordering::Release);
    }
}

/// Every slot, held until dropped: no short read runs in this process.
pub(crate) struct AllSlots(#[allow(dead_code)] Vec<Slot>);

impl AllSlots {
    /// Takes every slot in turn, waiting until `deadline` for those that are held.
    ///
    /// A guard must come to be only once its lock is taken: one made before and thrown away (`then_some`) would
    /// give back what another thread holds.
    pub fn acquire(deadline: &Deadline) -> Result<AllSlots> {
        // Two that gather at once could each hold what the other waits for.
        struct Gathering;
        impl Drop for Gathering {
            fn drop(&mut self) {
                area().gathering.state.store(FREE, Ordering::Release);
            }
        }
        let _turn = deadline.poll("another thread that gathers reader slots", || {
            Ok(try_take(&area().gathering.state).then(|| Gathering))
        })?;
        let mut all = Vec::with_capacity(SLOTS);
        for index in 0..SLOTS {
            all.push(deadline.poll("reads that are in flight", || {
                Ok(take(index).then(|| Slot { index }))
            })?);
        }
        Ok(AllSlots(all))
    }
}

/// Whether a thread gathers all slots: then nobody takes one more, or that thread could wait for ever for a slot
/// that is taken again as soon as it is given back. A slot taken all the same does no harm.
#[inline]
fn gathering() -> bool {
    area().gathering.state.load(Ordering::Relaxed) != FREE
}

fn take(index: usize) -> bool {
    try_take(&area().slots[index].state)
}

fn try_take(lock: &AtomicU32) -> bool {
    lock.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed)
        .is_ok()
}

/// The slot that this thread tries first: threads are spread over the slots in the order in which they come.
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
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::time::{Duration, Instant};

    /// Reads that follow each other without a pause, as many threads make them, must not keep a store from being
    /// closed.
    #[test]
    fn all_slots_are_had_though_one_is_taken_again_and_again() {
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
            let had = [(); 3]
                .map(|()| AllSlots::acquire(&Deadline::after(Duration::from_secs(1))).is_ok());
            stop.store(true, Ordering::Relaxed);
            assert_eq!(had, [true; 3]);
        });
    }
}
