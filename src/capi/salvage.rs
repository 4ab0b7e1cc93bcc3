//! A new store made of what is still intact in a damaged file.

use std::ffi::c_char;
use std::mem::offset_of;

use crate::capi::args::{path, Out, OutStruct};
use crate::capi::check::limit_of;
use crate::capi::guard::guard;
use crate::capi::report::{new_report, pm_report};
use crate::capi::store::options_or_default;
use crate::capi::types::{pm_error, pm_options};

/// Result of a salvage. PM_SALVAGED_INIT sets the size.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_salvaged {
    /// sizeof(pm_salvaged), set by the caller, at least 40, which ends before commits.
    /// PM_SALVAGED_INIT sets it.
    pub struct_size: usize,
    /// Number of devices in the new store.
    pub devices: u64,
    /// Number of those that were found outside the tables, see PM_FINDING_RECOVERED.
    pub recovered: u64,
    /// Number of pages of the tables that were damaged or missing.
    pub lost_pages: u64,
    /// 1 if the new store has everything that the damaged one held, as the damaged one's digest
    /// proves; otherwise 0.
    pub complete: u64,
    /// Number of commits that the content had seen, as in pm_stats. 0 if the header row is lost
    /// (the report then has PM_FINDING_HEADER_DAMAGED) or nothing was ever written. The new store
    /// counts from the beginning.
    pub commits: u64,
    /// Highest device id that was ever assigned, 0 for none. If the header row is lost, or may not
    /// be the last one, which the report says, this is the highest that was seen. Ids above it may
    /// belong to data of the pool if the file is an old copy, or if this is not the highest.
    pub last_id: u32,
}

/// Reads every record that is still intact from a damaged file, and makes a new store of them.
///
/// The damaged file is only read, and no process may have it open. There must be no file at
/// `target`: the new store appears there complete, or not at all.
///
/// - A record that the tables' trees lead to is taken if its checksum is right.
/// - Where a tree is broken, all pages of the file are searched for records. Of two records with
///   the same name, the one with the higher generation is taken. Such a record may be older than
///   the version that was lost, or of a device that was removed since (unless its id is known to be
///   free): each one is reported as PM_FINDING_RECOVERED.
/// - Of two records with the same id, the one with the higher generation is kept, and the other is
///   reported.
/// - Ids about which nothing is known become faulty, because the pool may have a device with that
///   id. So do free ids, unless all rows of the last commit are there.
///
/// Generations start again from the beginning. All devices are held in memory at once. The new
/// store has the damaged file's owner and mode, as far as the process may set them.
///
/// The pool still has the devices that the new store lacks: those that are lost, and, if the file
/// is an old copy, those that were made since. Their ids are assigned again unless they are faulty.
/// Compare the two before the store is used: pm_reconcile. The ids in doubt are those that are free
/// in the new store, and all above pm_salvaged.last_id. Without a list of the pool's devices,
/// pm_mark_ids_faulty_up_to keeps all ids out of use up to the highest that may be in the pool.
///
/// @param damaged   Path of the damaged file, damaged_len bytes.
/// @param target    Path of the new store, target_len bytes: at most 4,063, and 223 for its last
///   name.
/// @param options   NULL for the defaults. Only lock_wait_ms is used.
/// @param limit     Highest number of findings that the report lists; all are counted. 0 selects
///   the default, 1000.
/// @param salvaged  NULL, or receives the counts, on success only. Its struct_size must be set
///   (PM_SALVAGED_INIT).
/// @param report    NULL, or receives the report, on success only: free it with pm_free. NULL if
///   there is no memory for it.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK; PM_ERR_FILE_EXISTS if there is something at `target`; PM_ERR_ALREADY_OPEN if the
///   damaged file is open as a store; PM_ERR_NOT_A_STORE if no part of it is recognised as one;
///   PM_ERR_NO_SUCH_FILE, PM_ERR_INVALID_PATH, PM_ERR_NOT_REGULAR_FILE, PM_ERR_PERMISSION,
///   PM_ERR_DISK_FULL, PM_ERR_IO, PM_ERR_READ_ONLY_FS, PM_ERR_UNSUPPORTED, PM_ERR_NO_MEMORY,
///   PM_ERR_TIMEOUT, PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE. There is no new store after a
///   failure, with one exception: if fsync of the directory failed, as the message then says, it is
///   in place, and a power cut could undo that.
///
/// Thread safety: may be called from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_salvage(
    damaged: *const c_char,
    damaged_len: usize,
    target: *const c_char,
    target_len: usize,
    options: *const pm_options,
    limit: usize,
    salvaged: *mut pm_salvaged,
    report: *mut *mut pm_report,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the paths, the options, the memory for both results and the error are as documented
    // above.
    unsafe {
        guard(error, || {
            let damaged = path(damaged, damaged_len, "damaged")?;
            let target = path(target, target_len, "target")?;
            let (options, _) = options_or_default(options)?;
            let least = offset_of!(pm_salvaged, commits);
            let salvaged = OutStruct::optional(salvaged, least, "salvaged")?;
            let done = options.salvage(damaged, target, limit_of(limit))?;
            if let Some(report) = Out::optional(report) {
                // The store is made: if there is no memory for the report, that is no failure.
                let block = new_report(&done.report, done.report.total, b"");
                report.set(block.unwrap_or(std::ptr::null_mut()));
            }
            if let Some(salvaged) = salvaged {
                salvaged.set(&pm_salvaged {
                    struct_size: size_of::<pm_salvaged>(),
                    devices: done.devices,
                    recovered: done.recovered,
                    lost_pages: done.lost_pages,
                    complete: done.complete.into(),
                    commits: done.commits.unwrap_or(0),
                    last_id: done.last_id,
                });
            }
            Ok(())
        })
    }
}
