//! Page sizes: a new store has pages of 4 KiB on every kernel, and a store with others, which an
//! older version or another LMDB made, keeps them.

mod common;
#[path = "common/page_size.rs"]
mod page_size;

use common::{add, check, device, devices, directory, place};
use page_size::{make_store, on_kernel, page_size_of, KERNELS, STORES};
use pool_metadata::{BackupOptions, DeviceInfo, OpenOptions, PoolMetadata};
use std::fs;

/// What LMDB makes of the same rows on a kernel with such pages.
#[test]
fn new_store_is_byte_for_byte_as_lmdb_makes_it() {
    let (directory, path) = place();
    PoolMetadata::open(&path).unwrap().close().unwrap();
    check(&PoolMetadata::open(&path).unwrap());
    let by_lmdb = directory.path().join("lmdb.db");
    make_store(&by_lmdb, 4096);
    let [ours, theirs] = [&path, &by_lmdb].map(|path| fs::read(path).unwrap());
    const LEN: usize = 3 * 4096;
    assert_eq!(theirs[..LEN], ours[..LEN]);
    assert!(ours[LEN..]
        .iter()
        .chain(&theirs[LEN..])
        .all(|byte| *byte == 0));
}

#[test]
fn store_made_on_any_kernel_has_pages_of_4_kib() {
    for kernel in KERNELS {
        on_kernel(kernel, || {
            let (directory, path) = place();
            let store = OpenOptions::new().map_size(1 << 20).open(&path).unwrap();
            let mut large = device("large");
            large.error = vec![b'e'; 1 << 20];
            store.add_device(&mut large).unwrap();
            for number in 0..300 {
                add(&store, format!("device-{number}"));
            }
            check(&store);
            let ids = store.walk().unwrap().ids().unwrap();
            let contents = devices(&store);
            let beside = |name| directory.path().join(name);
            for compact in [false, true] {
                let mut how = BackupOptions::new();
                let how = how.compact(compact).overwrite(true);
                store.backup(beside("copy.db"), how).unwrap();
                assert_eq!(page_size_of(&beside("copy.db")), 4096);
            }
            store.close().unwrap();
            let mut options = OpenOptions::new();
            options.restore(beside("copy.db"), &path).unwrap();
            options.salvage(&path, beside("salvaged.db"), 9).unwrap();
            let imported = PoolMetadata::open(beside("imported.db")).unwrap();
            let all: Vec<_> = contents.iter().map(DeviceInfo::as_ref).collect();
            imported.import(&all, &ids).unwrap();
            imported.close().unwrap();
            for name in ["pool.db", "salvaged.db", "imported.db"] {
                assert_eq!(page_size_of(&beside(name)), 4096, "{kernel}");
                let store = options.read_only(true).open(beside(name)).unwrap();
                check(&store);
                assert_eq!(devices(&store).len(), 301);
            }
        });
    }
}

#[test]
fn store_with_larger_pages_keeps_them_in_copies_and_loses_them_in_a_salvage() {
    for size in STORES {
        let directory = directory();
        let beside = |name| directory.path().join(name);
        make_store(&beside("pool.db"), size);
        let store = PoolMetadata::open(beside("pool.db")).unwrap();
        for number in 0..2000 {
            add(&store, format!("device-{number}"));
        }
        store
            .backup(beside("copy.db"), &BackupOptions::new())
            .unwrap();
        let mut compact = BackupOptions::new();
        store
            .backup(beside("compact.db"), compact.compact(true))
            .unwrap();
        let contents = devices(&store);
        store.close().unwrap();
        let options = OpenOptions::new();
        options
            .restore(beside("compact.db"), beside("restored.db"))
            .unwrap();
        options
            .salvage(beside("pool.db"), beside("salvaged.db"), 9)
            .unwrap();
        let sizes = [
            ("pool.db", size),
            ("copy.db", size),
            ("compact.db", size),
            ("restored.db", size),
            ("salvaged.db", 4096),
        ];
        for (name, expected) in sizes {
            assert_eq!(page_size_of(&beside(name)), expected, "{name}");
            let store = PoolMetadata::open(beside(name)).unwrap();
            check(&store);
            let same =
                |a: &DeviceInfo, b: &DeviceInfo| a.name == b.name && a.device_id == b.device_id;
            let found = devices(&store);
            assert!(found.len() == 2000 && found.iter().zip(&contents).all(|(a, b)| same(a, b)));
        }
    }
}
