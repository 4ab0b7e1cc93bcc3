//! The databases inside the file.

/// Which database a row is in. The numbers are part of the file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Table {
    /// Device name to record.
    Devices = 1,
    /// State and number of the ids that are not simply taken.
    Ids = 2,
}

/// Name of the database of device records.
pub(crate) const DEVICES: &str = "devices";
/// Name of the database of device ids.
pub(crate) const IDS: &str = "ids";
