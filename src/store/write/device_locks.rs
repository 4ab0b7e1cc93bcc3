//! One writer per device: a lock by name, in this process, for as long as an update's callback
//! runs.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Quoted, Result};
use crate::sync::deadline::Deadline;
use crate::sync::fifo::{self, Line};
use crate::sync::primitives::{lock, Mutex};
use crate::sync::process::stamp as process_stamp;

/// The devices that are locked, each with the line of threads that wait for it.
#[derive(Clone, Default)]
pub(crate) struct DeviceLocks(Arc<Mutex<Lines>>);

type Lines = HashMap<Name, Device, BuildHasherDefault<KnownHash>>;

#[derive(Default)]
struct Device {
    line: Line,
    /// Whether an update has it open, which ends when the program wants.
    open: bool,
}

/// A device's name with its hash, which is computed once for taking the lock and releasing it.
///
/// The hash is XXH3, a tenth of the cost of the standard library's for a name: "instructions of a
/// lone write" and "10,000 changes of state as one list" of `make bench-writers` need it. Names
/// chosen to collide slow down only the writes to those devices.
#[derive(Clone, PartialEq, Eq)]
struct Name {
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

/// Passes on the hash of a [`Name`].
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

/// One device's lock, held until dropped; from any thread.
pub(crate) struct DeviceLock {
    locks: DeviceLocks,
    name: Name,
    /// The process that took it.
    stamp: u64,
}

impl DeviceLocks {
    /// How many threads wait for a device.
    pub fn waiting(&self) -> usize {
        lock(&self.0)
            .values()
            .map(|device| device.line.waiting())
            .sum()
    }

    /// Locks the device, unless it is locked.
    pub fn try_lock(&self, name: &[u8]) -> Option<DeviceLock> {
        let name = Name::new(name);
        let free = line(&mut lock(&self.0), &name).try_acquire();
        free.then(|| self.guard(name))
    }

    /// Locks the device, waiting until `deadline` while it is locked. Where only a write has it,
    /// and no update, the wait begins anew if `patient` says so at its end.
    pub fn lock(
        &self,
        name: &[u8],
        deadline: &Deadline,
        patient: impl Fn() -> bool,
    ) -> Result<DeviceLock> {
        let name = Name::new(name);
        let patient = |lines: &Lines| lines.get(&name).is_some_and(|it| !it.open) && patient();
        let line = fifo::acquire_patiently(&self.0, deadline, |it| line(it, &name), patient);
        if line.is_none() {
            return Err(deadline.expired(format!(
                "device {}, which another update in this process has locked",
                Quoted(&name.bytes)
            )));
        }
        Ok(self.guard(name))
    }

    fn guard(&self, name: Name) -> DeviceLock {
        DeviceLock {
            locks: self.clone(),
            name,
            stamp: process_stamp(),
        }
    }
}

fn line<'l>(lines: &'l mut Lines, name: &Name) -> &'l mut Line {
    &mut lines.entry(name.clone()).or_default().line
}

impl DeviceLock {
    /// Says whether an update has the device open from here on, or a write has it.
    pub fn set_open(&self, open: bool) {
        if let Some(device) = lock(&self.locks.0).get_mut(&self.name) {
            device.open = open;
        }
    }

    /// The device that is locked.
    pub fn name(&self) -> &[u8] {
        &self.name.bytes
    }
}

impl Drop for DeviceLock {
    fn drop(&mut self) {
        // A forked child has only a copy of its parent's lock, and a mutex that another thread may
        // have held during the fork.
        if self.stamp != process_stamp() {
            return;
        }
        fifo::release(&self.locks.0, |lines| {
            // Hardly ever does a thread wait: this look into the table is then the only one.
            let mut device = lines.remove(&self.name)?;
            let next = device.line.hand_off()?;
            device.open = false;
            lines.insert(self.name.clone(), device);
            Some(next)
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn locked_device_refuses_only_its_own_name() {
        let locks = DeviceLocks::default();
        let now = || Deadline::after(Duration::ZERO);
        let held = locks.lock(b"a", &now(), || false).unwrap();
        assert_eq!(held.name(), b"a");
        assert!(locks.lock(b"a", &now(), || false).is_err());
        assert!(locks.try_lock(b"a").is_none());
        assert!(locks.lock(b"b", &now(), || false).is_ok());
        assert!(locks.try_lock(b"b").is_some());
        assert_eq!(
            lock(&locks.0).len(),
            1,
            "a lock that is released leaves nothing behind"
        );
        drop(held);
        assert!(lock(&locks.0).is_empty());
    }

    #[test]
    fn released_device_goes_to_the_thread_that_waits() {
        let locks = DeviceLocks::default();
        let now = || Deadline::after(Duration::ZERO);
        let held = locks.lock(b"a", &now(), || false).unwrap();
        std::thread::scope(|scope| {
            let waits = scope
                .spawn(|| locks.lock(b"a", &Deadline::after(Duration::from_secs(60)), || false));
            while locks.waiting() == 0 {
                std::thread::yield_now();
            }
            drop(held);
            assert!(
                locks.lock(b"a", &now(), || false).is_err(),
                "it was handed off"
            );
            assert!(waits.join().unwrap().is_ok());
        });
        assert!(lock(&locks.0).is_empty());
        assert!(locks.lock(b"a", &now(), || false).is_ok());
    }
}
