//! Roles of `tests/file_systems`.

use crate::common::{add, check, child, devices, options, sys};
use pool_metadata::{DeviceState, Error, PoolMetadata};
use std::path::Path;

const DEVICES: usize = 20;

/// Uses a store before, while, and after its disk is full.
pub fn full(path: &Path) {
    let store = PoolMetadata::open(path).unwrap();
    for number in 0..DEVICES {
        add(&store, number.to_string());
    }
    sys::sync_file_system(path.parent().unwrap());
    child::say("open");
    assert_eq!(child::listen().as_deref(), Some("full"));
    read_and_write(&store, path);
    store.close().unwrap();
    let viewer = options(1000).read_only(true).open(path).unwrap();
    assert_eq!(devices(&viewer).len(), DEVICES);
    viewer.close().unwrap();
    let store = PoolMetadata::open(path).unwrap();
    read_and_write(&store, path);
    child::say("read and reopened");
    assert_eq!(child::listen().as_deref(), Some("space"));
    add(&store, "later");
    store.remove_device("later").unwrap();
    check(&store);
}

/// Reads go on, and a write is made or says that the disk is full. In between, everything is
/// written back, as the kernel does every half a minute.
fn read_and_write(store: &PoolMetadata, path: &Path) {
    let states = [DeviceState::Suspended, DeviceState::Resumed];
    for state in states.into_iter().cycle().take(6) {
        assert_eq!(store.get_device("7").unwrap().device_id, 8);
        assert_eq!(devices(store).len(), DEVICES);
        match store.change_device_state("7", state) {
            Ok(()) => assert_eq!(store.get_device("7").unwrap().state, state),
            Err(error) => assert!(matches!(error, Error::DiskFull { .. }), "{error:?}"),
        }
        sys::sync_file_system(path.parent().unwrap());
    }
}

/// Opens a store that another process has open, and adds a device.
pub fn open_and_add(path: &Path) {
    let store = PoolMetadata::open(path).unwrap();
    add(&store, "b");
    child::say("added");
    child::listen();
}
