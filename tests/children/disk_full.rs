//! Roles of `tests/disk_full`.

use crate::assert_error;
use crate::common::{add, check, device, devices, error_of, options, sys};
use pool_metadata::{DeviceInfo, DeviceState, Error, PoolMetadata, MAX_ERROR_LEN};
use std::fs;
use std::io::Write;
use std::path::Path;

/// A file that occupies all free space of the disk until it is dropped.
struct Filler<'a>(&'a Path);

impl Filler<'_> {
    fn fill(path: &Path) -> Filler<'_> {
        let mut file = fs::File::options()
            .append(true)
            .create(true)
            .open(path)
            .unwrap();
        let error = loop {
            if let Err(error) = file.write_all(&[0xff; 4096]) {
                break error;
            }
        };
        assert_eq!(error.raw_os_error(), Some(libc::ENOSPC), "{error}");
        Filler(path)
    }

    /// Leaves space for that many pages.
    fn fill_but(path: &Path, pages: u64) -> Filler<'_> {
        let filler = Filler::fill(path);
        let file = fs::File::options().write(true).open(path).unwrap();
        let len = file.metadata().unwrap().len();
        file.set_len(len - pages * 4096).unwrap();
        filler
    }
}

impl Drop for Filler<'_> {
    fn drop(&mut self) {
        fs::remove_file(self.0).unwrap();
    }
}

/// Everything that a write could change: the devices, and the store's counters.
pub fn content(store: &PoolMetadata) -> (Vec<DeviceInfo>, [u64; 5]) {
    let stats = store.stats().unwrap();
    let counts = [
        stats.commits,
        stats.last_id,
        stats.free_ids,
        stats.faulty_ids,
        stats.file_size,
    ];
    (devices(store), counts)
}

/// Fails unless the write reports a full disk and has changed nothing, and reads go on.
pub fn no_room(store: &PoolMetadata, write: &dyn Fn() -> Result<(), Error>) {
    let before = content(store);
    let error = error_of(write());
    assert!(matches!(error, Error::DiskFull { .. }), "{error:?}");
    let errno = error.os_error();
    assert!(
        [Some(libc::ENOSPC), Some(libc::EDQUOT)].contains(&errno),
        "{errno:?}"
    );
    let message = error.to_string();
    assert!(
        message.contains(store.path().to_str().unwrap()),
        "{message}"
    );
    assert!(content(store) == before, "something has changed");
    check(store);
}

/// Makes writes that a full disk has no space for.
pub fn write_on_a_full_disk(store: &PoolMetadata) {
    let text = || vec![b'e'; MAX_ERROR_LEN];
    for round in 0..3 {
        no_room(store, &|| {
            let mut large = device("large");
            large.error = text();
            let result = store.add_device(&mut large);
            assert_eq!(
                (large.device_id, large.generation),
                (0, 0),
                "handed back on success only"
            );
            result
        });
        no_room(store, &|| {
            let mut calls = 0;
            let result = store.update_device("3", |device| {
                calls += 1;
                device.error = text();
                Ok(())
            });
            assert_eq!(calls, 1);
            result
        });
        no_room(store, &|| {
            let mut update = store.begin_update("3")?;
            update.device_mut().error = text();
            update.commit()
        });
        // A write that needs little or no space may succeed or fail; the answer has to be true.
        let before = content(store);
        let name = round.to_string();
        match store.remove_device(&name) {
            Ok(()) => assert_error!(store.get_device(&name), Error::NotFound { .. }),
            Err(Error::DiskFull { .. }) => assert!(content(store) == before),
            Err(other) => panic!("{other:?}"),
        }
        check(store);
    }
}

pub fn write_with_room(store: &PoolMetadata) {
    store
        .change_device_state("4", DeviceState::Removed)
        .unwrap();
    for _ in 0..2 {
        let mut large = device("large");
        large.error = vec![b'e'; MAX_ERROR_LEN];
        store.add_device(&mut large).unwrap();
        check(store);
        store.remove_device("large").unwrap();
        check(store);
    }
}

pub fn fill_with_devices(store: &PoolMetadata) {
    for number in 0..20 {
        add(store, number.to_string());
    }
}

/// Runs on a disk of 4 MiB that the test has for itself.
pub fn small_disk(directory: &Path) {
    let filler = directory.join("filler");
    let path = directory.join("pool.db");
    {
        let _full = Filler::fill(&filler);
        let error = error_of(PoolMetadata::open(&path));
        assert!(matches!(error, Error::DiskFull { .. }), "{error:?}");
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
        assert_eq!(
            fs::read_dir(directory).unwrap().count(),
            1,
            "the filler alone"
        );
    }
    for pages in [1, 2, 3, 4, 8, 32, 63] {
        let _nearly_full = Filler::fill_but(&filler, pages);
        let error = error_of(PoolMetadata::open(&path));
        assert!(
            matches!(error, Error::DiskFull { .. }),
            "{pages} pages: {error:?}"
        );
        assert_eq!(
            fs::read_dir(directory).unwrap().count(),
            1,
            "the filler alone"
        );
    }
    let store = PoolMetadata::open(&path).unwrap();
    fill_with_devices(&store);
    for _ in 0..2 {
        let full = Filler::fill(&filler);
        write_on_a_full_disk(&store);
        drop(full);
        write_with_room(&store);
        for name in ["0", "1", "2"] {
            let _ = store.remove_device(name);
            add(&store, name);
        }
    }
    store.close().unwrap();
    // A store on a full disk can be opened and read.
    let _full = Filler::fill(&filler);
    let store = PoolMetadata::open(&path).unwrap();
    assert_eq!(devices(&store).len(), 20);
    check(&store);
}

/// LMDB writes to its `-lock` file through a memory map: if the disk had no space for a page of it,
/// the process would get a signal.
pub fn reader_table(directory: &Path) {
    let (filler, path) = (directory.join("filler"), directory.join("pool.db"));
    let lock = directory.join("pool.db-lock");
    let wait = options(200);
    // Space for the store, and for a part of its lock file.
    for pages in [64, 65, 70, 75, 80, 90] {
        let _nearly_full = Filler::fill_but(&filler, pages);
        match wait.open(&path) {
            Ok(store) => {
                many_walks(&store);
                fs::remove_file(&path).unwrap();
                fs::remove_file(&lock).unwrap();
            }
            Err(error) => assert!(matches!(error, Error::DiskFull { .. }), "{error:?}"),
        }
        let left = fs::read_dir(directory).unwrap().count();
        assert_eq!(left, 1, "{pages} pages: the filler alone is left");
    }
    let store = wait.open(&path).unwrap();
    fill_with_devices(&store);
    {
        let _full = Filler::fill(&filler);
        many_walks(&store);
    }
    store.close().unwrap();
    fs::remove_file(&lock).unwrap();
    {
        let _full = Filler::fill(&filler);
        let error = error_of(options(200).open(&path));
        assert!(matches!(error, Error::DiskFull { .. }), "{error:?}");
        let message = error.to_string();
        assert!(message.contains(lock.to_str().unwrap()), "{message}");
        assert!(path.exists() && !lock.exists());
        // A look needs no lock file, and no room on the disk.
        let look = options(200).read_only(true).open(&path).unwrap();
        assert_eq!(devices(&look).len(), 20);
        check(&look);
        assert!(!lock.exists());
    }
    let store = wait.open(&path).unwrap();
    assert_eq!(devices(&store).len(), 20);
    check(&store);
}

/// Uses more reader slots than one page of the reader table has.
fn many_walks(store: &PoolMetadata) {
    let walks: Vec<_> = (0..500).map(|_| store.walk().unwrap()).collect();
    assert_eq!(store.stats().unwrap().walks_open, 500);
    drop(walks);
}

/// A file-size limit of the process is no full disk, and the error says which it is.
pub fn size_limit(path: &Path) {
    sys::ignore_file_size_signal();
    let store = options(1000).open(path).unwrap();
    fill_with_devices(&store);
    let before = content(&store);
    sys::limit(libc::RLIMIT_FSIZE, fs::metadata(path).unwrap().len());
    let mut large = device("large");
    large.error = vec![b'e'; MAX_ERROR_LEN];
    for _ in 0..3 {
        let error = error_of(store.add_device(&mut large));
        assert_eq!(error.os_error(), Some(libc::EFBIG), "{error:?}");
        assert!(content(&store) == before);
        check(&store);
    }
    // A write that fits succeeds, and with a higher limit every write does.
    store
        .change_device_state("1", DeviceState::Removed)
        .unwrap();
    sys::limit(libc::RLIMIT_FSIZE, 1 << 30);
    write_with_room(&store);
    check(&store);
}
