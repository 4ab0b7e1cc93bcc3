//! A record that may become a device of the new store.

use crate::device::DeviceInfo;

pub(crate) struct Candidate {
    pub device: DeviceInfo,
    /// The hash of its row.
    pub row_hash: u128,
    /// Whether a tree leads to it.
    pub in_tree: bool,
}
