//! Backups of a store that is in use, and putting one back.

use std::ffi::c_char;
use std::os::unix::ffi::OsStrExt;

use crate::capi::args::{handle, path, set_optional, Out, OutStruct};
use crate::capi::block;
use crate::capi::guard::guard;
use crate::capi::handle::pm_store;
use crate::capi::status::Failure;
use crate::capi::store::options_or_default;
use crate::capi::types::{pm_error, pm_name, pm_options};
use crate::store::maintenance::backup::BackupOptions;

/// Leave free pages out of the backup: the file is smaller, and copying takes longer.
pub const PM_BACKUP_COMPACT: u32 = 1;
/// Replace the store at the backup's path, if there is one and no process has it open.
pub const PM_BACKUP_OVERWRITE: u32 = 2;
/// Do not verify the copy, so that a store that fails pm_verify can be backed up too.
pub const PM_BACKUP_UNCHECKED: u32 = 4;

/// What a restore has put in place, and how old it is. PM_RESTORED_INIT sets the size.
///
/// The pool does not go back with its store. If the content is older than the pool, ids that are
/// free in it, and all above last_id, may belong to data of the pool by now. pm_reconcile finds
/// those in a list of the pool's devices. Without such a list, pm_mark_ids_faulty_up_to the highest
/// id that may have been assigned keeps all of them out of use: replaced_last_id, or more if that
/// store was not the newest either.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_restored {
    /// sizeof(pm_restored), set by the caller, at least 32. PM_RESTORED_INIT sets it.
    pub struct_size: usize,
    /// Number of commits that the content has seen, as in pm_stats. A store that pm_salvage has
    /// made counts from the beginning.
    pub commits: u64,
    /// Number of commits that the store at the path before had seen. If the backup is one of that
    /// store, the difference says how much is missing in the backup. 0 if there was no store, if
    /// its header cannot be read, or if nothing was ever written to it.
    pub replaced_commits: u64,
    /// Highest device id that the restored store had ever assigned, 0 for none.
    pub last_id: u32,
    /// Highest device id that the store at the path before had ever assigned, 0 for none, and if
    /// there was no store or its header cannot be read.
    pub replaced_last_id: u32,
}

/// Writes a copy of the store, as of this moment, to a new file. The file is a store of its own,
/// with the owner and mode of this one as far as the process may set them, or with those of the
/// file that it overwrites.
///
/// The store stays in use. A backup blocks only what an open walk blocks: closing the store and
/// growing its map; pages that are freed during the backup are not used again before its end. The
/// copy is written to a temporary file, `<path>.partial-` and a random number, verified, made
/// durable with fsync, and then renamed: at any moment, even after a crash, there is at `path`
/// either what was there before or a complete backup. The next backup to the same path removes a
/// temporary file that a killed process has left.
///
/// @param store     The store.
/// @param path      Path of the backup, path_len bytes: at most 4,065, and 225 for its last name.
/// @param flags     PM_BACKUP_* flags, or 0.
/// @param error     NULL, or receives the details of a failure: the message names the file that
///   could not be read or written, os_error is the system's reason.
/// @return PM_OK; PM_ERR_FILE_EXISTS if there is something at `path`; with PM_BACKUP_OVERWRITE
///   instead PM_ERR_ALREADY_OPEN if that file is open in this or another process, and
///   PM_ERR_NOT_A_STORE, PM_ERR_BBOLT_FILE, PM_ERR_FOREIGN_LMDB or PM_ERR_NOT_REGULAR_FILE if it is
///   not a store; PM_ERR_CORRUPT if the store is damaged; PM_ERR_NO_SUCH_FILE if the directory does
///   not exist; PM_ERR_INVALID_PATH, PM_ERR_PERMISSION, PM_ERR_DISK_FULL, PM_ERR_IO,
///   PM_ERR_READ_ONLY_FS, PM_ERR_UNSUPPORTED, PM_ERR_NO_MEMORY, PM_ERR_TIMEOUT,
///   PM_ERR_READERS_FULL, PM_ERR_CLOSED, PM_ERR_FORKED, PM_ERR_INVALID_ARGUMENT,
///   PM_ERR_STRUCT_SIZE.
///
/// Thread safety: may be called from any thread; does not block writers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_backup(
    store: *mut pm_store,
    path: *const c_char,
    path_len: usize,
    flags: u32,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the handle, the path and the error are as documented above.
    unsafe {
        guard(error, || {
            let store = handle(store, "store")?;
            let path = self::path(path, path_len, "path")?;
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
            Ok(store.store()?.backup(path, &options)?)
        })
    }
}

/// Puts a copy of a backup at `path`. A store there, intact or damaged, must not be open in any
/// process. It is kept as `<path>.before-restore`, followed by a number if that name is taken.
///
/// The backup is copied to a temporary file, `<path>.restoring-` and a random number, and verified
/// there before any other file is touched. At any moment, even after a crash, there is at `path`
/// either the old store or the backup. The new file has the owner and permissions of the one before
/// it; otherwise those of the backup, as far as the process may set them.
///
/// The pool does not go back with its store, which then assigns ids that devices made since the
/// backup have. Compare the two before the store is used: pm_reconcile. pm_restored says how old
/// the backup is and which ids are in doubt.
///
/// @param backup    Path of the backup, backup_len bytes. The file is not changed.
/// @param path      Path of the store, path_len bytes: at most 4,063, and 223 for its last name.
/// @param options   NULL for the defaults. Only lock_wait_ms is used.
/// @param restored  NULL, or receives the numbers, on success only. Its struct_size must be set
///   (PM_RESTORED_INIT).
/// @param kept      NULL, or receives, on success only, the path under which the old file is kept:
///   free it with pm_free. NULL if there was no old file, or no memory for the path.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK; PM_ERR_ALREADY_OPEN if the store or the backup is open in this or another
///   process; PM_ERR_CORRUPT or PM_ERR_NEWER_FORMAT if the backup is damaged or of a newer format;
///   PM_ERR_UNFINISHED if a power cut has left its newest commit half written; PM_ERR_NOT_A_STORE,
///   PM_ERR_BBOLT_FILE, PM_ERR_FOREIGN_LMDB or PM_ERR_NOT_REGULAR_FILE if one of the files is not a
///   store; PM_ERR_FILE_EXISTS if another process creates a file at `path` at the same time;
///   PM_ERR_NO_SUCH_FILE, PM_ERR_INVALID_PATH, PM_ERR_PERMISSION, PM_ERR_DISK_FULL, PM_ERR_IO,
///   PM_ERR_READ_ONLY_FS, PM_ERR_UNSUPPORTED, PM_ERR_NO_MEMORY, PM_ERR_TIMEOUT,
///   PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE. Nothing has changed after a failure, with one
///   exception: if fsync of the directory failed, as the message then says, the backup is in place,
///   and a power cut could undo that.
///
/// Thread safety: may be called from any thread. Opening the store waits for the end of the
/// restore.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_restore(
    backup: *const c_char,
    backup_len: usize,
    path: *const c_char,
    path_len: usize,
    options: *const pm_options,
    restored: *mut pm_restored,
    kept: *mut *mut pm_name,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the paths, the options, the memory for both results and the error are as documented
    // above.
    unsafe {
        guard(error, || {
            let backup = self::path(backup, backup_len, "backup")?;
            let path = self::path(path, path_len, "path")?;
            let (options, _) = options_or_default(options)?;
            let restored = OutStruct::optional(restored, size_of::<pm_restored>(), "restored")?;
            let done = options.restore(backup, path)?;
            if let Some(kept) = Out::optional(kept) {
                // The store is restored: if there is no memory for the path, that is no failure.
                let old = done.kept.as_ref();
                let path = old.and_then(|old| block::new_name(old.as_os_str().as_bytes()).ok());
                kept.set(path.unwrap_or(std::ptr::null_mut()));
            }
            if let Some(restored) = restored {
                restored.set(&pm_restored {
                    struct_size: size_of::<pm_restored>(),
                    commits: done.commits,
                    replaced_commits: done.replaced.map_or(0, |old| old.commits),
                    last_id: done.last_id,
                    replaced_last_id: done.replaced.map_or(0, |old| old.last_id),
                });
            }
            Ok(())
        })
    }
}

/// Rewrites a store without its free pages, so that its file is as short as its content allows.
/// LMDB uses free pages again and never gives them back: after a stalled read has let the file
/// grow, this makes it short again. No process may have the store open.
///
/// The copy is written to a temporary file, `<path>.partial-` and a random number, verified, made
/// durable with fsync, and then renamed: at any moment, even after a crash, there is at `path`
/// either the store as it was or the shorter one, with the same content, owner and permissions. The
/// file system needs space for the copy.
///
/// @param path      Path of the store, path_len bytes: at most 4,065, and 225 for its last name.
/// @param options   NULL for the defaults. Only lock_wait_ms is used.
/// @param before    NULL, or receives the length of the file before, in bytes, on success only.
/// @param after     NULL, or receives its length now, in bytes, on success only.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK; PM_ERR_ALREADY_OPEN if the store is open in this or another process;
///   PM_ERR_NO_SUCH_FILE; PM_ERR_CORRUPT if it is damaged; PM_ERR_NOT_A_STORE, PM_ERR_BBOLT_FILE,
///   PM_ERR_FOREIGN_LMDB, PM_ERR_NOT_REGULAR_FILE, PM_ERR_NEWER_FORMAT, PM_ERR_INVALID_PATH,
///   PM_ERR_PERMISSION, PM_ERR_DISK_FULL, PM_ERR_IO, PM_ERR_NO_MEMORY, PM_ERR_TIMEOUT,
///   PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE. Nothing has changed after a failure, with one
///   exception: if fsync of the directory failed, as the message then says, the shorter file is in
///   place, and a power cut could undo that.
///
/// Thread safety: may be called from any thread. Opening the store waits for the end of the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_compact(
    path: *const c_char,
    path_len: usize,
    options: *const pm_options,
    before: *mut u64,
    after: *mut u64,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the path, the options, the memory for both numbers and the error are as documented
    // above.
    unsafe {
        guard(error, || {
            let path = self::path(path, path_len, "path")?;
            let (options, _) = options_or_default(options)?;
            let compacted = options.compact(path)?;
            for (out, len) in [(before, compacted.before), (after, compacted.after)] {
                set_optional(out, len);
            }
            Ok(())
        })
    }
}
