//! Copies of a store: made while it is in use, and put back.

use std::ffi::c_char;
use std::os::unix::ffi::OsStrExt;

use crate::capi::guard::guard;
use crate::capi::handle::pm_store;
use crate::capi::status::Failure;
use crate::capi::store::{checked_path, options_or_default};
use crate::capi::types::*;
use crate::capi::{block, handle};
use crate::store::maintenance::backup::BackupOptions;

/// Leave free pages out of the backup: a smaller file, and more work.
pub const PM_BACKUP_COMPACT: u32 = 1;
/// Replace the store that is at the backup's path, if there is one that nobody has open.
pub const PM_BACKUP_OVERWRITE: u32 = 2;
/// Do not check the copy: so that a store that does not pass pm_verify can be backed up too.
pub const PM_BACKUP_UNCHECKED: u32 = 4;

/// Writes a copy of the store, as of this moment, to a new file: a store like this one, of mode
/// 0600.
///
/// The store stays in use meanwhile: nobody waits for a backup, except closing the store and
/// growing its map, as for a walk, and the space of records that are changed meanwhile is not used
/// again until its end. The copy is written to `<path>.partial`, checked as a whole, flushed, and
/// only then renamed: whatever happens, at `path` is what was there before or a whole backup. A
/// .partial file that a killed process left is taken over by the next backup to the same path.
///
/// @param store     The store.
/// @param path      Where the backup is to be, path_len bytes, at most PATH_MAX.
/// @param flags     PM_BACKUP_* flags, or 0.
/// @param error     NULL, or where to report a failure: its message names the file that could not
/// be read or   written, and os_error is the system's reason.
/// @return PM_OK; PM_ERR_FILE_EXISTS if something is at `path`; with PM_BACKUP_OVERWRITE instead
///   PM_ERR_ALREADY_OPEN if that is in use, here or in another process, and PM_ERR_NOT_A_STORE,
///   PM_ERR_BBOLT_FILE, PM_ERR_FOREIGN_LMDB, PM_ERR_NOT_REGULAR_FILE if it is no store;
///   PM_ERR_CORRUPT if the store is damaged; PM_ERR_INVALID_PATH, PM_ERR_NO_SUCH_FILE (there is no
/// such   directory), PM_ERR_PERMISSION, PM_ERR_DISK_FULL, PM_ERR_IO, PM_ERR_NO_MEMORY,
/// PM_ERR_TIMEOUT,   PM_ERR_READERS_FULL, PM_ERR_CLOSED, PM_ERR_FORKED, PM_ERR_INVALID_ARGUMENT,
/// PM_ERR_STRUCT_SIZE.
///
/// Thread safety: may be called from any thread; writers are not held up.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_backup(
    store: *mut pm_store,
    path: *const c_char,
    path_len: usize,
    flags: u32,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: this function's contract is that of each call below.
    unsafe {
        guard(error, || {
            let handle = handle::borrow(store)?;
            let path = checked_path(text(path, path_len, "path")?)?;
            let known = PM_BACKUP_COMPACT | PM_BACKUP_OVERWRITE | PM_BACKUP_UNCHECKED;
            if flags & !known != 0 {
                return Err(Failure::argument(format!(
                    "flags has unknown bits: {flags:#x}"
                )));
            }
            let mut options = BackupOptions::new();
            options
                .compact(flags & PM_BACKUP_COMPACT != 0)
                .overwrite(flags & PM_BACKUP_OVERWRITE != 0)
                .verify(flags & PM_BACKUP_UNCHECKED == 0);
            Ok(handle.store()?.backup(path, &options)?)
        })
    }
}

/// Puts a copy of a backup at `path`, where a store, sound or not, may be that nobody has open.
/// That one is kept, as `<path>.before-restore` or, where that name is taken, with a number behind
/// it.
///
/// The backup is copied to `<path>.restoring` and checked there as a whole before anything else is
/// touched. Killed at any moment, this leaves the store as it was or the backup's in its place. The
/// new file has the owner and permissions of the one before it, else mode 0600.
///
/// @param backup    The backup's path, backup_len bytes. The file is not changed.
/// @param path      The store's path, path_len bytes.
/// @param options   NULL for the defaults; only the lock wait counts.
/// @param kept      NULL, or where the path goes, on success only, under which the old file is
/// kept: one block of   memory, to be given to pm_free; NULL if nothing was there.
/// @param error     NULL, or where to report a failure.
/// @return PM_OK; PM_ERR_ALREADY_OPEN if the store or the backup is open, here or in another
/// process;   PM_ERR_CORRUPT, PM_ERR_NEWER_FORMAT if the backup is; PM_ERR_NOT_A_STORE,
/// PM_ERR_BBOLT_FILE,   PM_ERR_FOREIGN_LMDB, PM_ERR_NOT_REGULAR_FILE if one of the files is no
/// store; PM_ERR_FILE_EXISTS if a   file comes to be at `path` meanwhile; PM_ERR_NO_SUCH_FILE,
/// PM_ERR_INVALID_PATH, PM_ERR_PERMISSION,   PM_ERR_DISK_FULL, PM_ERR_NO_MEMORY, PM_ERR_TIMEOUT,
/// PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE;   PM_ERR_IO. Nothing has changed then, but for one
/// case: if flushing the directory failed, as the message says, the   backup is in place, and a
/// power cut could undo that.
///
/// Thread safety: may be called from any thread. Who opens the store meanwhile waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_restore(
    backup: *const c_char,
    backup_len: usize,
    path: *const c_char,
    path_len: usize,
    options: *const pm_options,
    kept: *mut *mut pm_name,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: this function's contract is that of each call below.
    unsafe {
        guard(error, || {
            let backup = checked_path(text(backup, backup_len, "backup")?)?;
            let path = checked_path(text(path, path_len, "path")?)?;
            let (options, _) = options_or_default(options)?;
            let old = options.restore(backup, path)?;
            if !kept.is_null() {
                // What is done is done: where there is no memory for the path, it is not told.
                let told = old.and_then(|old| block::new_name(old.as_os_str().as_bytes()).ok());
                kept.write(told.unwrap_or(std::ptr::null_mut()));
            }
            Ok(())
        })
    }
}
