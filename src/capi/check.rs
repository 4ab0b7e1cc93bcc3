//! What is wrong with a store, and fixing it.

use std::ffi::c_char;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use crate::capi::guard::guard;
use crate::capi::handle::pm_store;
use crate::capi::report::*;
use crate::capi::status::{Failure, Outcome};
use crate::capi::store::{checked_path, options_or_default};
use crate::capi::types::*;
use crate::capi::{block, handle};
use crate::store::maintenance::repair::RepairOptions;
use crate::store::options::OpenOptions;
use crate::store::PoolMetadata;

/// Only say what is wrong and what would fix it: as pm_check_file does.
pub const PM_REPAIR_DRY_RUN: u32 = 1;

/// How a store is repaired. PM_REPAIR_OPTIONS_INIT sets the size and leaves all else 0, which
/// stands for the defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_repair_options {
    /// sizeof(pm_repair_options), set by the caller; PM_REPAIR_OPTIONS_INIT does.
    pub struct_size: usize,
    /// PM_REPAIR_* flags, or 0.
    pub flags: u32,
    /// Where the copy of the file is to be that is made first; there must be nothing.
    pub backup: *const c_char,
    /// Its length in bytes. 0: `<path>.before-repair-<n>`, with the lowest number that is not
    /// taken.
    pub backup_len: usize,
    /// How many findings the report keeps. 0: 1000.
    pub limit: usize,
    /// How long to wait for others at each place, in milliseconds. 0: 10000.
    pub lock_wait_ms: u64,
}

/// Reads the whole store, as of this moment, and reports every violation of the invariants: what it
/// is about, and what would fix it.
///
/// @param store     The store.
/// @param limit     How many findings the report keeps; all are counted. 0: 1000.
/// @param report    Where the report goes, on success only: to be given to pm_free. A store that is
/// not sound is a   success: the report says so.
/// @param error     NULL, or where to report a failure.
/// @return PM_OK, PM_ERR_CORRUPT (LMDB cannot read the rows), PM_ERR_NO_MEMORY, PM_ERR_TIMEOUT,
/// PM_ERR_READERS_FULL,   PM_ERR_CLOSED, PM_ERR_FORKED, PM_ERR_INVALID_ARGUMENT,
/// PM_ERR_STRUCT_SIZE.
///
/// Thread safety: may be called from any thread; writers are not held up.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_check(
    store: *mut pm_store,
    limit: usize,
    report: *mut *mut pm_report,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: this function's contract is that of each call below.
    unsafe {
        guard(error, || {
            let handle = handle::borrow(store)?;
            if report.is_null() {
                return Err(Failure::null("report"));
            }
            let found = handle.store()?.check(limit_of(limit))?;
            report.write(block::new_report(&found, found.total, b"")?);
            Ok(())
        })
    }
}

/// The same for a store that need not be open, and that pm_open refuses for what its rows say.
/// Nothing is changed.
///
/// @param path      The store's path, path_len bytes. Other processes may have it open; this one
/// must not. @param options   NULL for the defaults; only the lock wait counts.
/// @param limit     How many findings the report keeps; all are counted. 0: 1000.
/// @param report    Where the report goes, on success only: to be given to pm_free.
/// @param error     NULL, or where to report a failure.
/// @return PM_OK, or what pm_open returns: a file that is no store, or whose structure is damaged,
/// cannot be checked.
///
/// Thread safety: may be called from any thread; writers are not held up.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_check_file(
    path: *const c_char,
    path_len: usize,
    options: *const pm_options,
    limit: usize,
    report: *mut *mut pm_report,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: this function's contract is that of each call below.
    unsafe {
        guard(error, || {
            let path = checked_path(text(path, path_len, "path")?)?;
            if report.is_null() {
                return Err(Failure::null("report"));
            }
            let (options, _) = options_or_default(options)?;
            let found = options.check_file(path, limit_of(limit))?;
            report.write(block::new_report(&found, found.total, b"")?);
            Ok(())
        })
    }
}

/// Fixes what is wrong with the rows of a store that nobody has open, as far as that needs no
/// guessing, in one transaction, and says what it found and what it could not fix.
///
/// - The header (counters, last id, digest) is written anew from the rows.
/// - Records are right: an id that a device has is not free. An id that is free and faulty is
///   faulty.
/// - An id that is nobody's becomes faulty, so that it is not given out.
/// - Rows of the table of ids that are damaged, or of no id that there is, are removed.
/// - Records are never touched. Two with the same id, a damaged one, and one whose numbers cannot
///   be stay as they are, and the store is still refused: pm_salvage makes a new one without them.
///
/// The file is copied first, if there is anything to fix.
///
/// @param path      The store's path, path_len bytes.
/// @param options   NULL for the defaults.
/// @param report    Where the report goes, on success only: to be given to pm_free. Its findings
/// are what was wrong before. @param error     NULL, or where to report a failure.
/// @return PM_OK, also if not all could be fixed: see pm_report.left; PM_ERR_ALREADY_OPEN if the
/// store is open, here or   in another process; PM_ERR_FILE_EXISTS if something is where the copy
/// was to be; or what pm_open and any   write can return. The store is as it was then, unless
/// PM_ERR_NO_MEMORY or PM_ERR_IO says that what was fixed   could not be read back or reported:
/// pm_check_file tells.
///
/// Thread safety: may be called from any thread. Who opens the store meanwhile waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_repair(
    path: *const c_char,
    path_len: usize,
    options: *const pm_repair_options,
    report: *mut *mut pm_report,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: this function's contract is that of each call below.
    unsafe {
        guard(error, || {
            let path = checked_path(text(path, path_len, "path")?)?;
            if report.is_null() {
                return Err(Failure::null("report"));
            }
            let mut open = OpenOptions::new();
            let mut how = RepairOptions::new();
            if !options.is_null() {
                repair_options(&read_struct(options, "options")?, &mut open, &mut how)?;
            }
            let done = open.repair(path, &how)?;
            let backup = done
                .backup
                .as_deref()
                .map(|path| path.as_os_str().as_bytes());
            let left = done.after.total;
            report.write(block::new_report(
                &done.before,
                left,
                backup.unwrap_or_default(),
            )?);
            Ok(())
        })
    }
}

/// # Safety
/// The texts point to as many bytes as their lengths say.
unsafe fn repair_options(
    from: &pm_repair_options,
    open: &mut OpenOptions,
    how: &mut RepairOptions,
) -> Outcome<()> {
    if from.flags & !PM_REPAIR_DRY_RUN != 0 {
        return Err(Failure::argument(format!(
            "options.flags has unknown bits: {:#x}",
            from.flags
        )));
    }
    how.dry_run(from.flags & PM_REPAIR_DRY_RUN != 0)
        .limit(limit_of(from.limit));
    // SAFETY: says the caller.
    let backup = unsafe { text(from.backup, from.backup_len, "options.backup")? };
    if !backup.is_empty() {
        how.backup(checked_path(backup)?);
    }
    if from.lock_wait_ms != 0 {
        open.lock_wait(Duration::from_millis(from.lock_wait_ms));
    }
    Ok(())
}

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
    fn the_numbers_are_those_of_the_core() {
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
