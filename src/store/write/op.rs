//! What a write is to do: as its caller hands it in, and as another thread can do it.

use crate::device::{check_name, DeviceInfo, DeviceRef, DeviceState};
use crate::error::{Error, Result};

/// A write, as its caller hands it in.
#[derive(Clone, Copy)]
pub(crate) enum Op<'a> {
    /// Add a device; the id in it is ignored.
    Add(DeviceRef<'a>),
    /// Write a record over the one of the same name, if that is still of this generation.
    Update {
        device: DeviceRef<'a>,
        generation: u64,
    },
    /// Set a device's state.
    ChangeState { name: &'a [u8], state: DeviceState },
    /// Set a device's state, and its id's, to faulty.
    MarkFaulty { name: &'a [u8] },
    /// Remove a device and free its id.
    Remove { name: &'a [u8] },
}

/// A write that another thread may do.
pub(crate) enum OwnedOp {
    Add(DeviceInfo),
    Update { device: DeviceInfo, generation: u64 },
    ChangeState { name: Box<[u8]>, state: DeviceState },
    MarkFaulty { name: Box<[u8]> },
    Remove { name: Box<[u8]> },
}

impl OwnedOp {
    pub fn as_op(&self) -> Op<'_> {
        match self {
            OwnedOp::Add(device) => Op::Add(device.as_ref()),
            OwnedOp::Update { device, generation } => Op::Update {
                device: device.as_ref(),
                generation: *generation,
            },
            OwnedOp::ChangeState { name, state } => Op::ChangeState {
                name,
                state: *state,
            },
            OwnedOp::MarkFaulty { name } => Op::MarkFaulty { name },
            OwnedOp::Remove { name } => Op::Remove { name },
        }
    }
}

impl<'a> Op<'a> {
    pub fn into_owned(self) -> OwnedOp {
        match self {
            Op::Add(device) => OwnedOp::Add(device.to_owned()),
            Op::Update { device, generation } => OwnedOp::Update {
                device: device.to_owned(),
                generation,
            },
            Op::ChangeState { name, state } => OwnedOp::ChangeState {
                name: name.into(),
                state,
            },
            Op::MarkFaulty { name } => OwnedOp::MarkFaulty { name: name.into() },
            Op::Remove { name } => OwnedOp::Remove { name: name.into() },
        }
    }

    /// Bytes of its texts.
    pub fn bytes(&self) -> usize {
        match self {
            Op::Add(device) | Op::Update { device, .. } => {
                device.name.len() + device.parent_name.len() + device.error.len()
            }
            _ => self.name().len(),
        }
    }

    pub fn name(&self) -> &'a [u8] {
        match self {
            Op::Add(device) | Op::Update { device, .. } => device.name,
            Op::ChangeState { name, .. } | Op::MarkFaulty { name } | Op::Remove { name } => name,
        }
    }

    /// Refuses what no store could do, before anything is waited for.
    pub fn check(&self) -> Result<()> {
        match self {
            Op::Add(device) | Op::Update { device, .. } => device.check(),
            // A name that no device can have is not found, as in a look-up.
            _ if check_name(self.name()).is_err() => Err(Error::not_found(self.name())),
            _ => Ok(()),
        }
    }
}
