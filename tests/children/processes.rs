//! Roles of `tests/processes`.

use crate::common::{add, child, device, devices, options, SetOnDrop};
use pool_metadata::{DeviceInfo, DeviceState, Durability, Error, OpenOptions, PoolMetadata};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Options with a small map, so that it has to grow.
pub fn small() -> OpenOptions {
    let mut options = options(20_000);
    options.map_size(1 << 20);
    options
}

/// Carries out the parent's orders on the store, and answers each with its result.
pub fn remote(path: &Path) {
    let store = options(100).open(path).unwrap();
    child::say("ready");
    while let Some(line) = child::listen() {
        let (verb, name) = line.split_once(' ').unwrap();
        let result = match verb {
            "add" => store.add_device(&mut device(name)),
            "defer" => store.deferred().add_device(&mut device(name)),
            "remove" => store.remove_device(name),
            "fault" => store.mark_faulty(name),
            "activate" => store.change_device_state(name, DeviceState::Activated),
            other => panic!("no verb {other}"),
        };
        child::say(&match result {
            Ok(()) => "ok".to_owned(),
            Err(error) => error.to_string(),
        });
    }
}

/// Adds one to the counter device; repeats the update after a conflict.
pub fn count_up(store: &PoolMetadata) -> u32 {
    let mut conflicts = 0;
    loop {
        let counted = store.update_device("counter", |device| {
            device.size += 1;
            Ok(())
        });
        match counted {
            Ok(()) => return conflicts,
            Err(Error::Conflict { .. }) => conflicts += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// Devices that each process adds. A multiple of three, since one in three stays.
pub const COUNTED: u32 = 99;

pub fn count(path: &Path) {
    let store = small().open(path).unwrap();
    child::say("ready");
    child::listen().unwrap();
    let mut ids = Vec::new();
    for number in 0..COUNTED {
        count_up(&store);
        let name = format!("{}-{number}", std::process::id());
        let added = add(&store, name.as_str());
        match number % 3 {
            0 => store.remove_device(&name).unwrap(),
            1 => store.mark_faulty(&name).unwrap(),
            _ => ids.push(added.device_id),
        }
        assert!(devices(&store).len() as u32 >= ids.len() as u32);
    }
    for id in ids {
        child::say(&id.to_string());
    }
}

pub fn large(number: usize) -> DeviceInfo {
    DeviceInfo {
        error: vec![number as u8; 40_000],
        ..device(format!("large-{number:03}"))
    }
}

/// The size depends on timing: a process that finds the map too small, or the file beyond it,
/// doubles the map.
pub fn assert_grown(store: &PoolMetadata) {
    let (size, used) = (150 * 40_000, store.stats().unwrap().map_used);
    assert!(store.stats().unwrap().map_size >= used.max(size));
}

pub fn grow(path: &Path) {
    let store = small().open(path).unwrap();
    child::say("ready");
    child::listen().unwrap();
    for number in 0..150 {
        store.add_device(&mut large(number)).unwrap();
    }
    assert_grown(&store);
}

/// Changes a device's state again and again, without flushes of its own, until the parent speaks.
/// The bound on deferred commits keeps the file small.
pub fn defer_on(path: &Path) {
    let mut options = options(20_000);
    options
        .durability(Durability::Relaxed)
        .deferred_commits(100);
    let store = options.open(path).unwrap();
    add(&store, "a");
    child::say("ready");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for state in DeviceState::ALL.iter().cycle() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                store.change_device_state("a", *state).unwrap();
            }
        });
        let _end = SetOnDrop(&stop);
        child::listen();
    });
    store.close().unwrap();
    child::say("stopped");
}
