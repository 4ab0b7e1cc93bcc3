//! Writes: a device added, a device updated, each with a commit of its own.

use super::c::Store;
use super::data::{parent, Pool};
use super::raw::{Raw, Writer};
use super::time::cpu_time;
use super::{open_store, Run};
use pool_metadata::{DeviceInfo, DeviceState, Error, PoolMetadata};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

/// A subject that writes devices: the library through Rust and through C, and raw LMDB.
pub trait Writes: Sized {
    fn open(file: &Path, pool: &Pool) -> Self;
    /// Reads everything once, so that the map is in memory.
    fn touch(&self);
    fn add(&self, name: &[u8]);
    fn update(&self, name: &[u8]);
}

impl Writes for PoolMetadata {
    fn open(file: &Path, _pool: &Pool) -> PoolMetadata {
        open_store(file)
    }

    fn touch(&self) {
        self.walk_devices(|_| Ok::<(), Error>(())).unwrap();
    }

    fn add(&self, name: &[u8]) {
        self.add_device(&mut new_device(name)).unwrap();
    }

    fn update(&self, name: &[u8]) {
        self.update_device(name, |device| {
            device.state = other_state(device.state);
            Ok::<(), Error>(())
        })
        .unwrap();
    }
}

impl Writes for Rc<Store> {
    fn open(file: &Path, _pool: &Pool) -> Rc<Store> {
        Store::open(file)
    }

    fn touch(&self) {
        self.walk_callback();
    }

    fn add(&self, name: &[u8]) {
        Store::add(self, name);
    }

    fn update(&self, name: &[u8]) {
        Store::update(self, name);
    }
}

impl Writes for Writer {
    fn open(file: &Path, pool: &Pool) -> Writer {
        Raw::open(file).writer(pool.names().next())
    }

    fn touch(&self) {
        self.raw().reader().walk();
    }

    fn add(&self, name: &[u8]) {
        Writer::add(self, name);
    }

    fn update(&self, name: &[u8]) {
        Writer::update(self, name);
    }
}

fn new_device(name: &[u8]) -> DeviceInfo {
    let mut device = DeviceInfo::new(name);
    device.size = 10 << 30;
    device.parent_name = parent();
    device.state = DeviceState::Creating;
    device
}

fn other_state(state: DeviceState) -> DeviceState {
    match state {
        DeviceState::Activated => DeviceState::Deactivated,
        _ => DeviceState::Activated,
    }
}

/// Adds devices at random places among those of the pool. When the pool has grown by a tenth, it is
/// replaced by a fresh copy.
pub fn adds<W: Writes + 'static>(pool: &Pool, name: &str) -> Run {
    let (pool, purpose) = (pool.clone(), format!("add-{name}"));
    let mut names = pool.new_names();
    let limit = (pool.size / 10).min(names.len() as u64 / 2);
    let mut store: Option<W> = None;
    let mut added = 0;
    Box::new(move |times| {
        let mut spent = Duration::ZERO;
        let mut left = times;
        while left > 0 {
            if added == limit {
                store = None;
            }
            let writer = store.get_or_insert_with(|| {
                added = 0;
                fresh(&pool, &purpose)
            });
            let now = left.min(limit - added);
            spent += cpu_time(|| (0..now).for_each(|_| writer.add(names.next())));
            added += now;
            left -= now;
        }
        spent
    })
}

/// Updates devices in random order, each read and then written.
pub fn updates<W: Writes + 'static>(pool: &Pool, name: &str) -> Run {
    let writer: W = fresh(pool, &format!("update-{name}"));
    let mut names = pool.names();
    Box::new(move |times| cpu_time(|| (0..times).for_each(|_| writer.update(names.next()))))
}

/// A store on a new copy of the pool's file, with its map in memory and its first commits behind
/// it.
fn fresh<W: Writes>(pool: &Pool, purpose: &str) -> W {
    let writer = W::open(&pool.copy(purpose), pool);
    writer.touch();
    let mut names = pool.names();
    (0..20).for_each(|_| writer.update(names.next()));
    writer
}
