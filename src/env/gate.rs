//! One writer at a time in this process.

use super::Deadline;
use crate::error::Result;
use std::sync::{Condvar, Mutex, MutexGuard};

/// Lets one writer of this process through at a time.
#[derive(Default)]
pub(super) struct WriterGate {
    busy: Mutex<bool>,
    freed: Condvar,
}

/// This thread is the process's writer until this is dropped.
pub(super) struct Writer<'a>(&'a WriterGate);

impl WriterGate {
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.busy
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn acquire(&self, deadline: &Deadline) -> Result<Writer<'_>> {
        let mut busy = self.lock();
        while *busy {
            let left = deadline.left();
            if left.is_zero() {
                return Err(deadline.expired("another writer of this process"));
            }
            busy = match self.freed.wait_timeout(busy, left) {
                Ok((busy, _)) => busy,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        *busy = true;
        Ok(Writer(self))
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        *self.0.lock() = false;
        self.0.freed.notify_one();
    }
}
