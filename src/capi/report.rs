//! What a check, a repair or a salvage reports.

use std::ffi::{c_char, CStr};

use crate::audit::{Finding, FindingKind, Fix, Report};
use crate::capi::block::new_list;
use crate::capi::status::Outcome;

/// The header row is missing or damaged.
pub const PM_FINDING_HEADER_DAMAGED: i32 = 1;
/// A counter of the header differs from what the rows add up to.
pub const PM_FINDING_COUNTERS: i32 = 2;
/// The digest of the header differs from that of the rows: rows are missing, or are of an older
/// commit.
pub const PM_FINDING_DIGEST: i32 = 3;
/// The checksum of a record is wrong, or the record cannot be decoded.
pub const PM_FINDING_RECORD_DAMAGED: i32 = 4;
/// The device id of a record is out of range, or was never assigned.
pub const PM_FINDING_RECORD_ID: i32 = 5;
/// The generation of a record is higher than the number of the last commit.
pub const PM_FINDING_RECORD_GENERATION: i32 = 6;
/// Another record has the same device id. There is one finding for each of them.
pub const PM_FINDING_SHARED_ID: i32 = 7;
/// A row of the id table is damaged.
pub const PM_FINDING_ID_ROW_DAMAGED: i32 = 8;
/// The id of a row of the id table is out of range, or was never assigned.
pub const PM_FINDING_ID_ROW_OUTSIDE: i32 = 9;
/// An id is free although a device has it.
pub const PM_FINDING_FREE_AND_OWNED: i32 = 10;
/// An id is both free and faulty.
pub const PM_FINDING_FREE_AND_FAULTY: i32 = 11;
/// An id was assigned, and is neither a device's nor free nor faulty: it would never be assigned
/// again.
pub const PM_FINDING_LOST: i32 = 12;

/// A page of a table is damaged or missing. Only pm_salvage reports it.
pub const PM_FINDING_PAGE_LOST: i32 = 13;
/// A record was found outside the tables, which lack it or have an older version. It may be older
/// than the version that was lost, or of a device that was removed since. Only pm_salvage reports
/// it.
pub const PM_FINDING_RECOVERED: i32 = 14;
/// A row of the journal is damaged, or its commit or number is higher than the last one. In a
/// report of pm_salvage also an intent that was left out because it may have been finished.
pub const PM_FINDING_JOURNAL_ROW: i32 = 15;

/// Nothing but a guess would fix it: restore a backup, or salvage the intact records.
pub const PM_FIX_NOTHING: i32 = 0;
/// pm_repair computes the header again from the rows.
pub const PM_FIX_HEADER: i32 = 1;
/// pm_repair removes the row from the id table.
pub const PM_FIX_REMOVE_ID_ROW: i32 = 2;
/// pm_repair makes the id faulty, so that it is not assigned.
pub const PM_FIX_MAKE_FAULTY: i32 = 3;
/// pm_repair removes the row from the journal.
pub const PM_FIX_REMOVE_JOURNAL_ROW: i32 = 4;

/// One violation of the invariants.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_finding {
    /// sizeof(pm_finding), set by the library.
    pub struct_size: usize,
    /// Kind of the violation, one of PM_FINDING_*. Later releases may add kinds.
    pub kind: i32,
    /// What would fix it, one of PM_FIX_*.
    pub fix: i32,
    /// The device id concerned, 0 if there is none or it is not known.
    pub device_id: u32,
    /// Name of the device whose record is concerned, empty if there is none. Terminated by a NUL.
    pub name: *const c_char,
    /// Length of name in bytes.
    pub name_len: usize,
    /// Description of the violation. Terminated by a NUL.
    pub text: *const c_char,
    /// Length of text in bytes.
    pub text_len: usize,
}

/// Result of a check, a repair or a salvage: one block of memory, to be freed with pm_free.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_report {
    /// sizeof(pm_report), set by the library.
    pub struct_size: usize,
    /// Number of findings, including those that the list leaves out. 0 for an intact store.
    pub total: u64,
    /// Number of all findings that cannot be fixed: those with PM_FIX_NOTHING.
    pub unfixable: u64,
    /// Number of findings that are left. After a repair these are the ones that cannot be fixed;
    /// otherwise equal to total.
    pub left: u64,
    /// Number of findings in the list: the first ones, up to the limit that was asked for.
    pub count: usize,
    /// Pointers to the findings, count of them.
    pub findings: *const *const pm_finding,
    /// Path of the copy that a repair has made of the unchanged file, empty if there is none.
    /// Terminated by a NUL.
    pub backup: *const c_char,
    /// Length of backup in bytes.
    pub backup_len: usize,
}

/// Returns the name of a kind of finding, such as "SharedId" for PM_FINDING_SHARED_ID, or NULL for
/// a number that is not one of PM_FINDING_*. The string is static.
///
/// Never fails; may be called from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn pm_finding_name(kind: i32) -> *const c_char {
    name_of(FindingKind::NAMES, kind)
}

/// Returns the name of a fix, such as "MakeFaulty" for PM_FIX_MAKE_FAULTY, or NULL for a number
/// that is not one of PM_FIX_*. The string is static.
///
/// Never fails; may be called from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn pm_fix_name(fix: i32) -> *const c_char {
    name_of(Fix::NAMES, fix)
}

fn name_of(names: &[(i32, &'static CStr)], wanted: i32) -> *const c_char {
    let found = names.iter().find(|(number, _)| *number == wanted);
    found.map_or(std::ptr::null(), |(_, name)| name.as_ptr())
}

/// A block with a report. `left` is the number of findings that are left, `backup` the path of the
/// copy of the unchanged file.
pub(crate) fn new_report(from: &Report, left: u64, backup: &[u8]) -> Outcome<*mut pm_report> {
    let name_len = |finding: &Finding| finding.name.as_ref().map_or(0, Vec::len);
    let make = |finding: &Finding, [name, text]: [*const c_char; 2]| pm_finding {
        struct_size: size_of::<pm_finding>(),
        kind: finding.kind as i32,
        fix: finding.fix as i32,
        device_id: finding.device_id.unwrap_or(0),
        name,
        name_len: name_len(finding),
        text,
        text_len: finding.what.len(),
    };
    new_list(
        &from.findings,
        |finding| {
            let name = finding.name.as_deref().unwrap_or_default();
            [name, finding.what.as_bytes()]
        },
        make,
        [backup],
        |findings, [at]| pm_report {
            struct_size: size_of::<pm_report>(),
            total: from.total,
            unfixable: from.unfixable,
            left,
            count: from.findings.len(),
            findings,
            backup: at,
            backup_len: backup.len(),
        },
    )
}
