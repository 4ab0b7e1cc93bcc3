//! Checking a store, and repairing what needs no guessing.

use std::ffi::c_char;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use crate::capi::args::{handle, path, read_optional, Out};
use crate::capi::guard::guard;
use crate::capi::handle::pm_store;
use crate::capi::report::*;
use crate::capi::status::{Failure, Outcome};
use crate::capi::store::options_or_default;
use crate::capi::types::{pm_error, pm_options};
use crate::store::maintenance::repair::RepairOptions;
use crate::store::options::OpenOptions;
use crate::store::PoolMetadata;

/// Report what is wrong and what would fix it, without changing anything, as pm_check_file does.
pub const PM_REPAIR_DRY_RUN: u32 = 1;

/// Options of pm_repair. PM_REPAIR_OPTIONS_INIT sets the size and leaves every other field 0, which
/// selects the defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_repair_options {
    /// sizeof(pm_repair_options), set by the caller, at least 48. PM_REPAIR_OPTIONS_INIT sets it.
    pub struct_size: usize,
    /// PM_REPAIR_* flags, or 0.
    pub flags: u32,
    /// Path of the copy of the file that is made before the repair. There must be no file.
    pub backup: *const c_char,
    /// Length of backup in bytes. 0 selects `<path>.before-repair-<n>` with the lowest n that is
    /// not in use.
    pub backup_len: usize,
    /// Highest number of findings that the report lists. 0 selects the default, 1000.
    pub limit: usize,
    /// Longest time in milliseconds to wait at one time for other threads and processes. 0 selects
    /// the default, 10000.
    pub lock_wait_ms: u64,
}

/// Reads the whole store, as of this moment, and reports every violation of its invariants, with
/// the device or id concerned and what would fix it.
///
/// @param store     The store.
/// @param limit     Highest number of findings that the report lists; all are counted. 0 selects
///   the default, 1000.
/// @param report    Receives the report, on success only: free it with pm_free. The call also
///   succeeds if the report has findings.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK, PM_ERR_CORRUPT (LMDB cannot read the rows), PM_ERR_NO_MEMORY, PM_ERR_TIMEOUT,
///   PM_ERR_READERS_FULL, PM_ERR_CLOSED, PM_ERR_FORKED, PM_ERR_INVALID_ARGUMENT,
///   PM_ERR_STRUCT_SIZE.
///
/// Thread safety: may be called from any thread; does not block writers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_check(
    store: *mut pm_store,
    limit: usize,
    report: *mut *mut pm_report,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the handle, the memory for the report and the error are as documented above.
    unsafe {
        guard(error, || {
            let store = handle(store, "store")?;
            let report = Out::new(report, "report")?;
            let found = store.store()?.check(limit_of(limit))?;
            report.set(new_report(&found, found.total, b"")?);
            Ok(())
        })
    }
}

/// Checks a store that this process does not have open, and reports every violation of its
/// invariants as pm_check does. It also checks stores that pm_open refuses because of their rows.
/// The file is not changed.
///
/// @param path      Path of the store, path_len bytes. Other processes may have it open.
/// @param options   NULL for the defaults. Only lock_wait_ms is used.
/// @param limit     Highest number of findings that the report lists; all are counted. 0 selects
///   the default, 1000.
/// @param report    Receives the report, on success only: free it with pm_free.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK, or what pm_open returns: a file that is not a store, or whose structure is
///   damaged, cannot be checked.
///
/// Thread safety: may be called from any thread; does not block writers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_check_file(
    path: *const c_char,
    path_len: usize,
    options: *const pm_options,
    limit: usize,
    report: *mut *mut pm_report,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the path, the options, the memory for the report and the error are as documented
    // above.
    unsafe {
        guard(error, || {
            let path = self::path(path, path_len, "path")?;
            let report = Out::new(report, "report")?;
            let (options, _) = options_or_default(options)?;
            let found = options.check_file(path, limit_of(limit))?;
            report.set(new_report(&found, found.total, b"")?);
            Ok(())
        })
    }
}

/// Repairs the rows of a store that no process has open, as far as that needs no guessing, in one
/// transaction. Reports what was wrong and what could not be repaired.
///
/// - The header (counters, last id, digest) is computed again from the rows.
/// - Records take precedence: an id that a device has is not free. An id that is both free and
///   faulty becomes faulty.
/// - An id that is neither a device's nor free nor faulty becomes faulty, so that it is not
///   assigned.
/// - Rows of the id table that are damaged, or whose id was never assigned, are removed.
/// - Records are never changed. Records that share an id, that are damaged, or whose id or
///   generation is impossible stay as they are, and pm_open still refuses the store: pm_salvage
///   makes a new store without them.
///
/// The file is copied first, if there is anything to repair.
///
/// @param path      Path of the store, path_len bytes.
/// @param options   NULL for the defaults.
/// @param report    Receives the report, on success only: free it with pm_free. It lists what was
///   wrong before the repair.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK, also if findings are left that cannot be repaired, see pm_report.left;
///   PM_ERR_ALREADY_OPEN if the store is open in this or another process; PM_ERR_FILE_EXISTS if
///   there is something at the path of the copy; or what pm_open and any write can return. The
///   store is unchanged after a failure, with one exception: PM_ERR_NO_MEMORY and PM_ERR_IO may
///   also mean that it was repaired and could not be read again or reported, which pm_check_file
///   shows.
///
/// Thread safety: may be called from any thread. Opening the store waits for the end of the repair.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_repair(
    path: *const c_char,
    path_len: usize,
    options: *const pm_repair_options,
    report: *mut *mut pm_report,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the path, the options with their path, the memory for the report and the error are as
    // documented above.
    unsafe {
        guard(error, || {
            let path = self::path(path, path_len, "path")?;
            let report = Out::new(report, "report")?;
            let mut open = OpenOptions::new();
            let mut how = RepairOptions::new();
            if let Some(options) = read_optional(options, "options")? {
                repair_options(&options, &mut open, &mut how)?;
            }
            let done = open.repair(path, &how)?;
            let backup = done.backup.as_deref().unwrap_or("".as_ref());
            let (left, backup) = (done.after.total, backup.as_os_str().as_bytes());
            report.set(new_report(&done.before, left, backup)?);
            Ok(())
        })
    }
}

/// # Safety
/// The path of the copy has as many bytes as its length says.
unsafe fn repair_options(
    from: &pm_repair_options,
    open: &mut OpenOptions,
    how: &mut RepairOptions,
) -> Outcome<()> {
    let flags = from.flags;
    if flags & !PM_REPAIR_DRY_RUN != 0 {
        return Err(Failure::argument(format!(
            "options.flags has unknown bits: {flags:#x}"
        )));
    }
    how.dry_run(flags & PM_REPAIR_DRY_RUN != 0)
        .limit(limit_of(from.limit));
    if from.backup_len != 0 {
        // SAFETY: the caller promises that the bytes are there.
        how.backup(unsafe { path(from.backup, from.backup_len, "options.backup")? });
    }
    if from.lock_wait_ms != 0 {
        open.lock_wait(Duration::from_millis(from.lock_wait_ms));
    }
    Ok(())
}

/// How many findings a report keeps, where the caller asks for so many.
pub(crate) fn limit_of(asked: usize) -> usize {
    match asked {
        0 => PoolMetadata::DEFAULT_FINDINGS,
        some => some,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{FindingKind, Fix};

    #[test]
    fn constants_equal_those_of_the_core() {
        assert_eq!(PM_FINDING_HEADER_DAMAGED, FindingKind::HeaderDamaged as i32);
        assert_eq!(PM_FINDING_COUNTERS, FindingKind::Counters as i32);
        assert_eq!(PM_FINDING_DIGEST, FindingKind::Digest as i32);
        assert_eq!(PM_FINDING_RECORD_DAMAGED, FindingKind::RecordDamaged as i32);
        assert_eq!(PM_FINDING_RECORD_ID, FindingKind::RecordId as i32);
        let generation = FindingKind::RecordGeneration as i32;
        assert_eq!(PM_FINDING_RECORD_GENERATION, generation);
        assert_eq!(PM_FINDING_SHARED_ID, FindingKind::SharedId as i32);
        assert_eq!(PM_FINDING_ID_ROW_DAMAGED, FindingKind::IdRowDamaged as i32);
        assert_eq!(PM_FINDING_ID_ROW_OUTSIDE, FindingKind::IdRowOutside as i32);
        assert_eq!(PM_FINDING_FREE_AND_OWNED, FindingKind::FreeAndOwned as i32);
        assert_eq!(
            PM_FINDING_FREE_AND_FAULTY,
            FindingKind::FreeAndFaulty as i32
        );
        assert_eq!(PM_FINDING_LOST, FindingKind::Lost as i32);
        assert_eq!(PM_FINDING_PAGE_LOST, FindingKind::PageLost as i32);
        assert_eq!(PM_FINDING_RECOVERED, FindingKind::Recovered as i32);
        assert_eq!(PM_FIX_NOTHING, Fix::Nothing as i32);
        assert_eq!(PM_FIX_HEADER, Fix::Header as i32);
        assert_eq!(PM_FIX_REMOVE_ID_ROW, Fix::RemoveIdRow as i32);
        assert_eq!(PM_FIX_MAKE_FAULTY, Fix::MakeFaulty as i32);
    }
}
