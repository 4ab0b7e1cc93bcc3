//! The state of all device ids of a store.

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
