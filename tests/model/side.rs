//! One of the stores, with what its calls have shown.

use crate::c::types::{Failure, Outcome};
use crate::common::device;
use crate::comparing::{Compared, Reconcile, Row};
use crate::in_step::{Gone, Id};
use crate::ops::{Edit, Op};
use crate::subject::*;
use pool_metadata::capi::*;
use pool_metadata::{Change, DeviceInfo, DeviceState, Ids, Intent};
use std::path::{Path, PathBuf};

/// The wait for a device that an update has locked never succeeds here; everything else is there
/// at once.
const LOCK_WAIT_MS: u64 = 15;

/// What a call has shown.
#[derive(Debug, PartialEq)]
pub enum Seen {
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
    Against(Outcome<Compared>),
}
use Seen::*;

/// One of the three stores, and the updates that have begun on it.
pub struct Side<S: Store> {
    path: PathBuf,
    map_size: u64,
    pub store: S,
    pub begun: Vec<S::Update>,
    seen: Vec<Seen>,
    /// Whether writing beside an open walk needs no larger map, which the walk would forbid.
    pub has_room: bool,
}

impl<S: Reconcile> Side<S> {
    pub fn new(path: PathBuf, map_size: u64) -> Side<S> {
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
            // What is flushed, and when, is the same in all of them.
            deferred_age_ms: 3_600_000,
            ..waiting(LOCK_WAIT_MS)
        };
        S::open(path, &options).unwrap()
    }

    fn saw(&mut self, outcome: Outcome<()>) {
        self.seen.push(Done(outcome));
    }

    /// Does the operation and looks at the whole store.
    pub fn step(&mut self, op: &Op) {
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
            Op::Reconcile(pool, left_out) => {
                // Some of the differences are applied, those of ids and of names alike.
                let takes = |row: &Row| (row.3 as usize + row.2.len()) % 4 != *left_out;
                let compared = self.store.reconcile(pool, takes, || {});
                self.seen.push(Against(compared));
            }
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
            Op::Deferred(op) => {
                let deferred = self.store.deferred().unwrap();
                let first = std::mem::replace(&mut self.store, deferred);
                self.step(op);
                self.store = first;
                return;
            }
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
    pub fn hand_over(&mut self) {
        let (devices, ids, _) = contents(&self.store);
        self.path.set_extension("copy");
        self.store = Self::open(&self.path, self.map_size, PM_VERIFY_FULL, false);
        // The second time it is not empty, unless there was nothing to import.
        for _ in 0..2 {
            self.saw(self.store.import(&devices, &ids));
            self.look();
        }
    }

    pub fn apply(&mut self, list: &[Change]) {
        self.seen.push(Listed(self.store.apply(list)));
        self.look();
    }

    /// What has been seen since the last call, as if every store had the same path.
    pub fn take_seen(&mut self) -> Vec<Seen> {
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
    pub fn sizes(&self) -> Vec<u64> {
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

pub fn failure_in(seen: &mut Seen) -> Option<&mut Failure> {
    match seen {
        Done(Err(failure))
        | Device(Err(failure))
        | Number(Err(failure))
        | Against(Err(failure))
        | Against(Ok((_, _, Err(failure))))
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
