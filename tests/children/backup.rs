//! Roles of `tests/backup`.

use crate::common::{bounded, child, device, raw};
use lmdb::Transaction;
use pool_metadata::{BackupOptions, PoolMetadata};
use std::path::Path;

/// Writes to the store until it is killed.
pub fn write_on(path: &Path) {
    let store = bounded(10_000).open(path).unwrap();
    child::say("ready");
    for n in 0.. {
        let mut device = device(format!("remote-{}", n % 30));
        device.error = vec![b'y'; n * 53 % 5000];
        let _ = store.add_device(&mut device);
        let _ = store.remove_device(format!("remote-{}", n * 11 % 30));
    }
}

/// Begins an LMDB write transaction without this library's lock, as another program would, and
/// keeps it open.
pub fn hold_lmdb_lock(path: &Path) {
    let environment = raw::environment(path);
    let transaction = environment.begin_rw_txn().unwrap();
    child::say("held");
    child::listen();
    transaction.abort();
}

/// Makes one backup after another, all to one path, until it is killed.
pub fn back_up_on(path: &Path) {
    let store = PoolMetadata::open(path).unwrap();
    let copy = path.with_extension("db.copy");
    child::dies();
    for n in 0.. {
        let mut how = BackupOptions::new();
        how.compact(n % 2 != 0).overwrite(n % 3 > 0);
        store.backup(&copy, &how).unwrap();
        let _ = store.add_device(&mut device(format!("since-{n}")));
        if n % 3 == 2 {
            std::fs::remove_file(&copy).unwrap();
        }
    }
}
