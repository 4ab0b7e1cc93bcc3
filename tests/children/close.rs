//! Roles of `tests/close`.

use crate::assert_error;
use crate::common::{add, check, device, error_of, options, Barrier};
use pool_metadata::{Error, PoolMetadata};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Needs a process of its own, as the next role does: tests beside this one that close a store
/// would wait for these reads.
pub fn in_flight(path: &Path) {
    let store = options(20_000).open(path).unwrap();
    add(&store, "a");
    let (inside, done) = (Barrier::new(3), AtomicUsize::new(0));
    let linger = || {
        inside.wait();
        thread::sleep(Duration::from_millis(100));
        done.fetch_add(1, Ordering::SeqCst);
    };
    thread::scope(|scope| {
        scope.spawn(|| store.read_device("a", |_| linger()).unwrap());
        scope.spawn(|| {
            let mut walk = store.walk().unwrap();
            linger();
            assert!(walk.next().unwrap().is_ok());
        });
        inside.wait();
        store.close().unwrap();
        assert_eq!(done.load(Ordering::SeqCst), 2, "they finish first");
    });
    assert_error!(store.get_device("a"), Error::Closed);
    assert_error!(store.get_device(""), Error::Closed);
    assert_error!(store.walk(), Error::Closed);
    assert_error!(store.stats(), Error::Closed);
    assert_error!(store.verify(), Error::Closed);
    assert_error!(store.sync(), Error::Closed);
    assert_error!(store.add_device(&mut device("b")), Error::Closed);
    assert_error!(store.begin_update("a"), Error::Closed);
    assert_error!(store.mark_faulty("a"), Error::Closed);
    assert_error!(store.close(), Error::Closed);
    check(&PoolMetadata::open(store.path()).unwrap());
}

pub fn busy(path: &Path) {
    let store = options(500).open(path).unwrap();
    add(&store, "a");
    let walk = store.walk().unwrap();
    let error = error_of(store.close());
    assert!(matches!(error, Error::Busy { .. }), "{error:?}");
    assert!(error.to_string().contains("walk"), "{error}");
    add(&store, "b");
    check(&store);
    let read = store.read_device("a", |_| error_of(store.close()));
    assert!(matches!(read.unwrap(), Error::Busy { .. }));
    assert_eq!(walk.count(), 1);
    check(&store);
    store.close().unwrap();
}
