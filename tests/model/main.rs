//! Random sequences of everything that a store can do, on a store behind the Rust API, on one
//! behind the C functions and on a model in memory: the same outcomes, in every field of every
//! record and every word of every message, and after every step the same contents.
//!
//! `make properties` is a long campaign.
#![allow(unsafe_code)]

#[path = "../meaning/c/mod.rs"]
#[allow(dead_code)]
mod c;
#[path = "../common/mod.rs"]
mod common;
#[path = "../meaning/in_step.rs"]
#[allow(dead_code)]
mod in_step;
mod model;
mod ops;
#[path = "../common/page_size.rs"]
#[allow(dead_code)]
mod page_size;
#[path = "../meaning/rust.rs"]
#[allow(dead_code)]
mod rust;
mod spec;
mod steps;
#[path = "../meaning/subject.rs"]
#[allow(dead_code, unused_macros)]
mod subject;

use c::types::{Failure, Outcome};
use c::CStore;
use common::{device, directory, properties};
use in_step::{Gone, Id, InStep};
use model::{remove_from_disk, Model};
use ops::{Edit, Op};
use pool_metadata::capi::*;
use pool_metadata::{Change, DeviceInfo, DeviceState, Ids, Intent};
use proptest::prelude::*;
use rust::RustStore;
use std::path::{Path, PathBuf};
use subject::*;

/// The wait for a device that an update has locked never succeeds here; everything else is there
/// at once.
const LOCK_WAIT_MS: u64 = 15;

/// The size of a new store's pages.
const NEW_PAGE_SIZE: usize = 4096;

/// What a call has shown.
#[derive(Debug, PartialEq)]
enum Seen {
    Done(Outcome<()>),
    Device(Outcome<DeviceInfo>),
    Devices(Vec<DeviceInfo>),
    Names(Vec<Vec<u8>>),
    Ids(Ids),
    Counters([u64; 6]),
    Listed(Result<Vec<Applied>, Refusal>),
    Number(Outcome<u64>),
    IdList(Vec<Id>),
    Open(Vec<Intent>),
    Removed(Gone),
}
use Seen::*;

/// One of the three stores, and the updates that have begun on it.
struct Side<S: Store> {
    path: PathBuf,
    map_size: u64,
    store: S,
    begun: Vec<S::Update>,
    seen: Vec<Seen>,
    /// Whether writing beside an open walk needs no larger map, which the walk would forbid.
    has_room: bool,
}

impl<S: InStep> Side<S> {
    fn new(path: PathBuf, map_size: u64) -> Side<S> {
        Side {
            store: Self::open(&path, map_size, PM_VERIFY_FULL, false),
            path,
            map_size,
            begun: Vec::new(),
            seen: Vec::new(),
            has_room: true,
        }
    }

    fn open(path: &Path, map_size: u64, verify: i32, read_only: bool) -> S {
        let options = pm_options {
            flags: if read_only { PM_OPEN_READ_ONLY } else { 0 },
            map_size,
            verify,
            ..waiting(LOCK_WAIT_MS)
        };
        S::open(path, &options).unwrap()
    }

    fn saw(&mut self, outcome: Outcome<()>) {
        self.seen.push(Done(outcome));
    }

    /// Does the operation and looks at the whole store.
    fn step(&mut self, op: &Op) {
        match op {
            Op::Add(device) => {
                let mut given = device.clone();
                let added = self.store.add(&mut given);
                self.saw(added);
                self.seen.push(Device(Ok(given)));
            }
            Op::ChangeState(name, state) => self.saw(self.store.change_state(name, *state)),
            Op::MarkFaulty(name) => self.saw(self.store.mark_faulty(name)),
            Op::Remove(name) => self.saw(self.store.remove(name)),
            Op::ReplaceId(name, by) => {
                // Mostly the id that the device has.
                let id = self.store.get(name).map_or(1, |device| device.device_id);
                let replaced = self.store.replace_id(name, id.wrapping_add(*by));
                self.seen.push(Number(replaced.map(u64::from)));
            }
            Op::FreeId(id) => self.saw(self.store.free_id(*id)),
            Op::FreeFaultyIds(except) => {
                self.seen.push(Number(self.store.free_faulty_ids(except)));
            }
            Op::MarkIdsFaulty(ids) => self.seen.push(Number(self.store.mark_ids_faulty(ids))),
            Op::MarkIdsFaultyUpTo(last) => {
                self.seen
                    .push(Number(self.store.mark_ids_faulty_up_to(*last)));
            }
            Op::BeginIntent(intent) => self.seen.push(Number(self.store.begin_intent(intent))),
            Op::FinishIntent(number) => self.saw(self.store.finish_intent(*number)),
            Op::ById(id) => self.seen.push(Device(self.store.by_id(*id))),
            Op::Filtered(filter) => {
                self.seen
                    .push(Devices(self.store.filtered(filter).unwrap()));
                self.seen
                    .push(Removed(self.store.removals(filter.since).unwrap()));
            }
            Op::Get(name) => self.seen.push(Device(look_up(&self.store, name))),
            Op::Update(name, edit) => self.update(name, edit),
            Op::Begin(name) => self.begin(name),
            Op::Commit(which, edit) if !self.begun.is_empty() => {
                let mut update = self.begun.remove(which.index(self.begun.len()));
                // Outside a callback an edit cannot fail: only its change counts.
                let _ = edit.apply(update.device());
                self.saw(update.commit());
            }
            Op::Abort(which) if !self.begun.is_empty() => {
                self.begun.remove(which.index(self.begun.len())).abort();
            }
            Op::Commit(..) | Op::Abort(_) => {}
            Op::Walk(shown, inside) => self.walk(*shown, inside.as_deref()),
            Op::Reopen {
                verify,
                read_only_between,
            } => self.reopen(*verify, *read_only_between),
        }
        self.look();
    }

    fn update(&mut self, name: &[u8], edit: &Edit) {
        let (store, seen) = (&self.store, &mut self.seen);
        let mut calls = 0;
        let outcome = store.update(name, &mut |device| {
            calls += 1;
            seen.push(Device(Ok(device.clone())));
            if let Edit::WriteInside(other, _) = edit {
                write_inside(store, other, seen);
            }
            edit.apply(device)
        });
        assert!(calls <= 1, "the callback is called {calls} times");
        self.saw(outcome);
    }

    fn begin(&mut self, name: &[u8]) {
        match self.store.begin(name) {
            Ok(mut update) => {
                self.seen.push(Device(Ok(update.device().clone())));
                self.begun.push(update);
            }
            Err(failure) => self.saw(Err(failure)),
        }
    }

    /// Walks over the devices that there were when the walk began, and writes meanwhile.
    fn walk(&mut self, shown: usize, inside: Option<&Op>) {
        let mut walk = self.store.walk().unwrap();
        let ids = walk.ids().unwrap();
        let mut found: Vec<_> = walk.by_ref().take(1).map(Result::unwrap).collect();
        match inside {
            Some(op) if self.has_room => self.step(op),
            _ => {}
        }
        assert_eq!(walk.ids().unwrap(), ids);
        found.extend(walk.map(Result::unwrap));
        self.seen.extend([Ids(ids), Devices(found)]);

        let mut visited = Vec::new();
        let outcome = self.store.walk_devices(&mut |device| {
            if visited.len() == shown {
                return Err(-7);
            }
            visited.push(device);
            Ok(())
        });
        self.seen.push(Devices(visited));
        self.saw(outcome);
    }

    fn reopen(&mut self, verify: i32, read_only_between: bool) {
        let closed = [self.store.close(), self.store.close()];
        self.seen.extend(closed.map(Done));
        self.closed_store_refuses();
        if read_only_between {
            self.store = Self::open(&self.path, self.map_size, verify, true);
            self.look();
            let refused = [
                self.store.remove(b"a"),
                self.store.begin(b"a").map(drop),
                self.store.mark_faulty(b"a"),
                self.store.sync(),
                self.store.close(),
            ];
            self.seen.extend(refused.map(Done));
        }
        // The handle that was closed is dropped only here; updates that were begun on it stay.
        self.store = Self::open(&self.path, self.map_size, verify, false);
    }

    fn closed_store_refuses(&mut self) {
        let refused = [
            self.store.get(b"a").map(drop),
            self.store.remove(b"a"),
            self.store.verify(),
            self.store.walk().map(drop),
        ];
        self.seen.extend(refused.map(Done));
    }

    fn look(&mut self) {
        self.saw(self.store.verify());
        let (devices, ids, counters) = contents(&self.store);
        let names = self.store.names().unwrap();
        self.seen
            .extend([Devices(devices), Ids(ids), Counters(counters), Names(names)]);
        self.seen.push(IdList(self.store.ids(0, 0, 0).unwrap()));
        self.seen.push(Open(self.store.intents().unwrap()));
    }

    /// Goes on with another store, which takes over what this one tells of itself.
    fn hand_over(&mut self) {
        let (devices, ids, _) = contents(&self.store);
        self.path.set_extension("copy");
        self.store = Self::open(&self.path, self.map_size, PM_VERIFY_FULL, false);
        // The second time it is not empty, unless there was nothing to import.
        for _ in 0..2 {
            self.saw(self.store.import(&devices, &ids));
            self.look();
        }
    }

    fn apply(&mut self, list: &[Change]) {
        self.seen.push(Listed(self.store.apply(list)));
        self.look();
    }

    /// What has been seen since the last call, as if every store had the same path.
    fn take_seen(&mut self) -> Vec<Seen> {
        let path = self.path.to_str().unwrap();
        let mut seen = std::mem::take(&mut self.seen);
        for failure in seen.iter_mut().filter_map(failure_in) {
            failure.message = failure.message.replace(path, "PATH");
            if failure.code == PM_ERR_CALLBACK {
                assert!(failure.message.contains(&failure.callback_code.to_string()));
                failure.message.clear();
            }
        }
        seen
    }

    /// Sizes and histograms, which the model does not have.
    fn sizes(&self) -> Vec<u64> {
        let stats = self.store.stats().unwrap();
        let operations = stats.commit_operations;
        let mut sizes = vec![
            stats.map_size,
            stats.map_used,
            stats.file_size,
            stats.page_size,
            stats.max_readers,
            stats.struct_size as u64,
            stats.pages_free,
            stats.pages_held,
            stats.readers_active,
            operations.count,
            operations.sum,
        ];
        sizes.extend(operations.buckets);
        sizes
    }
}

fn failure_in(seen: &mut Seen) -> Option<&mut Failure> {
    match seen {
        Done(Err(failure))
        | Device(Err(failure))
        | Number(Err(failure))
        | Listed(Err((_, failure))) => Some(failure),
        _ => None,
    }
}

/// From inside an update's callback: reads succeed and writes are refused.
fn write_inside<S: Store>(store: &S, name: &[u8], seen: &mut Vec<Seen>) {
    seen.push(Device(look_up(store, name)));
    seen.push(Names(store.names().unwrap()));
    let mut never = |_: &mut DeviceInfo| panic!("a callback inside a callback");
    let refused = [
        store.add(&mut device(name)),
        store.change_state(name, DeviceState::Removed),
        store.mark_faulty(name),
        store.remove(name),
        store.update(name, &mut never),
        store.begin(name).map(drop),
        store.import(&[], &Ids::default()),
        store.sync(),
        store.close(),
    ];
    assert!(refused.iter().all(|outcome| {
        let failure = outcome.as_ref().unwrap_err();
        failure.code == PM_ERR_NESTED_WRITE
    }));
    seen.extend(refused.map(Done));
}

/// Three stores that have seen the same.
struct Trio {
    directory: tempfile::TempDir,
    rust: Side<RustStore>,
    c: Side<CStore>,
    model: Side<Model>,
}

impl Trio {
    fn new(map_size: u64, page_size: usize) -> Trio {
        let directory = directory();
        let path = |name| directory.path().join(name);
        if page_size != NEW_PAGE_SIZE {
            page_size::make_store(&path("r.db"), page_size);
            page_size::make_store(&path("c.db"), page_size);
        }
        Trio {
            rust: Side::new(path("r.db"), map_size),
            c: Side::new(path("c.db"), map_size),
            model: Side::new(path("m.db"), map_size),
            directory,
        }
    }

    fn step(&mut self, op: &Op) {
        let stats = self.rust.store.stats().unwrap();
        let has_room = stats.map_size - stats.map_used > 3 << 20;
        self.rust.has_room = has_room;
        self.c.has_room = has_room;
        self.model.has_room = has_room;
        self.rust.step(op);
        self.c.step(op);
        self.model.step(op);
        self.compare();
    }

    fn compare(&mut self) {
        let [mut rust, c] = [self.rust.take_seen(), self.c.take_seen()];
        assert_eq!(c, rust, "C and Rust");
        assert_eq!(self.c.sizes(), self.rust.sizes());
        let mut model = self.model.take_seen();
        for failure in rust.iter_mut().chain(&mut model).filter_map(failure_in) {
            // The model knows that something is waited for, not for how long and for what.
            if failure.code == PM_ERR_TIMEOUT {
                failure.message.clear();
            }
        }
        assert_eq!(rust, model, "the store and the model");
    }

    fn apply(&mut self, ops: &[Op]) {
        let read = |name: &[u8]| self.rust.store.get(name).ok();
        let list: Vec<Change> = ops.iter().filter_map(|op| ops::change(op, read)).collect();
        self.rust.apply(&list);
        self.c.apply(&list);
        self.model.apply(&list);
        self.compare();
    }

    fn drop_updates(&mut self) {
        self.rust.begun.clear();
        self.c.begun.clear();
        self.model.begun.clear();
    }

    fn hand_over(&mut self) {
        self.rust.hand_over();
        self.c.hand_over();
        self.model.hand_over();
        self.compare();
    }
}

impl Drop for Trio {
    fn drop(&mut self) {
        let path = |name| self.directory.path().join(name);
        remove_from_disk(&[&path("m.db"), &path("m.copy")]);
    }
}

proptest! {
    #![proptest_config(properties(96))]

    #[test]
    fn rust_and_c_and_the_model_do_the_same(
        steps in prop::collection::vec(ops::op(), 1..120),
        list in prop::collection::vec(ops::op(), 0..6),
        // One that has to grow, and one that has not.
        map_size in prop::sample::select(vec![1_u64 << 20, 256 << 20]),
        page_size in prop::sample::select(page_size::STORES.to_vec()),
    ) {
        let mut trio = Trio::new(map_size, page_size);
        for op in &steps {
            trio.step(op);
        }
        trio.apply(&list);
        // Updates that are dropped unlock their devices; then the file alone must tell the same.
        trio.drop_updates();
        trio.step(&Op::Reopen { verify: PM_VERIFY_FULL, read_only_between: true });
        trio.apply(&list);
        trio.hand_over();
        for op in &steps {
            trio.step(op);
        }
    }
}
