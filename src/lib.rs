//! The metadata store of a device-mapper thin-pool: which thin devices it holds, and which device
//! ids are free, taken or faulty.
//!
//! It keeps what containerd's devmapper snapshotter keeps in its `PoolMetadata`, in one LMDB file,
//! for programs in Rust (this crate), C and anything that can call C (`pool_metadata.h`) and Go (a
//! cgo package).
//!
//! ```
//! use pool_metadata::{DeviceInfo, DeviceState, Error, PoolMetadata};
//!
//! # fn main() -> Result<(), Error> {
//! # let directory = tempfile::tempdir().unwrap();
//! # let path = directory.path().join("pool.db");
//! let store = PoolMetadata::open(&path)?;
//!
//! let mut device = DeviceInfo::new("base");
//! device.size = 10 << 30;
//! store.add_device(&mut device)?;
//! assert_eq!(device.device_id, 1);
//!
//! store.update_device("base", |device| {
//!     device.state = DeviceState::Activated;
//!     Ok::<(), Error>(())
//! })?;
//! assert_eq!(store.get_device("base")?.state, DeviceState::Activated);
//! store.close()
//! # }
//! ```
//!
//! `docs/design.md` in the repository describes the file format, the invariants and the concurrency
//! model.

mod audit;
mod device;
mod device_ids;
mod error;
mod file;
mod format;
mod histogram;
mod journal;
mod limits;
mod lmdb;
mod reconcile;
mod salvage;
mod stats;
mod store;
mod sync;
mod verify;

#[allow(unsafe_code)]
pub mod capi;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;

pub use audit::{Finding, FindingKind, Fix, Report};
pub use device::{DeviceInfo, DeviceRef, DeviceState};
pub use device_ids::{IdFilter, IdInfo, IdList, IdState, Ids};
pub use error::{Error, Result, SystemError};
pub use histogram::Histogram;
pub use journal::{Intent, IntentKind, Removal, Removals};
pub use limits::{
    MAX_DEVICE_ID, MAX_ERROR_LEN, MAX_IDENTITY_LEN, MAX_INTENTS, MAX_NAME_LEN, MAX_REMOVALS,
};
pub use reconcile::{
    Difference, DifferenceKind, PoolDevice, PoolState, Reconciliation, StoreAction,
};
pub use stats::{ProcessCounts, ProcessStats, RunningRead, Stats, Uncounted};
pub use store::maintenance::backup::{BackupOptions, Replaced, Restored};
pub use store::maintenance::compact::Compacted;
pub use store::maintenance::repair::{RepairOptions, Repaired};
pub use store::maintenance::salvage::Salvaged;
pub use store::{
    Applied, ApplyError, Change, Durability, OpenOptions, PoolMetadata, Update, Verify, Walk,
    WalkFilter,
};

/// The README's Rust is compiled with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
