//! What a check, a repair or a salvage reports.

use std::ffi::c_char;

/// The header row is missing or damaged.
pub const PM_FINDING_HEADER_DAMAGED: i32 = 1;
/// A counter of the header is not what the rows add up to.
pub const PM_FINDING_COUNTERS: i32 = 2;
/// The header's digest is not that of the rows: some are missing, or are of an older commit.
pub const PM_FINDING_DIGEST: i32 = 3;
/// A record's checksum does not hold, or it does not decode.
pub const PM_FINDING_RECORD_DAMAGED: i32 = 4;
/// A record's device id is none, or was never given out.
pub const PM_FINDING_RECORD_ID: i32 = 5;
/// A record is of a commit that is still to come.
pub const PM_FINDING_RECORD_GENERATION: i32 = 6;
/// The device id of a record is another record's as well. There is a finding for each of them.
pub const PM_FINDING_SHARED_ID: i32 = 7;
/// A row of the table of ids is damaged.
pub const PM_FINDING_ID_ROW_DAMAGED: i32 = 8;
/// A row of the table of ids is of an id that is none, or was never given out.
pub const PM_FINDING_ID_ROW_OUTSIDE: i32 = 9;
/// An id is free, and a device has it.
pub const PM_FINDING_FREE_AND_OWNED: i32 = 10;
/// An id is free and faulty.
pub const PM_FINDING_FREE_AND_FAULTY: i32 = 11;
/// An id was given out, and is neither a device's nor free nor faulty: it would never be given out
/// again.
pub const PM_FINDING_LOST: i32 = 12;

/// A page of a table is damaged or not there; only told by pm_salvage.
pub const PM_FINDING_PAGE_LOST: i32 = 13;
/// A record was found outside the tables, which have lost it, or have an older one: it may be older
/// than what was lost, or have been removed since. Only told by pm_salvage.
pub const PM_FINDING_RECOVERED: i32 = 14;

/// Nothing that is not a guess: go back to a backup, or salvage what is whole.
pub const PM_FIX_NOTHING: i32 = 0;
/// Writing the header anew, from the rows.
pub const PM_FIX_HEADER: i32 = 1;
/// Removing a row from the table of ids.
pub const PM_FIX_REMOVE_ID_ROW: i32 = 2;
/// Making the id faulty, so that it is not given out.
pub const PM_FIX_MAKE_FAULTY: i32 = 3;

/// One violation of the invariants.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_finding {
    /// sizeof(pm_finding), set by the library.
    pub struct_size: usize,
    /// What kind of violation it is, PM_FINDING_*; later releases may know more kinds.
    pub kind: i32,
    /// What would fix it, PM_FIX_*.
    pub fix: i32,
    /// The device id that it is about; 0 if it is about none, or that is not known.
    pub device_id: u32,
    /// Name of the device whose record it is about; empty if it is about none. Ends in a NUL.
    pub name: *const c_char,
    /// Its length in bytes.
    pub name_len: usize,
    /// What is wrong, in words. Ends in a NUL.
    pub text: *const c_char,
    /// Its length in bytes.
    pub text_len: usize,
}

/// What a check, a repair or a salvage has found: one block of memory, to be given to pm_free.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_report {
    /// sizeof(pm_report), set by the library.
    pub struct_size: usize,
    /// How many findings there are in all; 0 for a sound store.
    pub total: u64,
    /// How many of all cannot be fixed: those with PM_FIX_NOTHING.
    pub unfixable: u64,
    /// How many findings are left: after a repair, only what cannot be fixed; else all.
    pub left: u64,
    /// How many findings are in the list: the first ones, as many as were asked for.
    pub count: usize,
    /// That many pointers to findings.
    pub findings: *const *const pm_finding,
    /// Where a repair has kept the file as it was; empty if it has changed nothing. Ends in a NUL.
    pub backup: *const c_char,
    /// Its length in bytes.
    pub backup_len: usize,
}
