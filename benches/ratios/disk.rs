//! A lone durable write on a disk, compared with the flush that it needs.

use crate::measure::in_turn;
use crate::subjects::c::Store;
use crate::subjects::data::{Pool, Scratch};
use crate::subjects::raw::Writer;
use crate::subjects::time::wall_time;
use crate::subjects::write::Writes;
use crate::subjects::Run;
use crate::table::Table;
use pool_metadata::capi::{pm_options, PM_DURABILITY_RELAXED, PM_VERIFY_NONE};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;

const BLOCK: u64 = 4096;
/// How many pages LMDB writes in each place where many writes share a commit.
const SHARED: [usize; 17] = [1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1];

/// A `pwrite` in each of so many places, of so many blocks of 4 KiB each, and one `fdatasync`, in a
/// file whose blocks have all been written before.
fn one_flush(path: &Path, places: &'static [usize]) -> Run {
    const BLOCKS: u64 = 1024;
    // No two places of one flush adjoin.
    const STEP: u64 = 57;
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
        .unwrap();
    let blocks = vec![0xa5; BLOCK as usize * places.iter().max().unwrap()];
    (0..BLOCKS).for_each(|n| {
        let at = n * BLOCK;
        file.write_all_at(&blocks, at).unwrap();
    });
    file.sync_all().unwrap();
    let mut n = 0;
    Box::new(move |times| {
        wall_time(|| {
            for _ in 0..times {
                for (place, length) in (0..).zip(places) {
                    let at = (n + place * STEP) % BLOCKS * BLOCK;
                    let bytes = &blocks[..BLOCK as usize * length];
                    file.write_all_at(bytes, at).unwrap();
                }
                file.sync_data().unwrap();
                n += 1;
            }
        })
    })
}

/// Adds devices to one store, which grows as it would in use.
fn adds<W: Writes + 'static>(pool: &Pool, path: &Path) -> Run {
    std::fs::copy(&pool.file, path).unwrap();
    File::open(path).unwrap().sync_all().unwrap();
    let writer = W::open(path, pool);
    let mut names = pool.new_names();
    Box::new(move |times| wall_time(|| (0..times).for_each(|_| writer.add(names.next()))))
}

/// Changes the devices of one store, one after the other.
fn updates<W: Writes + 'static>(pool: &Pool, path: &Path) -> Run {
    std::fs::copy(&pool.file, path).unwrap();
    File::open(path).unwrap().sync_all().unwrap();
    let writer = W::open(path, pool);
    let mut names = pool.names();
    Box::new(move |times| wall_time(|| (0..times).for_each(|_| writer.update(names.next()))))
}

pub fn measure(pool: &Pool, scratch: &Scratch, turns: usize, table: &mut Table) {
    assert!(
        turns < pool.names().len(),
        "the pool has names for fewer adds"
    );
    let mut peer = one_flush(&scratch.file("flushes"), &[1]);
    let subjects: [(&str, Option<f64>, Run); 5] = [
        (
            "pm_add_device",
            Some(1.5),
            adds::<Rc<Store>>(pool, &scratch.file("store.db")),
        ),
        (
            "pm_update_device",
            Some(1.5),
            updates::<Rc<Store>>(pool, &scratch.file("updated.db")),
        ),
        (
            "raw LMDB add",
            None,
            adds::<Writer>(pool, &scratch.file("raw.db")),
        ),
        // As many as LMDB needs for a change in a tree of two levels, without anything else.
        (
            "change of 5 pages",
            None,
            one_flush(&scratch.file("lone"), &[1; 5]),
        ),
        // What LMDB writes for 64 updates at once, of 1,000 devices in random order.
        (
            "change of 25 pages in 17 places",
            None,
            one_flush(&scratch.file("shared"), &SHARED),
        ),
    ];
    for (name, target, mut run) in subjects {
        let figures = in_turn(&mut run, &mut peer, 1, turns).medians();
        let what = format!("durable {name} on disk / (pwrite + fdatasync)");
        table.ratio(what, figures, target);
    }
    let mut relaxed = updates::<Relaxed>(pool, &scratch.file("relaxed.db"));
    let mut durable = updates::<Rc<Store>>(pool, &scratch.file("durable.db"));
    for (what, batch, turns) in [("one", 1, turns), ("1,000 and a flush", 1000, 10)] {
        let figures = in_turn(&mut relaxed, &mut durable, batch, turns).medians();
        let what = format!("pm_update_device on disk, relaxed / durable, {what}");
        table.ratio(what, figures, Some(0.1));
    }
}

/// A store with relaxed durability.
struct Relaxed(Rc<Store>);

impl Writes for Relaxed {
    fn open(path: &Path, _pool: &Pool) -> Relaxed {
        // SAFETY: all zeros is a valid `pm_options`.
        let mut options: pm_options = unsafe { std::mem::zeroed() };
        options.struct_size = size_of::<pm_options>();
        options.verify = PM_VERIFY_NONE;
        options.durability = PM_DURABILITY_RELAXED;
        Relaxed(Store::open_with(path, &options))
    }

    fn touch(&self) {
        self.0.walk_callback();
    }

    fn add(&self, name: &[u8]) {
        Store::add(&self.0, name);
    }

    fn update(&self, name: &[u8]) {
        Store::update(&self.0, name);
    }
}
