//! Ratios between this library and raw LMDB, or the bare system calls, measured in turn in one run.
//!
//! `make bench` runs it and says at the end, in a table, which of the project's targets are met.
//! `--quick` leaves out the pool of a million devices; with `--writes`, only writes without a disk
//! are measured. docs/performance.md says what each line means.
#![allow(unsafe_code)]

mod disk;
mod measure;
mod memory;
mod open;
mod stats;
#[path = "../subjects/mod.rs"]
mod subjects;
mod table;

use measure::{batch_of, in_turn};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};
use subjects::c::Store;
use subjects::data::{self, Pool, Scratch};
use subjects::raw::Writer;
use subjects::read::Readers;
use subjects::write::{adds, updates};
use subjects::Run;
use table::Table;

/// Length of one turn of a subject: long beside a clock's resolution, short beside changes of the
/// machine's load.
const TURN: Duration = Duration::from_millis(2);
/// Bytes that all copies of a pool of a million devices need.
const ROOM: u64 = 4 << 30;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|word| word == memory::CHILD) {
        return memory::walk_child(Path::new(&arguments[at + 1]));
    }
    let quick = arguments.iter().any(|word| word == "--quick");
    let sizes: &[u64] = match quick {
        true => &[1_000, 100_000],
        false => &[1_000, 100_000, 1_000_000],
    };
    let tmpfs = data::tmpfs();
    assert!(
        data::room(&tmpfs) >= ROOM || quick,
        "{} has less than 4 GiB free: set PM_BENCH_TMPFS to a tmpfs that has, or pass --quick",
        tmpfs.display()
    );
    let memory = Scratch::new(&tmpfs);
    let mut table = Table::default();
    let pools = fill(&memory, sizes, &mut table);
    if arguments.iter().any(|word| word == "--writes") {
        writes(&pools, &mut table);
        return table.print();
    }
    for pool in &pools {
        reads(pool, &mut table);
    }
    writes(&pools, &mut table);
    for pool in &pools {
        eprintln!("open, {} devices", pool.size);
        open::measure(pool, &mut table);
    }
    eprintln!("statistics");
    for pool in &pools {
        stats::measure(pool, &mut table);
    }
    eprintln!("memory");
    memory::count_allocations(&pools[0], &mut table);
    memory::walk_memory(pools.last().unwrap(), Some(16.0), &mut table);
    let directory = data::disk();
    eprintln!("disk, in {}", directory.display());
    let disk = Scratch::new(&directory);
    disk::measure(&pools[0], &disk, if quick { 100 } else { 300 }, &mut table);
    table.print();
}

fn fill(memory: &Scratch, sizes: &[u64], table: &mut Table) -> Vec<Pool> {
    let most = sizes[sizes.len() - 1];
    eprintln!("filling a pool of {most} devices, one commit each");
    let start = Instant::now();
    let pools = data::fill(memory, sizes);
    let each = start.elapsed().as_secs_f64() * 1e6 / most as f64;
    table.figure(format!("fill, {most} devices, each"), each, "us", None);
    pools
}

fn reads(pool: &Pool, table: &mut Table) {
    let size = pool.size;
    eprintln!("reads, {size} devices");
    let readers = Readers::open(pool);
    let gets: [(&str, Option<f64>, Run); 4] = [
        ("pm_get_device", Some(1.3), readers.c_get()),
        ("pm_read_device", None, readers.c_read()),
        ("Rust get_device", None, readers.rust_get()),
        ("Rust read_device", None, readers.rust_read()),
    ];
    let mut raw = readers.raw_get();
    let batch = batch_of(&mut raw, TURN);
    for (name, target, mut run) in gets {
        let figures = in_turn(&mut run, &mut raw, batch, 301).quiet();
        table.ratio(format!("{name} / raw get, {size} devices"), figures, target);
    }
    let walks: [(&str, Option<f64>, Run); 3] = [
        ("pm_walk_next in pages", Some(3.0), readers.c_paged_walk()),
        ("pm_walk_devices", None, readers.c_callback_walk()),
        ("Rust walk_devices", None, readers.rust_walk()),
    ];
    let mut raw = readers.raw_walk();
    let batch = batch_of(&mut raw, TURN);
    let turns = if size < 1_000_000 { 301 } else { 41 };
    for (name, target, mut run) in walks {
        let figures = in_turn(&mut run, &mut raw, batch, turns)
            .quiet()
            .each_of(size);
        let what = format!("{name} / raw cursor, {size} devices, each");
        table.ratio(what, figures, target);
    }
}

/// Writes are compared with themselves at the smallest size, and with the peer at the same size.
fn writes(pools: &[Pool], table: &mut Table) {
    const TURNS: usize = 201;
    const BATCH: u64 = 100;
    let small = &pools[0];
    let kinds: [(&str, Option<f64>, Subject, Subject); 2] = [
        (
            "pm_add_device",
            Some(1.5),
            adds::<Rc<Store>>,
            adds::<Writer>,
        ),
        (
            "pm_update_device",
            None,
            updates::<Rc<Store>>,
            updates::<Writer>,
        ),
    ];
    for (name, to_raw, ours, peer) in kinds {
        eprintln!("{name}");
        let mut at_small = ours(small, "c-small");
        for pool in pools {
            let (size, mut run) = (pool.size, ours(pool, "c"));
            if size != small.size {
                let what = format!("{name} at {size} devices / at {}", small.size);
                let target = (size >= 1_000_000).then_some(2.0);
                let figures = in_turn(&mut run, &mut at_small, BATCH, TURNS).quiet();
                table.ratio(what, figures, target);
            }
            let figures = in_turn(&mut run, &mut peer(pool, "raw"), BATCH, TURNS).quiet();
            table.ratio(
                format!("{name} / raw LMDB, {size} devices, no disk"),
                figures,
                to_raw,
            );
        }
    }
}

type Subject = fn(&Pool, &str) -> Run;
