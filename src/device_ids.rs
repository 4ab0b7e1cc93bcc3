//! The states of the device ids of a store.

use crate::limits::MAX_DEVICE_ID;

/// The state of all device ids of a store at one moment.
///
/// Ids from 1 to `last_id` that are in neither list are taken: each belongs to one device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    /// The highest id that was ever given out; 0 for none.
    pub last_id: u32,
    /// Ids that can be given out again, in ascending order.
    pub free: Vec<u32>,
    /// Ids that must not be given out, in ascending order. A device may have one of them.
    pub faulty: Vec<u32>,
}

/// What a device id is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum IdState {
    /// It was given back and can be given out again.
    Free = 0,
    /// A device has it.
    Taken = 1,
    /// It must not be given out. A device may have it.
    Faulty = 2,
}

/// Which ids to list: by default all that were ever given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdFilter {
    /// Whether free ids are wanted.
    pub free: bool,
    /// Whether taken ids are wanted.
    pub taken: bool,
    /// Whether faulty ids are wanted.
    pub faulty: bool,
    /// The lowest id that is wanted.
    pub first: u32,
    /// The highest id that is wanted.
    pub last: u32,
}

impl Default for IdFilter {
    fn default() -> IdFilter {
        IdFilter {
            free: true,
            taken: true,
            faulty: true,
            first: 1,
            last: MAX_DEVICE_ID,
        }
    }
}

impl IdFilter {
    /// The ids that are in this state.
    pub fn of(state: IdState) -> IdFilter {
        IdFilter {
            free: state == IdState::Free,
            taken: state == IdState::Taken,
            faulty: state == IdState::Faulty,
            ..IdFilter::default()
        }
    }

    /// Whether ids in that state are wanted.
    pub(crate) fn takes(&self, state: IdState) -> bool {
        match state {
            IdState::Free => self.free,
            IdState::Taken => self.taken,
            IdState::Faulty => self.faulty,
        }
    }
}

/// One device id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IdInfo<'a> {
    /// The id.
    pub device_id: u32,
    /// What it is used for.
    pub state: IdState,
    /// Name of the device that has it. A faulty id need not have one, a free one has none.
    pub name: Option<&'a [u8]>,
}

/// Device ids at one moment, in ascending order.
#[derive(Clone, Debug, Default)]
pub struct IdList {
    pub(crate) entries: Vec<IdEntry>,
    /// The names of the devices, one behind the other.
    pub(crate) names: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct IdEntry {
    pub device_id: u32,
    pub state: IdState,
    /// Where the device's name is in the names; of no length if no device has the id.
    pub name_at: usize,
    pub name_len: usize,
}

impl IdList {
    /// The ids.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = IdInfo<'_>> {
        self.entries.iter().map(|entry| IdInfo {
            device_id: entry.device_id,
            state: entry.state,
            name: (entry.name_len > 0)
                .then(|| &self.names[entry.name_at..entry.name_at + entry.name_len]),
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
