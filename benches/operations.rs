//! The operations one by one, with criterion: absolute times, and changes since the last run.
//!
//!     cargo bench --bench operations -- "get/.*/1000$"
//!
//! The times are processor time. `make bench` measures in turn with the peers instead, and prints
//! ratios.
#![allow(unsafe_code)]

mod subjects;

use criterion::{BenchmarkId, Criterion, Throughput};
use pool_metadata::PoolMetadata;
use std::rc::Rc;
use std::time::Duration;
use subjects::c::Store;
use subjects::data::{self, Pool, Scratch};
use subjects::raw::Writer;
use subjects::read::Readers;
use subjects::write::{adds, updates};
use subjects::Run;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20)
        .configure_from_args();
    let scratch = Scratch::new(&data::tmpfs());
    for pool in data::fill(&scratch, &[1_000, 100_000, 1_000_000]) {
        reads(&mut criterion, &pool);
        writes(&mut criterion, &pool);
    }
    criterion.final_summary();
}

fn reads(criterion: &mut Criterion, pool: &Pool) {
    let readers = Readers::open(pool);
    let gets = [
        ("pm_get_device", readers.c_get()),
        ("pm_read_device", readers.c_read()),
        ("get_device", readers.rust_get()),
        ("read_device", readers.rust_read()),
        ("raw LMDB", readers.raw_get()),
    ];
    group(criterion, "get", pool.size, 1, gets);
    let walks = [
        ("pm_walk_next", readers.c_paged_walk()),
        ("pm_walk_devices", readers.c_callback_walk()),
        ("walk_devices", readers.rust_walk()),
        ("raw LMDB", readers.raw_walk()),
    ];
    group(criterion, "walk", pool.size, pool.size, walks);
}

fn writes(criterion: &mut Criterion, pool: &Pool) {
    let subjects = [
        ("pm_add_device", adds::<Rc<Store>>(pool, "c")),
        ("add_device", adds::<PoolMetadata>(pool, "rust")),
        ("raw LMDB", adds::<Writer>(pool, "raw")),
    ];
    group(criterion, "add", pool.size, 1, subjects);
    let subjects = [
        ("pm_update_device", updates::<Rc<Store>>(pool, "c")),
        ("update_device", updates::<PoolMetadata>(pool, "rust")),
        ("raw LMDB", updates::<Writer>(pool, "raw")),
    ];
    group(criterion, "update", pool.size, 1, subjects);
}

fn group<const N: usize>(
    criterion: &mut Criterion,
    what: &str,
    size: u64,
    elements: u64,
    subjects: [(&str, Run); N],
) {
    let mut group = criterion.benchmark_group(what);
    group.throughput(Throughput::Elements(elements));
    for (name, mut run) in subjects {
        group.bench_function(BenchmarkId::new(name, size), |b| b.iter_custom(&mut run));
    }
    group.finish();
}
