//! Read permits: the thread that holds permit `i` has reader `i` of every store of the process to
//! itself.
//!
//! Taking a permit is one compare-and-swap, releasing it is one store, and that store is the last
//! thing that a short read touches. What a read must not meet, such as the end of its store, is
//! announced first, where a read looks once it has its permit; after that, [`wait_for_reads`] waits
//! until each permit was free once. All of that is in one order (`SeqCst`), so that a read either
//! sees what was announced or is waited for. Reads of other stores go on meanwhile.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::error::Result;
use crate::sync::deadline::Deadline;
use crate::sync::process::{area, PERMITS};

/// A permit counts how often it was taken and released: it is held while that is odd.
fn is_held(count: u32) -> bool {
    count % 2 == 1
}

/// How often a read of this process has waited, for a permit or for a slot in LMDB's reader table.
pub(crate) static WAITS: AtomicU64 = AtomicU64::new(0);
/// How many of those waits have timed out.
pub(crate) static REFUSALS: AtomicU64 = AtomicU64::new(0);

/// One permit, held until dropped.
pub(crate) struct ReadPermit {
    index: usize,
    /// The permit's count since it was taken.
    count: u32,
    /// Two threads that shared it would share a reader.
    _not_sync: PhantomData<Cell<()>>,
}

impl ReadPermit {
    /// Takes a permit, waiting until `deadline` while all are held.
    #[inline]
    pub fn acquire(deadline: &Deadline) -> Result<ReadPermit> {
        match ReadPermit::try_acquire() {
            Some(permit) => Ok(permit),
            None => ReadPermit::acquire_any(home(), deadline),
        }
    }

    /// Takes the permit that this thread tries first, without waiting.
    #[inline]
    pub fn try_acquire() -> Option<ReadPermit> {
        take(home())
    }

    #[cold]
    fn acquire_any(first: usize, deadline: &Deadline) -> Result<ReadPermit> {
        let any = || (1..=PERMITS).find_map(|step| take((first + step) % PERMITS));
        if let Some(permit) = any() {
            return Ok(permit);
        }
        WAITS.fetch_add(1, Ordering::Relaxed);
        deadline
            .poll("a read permit of this process", || Ok(any()))
            .inspect_err(|_| {
                REFUSALS.fetch_add(1, Ordering::Relaxed);
            })
    }

    /// Which permit this is, below [`PERMITS`].
    pub fn index(&self) -> usize {
        self.index
    }
}

impl Drop for ReadPermit {
    #[inline]
    fn drop(&mut self) {
        area().permits[self.index]
            .count
            .store(self.count.wrapping_add(1), Ordering::Release);
    }
}

/// Waits until every read has ended that had a permit when this was called. The caller has seen to
/// it that no later read begins what this waits for the end of.
pub(crate) fn wait_for_reads(deadline: &Deadline) -> Result<()> {
    for permit in &area().permits {
        let seen = permit.count.load(Ordering::SeqCst);
        if is_held(seen) {
            deadline.poll("reads that are in flight", || {
                let ended = permit.count.load(Ordering::SeqCst) != seen;
                Ok(ended.then_some(()))
            })?;
        }
    }
    Ok(())
}

#[inline]
fn take(index: usize) -> Option<ReadPermit> {
    let permit = &area().permits[index].count;
    let free = permit.load(Ordering::Relaxed);
    let count = free.wrapping_add(1);
    let taken = !is_held(free)
        && permit
            .compare_exchange(free, count, Ordering::SeqCst, Ordering::Relaxed)
            .is_ok();
    // Made only if it was taken: dropping one releases it.
    taken.then(|| ReadPermit {
        index,
        count,
        _not_sync: PhantomData,
    })
}

/// The permit that this thread tries first: threads are spread over the permits in the order in
/// which they first read.
fn home() -> usize {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    thread_local! {
        static HOME: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    HOME.try_with(|home| {
        let mut index = home.get();
        if index == usize::MAX {
            index = NEXT.fetch_add(1, Ordering::Relaxed) as usize % PERMITS;
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
    fn permit_taken_again_and_again_does_not_block_the_wait_for_reads() {
        let (begun, stop) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let minute = Deadline::after(Duration::from_secs(60));
                    let permit = ReadPermit::acquire(&minute).unwrap();
                    begun.store(true, Ordering::Relaxed);
                    let start = Instant::now();
                    while start.elapsed() < Duration::from_millis(3) {}
                    drop(permit);
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
    fn refused_take_leaves_the_permit_held() {
        let permit = ReadPermit::acquire(&Deadline::after(Duration::from_secs(60))).unwrap();
        assert!(take(permit.index()).is_none());
        assert!(take(permit.index()).is_none());
    }

    #[test]
    fn wait_for_reads_ends_with_the_last_read() {
        let permit = ReadPermit::acquire(&Deadline::after(Duration::from_secs(60))).unwrap();
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
            drop(permit);
            assert!(waits.join().unwrap());
        });
    }
}
