//! Roles of `tests/verify_while_written`.

use crate::common::{bounded, child, device, options};
use pool_metadata::{DeviceInfo, Durability, Error};
use std::path::Path;

/// Enough for verification by several threads, and for leaves that many commits share.
pub const DEVICES: usize = 8000;

/// Changes devices all over the store as fast as it can, until it is killed. Another process may be
/// faster with one.
pub fn write_on(path: &Path) {
    let mut options = bounded(20_000);
    let store = options.durability(Durability::Relaxed).open(path).unwrap();
    child::say("ready");
    let mut done = 0;
    for n in 0_usize.. {
        let name = format!("snap-{:05}", n * 7919 % DEVICES);
        let change = |device: &mut DeviceInfo| {
            device.error = vec![b'e'; n % 7 * 1000];
            Ok(())
        };
        let result = match n % 5 {
            0 => store.remove_device(&name),
            1 => store.add_device(&mut device(format!("snap-{:05}", (n - 1) * 7919 % DEVICES))),
            _ => store.update_device(&name, change),
        };
        match result {
            Ok(()) => {
                done += 1;
                if done % 100 == 0 {
                    child::say("100 more");
                }
            }
            Err(
                Error::NotFound { .. }
                | Error::AlreadyExists { .. }
                | Error::Conflict { .. }
                | Error::Pinned { .. },
            ) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Opens the store read-only, again and again, until it is killed.
pub fn read_on(path: &Path) {
    for round in 1.. {
        let store = options(20_000).read_only(true).open(path).unwrap();
        store.verify().unwrap();
        store.close().unwrap();
        child::say(&round.to_string());
    }
}
