//! Where the store, the pool and the snapshotter contradict each other, and what would settle it.

mod compare;
mod plan;

use std::collections::BTreeSet;

use pool_metadata::{DeviceInfo, Ids, PoolMetadata};

use crate::failure::Result;
use crate::pool::PoolDevices;

pub use compare::compare;
pub use plan::{changes, commands, Action};

/// What the store holds at one moment.
pub struct Store {
    /// By name.
    pub devices: Vec<DeviceInfo>,
    pub ids: Ids,
}

impl Store {
    pub fn read(store: &PoolMetadata) -> Result<Store> {
        let mut walk = store.walk()?;
        let ids = walk.ids()?;
        let mut devices = Vec::new();
        while let Some(device) = walk.next_ref()? {
            devices.push(device.to_owned());
        }
        Ok(Store { devices, ids })
    }
}

/// What the store is compared with.
pub struct Given {
    pub pool: Option<PoolDevices>,
    /// Names of the devices that the snapshotter's snapshots have.
    pub snapshots: Option<BTreeSet<Vec<u8>>>,
    /// The store's commit when the lists were made: devices written later are left alone.
    pub as_of: Option<u64>,
}

/// What kind of contradiction it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A device that no snapshot has.
    NoSnapshot,
    /// A device that the pool does not have.
    NotInPool,
    /// A snapshot whose device is not in the store.
    NoDevice,
    /// An id in the pool that the store would give out.
    WouldCollide,
    /// A faulty id that is in the pool.
    FaultyInPool,
    /// Faulty ids that are nowhere.
    FaultyNowhere,
    /// An id in the pool that is no store's.
    Foreign,
}

/// A contradiction, and what would settle it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub kind: Kind,
    pub name: Option<Vec<u8>>,
    /// The ids that it is about, the first and the last.
    pub ids: Option<(u32, u32)>,
    pub what: String,
    /// What settles it; nothing if that is containerd's to do.
    pub actions: Vec<Action>,
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Kind::NoSnapshot => "no-snapshot",
            Kind::NotInPool => "not-in-pool",
            Kind::NoDevice => "no-device",
            Kind::WouldCollide => "would-collide",
            Kind::FaultyInPool => "faulty-in-pool",
            Kind::FaultyNowhere => "faulty-nowhere",
            Kind::Foreign => "foreign",
        }
    }
}
