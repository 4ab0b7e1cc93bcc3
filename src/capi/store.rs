//! Opening and closing a store, and questions about it as a whole.

use std::ffi::{c_char, OsStr};
use std::mem::offset_of;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use crate::capi::guard::guard;
use crate::capi::handle;
use crate::capi::handle::pm_store;
use crate::capi::status::{Failure, Outcome};
use crate::capi::types::*;
use crate::error::Error;
use crate::store::options::{Durability, OpenOptions, Verify};

/// Opens the store at `path` and puts its handle into `*store`.
///
/// If there is nothing at `path`, a store is created with mode 0600 (unless PM_OPEN_READ_ONLY is
/// set), such that a crash at any moment leaves none or a whole one. A symbolic link is followed.
/// LMDB's lock file is made beside the store as `<path>-lock`; never delete it while any process
/// has the store open. The file must be on a local file system.
///
/// @param path      The store's path, path_len bytes, at most PATH_MAX.
/// @param options   NULL for the defaults.
/// @param store     Where the handle goes, on success only. To be given to pm_close.
/// @param error     NULL, or where to report a failure.
/// @return PM_OK; what is at `path` is left untouched otherwise:
///   PM_ERR_INVALID_PATH, PM_ERR_NO_SUCH_FILE, PM_ERR_PERMISSION, PM_ERR_NOT_REGULAR_FILE,
///   PM_ERR_NOT_A_STORE, PM_ERR_BBOLT_FILE, PM_ERR_FOREIGN_LMDB, PM_ERR_NEWER_FORMAT,
/// PM_ERR_CORRUPT,   PM_ERR_ALREADY_OPEN (this process has the file open, by whatever path or hard
/// link),   PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE, PM_ERR_TIMEOUT, PM_ERR_DISK_FULL,
/// PM_ERR_NO_MEMORY,   PM_ERR_READERS_FULL, PM_ERR_IO.
///
/// Thread safety: may be called from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_open(
    path: *const c_char,
    path_len: usize,
    options: *const pm_options,
    store: *mut *mut pm_store,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: this function's contract is that of each call below.
    unsafe {
        guard(error, || {
            let path = text(path, path_len, "path")?;
            if store.is_null() {
                return Err(Failure::null("store"));
            }
            let (options, lock_wait) = options_or_default(options)?;
            let opened = options.open(checked_path(path)?)?;
            store.write(handle::new(&opened, lock_wait));
            Ok(())
        })
    }
}

/// A path that is to be used: of a wrong length, what is behind it must be neither searched nor
/// copied.
pub(crate) fn checked_path(path: &[u8]) -> Outcome<&Path> {
    let most = libc::PATH_MAX as usize;
    if path.len() > most {
        return Err(Error::InvalidPath {
            path: Path::new(OsStr::from_bytes(&path[..most])).into(),
            why: "it is longer than the system allows",
        }
        .into());
    }
    Ok(Path::new(OsStr::from_bytes(path)))
}

/// The caller's options, or the default ones for NULL.
///
/// # Safety
/// `options` is NULL or as [`read_struct`] asks for.
pub(crate) unsafe fn options_or_default(
    options: *const pm_options,
) -> Outcome<(OpenOptions, Duration)> {
    if options.is_null() {
        return Ok((OpenOptions::new(), OpenOptions::DEFAULT_LOCK_WAIT));
    }
    // SAFETY: says the caller.
    open_options(&unsafe { read_struct(options, "options")? })
}

/// The core's options for the caller's, and the lock wait.
fn open_options(from: &pm_options) -> Outcome<(OpenOptions, Duration)> {
    if from.flags & !PM_OPEN_READ_ONLY != 0 {
        return Err(Failure::argument(format!(
            "options.flags has unknown bits: {:#x}",
            from.flags
        )));
    }
    let verify = match from.verify {
        PM_VERIFY_DEFAULT => Verify::default(),
        PM_VERIFY_NONE => Verify::None,
        PM_VERIFY_QUICK => Verify::Quick,
        PM_VERIFY_FULL => Verify::Full,
        other => {
            return Err(Failure::argument(format!(
                "options.verify is {other}, which is no PM_VERIFY_ level"
            )))
        }
    };
    let durability = match from.durability {
        PM_DURABILITY_FULL => Durability::Full,
        PM_DURABILITY_RELAXED => Durability::Relaxed,
        other => {
            return Err(Failure::argument(format!(
                "options.durability is {other}, which is no PM_DURABILITY_ level"
            )))
        }
    };
    let lock_wait = match from.lock_wait_ms {
        0 => OpenOptions::DEFAULT_LOCK_WAIT,
        ms => Duration::from_millis(ms),
    };
    let mut options = OpenOptions::new();
    options
        .read_only(from.flags & PM_OPEN_READ_ONLY != 0)
        .verify(verify)
        .durability(durability)
        .lock_wait(lock_wait);
    if from.map_size != 0 {
        options.map_size(from.map_size);
    }
    if from.max_readers != 0 {
        options.max_readers(from.max_readers);
    }
    Ok((options, lock_wait))
}

/// Closes a store. Calls in flight in other threads finish first.
///
/// After it has returned PM_OK, every call on the handle, a second pm_close too, fails with
/// PM_ERR_CLOSED. Updates that are open fail with that when they are committed; they are still to
/// be committed or aborted.
///
/// @param store     The store.
/// @param error     NULL, or where to report a failure.
/// @return PM_OK; PM_ERR_BUSY if calls in flight, or open walks, do not end within the lock wait:
/// the store   stays open and can be closed later (from inside a walk's callback always);
/// PM_ERR_NESTED_WRITE from inside   an update's callback; PM_ERR_CLOSED, PM_ERR_FORKED,
/// PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE.
///
/// Thread safety: may be called from any thread, at the same time as other calls.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_close(store: *mut pm_store, error: *mut pm_error) -> i32 {
    // SAFETY: this function's contract is that of each call below.
    unsafe {
        guard(error, || {
            let handle = handle::borrow(store)?;
            let closed = handle.store()?.close();
            // What a store that was closed by a failure still takes is let go of here as well.
            if matches!(closed, Ok(()) | Err(Error::Closed)) {
                handle.clear();
            }
            Ok(closed?)
        })
    }
}

/// Flushes to disk what PM_DURABILITY_RELAXED has left open. Other stores have nothing to flush.
///
/// @param store     The store.
/// @param error     NULL, or where to report a failure.
/// @return PM_OK, PM_ERR_IO, PM_ERR_WRITES_STOPPED, PM_ERR_READ_ONLY, PM_ERR_NESTED_WRITE,
/// PM_ERR_TIMEOUT,   PM_ERR_CLOSED, PM_ERR_FORKED, PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE.
///
/// Thread safety: may be called from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_sync(store: *mut pm_store, error: *mut pm_error) -> i32 {
    // SAFETY: this function's contract is that of each call below.
    unsafe { guard(error, || Ok(handle::borrow(store)?.store()?.sync()?)) }
}

/// Reads the whole store and checks that every row is sound and that they add up.
///
/// @param store     The store.
/// @param error     NULL, or where to report a failure: its message says what is damaged.
/// @return PM_OK, PM_ERR_CORRUPT, PM_ERR_TIMEOUT, PM_ERR_READERS_FULL, PM_ERR_CLOSED,
/// PM_ERR_FORKED,   PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE.
///
/// Thread safety: may be called from any thread; writers are not held up.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_verify(store: *mut pm_store, error: *mut pm_error) -> i32 {
    // SAFETY: this function's contract is that of each call below.
    unsafe { guard(error, || Ok(handle::borrow(store)?.store()?.verify()?)) }
}

/// Fills `*stats` with the store's counts and sizes.
///
/// @param store     The store.
/// @param stats     Where they go, on success only. Its struct_size must be set (PM_STATS_INIT): of
/// a shorter   struct, made for an older header, only that much is written; of a longer one the
/// rest is left alone. @param error     NULL, or where to report a failure.
/// @return PM_OK, PM_ERR_CORRUPT, PM_ERR_TIMEOUT, PM_ERR_READERS_FULL, PM_ERR_CLOSED,
/// PM_ERR_FORKED,   PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE.
///
/// Thread safety: may be called from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_get_stats(
    store: *mut pm_store,
    stats: *mut pm_stats,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: this function's contract is that of each call below; the struct begins with its size.
    unsafe {
        guard(error, || {
            let handle = handle::borrow(store)?;
            if stats.is_null() {
                return Err(Failure::null("stats"));
            }
            let given = (*stats).struct_size;
            // What the first callers knew of.
            let room = output_size::<pm_stats>(given, offset_of!(pm_stats, pages_free), "stats")?;
            let all = c_stats(&handle.store()?.stats()?, given);
            std::ptr::copy_nonoverlapping((&raw const all).cast::<u8>(), stats.cast(), room);
            Ok(())
        })
    }
}

fn c_stats(from: &crate::store::Stats, struct_size: usize) -> pm_stats {
    pm_stats {
        struct_size,
        devices: from.devices,
        taken_ids: from.taken_ids,
        free_ids: from.free_ids,
        faulty_ids: from.faulty_ids,
        last_id: from.last_id,
        commits: from.commits,
        map_size: from.map_size,
        map_used: from.map_used,
        file_size: from.file_size,
        page_size: from.page_size,
        max_readers: from.max_readers,
        readers_in_use: from.readers_in_use,
        pages_free: from.pages_free,
        pages_held: from.pages_held,
        readers_active: from.readers_active,
        oldest_reader_commits: from.oldest_reader_commits,
        reader_waits: from.reader_waits,
        reader_refusals: from.reader_refusals,
        walks_open: from.walks_open,
        oldest_walk_ns: from.oldest_walk.as_nanos() as u64,
        writers_waiting: from.writers_waiting,
        writes_stopped: from.writes_stopped.into(),
        commit_operations: c_histogram(&from.commit_operations),
        commit_nanoseconds: c_histogram(&from.commit_nanoseconds),
    }
}

fn c_histogram(from: &crate::histogram::Histogram) -> pm_histogram {
    pm_histogram {
        count: from.count,
        sum: from.sum,
        buckets: from.buckets,
    }
}
