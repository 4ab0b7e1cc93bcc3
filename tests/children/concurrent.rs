//! Roles of `tests/concurrent`.

use crate::assert_error;
use crate::common::{add, check, device, error_of, options, wait_until};
use pool_metadata::{DeviceState, Error};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Needs a process of its own, since read permits are shared by the whole process.
pub fn all_slots(path: &Path) {
    let store = options(50).open(path).unwrap();
    add(&store, "a");
    let (inside, release) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                let read = store.read_device("a", |_| {
                    inside.fetch_add(1, Ordering::SeqCst);
                    wait_until("the release", || release.load(Ordering::SeqCst));
                });
                read.unwrap();
            });
        }
        wait_until("64 reads", || inside.load(Ordering::SeqCst) == 64);
        let start = Instant::now();
        assert_error!(store.get_device("a"), Error::Timeout { .. });
        assert!(start.elapsed() >= Duration::from_millis(50));
        // A write needs no read permit, and a close needs all of them.
        store
            .change_device_state("a", DeviceState::Removed)
            .unwrap();
        assert_error!(store.close(), Error::Busy { .. });
        release.store(true, Ordering::SeqCst);
    });
    assert_eq!(store.get_device("a").unwrap().state, DeviceState::Removed);
    check(&store);
}

/// Needs a process of its own: tests beside this one may hold every read permit for longer than
/// this one waits.
pub fn cannot_grow(path: &Path) {
    let store = options(500).map_size(1 << 20).open(path).unwrap();
    add(&store, "a");
    let mut large = device("large");
    large.error = vec![b'e'; pool_metadata::MAX_ERROR_LEN];
    let mut walk = store.walk().unwrap();
    for _ in 0..3 {
        let start = Instant::now();
        let error = error_of(store.add_device(&mut large));
        assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
        assert!(error.to_string().contains("walk"), "{error}");
        assert!((500..15_000).contains(&start.elapsed().as_millis()));
        // The store is unchanged, and accepts writes that fit.
        assert_error!(store.get_device("large"), Error::NotFound { .. });
        store
            .change_device_state("a", DeviceState::Removed)
            .unwrap();
    }
    assert_eq!(walk.next().unwrap().unwrap().state, DeviceState::Created);
    assert!(walk.next().is_none());
    drop(walk);
    store.add_device(&mut large).unwrap();
    assert_eq!(large.device_id, 2, "what failed consumed no id");
    check(&store);
}
