//! The databases inside the file.

/// The database that a row is in. The numbers are part of the file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Table {
    /// Records by device name.
    Devices = 1,
    /// Ids that are free or faulty.
    Ids = 2,
}

/// Name of the database of device records.
pub(crate) const DEVICES: &str = "devices";
/// Name of the database of device ids.
pub(crate) const IDS: &str = "ids";
