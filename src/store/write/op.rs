//! The operations that write: borrowed from their caller, and owned.

use crate::device::{check_name, DeviceInfo, DeviceRef, DeviceState};
use crate::error::{Error, Result};

/// A write, as its caller submits it.
#[derive(Clone, Copy)]
pub(crate) enum Op<'a> {
    /// Add a device; the id in it is ignored.
    Add(DeviceRef<'a>),
    /// Write a record over the one of the same name, if that is still of the same generation.
    Update(DeviceRef<'a>),
    /// Set a device's state.
    ChangeState { name: &'a [u8], state: DeviceState },
    /// Set a device's state, and its id's, to faulty.
    MarkFaulty { name: &'a [u8] },
    /// Remove a device and free its id.
    Remove { name: &'a [u8] },
}

/// One change of a list for [`PoolMetadata::apply`](crate::PoolMetadata::apply) or
/// [`PoolMetadata::apply_each`](crate::PoolMetadata::apply_each).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Add a device, as [`add_device`](crate::PoolMetadata::add_device) does.
    Add(DeviceInfo),
    /// Write a record over the one of the same name, if that one's generation is still the one
    /// given here and its device id the same: what was read with
    /// [`get_device`](crate::PoolMetadata::get_device), changed. Not for what was read before
    /// a restore: see [`generation`](DeviceInfo::generation).
    Update(DeviceInfo),
    /// Set a device's state.
    ChangeState {
        /// The device's name.
        name: Vec<u8>,
        /// The state that it is to have.
        state: DeviceState,
    },
    /// Mark a device and its id as faulty.
    MarkFaulty {
        /// The device's name.
        name: Vec<u8>,
    },
    /// Remove a device and free its id.
    Remove {
        /// The device's name.
        name: Vec<u8>,
    },
}

/// What a change did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Applied {
    /// Id of the device that was changed: for an added one, the id that it got.
    pub device_id: u32,
    /// The commit that changed it.
    pub generation: u64,
}

impl Change {
    pub(crate) fn as_op(&self) -> Op<'_> {
        match self {
            Change::Add(device) => Op::Add(device.as_ref()),
            Change::Update(device) => Op::Update(device.as_ref()),
            Change::ChangeState { name, state } => Op::ChangeState {
                name,
                state: *state,
            },
            Change::MarkFaulty { name } => Op::MarkFaulty { name },
            Change::Remove { name } => Op::Remove { name },
        }
    }
}

impl<'a> Op<'a> {
    /// Copies the operation, for another thread to carry it out.
    pub fn to_change(self) -> Change {
        match self {
            Op::Add(device) => Change::Add(device.to_owned()),
            Op::Update(device) => Change::Update(device.to_owned()),
            Op::ChangeState { name, state } => Change::ChangeState {
                name: name.to_vec(),
                state,
            },
            Op::MarkFaulty { name } => Change::MarkFaulty {
                name: name.to_vec(),
            },
            Op::Remove { name } => Change::Remove {
                name: name.to_vec(),
            },
        }
    }

    /// Bytes of its texts.
    pub fn bytes(&self) -> usize {
        match self {
            Op::Add(device) | Op::Update(device) => {
                device.name.len() + device.parent_name.len() + device.error.len()
            }
            _ => self.name().len(),
        }
    }

    /// The device that it changes.
    pub fn name(&self) -> &'a [u8] {
        match self {
            Op::Add(device) | Op::Update(device) => device.name,
            Op::ChangeState { name, .. } | Op::MarkFaulty { name } | Op::Remove { name } => name,
        }
    }

    /// A name that no device can have is not found, as in a look-up.
    fn check_lookup(&self) -> Result<()> {
        check_name(self.name()).map_err(|_| Error::not_found(self.name()))
    }

    /// Refuses what no store could do, before anything is waited for.
    pub fn check(&self) -> Result<()> {
        match self {
            Op::Add(device) => device.check(),
            Op::Update(device) => device.check().or_else(|error| {
                self.check_lookup()?;
                Err(error)
            }),
            _ => self.check_lookup(),
        }
    }
}
