//! The C ABI: `include/pool_metadata.h` is generated from this module.
//!
//! Nothing here knows how the store works. Each function checks its arguments (`args`), calls the
//! safe core, and turns the result into a status and, if the caller wants it, an error text. A
//! panic ends at `guard`.
//!
//! The documentation of each exported function is its contract with C callers: what it says about
//! the parameters is what the function's unsafe code relies on.
#![allow(non_camel_case_types)]
#![allow(clippy::missing_safety_doc)]

mod args;
mod backup;
mod block;
mod cancel;
mod changes;
mod check;
mod device;
mod guard;
mod handle;
mod ids;
mod import;
mod journal;
mod lists;
mod reconcile;
mod report;
mod running_reads;
mod salvage;
mod sizes;
mod status;
mod store;
mod types;
mod update;
mod version;
mod walk;

pub use backup::*;
pub use block::pm_free;
pub use changes::*;
pub use check::*;
pub use device::*;
pub use handle::pm_store;
pub use ids::*;
pub use import::*;
pub use journal::*;
pub use lists::*;
pub use reconcile::*;
pub use report::*;
pub use running_reads::*;
pub use salvage::*;
pub use sizes::*;
pub use status::*;
pub use store::*;
pub use types::*;
pub use update::*;
pub use version::*;
pub use walk::*;
