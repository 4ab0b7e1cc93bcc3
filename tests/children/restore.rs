//! Roles of `tests/restore`.

use crate::common::{child, device, options};
use pool_metadata::{Error, PoolMetadata};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Has the store open until told to end.
pub fn hold(path: &Path) {
    let _store = PoolMetadata::open(path).unwrap();
    child::say("open");
    child::listen();
}

/// Puts the backup beside the store back, again and again, until killed.
pub fn restore_on(path: &Path) {
    let backup = path.with_file_name("backup");
    child::dies();
    loop {
        let kept = options(5000).restore(&backup, path).unwrap();
        std::fs::remove_file(kept.unwrap()).unwrap();
    }
}

/// Opens the store and adds to it, again and again, until there is a file that says to stop.
pub fn open_on(path: &Path) {
    child::say("ready");
    for n in 0_u64.. {
        if path.with_file_name("stop").exists() {
            break;
        }
        match options(5000).open(path) {
            Ok(store) => {
                store.verify().unwrap();
                let _ = store.add_device(&mut device(format!("by-{}-{n}", std::process::id())));
                store.verify().unwrap();
                store.close().unwrap();
            }
            // Looked at in the moment in which it was the restore's.
            Err(Error::AlreadyOpen { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
        thread::sleep(Duration::from_micros(n * 7919 % 9000));
    }
}
