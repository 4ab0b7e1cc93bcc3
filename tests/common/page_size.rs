//! Stores with other page sizes than 4 KiB, as LMDB made them on kernels with larger pages, and
//! threads to which the kernel seems to have such pages.
//!
//! A test program that has this module answers LMDB's question for the page size itself: its own
//! `sysconf` comes before the C library's.
#![allow(unsafe_code)]

use super::common::raw;
use lmdb::{Cursor, DatabaseFlags, Environment, EnvironmentFlags, Transaction, WriteFlags};
use pool_metadata::PoolMetadata;
use std::cell::Cell;
use std::path::Path;

/// The page sizes of kernels. LMDB's pages have 32 KiB at most.
pub const KERNELS: [usize; 5] = [4096, 8192, 16384, 32768, 65536];
/// The page sizes that a store can have.
pub const STORES: [usize; 4] = [4096, 8192, 16384, 32768];

thread_local! {
    static KERNEL: Cell<usize> = const { Cell::new(0) };
}

/// Runs `work` as on a kernel with pages of that size, as far as this thread asks.
pub fn on_kernel<R>(page_size: usize, work: impl FnOnce() -> R) -> R {
    KERNEL.set(page_size);
    let result = work();
    KERNEL.set(0);
    result
}

/// What the C library has under this name.
#[unsafe(no_mangle)]
extern "C" fn sysconf(name: libc::c_int) -> libc::c_long {
    match KERNEL.get() {
        size if size != 0 && name == libc::_SC_PAGESIZE => size as libc::c_long,
        _ => {
            type Sysconf = unsafe extern "C" fn(libc::c_int) -> libc::c_long;
            // SAFETY: the C library's function of this name has this type.
            unsafe {
                let next = libc::dlsym(libc::RTLD_NEXT, c"sysconf".as_ptr());
                std::mem::transmute::<*mut libc::c_void, Option<Sysconf>>(next).unwrap()(name)
            }
        }
    }
}

/// The page size that a file's first meta page says.
pub fn page_size_of(path: &Path) -> usize {
    let bytes = std::fs::read(path).unwrap();
    u32::from_le_bytes(bytes[40..44].try_into().unwrap()) as usize
}

/// Makes a new store with pages of that size by LMDB alone, in one commit.
pub fn make_store(path: &Path, page_size: usize) {
    let directory = tempfile::tempdir().unwrap();
    let example = directory.path().join("example.db");
    PoolMetadata::open(&example).unwrap().close().unwrap();
    let example = raw::environment(&example);
    let txn = example.begin_ro_txn().unwrap();
    // SAFETY: no other transaction of this environment makes or opens a database.
    let rows = unsafe { txn.open_db(None) }.unwrap();
    let mut cursor = txn.open_ro_cursor(rows).unwrap();
    let new = on_kernel(page_size, || {
        Environment::new()
            .set_flags(EnvironmentFlags::NO_SUB_DIR | EnvironmentFlags::NO_LOCK)
            .set_max_dbs(8)
            .set_map_size(1 << 20)
            .open_with_permissions(path, 0o600)
            .unwrap()
    });
    let main = new.open_db(None).unwrap();
    let mut made = new.begin_rw_txn().unwrap();
    for row in cursor.iter_start() {
        let (key, value) = row.unwrap();
        if key == b"header" {
            made.put(main, &key, &value, WriteFlags::empty()).unwrap();
        } else {
            let name = std::str::from_utf8(key).unwrap();
            // SAFETY: as above.
            unsafe { made.create_db(Some(name), DatabaseFlags::empty()) }.unwrap();
        }
    }
    made.commit().unwrap();
}
