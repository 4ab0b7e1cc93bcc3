//! Roles of `tests/descriptors`.

use crate::common::{add, check, device, options, sys};
use pool_metadata::{BackupOptions, PoolMetadata};
use std::fs;
use std::path::Path;

/// Needs a process of its own, since no other thread should run during a fork.
pub fn closed_streams(path: &Path) {
    let copy = path.with_extension("copy");
    let good = sys::in_forked_child(|| {
        sys::close_standard_streams();
        let store = PoolMetadata::open(path).unwrap();
        add(&store, "a");
        // A program prints and reads although the streams are closed.
        sys::use_standard_streams();
        add(&store, "b");
        store.backup(&copy, &BackupOptions::new()).unwrap();
        sys::use_standard_streams();
        check(&store);
        store.close().unwrap();
        check(&PoolMetadata::open(path).unwrap());
        check(&PoolMetadata::open(&copy).unwrap());
        true
    });
    assert!(good, "in the child");
}

/// With any number of descriptors, a call fails or does its work, and it closes all that it opened.
pub fn few(path: &Path) {
    let count = || fs::read_dir("/proc/self/fd").unwrap().count() as u64 - 1;
    let before = count();
    let copy = path.with_extension("copy");
    let (mut opened, mut refused) = (0, 0);
    for limit in before..before + 24 {
        sys::limit(libc::RLIMIT_NOFILE, limit);
        let store = options(1000).open(path);
        let copied = store.as_ref().map(|store| {
            let name = format!("with-{limit}");
            store.add_device(&mut device(name)).unwrap();
            store.get_device("base").unwrap();
            store.backup(&copy, &BackupOptions::new())
        });
        let failed = match copied {
            Ok(copied) => {
                opened += 1;
                copied.err()
            }
            Err(error) => Some(error.clone()),
        };
        if let Some(error) = failed {
            refused += 1;
            assert_eq!(error.os_error(), Some(libc::EMFILE), "{limit}: {error:?}");
        }
        drop(store);
        sys::limit(libc::RLIMIT_NOFILE, 1024);
        assert_eq!(count(), before, "{limit}");
        let _ = fs::remove_file(&copy);
        let mut names: Vec<_> = fs::read_dir(path.parent().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["pool.db", "pool.db-lock"], "{limit}");
        check(&PoolMetadata::open(path).unwrap());
    }
    assert!(opened > 0 && refused > 0);
}

/// Prints which files below the directory it has open, without having opened any.
pub fn inherited(directory: &Path) {
    for entry in fs::read_dir("/proc/self/fd").unwrap() {
        // The descriptor of this very listing is gone when it is looked at last.
        let target = fs::read_link(entry.unwrap().path()).unwrap_or_default();
        if target.starts_with(directory) {
            println!("{}", target.display());
        }
    }
}
