//! Memory: allocations in a call, and what a walk keeps.
//!
//! Every allocation of the process is counted, LMDB's too: this program defines the C
//! library's allocating functions, and hands on to those of glibc behind them.

use crate::subjects::c::{ReadBuffer, Store};
use crate::subjects::data::Pool;
use crate::table::Table;
use libc::{c_int, c_void, size_t};
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

extern "C" {
    fn __libc_malloc(size: size_t) -> *mut c_void;
    fn __libc_calloc(count: size_t, size: size_t) -> *mut c_void;
    fn __libc_realloc(block: *mut c_void, size: size_t) -> *mut c_void;
    fn __libc_memalign(align: size_t, size: size_t) -> *mut c_void;
}

/// Counts one allocation. Not an atomic addition, which would show in the times: all measured code
/// runs on one thread.
fn count() {
    ALLOCATIONS.store(ALLOCATIONS.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

#[no_mangle]
unsafe extern "C" fn malloc(size: size_t) -> *mut c_void {
    count();
    // SAFETY: passes the call on, as all functions here do.
    unsafe { __libc_malloc(size) }
}

#[no_mangle]
unsafe extern "C" fn calloc(items: size_t, size: size_t) -> *mut c_void {
    count();
    // SAFETY: as in `malloc`.
    unsafe { __libc_calloc(items, size) }
}

#[no_mangle]
unsafe extern "C" fn realloc(block: *mut c_void, size: size_t) -> *mut c_void {
    count();
    // SAFETY: as in `malloc`.
    unsafe { __libc_realloc(block, size) }
}

#[no_mangle]
unsafe extern "C" fn posix_memalign(out: *mut *mut c_void, align: size_t, size: size_t) -> c_int {
    count();
    // SAFETY: as in `malloc`; `out` is the caller's to be written.
    unsafe {
        let block = __libc_memalign(align, size);
        if block.is_null() {
            return libc::ENOMEM;
        }
        *out = block;
    }
    0
}

/// How many allocations one call of `work` makes.
fn allocations(mut work: impl FnMut()) -> f64 {
    const CALLS: u32 = 1000;
    work();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    (0..CALLS).for_each(|_| work());
    (ALLOCATIONS.load(Ordering::Relaxed) - before) as f64 / f64::from(CALLS)
}

pub fn count_allocations(pool: &Pool, table: &mut Table) {
    let store: Rc<Store> = Store::open(&pool.copy("allocations"));
    let (mut names, mut buffer) = (pool.names(), ReadBuffer::new());
    let get = allocations(|| store.get(names.next()));
    let read = allocations(|| store.read(names.next(), &mut buffer));
    table.figure("allocations in a pm_get_device".into(), get, "", Some(1.0));
    table.figure(
        "allocations in a pm_read_device".into(),
        read,
        "",
        Some(0.0),
    );
}

/// The argument that makes this program the child below.
pub const CHILD: &str = "--walk-and-print-memory";

/// Runs in a process of its own: opens the store and walks over it in pages. Prints the peak of the
/// process's own memory, in KiB, and what it was before.
pub fn walk_child(path: &Path) {
    let before = anonymous_kib();
    let mut most = before;
    let mut pages = 0;
    Store::open(path).walk_pages(&mut ReadBuffer::new(), || {
        pages += 1;
        if pages % 16 == 1 {
            most = most.max(anonymous_kib());
        }
    });
    println!("{} {before}", most.max(anonymous_kib()));
}

/// Memory that is this process's own: neither the mapped store nor the program's file.
fn anonymous_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    kib.expect("a kernel of 2016 or later").parse().unwrap()
}

pub fn walk_memory(pool: &Pool, target: Option<f64>, table: &mut Table) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([CHILD.as_ref(), pool.copy("memory").as_os_str()])
        .output()
        .unwrap();
    assert!(output.status.success(), "the child failed: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut kib = text.split_whitespace().map(|n| n.parse::<f64>().unwrap());
    let (most, before) = (kib.next().unwrap(), kib.next().unwrap());
    let what = |which| format!("own memory {which} {} devices", pool.size);
    table.figure(what("while walking"), most / 1024.0, "MiB", target);
    table.figure(what("before opening"), before / 1024.0, "MiB", None);
}
