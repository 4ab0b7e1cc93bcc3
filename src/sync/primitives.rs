//! The primitives that threads wait on: the standard library's, or loom's in a model.

use std::sync::{LockResult, TryLockError};
use std::time::{Duration, Instant};

#[cfg(not(loom))]
pub(crate) use std::sync::{Arc, Condvar, Mutex, MutexGuard};

#[cfg(loom)]
pub(crate) use loom::sync::{Arc, Condvar, Mutex, MutexGuard};

/// In a model, a wait of at least this length never ends by itself, and a shorter one may end at
/// any moment.
#[cfg(loom)]
pub(crate) const ENDLESS: Duration = Duration::from_secs(3600);

/// The result of a lock or a wait, whether or not another thread has panicked with the mutex held.
///
/// What a mutex of this crate guards is whole between any two steps that could panic, so it can be
/// used after a panic, too.
pub(crate) fn unpoisoned<T>(result: LockResult<T>) -> T {
    result.unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Locks a mutex that nothing holds for long.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    unpoisoned(mutex.lock())
}

/// Locks a mutex, unless it is locked.
pub(crate) fn try_lock<T>(mutex: &std::sync::Mutex<T>) -> Option<std::sync::MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Waits on `condition` until it is notified.
pub(crate) fn wait<'a, T>(condition: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    unpoisoned(condition.wait(guard))
}

/// Waits on `condition` until it is notified, for at most `longest`: the caller has to look which
/// of the two it was.
pub(crate) fn wait_timeout<'a, T>(
    condition: &Condvar,
    mutex: &'a Mutex<T>,
    guard: MutexGuard<'a, T>,
    longest: Duration,
) -> MutexGuard<'a, T> {
    #[cfg(loom)]
    {
        if longest >= ENDLESS {
            return wait(condition, guard);
        }
        drop(guard);
        loom::thread::yield_now();
        lock(mutex)
    }
    #[cfg(not(loom))]
    {
        let _ = mutex;
        unpoisoned(condition.wait_timeout(guard, longest)).0
    }
}

/// The present moment; none in a model, whose outcome must not depend on how long something takes.
pub(crate) fn now() -> Option<Instant> {
    (!cfg!(loom)).then(Instant::now)
}
