//! Roles of `tests/restore`.

use crate::common::{child, device, options};
use pool_metadata::{Durability, Error, PoolMetadata};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Keeps the store open until the parent closes the pipe.
pub fn hold(path: &Path) {
    let _store = PoolMetadata::open(path).unwrap();
    child::say("open");
    child::listen();
}

/// Restores the backup beside the store, again and again, until it is killed.
pub fn restore_on(path: &Path) {
    let backup = path.with_file_name("backup");
    child::dies();
    loop {
        let restored = options(5000).restore(&backup, path).unwrap();
        std::fs::remove_file(restored.kept.unwrap()).unwrap();
    }
}

/// Opens the store and adds to it, again and again, until there is a file named stop.
pub fn open_on(path: &Path) {
    // No flush holds the store so long that the restores beside it hardly ever find it closed.
    let mut options = options(5000);
    options.durability(Durability::Relaxed);
    child::say("ready");
    for n in 0_u64.. {
        if path.with_file_name("stop").exists() {
            break;
        }
        match options.open(path) {
            Ok(store) => {
                store.verify().unwrap();
                let _ = store.add_device(&mut device(format!("by-{}-{n}", std::process::id())));
                store.verify().unwrap();
                store.close().unwrap();
            }
            // Opened at a moment when the restore had it.
            Err(Error::AlreadyOpen { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
        thread::sleep(Duration::from_micros(n * 7919 % 9000));
    }
}
