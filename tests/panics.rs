//! Callbacks that panic. Only Rust can tell: a panic does not pass through the C functions.

mod common;

use common::{add, check, options, place};
use pool_metadata::{DeviceState, Error};
use std::panic::{catch_unwind, AssertUnwindSafe};

#[test]
fn panicking_callback_changes_nothing_and_leaves_no_lock() {
    let (_directory, path) = place();
    let store = options(20_000).open(path).unwrap();
    add(&store, "a");
    let before = store.get_device("a").unwrap();
    let commits = store.stats().unwrap().commits;
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        store.update_device::<Error>("a", |device| {
            device.size = 1;
            panic!("in the callback");
        })
    }));
    assert!(panicked.is_err());
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        store.walk_devices::<Error>(|_| panic!("in the walk"))
    }));
    assert!(panicked.is_err());
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        store.read_device("a", |_| panic!("in the look"))
    }));
    assert!(panicked.is_err());
    assert_eq!(store.get_device("a").unwrap(), before);
    assert_eq!(store.stats().unwrap().commits, commits);
    store
        .change_device_state("a", DeviceState::Removed)
        .unwrap();
    check(&store);
    store.close().unwrap();
}
