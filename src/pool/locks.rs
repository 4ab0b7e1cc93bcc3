//! One writer per device: a lock by name, in this process, for as long as an update's callback runs.

use crate::env::{process_stamp, Deadline};
use crate::error::{Quoted, Result};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The devices that are locked.
#[derive(Clone, Default)]
pub(crate) struct DeviceLocks(Arc<Inner>);

#[derive(Default)]
struct Inner {
    held: Mutex<Held>,
    freed: Condvar,
}

/// The devices that are locked, each with those who wait for it: first come, first served, so that a thread that
/// writes one device over and over does not keep others from it.
#[derive(Default)]
struct Held {
    names: HashMap<Arc<[u8]>, VecDeque<u64>, BuildHasherDefault<NameHasher>>,
    tickets: u64,
}

/// The digest's hash, which takes a tenth of the standard library's time for a name. Whoever chooses names to meet in
/// one place of the table slows down the writes to those very devices.
#[derive(Default)]
struct NameHasher(u64);

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    fn write_usize(&mut self, length: usize) {
        self.0 ^= length as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Held {
    /// Takes the lock, or a ticket for it.
    fn lock_or_wait(&mut self, name: &Arc<[u8]>) -> Option<u64> {
        match self.names.entry(Arc::clone(name)) {
            Entry::Vacant(free) => {
                free.insert(VecDeque::new());
                None
            }
            Entry::Occupied(mut line) => {
                self.tickets += 1;
                line.get_mut().push_back(self.tickets);
                Some(self.tickets)
            }
        }
    }

    fn waits(&self, name: &[u8], ticket: u64) -> bool {
        self.names
            .get(name)
            .is_some_and(|line| line.contains(&ticket))
    }

    fn give_up(&mut self, name: &[u8], ticket: u64) {
        if let Some(line) = self.names.get_mut(name) {
            line.retain(|other| *other != ticket);
        }
    }

    /// Passes the lock on; false if nobody waits for it.
    fn pass_on(&mut self, name: Arc<[u8]>) -> bool {
        let Entry::Occupied(mut line) = self.names.entry(name) else {
            return false;
        };
        let passed_on = line.get_mut().pop_front().is_some();
        if !passed_on {
            line.remove();
        }
        passed_on
    }
}

/// One device's lock, held until dropped; from any thread.
pub(crate) struct DeviceLock {
    locks: DeviceLocks,
    name: Arc<[u8]>,
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

    /// How many threads wait for a device.
    pub fn waiting(&self) -> usize {
        self.held().names.values().map(VecDeque::len).sum()
    }

    fn guard(&self, name: Arc<[u8]>) -> DeviceLock {
        DeviceLock {
            locks: self.clone(),
            name,
            stamp: process_stamp(),
        }
    }

    /// Locks the device, unless it is locked.
    pub fn try_lock(&self, name: &[u8]) -> Option<DeviceLock> {
        match self.held().names.entry(Arc::from(name)) {
            Entry::Occupied(_) => None,
            Entry::Vacant(free) => {
                let name = Arc::clone(free.key());
                free.insert(VecDeque::new());
                Some(self.guard(name))
            }
        }
    }

    /// Locks the device, waiting until `deadline` while it is locked.
    pub fn lock(&self, name: &[u8], deadline: &Deadline) -> Result<DeviceLock> {
        let shared = Arc::from(name);
        let mut held = self.held();
        let Some(ticket) = held.lock_or_wait(&shared) else {
            return Ok(self.guard(shared));
        };
        // Whoever had the lock has taken this ticket out of the line: it is ours.
        while held.waits(name, ticket) {
            let left = deadline.left();
            if left.is_zero() {
                held.give_up(name, ticket);
                return Err(deadline.expired(format!(
                    "device {}, which another update of this process has locked",
                    Quoted(name)
                )));
            }
            held = match self.0.freed.wait_timeout(held, left) {
                Ok((held, _)) => held,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        Ok(self.guard(shared))
    }
}

impl DeviceLock {
    /// The device that is locked.
    pub fn name(&self) -> &[u8] {
        &self.name
    }
}

impl Drop for DeviceLock {
    fn drop(&mut self) {
        // In a forked child it is the parent's, and the list may be locked for ever.
        if self.stamp != process_stamp() {
            return;
        }
        let name = Arc::clone(&self.name);
        if self.locks.held().pass_on(name) {
            self.locks.0.freed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn who_waits_comes_before_who_had_it() {
        let locks = DeviceLocks::default();
        let now = || Deadline::after(Duration::ZERO);
        let held = locks.lock(b"a", &now()).unwrap();
        assert!(locks.lock(b"b", &now()).is_ok());
        assert!(locks.try_lock(b"a").is_none());
        assert!(locks.try_lock(b"b").is_some());
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| {
                let got = locks.lock(b"a", &Deadline::after(Duration::from_secs(60)));
                std::thread::sleep(Duration::from_millis(50));
                got.is_ok()
            });
            while locks.held().names[&b"a"[..]].is_empty() {
                std::thread::yield_now();
            }
            drop(held);
            assert!(locks.lock(b"a", &now()).is_err());
            assert!(waits.join().unwrap());
        });
        assert!(locks.held().names.is_empty());
        assert!(locks.lock(b"a", &now()).is_ok());
    }
}
