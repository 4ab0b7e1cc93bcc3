//! The primitives of the commit queue: the standard library's, or loom's where the queue is
//! model-checked.

pub(crate) mod commit_queue;
pub(crate) mod deadline;
pub(crate) mod exclusion;
pub(crate) mod fifo;
pub(crate) mod process;
pub(crate) mod read_permits;
pub(crate) mod reader_queue;

use std::sync::PoisonError;
use std::time::{Duration, Instant};
#[cfg(not(loom))]
pub(crate) use std::{
    hint,
    sync::{atomic::AtomicBool, Arc, Condvar, Mutex, MutexGuard},
};

#[cfg(loom)]
pub(crate) use loom::{
    hint,
    sync::{atomic::AtomicBool, Arc, Condvar, Mutex, MutexGuard},
};

/// What the clock says. In a model there is none: what it checks must not hang on how long
/// something took.
pub(crate) fn clock() -> Option<Instant> {
    (!cfg!(loom)).then(Instant::now)
}

/// Waits until `condition` is told, or for so long: whatever comes first, so that who waits has to
/// look what is true now.
///
/// In a model this can end at any moment: no wait there may count on being told.
pub(crate) fn doze<'a, T>(
    condition: &Condvar,
    mutex: &'a Mutex<T>,
    guard: MutexGuard<'a, T>,
    longest: Duration,
) -> MutexGuard<'a, T> {
    #[cfg(loom)]
    {
        let _ = (condition, longest);
        drop(guard);
        loom::thread::yield_now();
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }
    #[cfg(not(loom))]
    {
        let _ = mutex;
        let (guard, _) = condition
            .wait_timeout(guard, longest)
            .unwrap_or_else(PoisonError::into_inner);
        guard
    }
}
