//! One writer per device: a lock by name, in this process, for as long as an update's callback
//! runs.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Quoted, Result};
use crate::sync::deadline::Deadline;
use crate::sync::process::stamp as process_stamp;

/// The devices that are locked.
#[derive(Clone, Default)]
pub(crate) struct DeviceLocks(Arc<Mutex<Held>>);

/// The devices that are locked, each with those who wait for it: first come, first served, so that
/// a thread that writes one device over and over does not keep others from it.
#[derive(Default)]
struct Held {
    names: HashMap<Name, VecDeque<Arc<Waiter>>, BuildHasherDefault<KnownHash>>,
}

/// Who waits, on a condition of its own: of many, only the one that is next is woken.
#[derive(Default)]
struct Waiter {
    /// Whether the lock is its own now; changed under the list's lock.
    called: AtomicBool,
    changed: Condvar,
}

/// A device's name, with its hash, which is made once for taking the lock and giving it back.
#[derive(Clone, PartialEq, Eq)]
struct Name {
    /// The digest's, which takes a tenth of the standard library's time for a name. Whoever
    /// chooses names to meet in one place of the table slows down the writes to those very
    /// devices.
    hash: u64,
    bytes: Arc<[u8]>,
}

impl Name {
    fn new(bytes: &[u8]) -> Name {
        Name {
            hash: xxh3_64(bytes),
            bytes: Arc::from(bytes),
        }
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Takes over the hash of a [`Name`].
#[derive(Default)]
struct KnownHash(u64);

impl Hasher for KnownHash {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64(bytes);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Held {
    /// Takes the lock, or a place in the line for it.
    fn lock_or_wait(&mut self, name: &Name) -> Option<Arc<Waiter>> {
        match self.names.entry(name.clone()) {
            Entry::Vacant(free) => {
                free.insert(VecDeque::new());
                None
            }
            Entry::Occupied(mut line) => {
                let waiter = Arc::new(Waiter::default());
                line.get_mut().push_back(Arc::clone(&waiter));
                Some(waiter)
            }
        }
    }

    fn give_up(&mut self, name: &Name, waiter: &Arc<Waiter>) {
        if let Some(line) = self.names.get_mut(name) {
            line.retain(|other| !Arc::ptr_eq(other, waiter));
        }
    }

    /// Passes the lock on to the next, if anybody waits for it.
    fn pass_on(&mut self, name: &Name) {
        // Hardly ever does anybody wait: the one look into the table is the one that takes the name
        // out.
        let Some(mut line) = self.names.remove(name) else {
            return;
        };
        if let Some(next) = line.pop_front() {
            next.called.store(true, Ordering::Relaxed);
            next.changed.notify_one();
            self.names.insert(name.clone(), line);
        }
    }
}

/// One device's lock, held until dropped; from any thread.
pub(crate) struct DeviceLock {
    locks: DeviceLocks,
    name: Name,
    /// The process that took it.
    stamp: u64,
}

impl DeviceLocks {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// How many threads wait for a device.
    pub fn waiting(&self) -> usize {
        self.held().names.values().map(VecDeque::len).sum()
    }

    fn guard(&self, name: Name) -> DeviceLock {
        DeviceLock {
            locks: self.clone(),
            name,
            stamp: process_stamp(),
        }
    }

    /// Locks the device, unless it is locked.
    pub fn try_lock(&self, name: &[u8]) -> Option<DeviceLock> {
        let name = Name::new(name);
        match self.held().names.entry(name.clone()) {
            Entry::Occupied(_) => return None,
            Entry::Vacant(free) => free.insert(VecDeque::new()),
        };
        Some(self.guard(name))
    }

    /// Locks the device, waiting until `deadline` while it is locked.
    pub fn lock(&self, name: &[u8], deadline: &Deadline) -> Result<DeviceLock> {
        let name = Name::new(name);
        let mut held = self.held();
        let Some(waiter) = held.lock_or_wait(&name) else {
            drop(held);
            return Ok(self.guard(name));
        };
        while !waiter.called.load(Ordering::Relaxed) {
            let left = deadline.left();
            if left.is_zero() {
                held.give_up(&name, &waiter);
                return Err(deadline.expired(format!(
                    "device {}, which another update of this process has locked",
                    Quoted(&name.bytes)
                )));
            }
            held = match waiter.changed.wait_timeout(held, left) {
                Ok((held, _)) => held,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        Ok(self.guard(name))
    }
}

impl DeviceLock {
    /// The device that is locked.
    pub fn name(&self) -> &[u8] {
        &self.name.bytes
    }
}

impl Drop for DeviceLock {
    fn drop(&mut self) {
        // In a forked child it is the parent's, and the list may be locked for ever.
        if self.stamp != process_stamp() {
            return;
        }
        self.locks.held().pass_on(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_waits_comes_before_who_had_it() {
        let locks = DeviceLocks::default();
        let now = || Deadline::after(Duration::ZERO);
        let held = locks.lock(b"a", &now()).unwrap();
        assert!(locks.lock(b"b", &now()).is_ok());
        assert!(locks.try_lock(b"a").is_none());
        assert!(locks.try_lock(b"b").is_some());
        let looked = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| {
                let got = locks.lock(b"a", &Deadline::after(Duration::from_secs(60)));
                while !looked.load(Ordering::Relaxed) {
                    std::thread::yield_now();
                }
                got.is_ok()
            });
            while locks.held().names[&Name::new(b"a")].is_empty() {
                std::thread::yield_now();
            }
            drop(held);
            let refused = locks.lock(b"a", &now()).is_err();
            looked.store(true, Ordering::Relaxed);
            assert!(refused && waits.join().unwrap());
        });
        assert!(locks.held().names.is_empty());
        assert!(locks.lock(b"a", &now()).is_ok());
    }
}
