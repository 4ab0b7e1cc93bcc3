//! One writer per device: a lock by name, in this process, for as long as an update's callback runs.

use crate::env::{process_stamp, Deadline};
use crate::error::{Quoted, Result};
use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

/// The devices that are locked.
#[derive(Clone, Default)]
pub(crate) struct DeviceLocks(Arc<Inner>);

#[derive(Default)]
struct Inner {
    held: Mutex<Held>,
    freed: Condvar,
}

#[derive(Default)]
struct Held {
    names: HashSet<Box<[u8]>>,
    /// How many wait: waking costs a system call even where nobody does.
    waiting: usize,
}

/// One device's lock, held until dropped; from any thread.
pub(crate) struct DeviceLock {
    locks: DeviceLocks,
    name: Box<[u8]>,
    /// The process that took it.
    stamp: u64,
}

impl DeviceLocks {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0
            .held
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Locks the device, waiting until `deadline` while it is locked.
    pub fn lock(&self, name: &[u8], deadline: &Deadline) -> Result<DeviceLock> {
        let mut held = self.held();
        while held.names.contains(name) {
            let left = deadline.left();
            if left.is_zero() {
                return Err(deadline.expired(format!(
                    "device {}, which another update of this process has locked",
                    Quoted(name)
                )));
            }
            held.waiting += 1;
            held = match self.0.freed.wait_timeout(held, left) {
                Ok((held, _)) => held,
                Err(poisoned) => poisoned.into_inner().0,
            };
            held.waiting -= 1;
        }
        held.names.insert(name.into());
        Ok(DeviceLock {
            locks: self.clone(),
            name: name.into(),
            stamp: process_stamp(),
        })
    }
}

impl Drop for DeviceLock {
    fn drop(&mut self) {
        // In a forked child it is the parent's, and the list may be locked for ever.
        if self.stamp != process_stamp() {
            return;
        }
        let mut held = self.locks.held();
        held.names.remove(&self.name);
        let wake = held.waiting > 0;
        drop(held);
        if wake {
            self.locks.0.freed.notify_all();
        }
    }
}
