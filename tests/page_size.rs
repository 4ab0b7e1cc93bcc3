//! Page sizes: a new store has pages of 4 KiB on every kernel, and a store with others, which an
//! older version or another LMDB made, keeps them.

mod common;
#[path = "common/page_size.rs"]
mod page_size;

use common::{add, check, device, devices, directory, place, raw};
use lmdb::WriteFlags;
use page_size::{make_store, on_kernel, page_size_of, KERNELS, STORES};
use pool_metadata::{BackupOptions, Change, DeviceInfo, Error, OpenOptions, PoolMetadata};
use std::fs;

/// What LMDB makes of the same rows on a kernel with such pages, beside the mark that the commit is
/// on the disk, which LMDB does not know.
#[test]
fn new_store_is_byte_for_byte_as_lmdb_makes_it() {
    let (directory, path) = place();
    PoolMetadata::open(&path).unwrap().close().unwrap();
    check(&PoolMetadata::open(&path).unwrap());
    let by_lmdb = directory.path().join("lmdb.db");
    make_store(&by_lmdb, 4096);
    let [ours, mut theirs] = [&path, &by_lmdb].map(|path| fs::read(path).unwrap());
    raw::mark(&mut theirs);
    const LEN: usize = 3 * 4096;
    let mut pairs = theirs[..LEN].iter().zip(&ours[..LEN]);
    assert_eq!(pairs.position(|(theirs, ours)| theirs != ours), None);
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

/// Devices of two kinds: names and texts of these lengths.
#[derive(Debug)]
struct Mixture {
    page_size: usize,
    small: usize,
    small_text: usize,
    large_name: usize,
    large_text: usize,
}

impl Mixture {
    /// Adds small devices, then large ones after them in the order of names, and between these;
    /// then removes all in an order of its own.
    fn play(&self) {
        let (_directory, path) = place();
        if self.page_size != 4096 {
            make_store(&path, self.page_size);
        }
        let store = PoolMetadata::open(&path).unwrap();
        let mut names = Vec::new();
        let mut add = |name: String, text: usize| {
            let mut device = device(name.clone());
            device.error = vec![b'e'; text];
            store
                .add_device(&mut device)
                .unwrap_or_else(|error| panic!("{self:?}: {error}"));
            names.push(name);
        };
        for number in 0..self.small {
            add(format!("{number:02x}"), self.small_text);
        }
        let count = 2 * self.page_size / (self.large_name + 40) + 40;
        for number in (0..count).map(|number| number * 7919 % count) {
            let name = format!("~{number:03}");
            add(
                format!("{name:~<width$}", width = self.large_name),
                self.large_text,
            );
        }
        check(&store);
        for step in 0..names.len() {
            let name = names.swap_remove(step * 31 % names.len());
            store
                .remove_device(&name)
                .unwrap_or_else(|error| panic!("{self:?}: {error}"));
        }
        check(&store);
        assert!(devices(&store).is_empty());
    }
}

/// The first two, or all in a campaign.
fn some_of<const N: usize>(all: [usize; N]) -> impl Iterator<Item = usize> {
    all.into_iter().take(common::campaign(2, N))
}

/// What the next two tests put, and what it comes to without this library.
#[test]
fn lmdb_alone_has_no_room_for_a_large_row_beside_small_ones() {
    let (_directory, path) = place();
    make_store(&path, 16384);
    let environment = raw::environment(&path);
    let devices = environment.open_db(Some("devices")).unwrap();
    let is_full = |small: usize, large: usize| {
        let mut txn = environment.begin_rw_txn().unwrap();
        let mut put = |key: String, len| txn.put(devices, &key, &vec![0; len], WriteFlags::empty());
        for number in 0..small {
            put(format!("{number:02x}"), 30).unwrap();
        }
        let large = (0..60).map(|number| put(format!("~{:03}", number * 7919 % 60), large));
        let refused = large.filter(|put| *put == Err(lmdb::Error::PageFull));
        refused.count() > 0
    };
    let found = (16..40).find(|small| (700..990).step_by(30).any(|large| is_full(*small, large)));
    assert!(found.is_some());
}

/// LMDB splits a page in the middle of its rows unless these are few, and the half with the large
/// ones can have no room for another.
#[test]
fn large_device_fits_beside_small_ones_on_a_page() {
    for page_size in STORES {
        for small in some_of([28, 20, 60, 16, 40]) {
            for part in some_of([4, 3, 2]) {
                Mixture {
                    page_size,
                    small,
                    small_text: 0,
                    large_name: 8,
                    large_text: page_size * part / 4 / 16 - 60,
                }
                .play();
            }
        }
    }
}

/// Likewise on a branch page, whose rows are the first names of the pages below it.
#[test]
fn long_name_fits_beside_short_ones_on_a_branch_page() {
    for page_size in STORES {
        for small in some_of([34, 64, 46, 100]) {
            for large_name in some_of([500, 236, 200, 400]) {
                let two_a_page = page_size * 9 / 20;
                Mixture {
                    page_size,
                    small,
                    small_text: two_a_page,
                    large_name,
                    large_text: two_a_page - large_name,
                }
                .play();
            }
        }
    }
}

/// A list of changes runs again when LMDB cannot split a page, with its devices in memory: looks at
/// all devices find them there.
#[test]
fn id_of_a_device_that_the_same_list_adds_is_not_freed_where_a_page_cannot_be_split() {
    for small in [28, 20] {
        for text in [964, 708] {
            let (_directory, path) = place();
            make_store(&path, 16384);
            let store = PoolMetadata::open(&path).unwrap();
            for number in 0..small {
                add(&store, format!("{number:02x}"));
            }
            for number in (0..80).map(|number| number * 7919 % 80) {
                let mut large = device(format!("~{number:03}~~~~"));
                large.error = vec![b'e'; text];
                add_and_free(&store, large);
            }
            check(&store);
        }
    }
}

fn add_and_free(store: &PoolMetadata, device: DeviceInfo) {
    let name = device.name.clone();
    let device_id = store.stats().unwrap().last_id as u32 + 1;
    let mut changes = vec![
        Change::Add(device),
        Change::MarkFaulty { name: name.clone() },
        Change::FreeId { device_id },
    ];
    let refused = store.apply(&changes).unwrap_err();
    let Error::IdInUse { name: owner, .. } = &refused.error else {
        panic!("{refused}");
    };
    assert_eq!(**owner, *name);
    changes[2] = Change::FreeFaultyIds { except: vec![] };
    store.apply(&changes).unwrap();
}
