//! Reads: one device by name, and a walk over all of them.

use super::c::{ReadBuffer, Store};
use super::data::Pool;
use super::raw::{Raw, Reader};
use super::time::cpu_time;
use super::{open_store, Run};
use pool_metadata::Error;
use std::hint::black_box;
use std::rc::Rc;

/// One pool, opened by each subject. A file can be open only once in a process, so each has a copy.
pub struct Readers {
    pool: Pool,
    c: Rc<Store>,
    rust: Rc<pool_metadata::PoolMetadata>,
    raw: Rc<Raw>,
}

impl Readers {
    pub fn open(pool: &Pool) -> Readers {
        let readers = Readers {
            pool: pool.clone(),
            c: Store::open(&pool.copy("read-c")),
            rust: Rc::new(open_store(&pool.copy("read-rust"))),
            raw: Raw::open(&pool.copy("read-raw")),
        };
        // Each walks once, so that its map is in memory.
        for mut walk in [
            readers.raw_walk(),
            readers.c_paged_walk(),
            readers.rust_walk(),
        ] {
            walk(1);
        }
        readers
    }

    fn each_name(&self, mut get: impl FnMut(&[u8]) + 'static) -> Run {
        let mut names = self.pool.names();
        Box::new(move |times| {
            cpu_time(|| {
                for _ in 0..times {
                    get(names.next());
                }
            })
        })
    }

    /// `mdb_txn_renew`, `mdb_get`, copy, `mdb_txn_reset`.
    pub fn raw_get(&self) -> Run {
        let mut reader: Reader = self.raw.reader();
        self.each_name(move |name| {
            reader.get(name);
        })
    }

    /// `pm_get_device` and `pm_free`.
    pub fn c_get(&self) -> Run {
        let store = Rc::clone(&self.c);
        self.each_name(move |name| store.get(name))
    }

    /// `pm_read_device` into one buffer.
    pub fn c_read(&self) -> Run {
        let store = Rc::clone(&self.c);
        let mut buffer = ReadBuffer::new();
        self.each_name(move |name| store.read(name, &mut buffer))
    }

    /// `PoolMetadata::get_device`: a device with three vectors of its own.
    pub fn rust_get(&self) -> Run {
        let store = Rc::clone(&self.rust);
        self.each_name(move |name| drop(black_box(store.get_device(name).unwrap())))
    }

    /// `PoolMetadata::read_device`: no copy.
    pub fn rust_read(&self) -> Run {
        let store = Rc::clone(&self.rust);
        self.each_name(move |name| {
            let size = store.read_device(name, |device| device.size);
            black_box(size.unwrap());
        })
    }

    fn whole(&self, mut walk: impl FnMut() -> u64 + 'static) -> Run {
        let size = self.pool.size;
        Box::new(move |times| {
            cpu_time(|| {
                for _ in 0..times {
                    assert_eq!(walk(), size);
                }
            })
        })
    }

    /// A cursor over all rows, each copied.
    pub fn raw_walk(&self) -> Run {
        let mut reader = self.raw.reader();
        self.whole(move || reader.walk())
    }

    /// `pm_walk_open`, `pm_walk_next` with a buffer of 64 KiB, `pm_walk_close`.
    pub fn c_paged_walk(&self) -> Run {
        let store = Rc::clone(&self.c);
        let mut buffer = ReadBuffer::new();
        self.whole(move || store.walk_pages(&mut buffer, || ()))
    }

    /// `pm_walk_devices` with a callback that counts.
    pub fn c_callback_walk(&self) -> Run {
        let store = Rc::clone(&self.c);
        self.whole(move || store.walk_callback())
    }

    /// `PoolMetadata::walk_devices` with a closure that counts.
    pub fn rust_walk(&self) -> Run {
        let store = Rc::clone(&self.rust);
        self.whole(move || {
            let mut count = 0;
            let walked = store.walk_devices(|device| {
                black_box(device.size);
                count += 1;
                Ok::<(), Error>(())
            });
            walked.unwrap();
            count
        })
    }
}
