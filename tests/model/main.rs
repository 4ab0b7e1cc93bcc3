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
#[path = "../meaning/comparing.rs"]
#[allow(dead_code)]
mod comparing;
mod comparison;
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
mod side;
mod spec;
mod steps;
#[path = "../meaning/subject.rs"]
#[allow(dead_code, unused_macros)]
mod subject;

use c::CStore;
use common::{directory, properties};
use model::{remove_from_disk, Model};
use ops::Op;
use pool_metadata::capi::*;
use pool_metadata::Change;
use proptest::prelude::*;
use rust::RustStore;
use side::{failure_in, Side};
use subject::Store;

/// The size of a new store's pages.
const NEW_PAGE_SIZE: usize = 4096;

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
