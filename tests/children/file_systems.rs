//! Roles of `tests/file_systems`.

use crate::common::{add, check, child, device, devices, error_of, options, sys};
use pool_metadata::{DeviceInfo, DeviceState, Error, PoolMetadata, MAX_ERROR_LEN};
use std::fs::File;
use std::path::Path;
use std::thread;
use std::time::Duration;

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

/// Removes the devices of a store one by one on a full disk.
pub fn removals(path: &Path) {
    remove_all(path, |done, what| assert!(done.is_ok(), "{what}: {done:?}"));
}

/// Tries to; what is refused has to be refused as on a full disk.
pub fn removals_as_far_as_possible(path: &Path) {
    remove_all(path, |done, what| match done {
        Ok(()) | Err(Error::DiskFull { .. }) => {}
        Err(error) => panic!("{what}: {error:?}"),
    });
}

fn remove_all(path: &Path, judge: impl Fn(Result<(), Error>, &str)) {
    const MANY: usize = 300;
    let mut store = PoolMetadata::open(path).unwrap();
    for number in 0..MANY {
        add(&store, number.to_string());
    }
    sys::sync_file_system(path.parent().unwrap());
    child::say("open");
    assert_eq!(child::listen().as_deref(), Some("full"));
    // The last adds take what the file has for them.
    let error = (0..).find_map(|number| {
        let mut more = device(format!("more-{number}"));
        store.add_device(&mut more).err()
    });
    assert!(matches!(error, Some(Error::DiskFull { .. })), "{error:?}");
    remove_beside_a_walk(&store);
    for (number, name) in store.get_device_names().unwrap().into_iter().enumerate() {
        if number % 50 == 25 {
            store.close().unwrap();
            store = PoolMetadata::open(path).unwrap();
        }
        judge(
            store.change_device_state(&name, DeviceState::Removing),
            "state",
        );
        let fail = |device: &mut DeviceInfo| {
            device.state = DeviceState::Removed;
            device.error = b"the pool is out of data space".to_vec();
            Ok(())
        };
        judge(store.update_device(&name, fail), "update");
        judge(store.mark_faulty(&name), "fault");
        judge(store.remove_device(&name), "removal");
        if number % 20 == 0 {
            let error = error_of(large(&store));
            assert!(matches!(error, Error::DiskFull { .. }), "{error:?}");
            check(&store);
        }
    }
    child::say("removed");
    assert_eq!(child::listen().as_deref(), Some("space"));
    large(&store).unwrap();
    check(&store);
    store.close().unwrap();
}

/// A walk keeps every page that is freed from being used again, so that at some time removals need
/// new ones. That they are refused then stops nothing.
fn remove_beside_a_walk(store: &PoolMetadata) {
    let walk = store.walk().unwrap();
    let names = store.get_device_names().unwrap();
    let refused = names
        .iter()
        .find_map(|name| store.remove_device(name).err());
    assert!(
        matches!(refused, Some(Error::DiskFull { .. })),
        "{refused:?}"
    );
    check(store);
    drop(walk);
}

/// Adds a device with a text that no reserve has space for.
fn large(store: &PoolMetadata) -> Result<(), Error> {
    let mut large = device("large");
    large.error = vec![b'e'; MAX_ERROR_LEN];
    store.add_device(&mut large)
}

/// Reads a store on, once its file system has shut down or turned read-only.
pub fn shut_down(path: &Path) {
    let directory = File::open(path.parent().unwrap()).unwrap();
    let store = PoolMetadata::open(path).unwrap();
    for number in 0..DEVICES {
        add(&store, number.to_string());
    }
    let mut walk = store.walk().unwrap();
    assert!(walk.next().unwrap().is_ok());
    sys::sync_file_system_of(&directory);
    child::say("open");
    assert_eq!(child::listen().as_deref(), Some("shut down"));
    // As long as a probe is good for.
    thread::sleep(Duration::from_millis(110));
    for round in 0..20 {
        assert_eq!(store.get_device("7").unwrap().device_id, 8);
        assert_eq!(devices(&store).len(), DEVICES);
        let error = error_of(store.remove_device("7"));
        let stopped = matches!(error, Error::WritesStopped { .. });
        assert!(stopped || round == 0, "{error:?}");
        assert!(store.stats().unwrap().writes_stopped);
        sys::sync_file_system_of(&directory);
    }
    let readers = || (0..200).all(|_| devices(&store).len() == DEVICES);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(readers)).collect();
        threads
            .into_iter()
            .for_each(|thread| assert!(thread.join().unwrap()));
    });
    assert_eq!(walk.count(), DEVICES - 1);
    store.close().unwrap();
    child::say("closed");
}
