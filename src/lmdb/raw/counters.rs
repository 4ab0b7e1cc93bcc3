//! The counters of an open store, where other processes can read them if the system allows that.

use std::fs::{File, Metadata};
use std::io;
use std::ops::Deref;
use std::sync::Mutex;

use crate::file::published::{self, Owner};
use crate::histogram::Counters;
use crate::lmdb::raw::shared_state::SharedMap;
use crate::sync::primitives::unpoisoned;

/// The counters of one open store.
pub(crate) struct SharedCounters {
    /// In the map, or in memory of their own, which a `Box` has made. A pointer to both: choosing
    /// with each use costs a lone write instructions (docs/performance.md).
    counters: *mut Counters,
    map: Option<SharedMap>,
    /// What others find, until the store is closed.
    file: Mutex<Option<File>>,
}

// SAFETY: the counters stay where they are until this is dropped, and all of them are atomics.
unsafe impl Send for SharedCounters {}
// SAFETY: for the same reason.
unsafe impl Sync for SharedCounters {}

impl SharedCounters {
    /// Counters that nobody else can read.
    pub fn new() -> SharedCounters {
        SharedCounters {
            counters: Box::into_raw(Box::new(Counters::new())),
            map: None,
            file: Mutex::new(None),
        }
    }

    /// Has other processes find the counters, which go on from where they are. If that fails,
    /// nobody else can read them.
    pub fn publish(&mut self, data_file: &Metadata) {
        if let Ok(published) = self.published(data_file) {
            *self = published;
        }
    }

    fn published(&self, data_file: &Metadata) -> io::Result<SharedCounters> {
        let file = published::write(&Owner::this_process(data_file), self)?;
        let map = SharedMap::new(&file, published::LEN, libc::PROT_READ | libc::PROT_WRITE)?;
        published::seal(&file)?;
        Ok(SharedCounters {
            // Behind the header, whose words keep the alignment.
            counters: map.pointer(published::COUNTERS_AT).cast(),
            map: Some(map),
            file: Mutex::new(Some(file)),
        })
    }

    /// Has nobody find them any more. They stay where they are.
    pub fn withdraw(&self) {
        drop(unpoisoned(self.file.lock()).take());
    }
}

impl Deref for SharedCounters {
    type Target = Counters;

    #[inline]
    fn deref(&self) -> &Counters {
        // SAFETY: the memory is there until this is dropped: the map has `LEN` bytes of a file that
        // has as many and cannot be cut. Any value is valid for an atomic, whoever writes it.
        unsafe { &*self.counters }
    }
}

impl Drop for SharedCounters {
    fn drop(&mut self) {
        if self.map.is_none() {
            // SAFETY: a box has made this memory, and nothing refers to it any more.
            drop(unsafe { Box::from_raw(self.counters) });
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::file::published::Found;

    fn read(counters: &SharedCounters) -> Option<Box<Counters>> {
        let file = counters.file.lock().unwrap();
        match published::read(file.as_ref()?) {
            Found::Counters(owner, counters) => {
                assert_eq!(owner.pid, std::process::id());
                Some(counters)
            }
            _ => None,
        }
    }

    #[test]
    fn what_is_counted_is_read_from_the_file_until_it_is_withdrawn() {
        let store = tempfile::tempfile().unwrap().metadata().unwrap();
        let mut counters = SharedCounters::new();
        counters.undone.store(1, Ordering::Relaxed);
        assert!(read(&counters).is_none());
        counters.publish(&store);
        counters.flushes.fetch_add(2, Ordering::Relaxed);
        counters.add_commit(3, std::time::Duration::from_nanos(40));
        counters.deferred.store(5, Ordering::Relaxed);
        let found = read(&counters).unwrap();
        assert_eq!(found.to_bytes(), counters.to_bytes());
        assert_eq!(found.undone.load(Ordering::Relaxed), 1);
        assert_eq!(found.nanoseconds.read().sum, 40);
        counters.withdraw();
        assert!(read(&counters).is_none());
        counters.flushes.fetch_add(1, Ordering::Relaxed);
        assert_eq!(counters.flushes.load(Ordering::Relaxed), 3);
    }
}
