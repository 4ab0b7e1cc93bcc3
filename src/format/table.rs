//! The databases inside the file.

use std::ffi::CStr;

/// The database that a row is in. The numbers are part of the file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Table {
    /// Records by device name.
    Devices = 1,
    /// Ids that are free or faulty.
    Ids = 2,
    /// What is kept beside the devices: see [`journal_row`](crate::format::journal_row). Stores of
    /// format 1 do not have it.
    Journal = 3,
}

impl Table {
    /// All tables, in the order of their numbers.
    pub const ALL: [Table; 3] = [Table::Devices, Table::Ids, Table::Journal];

    /// Name of the database of the journal.
    pub const JOURNAL: &CStr = c"journal";

    /// Name of the database.
    pub fn name(self) -> &'static str {
        match self {
            Table::Devices => "devices",
            Table::Ids => "ids",
            Table::Journal => Table::JOURNAL.to_str().unwrap_or_default(),
        }
    }

    /// The table with this name.
    pub fn named(name: &[u8]) -> Option<Table> {
        Table::ALL
            .into_iter()
            .find(|table| table.name().as_bytes() == name)
    }

    /// Whether stores of every format have it.
    pub fn is_in_every_format(self) -> bool {
        self != Table::Journal
    }
}

/// Something for each table.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ByTable<T>([T; 3]);

impl<T> ByTable<T> {
    pub fn get(&self, table: Table) -> &T {
        &self.0[table as usize - 1]
    }

    pub fn get_mut(&mut self, table: Table) -> &mut T {
        &mut self.0[table as usize - 1]
    }
}
