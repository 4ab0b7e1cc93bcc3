//! The C functions and the Rust API, on two stores with the same random operations: the same
//! outcomes, in every field of every record and every word of every message.
//!
//! `make properties` is a long campaign.
#![allow(unsafe_code)]

#[path = "common/c_api.rs"]
mod c_api;
#[path = "common/c_types.rs"]
mod c_types;
mod common;
#[path = "common/ops.rs"]
mod ops;

use c_api::{list_change, CStore, CUpdate};
use c_types::{name_of, records, status_name, words_of, Failure};
use common::{directory, options, properties};
use ops::{Edit, Op};
use pool_metadata::capi::*;
use pool_metadata::{DeviceInfo, DeviceState, Error, Ids, PoolMetadata, Update, Verify};
use proptest::prelude::*;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

/// What is waited for here never comes; long enough that nothing else is waited for in vain.
const LOCK_WAIT_MS: u64 = 15;

/// What a callback fails with.
#[derive(Debug)]
enum CallbackError {
    Own(i32),
    Store(Error),
}

impl From<Error> for CallbackError {
    fn from(error: Error) -> CallbackError {
        CallbackError::Store(error)
    }
}

/// Two stores that have seen the same.
struct Pair {
    _directory: tempfile::TempDir,
    c_path: PathBuf,
    rust_path: PathBuf,
    map_size: u64,
    c: CStore,
    rust: PoolMetadata,
    begun: Vec<(CUpdate, Update)>,
}

fn open_c(path: &Path, map_size: u64, verify: Verify, read_only: bool) -> Result<CStore, Failure> {
    let options = pm_options {
        struct_size: size_of::<pm_options>(),
        flags: if read_only { PM_OPEN_READ_ONLY } else { 0 },
        max_readers: 0,
        map_size,
        lock_wait_ms: LOCK_WAIT_MS,
        verify: match verify {
            Verify::None => PM_VERIFY_NONE,
            Verify::Quick => PM_VERIFY_QUICK,
            Verify::Full => PM_VERIFY_FULL,
        },
        durability: PM_DURABILITY_FULL,
    };
    CStore::open(path, &options)
}

fn open_rust(path: &Path, map_size: u64, verify: Verify, read_only: bool) -> PoolMetadata {
    options(LOCK_WAIT_MS)
        .map_size(map_size)
        .verify(verify)
        .read_only(read_only)
        .open(path)
        .unwrap()
}

impl Pair {
    fn new(map_size: u64) -> Pair {
        let directory = directory();
        let (c_path, rust_path) = (directory.path().join("c.db"), directory.path().join("r.db"));
        Pair {
            c: open_c(&c_path, map_size, Verify::Full, false).unwrap(),
            rust: open_rust(&rust_path, map_size, Verify::Full, false),
            _directory: directory,
            c_path,
            rust_path,
            map_size,
            begun: Vec::new(),
        }
    }

    /// Fails unless both have the same outcome.
    fn same<T: PartialEq + Debug>(&self, c: Result<T, Failure>, rust: Result<T, Error>) {
        match (c, rust) {
            (Ok(c), Ok(rust)) => assert_eq!(c, rust),
            (Err(c), Err(rust)) => self.same_error(&c, &rust),
            (c, rust) => panic!("C: {c:?}\nRust: {rust:?}"),
        }
    }

    fn same_error(&self, c: &Failure, rust: &Error) {
        let c_path = self.c_path.to_str().unwrap();
        let rust_path = self.rust_path.to_str().unwrap();
        assert_eq!(name_of(c.code), status_name(rust), "{c:?}\n{rust:?}");
        assert_eq!(c.message, rust.to_string().replace(rust_path, c_path));
        assert_eq!(c.os_error, rust.os_error().unwrap_or(0));
        assert_eq!(c.callback_code, 0);
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Update(name, edit) => self.update(name, edit),
            Op::Begin(name) => match (self.c.begin(name), self.rust.begin_update(name)) {
                (Ok(c), Ok(rust)) => {
                    assert_eq!(c.device(), rust.device());
                    self.begun.push((c, rust));
                }
                (c, rust) => self.same(c.map(drop), rust.map(drop)),
            },
            Op::Commit(which, edit) if !self.begun.is_empty() => {
                let (c, mut rust) = self.begun.remove(which.index(self.begun.len()));
                // Outside a callback there is nobody to fail: the change itself is what counts.
                let c = c.commit(|device| _ = edit.apply(device));
                let _ = edit.apply(rust.device_mut());
                self.same(c, rust.commit());
            }
            Op::Abort(which) if !self.begun.is_empty() => {
                let (c, rust) = self.begun.remove(which.index(self.begun.len()));
                c.abort();
                rust.abort();
            }
            Op::Commit(..) | Op::Abort(_) => {}
            Op::Walk(shown, inside) => self.walk(*shown, inside.as_deref()),
            Op::Reopen { verify, look } => self.reopen(*verify, *look),
            simple => self.simple(simple),
        }
        self.compare();
    }

    fn simple(&self, op: &Op) {
        let (c, rust) = (&self.c, &self.rust);
        match op {
            Op::Add(device) => {
                let (mut in_c, mut in_rust) = (device.clone(), device.clone());
                self.same(c.add(&mut in_c), rust.add_device(&mut in_rust));
                assert_eq!(in_c, in_rust, "as it was handed back");
            }
            Op::ChangeState(name, state) => self.same(
                c.change_state(name, *state),
                rust.change_device_state(name, *state),
            ),
            Op::MarkFaulty(name) => self.same(c.mark_faulty(name), rust.mark_faulty(name)),
            Op::Remove(name) => self.same(c.remove(name), rust.remove_device(name)),
            Op::Get(name) => self.same(c.get(name), rust.get_device(name)),
            other => unreachable!("{other:?} is not simple"),
        }
    }

    fn update(&self, name: &[u8], edit: &Edit) {
        // The model's codes are unsigned; a callback that fails must not say 0.
        let change = |device: &mut DeviceInfo| {
            edit.apply(device).map_err(|code| match code as i32 {
                0 => 1,
                code => code,
            })
        };
        let other = match edit {
            Edit::WriteInside(other, _) => Some(other),
            _ => None,
        };
        let mut calls = 0;
        let c = self.c.update(name, &mut |device| {
            calls += 1;
            other.inspect(|name| self.write_inside_c(name));
            change(device)
        });
        let rust = self.rust.update_device(name, |device| {
            calls += 1;
            other.inspect(|name| self.write_inside_rust(name));
            change(device).map_err(CallbackError::Own)
        });
        assert!(calls == 0 || calls == 2, "the same number of calls");
        match (c, rust) {
            (Err(c), Err(CallbackError::Own(code))) => {
                assert_eq!((c.code, c.callback_code), (PM_ERR_CALLBACK, code));
                assert!(c.message.contains(&code.to_string()), "{}", c.message);
            }
            (c, Err(CallbackError::Store(error))) => self.same(c, Err(error)),
            (c, rust) => self.same(c, rust.map_err(|_| Error::Closed)),
        }
    }

    /// From inside an update's callback: reads are fine, writes are refused.
    fn write_inside_c(&self, name: &[u8]) {
        self.simple(&Op::Get(name.to_vec()));
        let refused = [
            self.c.add(&mut common::device(name)),
            self.c.change_state(name, DeviceState::Removed),
            self.c.mark_faulty(name),
            self.c.remove(name),
            self.c
                .update(name, &mut |_| panic!("a callback inside a callback")),
            self.c.begin(name).map(drop),
            self.c.import(&[], &Ids::default()),
            self.c.sync(),
            self.c.close(),
        ];
        for failure in refused.map(Result::unwrap_err) {
            self.same_error(&failure, &Error::NestedWrite);
        }
    }

    fn write_inside_rust(&self, name: &[u8]) {
        let refused = self.rust.remove_device(name);
        assert!(matches!(refused, Err(Error::NestedWrite)), "{refused:?}");
    }

    /// Walks over what there was when the walk began, whatever is written meanwhile.
    fn walk(&mut self, shown: usize, inside: Option<&Op>) {
        let mut c = self.c.walk().unwrap();
        let rust = self.rust.walk().unwrap();
        self.same(c.ids(), rust.ids());
        let (page, count) = c.page(shown * 64).unwrap();
        let mut in_c = records(&page, count);
        if let Some(op) = inside {
            self.step(op);
        }
        loop {
            let (page, count) = c.page(4096).unwrap();
            if count == 0 {
                break;
            }
            in_c.extend(records(&page, count));
        }
        self.same(c.ids(), rust.ids());
        let in_rust: Vec<DeviceInfo> = rust.map(Result::unwrap).collect();
        assert_eq!(in_c, in_rust);
        drop(c);
        self.stop_walking(shown);
    }

    fn stop_walking(&self, shown: usize) {
        let (mut in_c, mut in_rust) = (Vec::new(), Vec::new());
        let c = self.c.walk_devices(&mut |device| {
            if in_c.len() == shown {
                return Err(-7);
            }
            in_c.push(device);
            Ok(())
        });
        let rust = self.rust.walk_devices(|device| {
            if in_rust.len() == shown {
                return Err(CallbackError::Own(-7));
            }
            in_rust.push(device.to_owned());
            Ok(())
        });
        assert_eq!(in_c, in_rust);
        match (c, rust) {
            (Ok(()), Ok(())) => {}
            (Err(c), Err(CallbackError::Own(-7))) => {
                assert_eq!((c.code, c.callback_code), (PM_ERR_CALLBACK, -7));
            }
            (c, rust) => panic!("C: {c:?}\nRust: {rust:?}"),
        }
    }

    fn reopen(&mut self, verify: Verify, look: bool) {
        self.same(self.c.close(), self.rust.close());
        self.same(self.c.close(), self.rust.close());
        self.simple(&Op::Get(b"a".to_vec()));
        self.simple(&Op::Remove(b"a".to_vec()));
        self.same(self.c.verify(), self.rust.verify());
        self.same(self.c.walk().map(drop), self.rust.walk().map(drop));
        for read_only in if look { &[true, false][..] } else { &[false] } {
            if !*read_only && look {
                self.simple(&Op::MarkFaulty(b"a".to_vec()));
                self.same(self.c.sync(), self.rust.sync());
                self.same(self.c.close(), self.rust.close());
            }
            self.c = open_c(&self.c_path, self.map_size, verify, *read_only).unwrap();
            self.rust = open_rust(&self.rust_path, self.map_size, verify, *read_only);
        }
    }

    fn compare(&self) {
        self.same(self.c.verify(), self.rust.verify());
        self.same(self.c.names(), self.rust.get_device_names());
        let (c, rust) = (self.c.stats().unwrap(), self.rust.stats().unwrap());
        let in_c = [
            (c.devices, c.taken_ids, c.free_ids, c.faulty_ids, c.last_id),
            (c.commits, c.map_size, c.map_used, c.file_size, c.page_size),
            (
                c.max_readers,
                c.struct_size as u64,
                c.pages_free,
                c.pages_held,
                c.readers_active,
            ),
        ];
        let r = rust;
        let in_rust = [
            (r.devices, r.taken_ids, r.free_ids, r.faulty_ids, r.last_id),
            (r.commits, r.map_size, r.map_used, r.file_size, r.page_size),
            (
                r.max_readers,
                size_of::<pm_stats>() as u64,
                r.pages_free,
                r.pages_held,
                r.readers_active,
            ),
        ];
        assert_eq!(in_c, in_rust);
        let (c, rust) = (&c.commit_operations, &rust.commit_operations);
        assert_eq!(
            (c.count, c.sum, c.buckets),
            (rust.count, rust.sum, rust.buckets)
        );
    }

    /// What the one tells of itself, the other takes over.
    fn export_and_import(&self) {
        let mut walk = self.c.walk().unwrap();
        let (page, count) = walk.page(16 << 20).unwrap();
        let ids = walk.ids().unwrap();
        let devices = records(&page, count);
        let copies = Pair::new(self.map_size);
        let words = &page[..words_of(&page, count)];
        let refs: Vec<_> = devices.iter().map(DeviceInfo::as_ref).collect();
        for _ in 0..2 {
            // The second time neither is empty, unless there was nothing to import.
            copies.same(
                copies.c.import(words, &ids),
                copies.rust.import(&refs, &ids),
            );
        }
        copies.compare();
        for device in &devices {
            copies.simple(&Op::Get(device.name.clone()));
        }
    }
}

impl Pair {
    fn apply(&self, ops: &[Op]) {
        let (mut in_c, in_rust): (Vec<_>, Vec<_>) = ops
            .iter()
            .filter_map(|op| list_change(op, &self.rust))
            .unzip();
        let before: Vec<DeviceInfo> = in_c.iter().map(|(_, device)| device.clone()).collect();
        match (self.c.apply(&mut in_c), self.rust.apply(&in_rust)) {
            (Ok(()), Ok(applied)) => {
                for ((_, device), applied) in in_c.iter().zip(applied) {
                    assert_eq!(
                        (device.device_id, device.generation),
                        (applied.device_id, applied.generation)
                    );
                }
            }
            (Err((position, c)), Err(rust)) => {
                assert_eq!(position, rust.index.unwrap_or(in_c.len()));
                self.same_error(&c, &rust.error);
                assert!(in_c.iter().map(|(_, device)| device).eq(&before));
            }
            (c, rust) => panic!("C: {c:?}\nRust: {rust:?}"),
        }
        self.compare();
    }
}

proptest! {
    #![proptest_config(properties(40))]

    #[test]
    fn c_and_rust_do_the_same(
        steps in prop::collection::vec(ops::op(), 1..100),
        list in prop::collection::vec(ops::op(), 0..6),
        // One that has to grow, and one that has not.
        map_size in prop::sample::select(vec![1_u64 << 20, 256 << 20]),
    ) {
        let mut pair = Pair::new(map_size);
        for op in &steps {
            pair.step(op);
        }
        pair.apply(&list);
        pair.export_and_import();
        for (c, rust) in pair.begun.drain(..) {
            c.abort();
            rust.abort();
        }
        pair.reopen(Verify::Full, true);
        pair.compare();
        pair.c.close().unwrap();
    }
}

#[test]
fn the_numbers_of_both_are_the_same() {
    assert_eq!(PM_MAX_NAME_LEN, pool_metadata::MAX_NAME_LEN);
    assert_eq!(PM_MAX_ERROR_LEN, pool_metadata::MAX_ERROR_LEN);
    assert_eq!(PM_MAX_DEVICE_ID, pool_metadata::MAX_DEVICE_ID);
    assert_eq!(PM_STATE_FAULTY, pool_metadata::DeviceState::Faulty as i32);
}
