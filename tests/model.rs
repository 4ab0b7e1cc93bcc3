//! Random sequences of everything that a store can do, against a model in memory; after every step
//! the store's content, counters and invariants are compared in full.
//!
//! `make properties` is a long campaign.

mod common;
#[path = "common/ops.rs"]
mod ops;
#[path = "common/spec.rs"]
mod spec;

use common::{device, devices, directory, options, properties};
use ops::{Edit, Op};
use pool_metadata::{DeviceInfo, DeviceState, Error, PoolMetadata, Update, Verify};
use proptest::prelude::*;
use spec::{same_error, Pending, Spec};
use std::fmt::Debug;
use std::path::PathBuf;

/// What an update's callback fails with.
#[derive(Debug)]
enum CallbackError {
    Own(u32),
    Store(Error),
}

impl From<Error> for CallbackError {
    fn from(error: Error) -> CallbackError {
        CallbackError::Store(error)
    }
}

/// The store, the model of it, and the updates that have begun.
struct Pair {
    _directory: tempfile::TempDir,
    path: PathBuf,
    map_size: u64,
    store: PoolMetadata,
    spec: Spec,
    begun: Vec<(Update, Pending)>,
}

/// Fails unless both have the same outcome.
fn same<T: PartialEq + Debug>(found: &Result<T, Error>, expected: &Result<T, Error>) {
    let equal = match (found, expected) {
        (Ok(found), Ok(expected)) => found == expected,
        (Err(found), Err(expected)) => same_error(found, expected),
        _ => false,
    };
    assert!(equal, "the store: {found:?}\nthe model: {expected:?}");
}

fn open(path: &PathBuf, map_size: u64, verify: Verify, read_only: bool) -> PoolMetadata {
    // With no wait at all, what would wait for another update fails at once.
    let mut options = options(0);
    options
        .map_size(map_size)
        .verify(verify)
        .read_only(read_only);
    options.open(path).unwrap()
}

impl Pair {
    fn new(map_size: u64) -> Pair {
        let directory = directory();
        let path = directory.path().join("pool.db");
        Pair {
            store: open(&path, map_size, Verify::Full, false),
            _directory: directory,
            path,
            map_size,
            spec: Spec::default(),
            begun: Vec::new(),
        }
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Update(name, edit) => self.update(name, edit),
            Op::Begin(name) => self.begin(name),
            Op::Commit(which, edit) if !self.begun.is_empty() => {
                let which = which.index(self.begun.len());
                self.commit(which, edit);
            }
            Op::Abort(which) if !self.begun.is_empty() => {
                let (update, pending) = self.begun.remove(which.index(self.begun.len()));
                update.abort();
                self.spec.abort(pending);
            }
            Op::Commit(..) | Op::Abort(_) => {}
            Op::Walk(shown, inside) => self.walk(*shown, inside.as_deref()),
            Op::Reopen { verify, look } => self.reopen(*verify, *look),
            simple => self.simple(simple),
        }
        self.compare();
    }

    fn simple(&mut self, op: &Op) {
        let (store, spec) = (&self.store, &mut self.spec);
        match op {
            Op::Add(device) => {
                let (mut found, mut expected) = (device.clone(), device.clone());
                same(&store.add_device(&mut found), &spec.add(&mut expected));
                assert_eq!(found, expected, "as it was handed back");
            }
            Op::ChangeState(name, state) => same(
                &store.change_device_state(name, *state),
                &spec.change_state(name, *state),
            ),
            Op::MarkFaulty(name) => same(&store.mark_faulty(name), &spec.mark_faulty(name)),
            Op::Remove(name) => same(&store.remove_device(name), &spec.remove(name)),
            Op::Get(name) => same(&store.get_device(name), &spec.get(name)),
            other => unreachable!("{other:?} is not simple"),
        }
    }

    fn update(&mut self, name: &[u8], edit: &Edit) {
        let mut calls = 0;
        let found = self.store.update_device(name, |device| {
            calls += 1;
            if let Edit::WriteInside(other, _) = edit {
                self.write_inside(other);
            }
            edit.apply(device).map_err(CallbackError::Own)
        });
        let pending = match self.spec.begin(name) {
            Ok(pending) => pending,
            Err(error) => {
                assert_eq!(calls, 0, "the callback of an update that cannot begin");
                match found {
                    Err(CallbackError::Store(found)) => same::<()>(&Err(found), &Err(error)),
                    found => panic!("the store: {found:?}\nthe model: {error:?}"),
                }
                return;
            }
        };
        assert_eq!(calls, 1, "the callback is called exactly once");
        let (mut pending, mut own) = (pending, None);
        match edit.apply(&mut pending.device) {
            Ok(()) => {}
            Err(code) => own = Some(code),
        }
        match (own, found) {
            (Some(code), Err(CallbackError::Own(found))) => {
                assert_eq!(found, code);
                self.spec.abort(pending);
            }
            (None, Ok(())) => same(&Ok(()), &self.spec.commit(pending)),
            (None, Err(CallbackError::Store(e))) => same(&Err(e), &self.spec.commit(pending)),
            (own, found) => panic!("the store: {found:?}\nthe callback: {own:?}"),
        }
    }

    /// From inside an update's callback: reads are fine, every write is refused.
    fn write_inside(&self, name: &[u8]) {
        let store = &self.store;
        same(&store.get_device(name), &self.spec.get(name));
        assert_eq!(
            store.get_device_names().unwrap().len(),
            self.spec.devices.len()
        );
        let refused = [
            store.add_device(&mut device(name)),
            store.change_device_state(name, DeviceState::Removed),
            store.mark_faulty(name),
            store.remove_device(name),
            store.update_device(name, |_| panic!("a callback inside a callback")),
            store.begin_update(name).map(drop),
            store.sync(),
            store.close(),
        ];
        for result in refused {
            assert_error!(result, Error::NestedWrite);
        }
    }

    fn begin(&mut self, name: &[u8]) {
        match (self.store.begin_update(name), self.spec.begin(name)) {
            (Ok(update), Ok(pending)) => {
                assert_eq!(update.device(), &pending.device);
                self.begun.push((update, pending));
            }
            (found, expected) => same(&found.map(drop), &expected.map(drop)),
        }
    }

    fn commit(&mut self, which: usize, edit: &Edit) {
        let (mut update, mut pending) = self.begun.remove(which);
        // Outside a callback there is nobody to fail: the change itself is what counts.
        let _ = edit.apply(update.device_mut());
        let _ = edit.apply(&mut pending.device);
        same(&update.commit(), &self.spec.commit(pending));
    }

    /// Walks over what there was when the walk began, whatever is written meanwhile.
    fn walk(&mut self, shown: usize, inside: Option<&Op>) {
        let before: Vec<DeviceInfo> = self.spec.devices.values().cloned().collect();
        let mut walk = self.store.walk().unwrap();
        let mut found: Vec<DeviceInfo> = walk.by_ref().take(1).map(Result::unwrap).collect();
        if let Some(op) = inside {
            // A map that has to grow cannot while a walk is open.
            if self.has_room() {
                self.step(op);
            }
        }
        found.extend(walk.map(Result::unwrap));
        assert_eq!(found, before);

        let mut seen = Vec::new();
        let stopped = self.store.walk_devices(|device| {
            if seen.len() == shown {
                return Err(CallbackError::Own(7));
            }
            seen.push(device.to_owned());
            Ok(())
        });
        let now: Vec<DeviceInfo> = self.spec.devices.values().cloned().collect();
        assert_eq!(seen, now[..shown.min(now.len())]);
        match stopped {
            Ok(()) => assert!(shown >= now.len()),
            Err(CallbackError::Own(7)) => assert!(shown < now.len()),
            Err(other) => panic!("{other:?}"),
        }
    }

    fn has_room(&self) -> bool {
        let stats = self.store.stats().unwrap();
        stats.map_size - stats.map_used > 3 << 20
    }

    fn reopen(&mut self, verify: Verify, look: bool) {
        self.store.close().unwrap();
        assert_error!(self.store.close(), Error::Closed);
        assert_error!(self.store.get_device("a"), Error::Closed);
        assert_error!(self.store.walk(), Error::Closed);
        assert_error!(self.store.remove_device("a"), Error::Closed);
        self.spec.reopen();
        if look {
            let store = open(&self.path, self.map_size, verify, true);
            assert!(devices(&store).iter().eq(self.spec.devices.values()));
            assert_error!(store.remove_device("a"), Error::ReadOnly { .. });
            assert_error!(store.begin_update("a"), Error::ReadOnly { .. });
            store.verify().unwrap();
        }
        // The handle that was closed is still there, and so may be updates that were begun on it.
        self.store = open(&self.path, self.map_size, verify, false);
    }

    /// Another store that takes over what this one tells is the same but for the generations.
    fn hand_over(&mut self) {
        let path = self.path.with_extension("copy");
        let told = devices(&self.store);
        let ids = self.store.walk().unwrap().ids().unwrap();
        let copy = open(&path, self.map_size, Verify::Full, false);
        let refs: Vec<_> = told.iter().map(DeviceInfo::as_ref).collect();
        copy.import(&refs, &ids).unwrap();
        self.store = copy;
        self.spec.reopen();
        self.spec.commits = 1;
        for device in self.spec.devices.values_mut() {
            device.generation = 1;
        }
        self.path = path;
    }

    fn compare(&self) {
        let (store, spec) = (&self.store, &self.spec);
        store.verify().unwrap();
        assert!(devices(store).iter().eq(spec.devices.values()));
        assert!(store
            .get_device_names()
            .unwrap()
            .iter()
            .eq(spec.devices.keys()));
        let stats = store.stats().unwrap();
        let found = [
            stats.devices,
            stats.taken_ids,
            stats.free_ids,
            stats.faulty_ids,
            stats.last_id,
            stats.commits,
        ];
        let expected = [
            spec.devices.len() as u64,
            spec.taken() as u64,
            spec.free.len() as u64,
            spec.faulty.len() as u64,
            spec.last_id.into(),
            spec.commits,
        ];
        assert_eq!(found, expected);
        let ids = store.walk().unwrap().ids().unwrap();
        assert_eq!(ids.last_id, spec.last_id);
        assert!(ids.free.iter().eq(&spec.free));
        assert!(ids.faulty.iter().eq(&spec.faulty));
        // The model's own: together the ids are 1 to the last.
        assert_eq!(found[1] + found[2] + found[3], found[4]);
    }
}

proptest! {
    #![proptest_config(properties(96))]

    #[test]
    fn the_store_does_what_the_model_does(
        steps in prop::collection::vec(ops::op(), 1..120),
        // One that has to grow, and one that has not.
        map_size in prop::sample::select(vec![1_u64 << 20, 256 << 20]),
    ) {
        let mut pair = Pair::new(map_size);
        for op in &steps {
            pair.step(op);
        }
        // What is still begun gives its locks back; then the file alone must tell the same.
        pair.begun.clear();
        pair.reopen(Verify::Full, true);
        pair.compare();
        pair.hand_over();
        pair.compare();
        for op in &steps {
            pair.step(op);
        }
    }
}
