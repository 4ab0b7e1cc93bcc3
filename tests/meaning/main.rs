//! What every operation means. Each test is written once and runs through the Rust API and through
//! the C functions: see `subject.rs`. The program `model` does random sequences of the operations.
#![allow(unsafe_code)]

mod backup;
mod c;
mod changes;
mod changes_of_ids;
#[path = "../common/mod.rs"]
mod common;
mod compact;
mod comparing;
mod damage;
mod damaged_header;
mod deferred;
mod device;
mod fixing;
mod handle;
mod ids;
mod import;
mod in_step;
mod journal;
mod open;
mod processes;
mod reconcile;
mod repair;
mod restore;
mod rust;
mod salvage;
mod stats;
mod subject;
mod threads;
mod update;
mod violations;
mod walk;
