//! A new store of what is still whole in a damaged file.

use std::ffi::c_char;

use crate::capi::block;
use crate::capi::check::limit_of;
use crate::capi::guard::guard;
use crate::capi::report::pm_report;
use crate::capi::store::{checked_path, options_or_default};
use crate::capi::types::*;

/// What was salvaged. PM_SALVAGED_INIT sets the size.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_salvaged {
    /// sizeof(pm_salvaged), set by the caller; PM_SALVAGED_INIT does.
    pub struct_size: usize,
    /// How many devices the new store has.
    pub devices: u64,
    /// How many of them were found outside the tables: see PM_FINDING_RECOVERED.
    pub recovered: u64,
    /// How many pages of the tables were damaged or not there.
    pub lost_pages: u64,
    /// 1 if the new store has all that the old one held, by the old one's own digest; else 0.
    pub complete: u64,
}

/// Reads every record that is still whole from a damaged file, and makes a new store of them.
///
/// The damaged file is only read; nobody may have it open. Nothing may be at `target`, where the
/// new store comes to be as a whole, or not at all.
///
/// - Where the tables' trees lead to a record whose checksum holds, that is taken.
/// - Where they lead nowhere, all pages of the file are searched for records; of two of one name
///   the one of the higher generation is taken. Such a record may be older than what was lost, or
///   of a device that was removed since (unless its id is known to be free): each is told as
///   PM_FINDING_RECOVERED.
/// - Of two with the same id, the one of the higher generation is kept, the other told.
/// - Ids of which nothing is known any more become faulty: a device may live under them in the
///   pool. So do free ones unless all rows of the last commit are there.
///
/// Generations begin anew. All devices are in memory at once.
///
/// @param damaged   The damaged file's path, damaged_len bytes.
/// @param target    Where the new store is to be, target_len bytes.
/// @param options   NULL for the defaults; only the lock wait counts.
/// @param limit     How many findings the report keeps; all are counted. 0: 1000.
/// @param salvaged  NULL, or where the numbers go, on success only. Its struct_size must be set
/// (PM_SALVAGED_INIT). @param report    NULL, or where the report goes, on success only: to be
/// given to pm_free. @param error     NULL, or where to report a failure.
/// @return PM_OK; PM_ERR_FILE_EXISTS if something is at `target`; PM_ERR_ALREADY_OPEN if the
/// damaged file is open as a   store; PM_ERR_NOT_A_STORE if there is nothing of a store in it;
/// PM_ERR_NO_SUCH_FILE, PM_ERR_INVALID_PATH,   PM_ERR_NOT_REGULAR_FILE, PM_ERR_PERMISSION,
/// PM_ERR_DISK_FULL, PM_ERR_IO, PM_ERR_NO_MEMORY,   PM_ERR_TIMEOUT, PM_ERR_INVALID_ARGUMENT,
/// PM_ERR_STRUCT_SIZE. There is no new store then, but for one case: if   flushing the directory
/// failed, as the message says, it is in place, and a power cut could undo that.
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
    // SAFETY: this function's contract is that of each call below; the struct begins with its size.
    unsafe {
        guard(error, || {
            let damaged = checked_path(text(damaged, damaged_len, "damaged")?)?;
            let target = checked_path(text(target, target_len, "target")?)?;
            let (options, _) = options_or_default(options)?;
            let room = match salvaged.is_null() {
                true => 0,
                false => {
                    let given = (*salvaged).struct_size;
                    output_size::<pm_salvaged>(given, size_of::<pm_salvaged>(), "salvaged")?
                }
            };
            let done = options.salvage(damaged, target, limit_of(limit))?;
            if !report.is_null() {
                // What is done is done: where there is no memory for the report, it is not told.
                let told = block::new_report(&done.report, done.report.total, b"");
                report.write(told.unwrap_or(std::ptr::null_mut()));
            }
            if !salvaged.is_null() {
                let all = pm_salvaged {
                    struct_size: (*salvaged).struct_size,
                    devices: done.devices,
                    recovered: done.recovered,
                    lost_pages: done.lost_pages,
                    complete: done.complete.into(),
                };
                std::ptr::copy_nonoverlapping((&raw const all).cast::<u8>(), salvaged.cast(), room);
            }
            Ok(())
        })
    }
}
