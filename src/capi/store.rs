//! Opening and closing a store, and questions about it as a whole.

use std::ffi::c_char;
use std::mem::offset_of;
use std::time::Duration;

use crate::capi::args::{handle, path, read_optional, text, Out, OutStruct};
use crate::capi::guard::guard;
use crate::capi::handle;
use crate::capi::handle::pm_store;
use crate::capi::status::{Failure, Outcome};
use crate::capi::types::*;
use crate::histogram::Histogram;
use crate::stats::Stats;
use crate::store::options::{Durability, OpenOptions, Verify};

/// Opens the store at `path` and returns its handle in `*store`.
///
/// If there is no file at `path`, a store is created with mode 0600, unless PM_OPEN_READ_ONLY is
/// set; after a crash there is either no file or a complete store. An empty file is replaced by a
/// store with the same owner and mode, unless it has a lock file beside it: then it held a store
/// and is damaged. A symbolic link is followed. LMDB creates its lock file beside the store as
/// `<path>-lock`; never delete it while a process has the store open. The file must be on a local
/// file system: docs/options.md lists what that must have.
///
/// A handle that writes sees the newest commit in each call. One that was opened with
/// PM_OPEN_READ_ONLY does as well, or it reads a private copy of the store as of this call: see
/// there.
///
/// @param path      Path of the store, path_len bytes: at most 4,090, and 250 for its last name.
/// @param options   NULL for the defaults.
/// @param store     Receives the handle, on success only. End it with pm_close.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK, PM_ERR_INVALID_PATH, PM_ERR_NO_SUCH_FILE, PM_ERR_PERMISSION,
///   PM_ERR_NOT_REGULAR_FILE, PM_ERR_NOT_A_STORE, PM_ERR_BBOLT_FILE, PM_ERR_FOREIGN_LMDB,
///   PM_ERR_NEWER_FORMAT, PM_ERR_CORRUPT, PM_ERR_ALREADY_OPEN (this process has the file open, by
///   this or another path or hard link; or another process has it open with another `-lock` file,
///   or in an older format, or although the disk has lost pages of its newest commit),
///   PM_ERR_PID_IN_USE (this process has, through another copy of this library, or a process of the
///   same id in another PID namespace has), PM_ERR_LOCKS_LOST, PM_ERR_INVALID_ARGUMENT,
///   PM_ERR_STRUCT_SIZE, PM_ERR_TIMEOUT, PM_ERR_DISK_FULL, PM_ERR_NO_MEMORY, PM_ERR_READERS_FULL,
///   PM_ERR_READ_ONLY_FS, PM_ERR_UNSUPPORTED, PM_ERR_OTHER_LMDB, PM_ERR_IO. A failure leaves what
///   is at `path` unchanged, but for a commit that is undone (see below) before something else
///   fails.
///
/// Opening a store for writing undoes a commit that a power cut has left half written, and
/// undone_commits of pm_stats is 1 then. The commit before it is verified first, as far as the
/// options say; if that is damaged, nothing is undone (PM_ERR_CORRUPT). Opened read-only, such a
/// store is read in a private copy, without that commit.
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
    // SAFETY: the path, the options, the memory for the handle and the error are as documented
    // above.
    unsafe {
        guard(error, || {
            let path = self::path(path, path_len, "path")?;
            let store = Out::new(store, "store")?;
            let (options, lock_wait) = options_or_default(options)?;
            let opened = options.open(path)?;
            store.set(handle::of_opened(&opened, lock_wait));
            Ok(())
        })
    }
}

/// The caller's options and the lock wait in them, or the defaults for NULL.
///
/// # Safety
/// `options` is NULL or points to a struct that begins with its size and has as many bytes; its
/// identity is NULL, or as long as it says.
pub(crate) unsafe fn options_or_default(
    options: *const pm_options,
) -> Outcome<(OpenOptions, Duration)> {
    // SAFETY: the caller promises what this asks for.
    let given = unsafe { read_optional(options, "options")? };
    match given {
        // SAFETY: the caller promises that the identity is there.
        Some(given) => unsafe { open_options(&given) },
        None => Ok((OpenOptions::new(), OpenOptions::DEFAULT_LOCK_WAIT)),
    }
}

fn verify(level: i32) -> Outcome<Verify> {
    match level {
        PM_VERIFY_DEFAULT => Ok(Verify::default()),
        PM_VERIFY_NONE => Ok(Verify::None),
        PM_VERIFY_QUICK => Ok(Verify::Quick),
        PM_VERIFY_FULL => Ok(Verify::Full),
        other => Err(Failure::argument(format!(
            "options.verify is {other}, which is not one of PM_VERIFY_*"
        ))),
    }
}

fn durability(level: i32) -> Outcome<Durability> {
    match level {
        PM_DURABILITY_FULL => Ok(Durability::Full),
        PM_DURABILITY_RELAXED => Ok(Durability::Relaxed),
        other => Err(Failure::argument(format!(
            "options.durability is {other}, which is not one of PM_DURABILITY_*"
        ))),
    }
}

/// The core's options for the caller's, and the lock wait.
///
/// # Safety
/// The identity is NULL, or as long as the struct says.
unsafe fn open_options(from: &pm_options) -> Outcome<(OpenOptions, Duration)> {
    if from.flags & !(PM_OPEN_READ_ONLY | PM_OPEN_EXPECT_DEFERRED) != 0 {
        let flags = from.flags;
        return Err(Failure::argument(format!(
            "options.flags has unknown bits: {flags:#x}"
        )));
    }
    let (verify, durability) = (verify(from.verify)?, durability(from.durability)?);
    let lock_wait = match from.lock_wait_ms {
        0 => OpenOptions::DEFAULT_LOCK_WAIT,
        ms => Duration::from_millis(ms),
    };
    let mut options = OpenOptions::new();
    options
        .read_only(from.flags & PM_OPEN_READ_ONLY != 0)
        .expect_deferred(from.flags & PM_OPEN_EXPECT_DEFERRED != 0)
        .verify(verify)
        .durability(durability)
        .lock_wait(lock_wait)
        .max_pinned_growth(from.max_pinned_growth);
    if from.map_size != 0 {
        options.map_size(from.map_size);
    }
    if from.deferred_commits != 0 {
        options.deferred_commits(from.deferred_commits);
    }
    if from.deferred_age_ms != 0 {
        options.deferred_age(Duration::from_millis(from.deferred_age_ms));
    }
    if from.max_readers != 0 {
        options.max_readers(from.max_readers);
    }
    // SAFETY: the caller promises that the identity is there.
    let identity = unsafe { text(from.identity, from.identity_len, "options.identity")? };
    if !identity.is_empty() {
        options.identity(identity);
    }
    Ok((options, lock_wait))
}

/// Closes a store. Calls that run in other threads end first.
///
/// After PM_OK every call on the handle fails with PM_ERR_CLOSED, a second pm_close too. Updates
/// that are open fail with that code when they are committed, and must still be committed or
/// aborted.
///
/// A handle that pm_deferred has made ends, and the store stays open.
///
/// @param store     The store.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK; PM_ERR_BUSY if running calls or open walks do not end within the lock wait, or
///   another process keeps all others from writing for so long and what was deferred is not
///   flushed, and at once inside a walk's callback: the store then stays open and can be closed
///   later;
///   PM_ERR_NESTED_WRITE inside an update's callback; PM_ERR_IO if what was deferred could not be
///   flushed, and PM_ERR_WRITES_STOPPED if it could not be before: the store is closed all the
///   same; PM_ERR_CLOSED, PM_ERR_FORKED, PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE.
///
/// Thread safety: may be called from any thread, also while other threads use the store.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_close(store: *mut pm_store, error: *mut pm_error) -> i32 {
    // SAFETY: the handle and the error are as documented above.
    unsafe { guard(error, || Ok(handle(store, "store")?.close()?)) }
}

/// Returns in `*deferred` another handle of an open store, whose writes may be deferred: committed
/// without a flush of their own. All else that is done through it, lists included, is as through
/// the first.
///
/// A deferred write is visible at once to every thread and process, and survives whatever kills the
/// process. A power cut may take it back, together with all that was written after it: what is in
/// force then is one whole commit, no older than the last that was flushed. It is durable once a
/// later write that is not deferred has returned, or pm_sync, or pm_close of the handle from
/// pm_open, and after pm_options.deferred_age_ms or pm_options.deferred_commits at the latest.
///
/// Closing the handle from pm_open closes the store: calls on this handle fail with PM_ERR_CLOSED
/// then.
///
/// @param store     The store.
/// @param deferred  Receives the handle, on success only. End it with pm_close, which leaves the
///   store open.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK, PM_ERR_CLOSED, PM_ERR_FORKED, PM_ERR_TIMEOUT, PM_ERR_INVALID_ARGUMENT,
///   PM_ERR_STRUCT_SIZE.
///
/// Thread safety: may be called from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_deferred(
    store: *mut pm_store,
    deferred: *mut *mut pm_store,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the handle, the memory for the other and the error are as documented above.
    unsafe {
        guard(error, || {
            let store = handle(store, "store")?;
            let deferred = Out::new(deferred, "deferred")?;
            deferred.set(store.deferred()?);
            Ok(())
        })
    }
}

/// Flushes the store's file (fsync): all writes before it are durable then, deferred ones and those
/// of processes that were killed as well.
///
/// @param store     The store.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK, PM_ERR_IO, PM_ERR_WRITES_STOPPED, PM_ERR_READ_ONLY, PM_ERR_NESTED_WRITE,
///   PM_ERR_TIMEOUT, PM_ERR_CLOSED, PM_ERR_FORKED, PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE.
///
/// Thread safety: may be called from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_sync(store: *mut pm_store, error: *mut pm_error) -> i32 {
    // SAFETY: the handle and the error are as documented above.
    unsafe { guard(error, || Ok(handle(store, "store")?.store()?.sync()?)) }
}

/// Reads the whole store and verifies that every row is intact and that all rows are consistent.
///
/// @param store     The store.
/// @param error     NULL, or receives the details of a failure: the message says what is damaged.
/// @return PM_OK, PM_ERR_CORRUPT, PM_ERR_TIMEOUT, PM_ERR_READERS_FULL, PM_ERR_CLOSED,
///   PM_ERR_FORKED, PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE.
///
/// Thread safety: may be called from any thread; does not block writers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_verify(store: *mut pm_store, error: *mut pm_error) -> i32 {
    // SAFETY: the handle and the error are as documented above.
    unsafe { guard(error, || Ok(handle(store, "store")?.store()?.verify()?)) }
}

/// Returns counts and sizes of the store in `*stats`.
///
/// @param store     The store.
/// @param stats     Receives them, on success only. Its struct_size must be set (PM_STATS_INIT). A
///   shorter struct of an older header is filled as far as it goes; of a longer one, what this
///   library does not know is left unchanged.
/// @param error     NULL, or receives the details of a failure.
/// @return PM_OK, PM_ERR_CORRUPT, PM_ERR_TIMEOUT, PM_ERR_READERS_FULL, PM_ERR_CLOSED,
///   PM_ERR_FORKED, PM_ERR_INVALID_ARGUMENT, PM_ERR_STRUCT_SIZE.
///
/// Thread safety: may be called from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pm_get_stats(
    store: *mut pm_store,
    stats: *mut pm_stats,
    error: *mut pm_error,
) -> i32 {
    // SAFETY: the handle, the memory for the result and the error are as documented above.
    unsafe {
        guard(error, || {
            let store = handle(store, "store")?;
            // The first release of the struct ended before `pages_free`.
            let stats = OutStruct::new(stats, offset_of!(pm_stats, pages_free), "stats")?;
            stats.set(&c_stats(&store.store()?.stats()?));
            Ok(())
        })
    }
}

fn c_stats(from: &Stats) -> pm_stats {
    pm_stats {
        struct_size: size_of::<pm_stats>(),
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
        is_copy: from.is_copy.into(),
        commit_operations: c_histogram(&from.commit_operations),
        commit_nanoseconds: c_histogram(&from.commit_nanoseconds),
        flushes: from.flushes,
        undone_commits: from.undone_commits,
        deferred_commits: from.deferred_commits,
    }
}

fn c_histogram(from: &Histogram) -> pm_histogram {
    pm_histogram {
        count: from.count,
        sum: from.sum,
        buckets: from.buckets,
    }
}
