//! Roles of `tests/neighbours`.

use crate::common::{add, check, device, options, wait_until, SetOnDrop};
use pool_metadata::PoolMetadata;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

fn open(directory: &Path, name: &str, lock_wait_ms: u64) -> PoolMetadata {
    let store = options(lock_wait_ms)
        .map_size(1 << 20)
        .open(directory.join(name))
        .unwrap();
    add(&store, "a");
    store
}

/// Reads store `read` during a read of another store, while a thread waits for that one to end.
pub fn long_read(directory: &Path) {
    let [read, other] = ["read", "other"].map(|name| open(directory, name, 2000));
    let closing = open(directory, "closing", 60_000);
    let (inside, release) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let look = |_: pool_metadata::DeviceRef<'_>| {
                inside.store(true, Ordering::SeqCst);
                wait_until("the release", || release.load(Ordering::SeqCst));
            };
            read.read_device("a", look).unwrap();
        });
        wait_until("the read", || inside.load(Ordering::SeqCst));
        let closer = scope.spawn(|| closing.close());
        thread::sleep(Duration::from_millis(50));
        let found = [&read, &other].map(|store| store.get_device("a").map(|device| device.name));
        let waits = !closer.is_finished();
        release.store(true, Ordering::SeqCst);
        for name in found {
            assert_eq!(name.unwrap(), b"a");
        }
        assert!(waits, "a read that the library cannot tell from its own");
        closer.join().unwrap().unwrap();
    });
    check(&read);
}

/// A lock wait of zero is enough for a read.
pub fn no_wait(directory: &Path) {
    let read = open(directory, "read", 0);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let end = SetOnDrop(&over);
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| -> Result<(), pool_metadata::Error> {
                    while !over.load(Ordering::SeqCst) {
                        read.get_device("a")?;
                        read.stats()?;
                        read.walk()?;
                    }
                    Ok(())
                })
            })
            .collect();
        for round in 0..100 {
            let other = open(directory, &round.to_string(), 60_000);
            let mut large = device("large");
            large.error = vec![b'e'; pool_metadata::MAX_ERROR_LEN];
            other.add_device(&mut large).unwrap();
            other.close().unwrap();
        }
        drop(end);
        for reader in readers {
            reader.join().unwrap().unwrap();
        }
    });
    check(&read);
}
