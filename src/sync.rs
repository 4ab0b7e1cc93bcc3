//! The primitives of the commit queue: the standard library's, or loom's where the queue is model-checked.

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

/// What the clock says. In a model there is none: what it checks must not hang on how long something took.
pub(crate) fn clock() -> Option<std::time::Instant> {
    (!cfg!(loom)).then(std::time::Instant::now)
}
