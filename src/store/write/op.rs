//! The operations that write: borrowed from their caller, and owned.

use crate::device::{check_name, DeviceInfo, DeviceRef, DeviceState};
use crate::error::{Error, Result};
use crate::format::journal_row::IntentRow;
use crate::journal::Intent;
use crate::limits::{MAX_DEVICE_ID, MAX_POOL_ID};

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
    /// Give a device that still has this id another one, and make the old one faulty.
    ReplaceId { name: &'a [u8], device_id: u32 },
    /// Free a faulty id that no device has.
    FreeId { device_id: u32 },
    /// Free the faulty ids that no device has, but for those of the list.
    FreeFaultyIds { except: &'a [u32] },
    /// Make those of these ids faulty that no device has.
    MarkIdsFaulty { ids: &'a [u32] },
    /// Make the ids up to this one faulty that no device has.
    MarkIdsFaultyUpTo { last: u32 },
    /// Note that a change of the pool begins.
    BeginIntent(IntentRow<'a>),
    /// Note that it has ended.
    FinishIntent { number: u64 },
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
    /// Give a device another id, as
    /// [`replace_device_id`](crate::PoolMetadata::replace_device_id) does.
    ReplaceId {
        /// The device's name.
        name: Vec<u8>,
        /// The id that it has, and that becomes faulty.
        device_id: u32,
    },
    /// Free a faulty id that no device has, as [`free_id`](crate::PoolMetadata::free_id) does.
    FreeId {
        /// The id.
        device_id: u32,
    },
    /// Free faulty ids, as [`free_faulty_ids`](crate::PoolMetadata::free_faulty_ids) does.
    FreeFaultyIds {
        /// The ids to leave alone.
        except: Vec<u32>,
    },
    /// Make ids faulty that no device has, as
    /// [`mark_ids_faulty`](crate::PoolMetadata::mark_ids_faulty) does.
    MarkIdsFaulty {
        /// The ids.
        ids: Vec<u32>,
    },
    /// Make all ids faulty that no device has, as
    /// [`mark_ids_faulty_up_to`](crate::PoolMetadata::mark_ids_faulty_up_to) does.
    MarkIdsFaultyUpTo {
        /// The last of the ids.
        last: u32,
    },
    /// Note that a change of the pool begins, as
    /// [`begin_intent`](crate::PoolMetadata::begin_intent) does.
    BeginIntent(Intent),
    /// Note that it has ended, as [`finish_intent`](crate::PoolMetadata::finish_intent) does.
    FinishIntent {
        /// The intent's number.
        number: u64,
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
    /// Of an intent that was begun, its number; of a change of ids, how many it has changed.
    pub number: u64,
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
            Change::ReplaceId { name, device_id } => Op::ReplaceId {
                name,
                device_id: *device_id,
            },
            Change::FreeId { device_id } => Op::FreeId {
                device_id: *device_id,
            },
            Change::FreeFaultyIds { except } => Op::FreeFaultyIds { except },
            Change::MarkIdsFaulty { ids } => Op::MarkIdsFaulty { ids },
            Change::MarkIdsFaultyUpTo { last } => Op::MarkIdsFaultyUpTo { last: *last },
            Change::BeginIntent(intent) => Op::BeginIntent(IntentRow::of(intent)),
            Change::FinishIntent { number } => Op::FinishIntent { number: *number },
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
            Op::ReplaceId { name, device_id } => Change::ReplaceId {
                name: name.to_vec(),
                device_id,
            },
            Op::FreeId { device_id } => Change::FreeId { device_id },
            Op::FreeFaultyIds { except } => Change::FreeFaultyIds {
                except: except.to_vec(),
            },
            Op::MarkIdsFaulty { ids } => Change::MarkIdsFaulty { ids: ids.to_vec() },
            Op::MarkIdsFaultyUpTo { last } => Change::MarkIdsFaultyUpTo { last },
            Op::BeginIntent(intent) => Change::BeginIntent(intent.to_owned()),
            Op::FinishIntent { number } => Change::FinishIntent { number },
        }
    }

    /// Bytes of its texts and lists.
    pub fn bytes(&self) -> usize {
        match self {
            Op::Add(device) | Op::Update(device) => {
                device.name.len() + device.parent_name.len() + device.error.len()
            }
            Op::MarkIdsFaulty { ids: list } | Op::FreeFaultyIds { except: list } => {
                size_of_val(*list)
            }
            Op::BeginIntent(intent) => intent.name.len(),
            _ => self.name().len(),
        }
    }

    /// The device that it changes; empty if it changes none.
    #[inline]
    pub fn name(&self) -> &'a [u8] {
        match self {
            Op::Add(device) | Op::Update(device) => device.name,
            Op::ChangeState { name, .. }
            | Op::MarkFaulty { name }
            | Op::Remove { name }
            | Op::ReplaceId { name, .. } => name,
            Op::FreeId { .. }
            | Op::FreeFaultyIds { .. }
            | Op::MarkIdsFaulty { .. }
            | Op::MarkIdsFaultyUpTo { .. }
            | Op::BeginIntent(_)
            | Op::FinishIntent { .. } => b"",
        }
    }

    /// Whether it does the same before and after such operations on other devices. One that takes
    /// an id, or looks at the state of one, does not.
    pub fn commutes(&self) -> bool {
        matches!(
            self,
            Op::Update(_) | Op::ChangeState { .. } | Op::MarkFaulty { .. } | Op::Remove { .. }
        )
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
            Op::FreeId { device_id } => check_pool_id(*device_id),
            Op::MarkIdsFaulty { ids: list } | Op::FreeFaultyIds { except: list } => {
                list.iter().try_for_each(|id| check_pool_id(*id))
            }
            Op::MarkIdsFaultyUpTo { last } if *last > MAX_DEVICE_ID => {
                Err(Error::InvalidId { device_id: *last })
            }
            Op::MarkIdsFaultyUpTo { .. } | Op::FinishIntent { .. } => Ok(()),
            Op::BeginIntent(intent) => {
                check_name(intent.name)?;
                check_pool_id(intent.device_id)
            }
            _ => self.check_lookup(),
        }
    }
}

/// Refuses a number that no pool has as an id. Those that the store does not give out, 0 and the
/// last, are the pool's all the same.
fn check_pool_id(device_id: u32) -> Result<()> {
    match device_id {
        0..=MAX_POOL_ID => Ok(()),
        _ => Err(Error::InvalidId { device_id }),
    }
}
