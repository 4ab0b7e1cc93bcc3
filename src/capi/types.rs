//! The structs and constants that callers share with the library.

use std::ffi::{c_char, c_void};

use crate::capi::status::{Failure, Outcome, PM_ERR_INVALID_STATE};
use crate::device::DeviceState;

/// Size of pm_error.message in bytes, including the terminating NUL.
pub const PM_ERROR_MESSAGE_SIZE: usize = 1024;
/// Longest name of a device or of its parent, in bytes without a NUL.
pub const PM_MAX_NAME_LEN: usize = 511;
/// Longest error text of a device in bytes: 1 MiB. A longer text is refused, never truncated.
pub const PM_MAX_ERROR_LEN: usize = 1_048_576;
/// Largest device id: 2^24 - 2. The thin-pool target of the kernel takes 24-bit ids.
pub const PM_MAX_DEVICE_ID: u32 = 16_777_214;

/// Longest identity of a pool in bytes.
pub const PM_MAX_IDENTITY_LEN: usize = 255;
/// Largest number of intents that have begun and are not finished.
pub const PM_MAX_INTENTS: u32 = 65_536;
/// Number of removals that a store remembers.
pub const PM_MAX_REMOVALS: u32 = 4096;

/// The state is not known. A device that has not been created yet has this state.
pub const PM_STATE_UNKNOWN: i32 = 0;
/// The device is being created in the pool.
pub const PM_STATE_CREATING: i32 = 1;
/// The device exists in the pool and is not active.
pub const PM_STATE_CREATED: i32 = 2;
/// The device is being activated.
pub const PM_STATE_ACTIVATING: i32 = 3;
/// The device is active: it has a block device.
pub const PM_STATE_ACTIVATED: i32 = 4;
/// The device is being suspended.
pub const PM_STATE_SUSPENDING: i32 = 5;
/// The device is suspended: the kernel holds its I/O back.
pub const PM_STATE_SUSPENDED: i32 = 6;
/// The device is being resumed.
pub const PM_STATE_RESUMING: i32 = 7;
/// The device is active again after a suspension.
pub const PM_STATE_RESUMED: i32 = 8;
/// The device is being deactivated.
pub const PM_STATE_DEACTIVATING: i32 = 9;
/// The device is no longer active and still exists in the pool.
pub const PM_STATE_DEACTIVATED: i32 = 10;
/// The device is being removed from the pool.
pub const PM_STATE_REMOVING: i32 = 11;
/// The device is gone from the pool.
pub const PM_STATE_REMOVED: i32 = 12;
/// An operation on the device failed half way: neither the device nor its id can be relied on.
pub const PM_STATE_FAULTY: i32 = 13;

/// Details of a failed call. The caller owns the struct, initialises it with PM_ERROR_INIT and
/// passes its address as the last argument, or NULL if the returned status is enough. A call writes
/// to it only when it fails.
#[repr(C)]
pub struct pm_error {
    /// sizeof(pm_error), set by the caller. PM_ERROR_INIT sets it. The smallest has room for one
    /// byte of message: 21.
    pub struct_size: usize,
    /// The status that the call returned, one of PM_ERR_*.
    pub code: i32,
    /// The value that the callback returned if code is PM_ERR_CALLBACK, otherwise 0.
    pub callback_code: i32,
    /// The system's error number (errno) behind the failure, or 0 if there is none.
    pub os_error: i32,
    /// What is wrong, with the name or path concerned, and what to do about it. ASCII or UTF-8,
    /// terminated by a NUL; a message that is too long for the array is truncated.
    pub message: [c_char; PM_ERROR_MESSAGE_SIZE],
}

/// One thin device. Texts are byte strings with a length. Those that the library returns also end
/// in a NUL, which the length does not count; those that the caller passes need none.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_device {
    /// sizeof(pm_device), set by the caller, at least 88. PM_DEVICE_INIT sets it.
    pub struct_size: usize,
    /// Virtual size of the device in bytes, 0 to 2^64 - 1.
    pub size: u64,
    /// Number of the commit that last wrote the record. The store sets it; in a device that the
    /// caller passes, only PM_CHANGE_UPDATE reads it. No two versions of a record have the same
    /// generation, with one exception: after pm_restore has put back an older backup, generations
    /// are used again. Do not pass a record that was read before a restore to PM_CHANGE_UPDATE.
    pub generation: u64,
    /// Device id in the pool, 1 to PM_MAX_DEVICE_ID. The store assigns it.
    pub device_id: u32,
    /// State of the device, one of PM_STATE_*.
    pub state: i32,
    /// Name of the device, 1 to PM_MAX_NAME_LEN bytes without a NUL among them. Unique in the
    /// store.
    pub name: *const c_char,
    /// Length of name in bytes.
    pub name_len: usize,
    /// Name of the device that this one is a snapshot of, 0 to PM_MAX_NAME_LEN bytes without a NUL
    /// among them. The parent need not be in the store.
    pub parent_name: *const c_char,
    /// Length of parent_name in bytes, 0 for no parent.
    pub parent_name_len: usize,
    /// Text of the device's last error, 0 to PM_MAX_ERROR_LEN bytes.
    pub error: *const c_char,
    /// Length of error in bytes, 0 for no error.
    pub error_len: usize,
    /// Reserved for the library. NULL in a struct that the caller initialises.
    pub owner: *mut c_void,
}

/// Options of pm_open. PM_OPTIONS_INIT sets the size and leaves every other field 0, which selects
/// the defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_options {
    /// sizeof(pm_options), set by the caller, at least 80. PM_OPTIONS_INIT sets it.
    pub struct_size: usize,
    /// PM_OPEN_* flags, or 0.
    pub flags: u32,
    /// Number of slots in LMDB's reader table, which all processes share: 1 to 1048576. Values
    /// below 128 are raised to 128. 0 selects the default, 1024. The first process to open the
    /// store decides.
    pub max_readers: u32,
    /// Size of the memory map in bytes, at most 2^46. It takes address space, not memory or disk,
    /// and grows when the store needs more. 0 selects the default, 16 GiB.
    pub map_size: u64,
    /// Longest time in milliseconds that a call waits at one time for other threads and processes,
    /// before it fails with PM_ERR_TIMEOUT; but while a commit of its own process is under way, a
    /// write waits on. 0 selects the default, 10000; the least is 1.
    pub lock_wait_ms: u64,
    /// How much pm_open verifies, one of PM_VERIFY_*.
    pub verify: i32,
    /// Whether a write that has returned survives a power cut, one of PM_DURABILITY_*.
    pub durability: i32,
    /// Identity of the pool, NULL for none: bytes of the caller's choice, such as the UUID of the
    /// pool's metadata device. The store keeps it when it is first opened for writing with one, and
    /// from then on another one is refused with PM_ERR_OTHER_POOL. Opening without one is always
    /// possible.
    pub identity: *const c_char,
    /// Length of identity in bytes: 1 to PM_MAX_IDENTITY_LEN, 0 for none.
    pub identity_len: usize,
    /// Most bytes of freed pages that running reads, in any process, may keep from being used again
    /// while the file grows. A write of this process that would make the file longer beyond that
    /// fails with PM_ERR_PINNED. 0 selects no limit.
    pub max_pinned_growth: u64,
    /// How many deferred commits may be left unflushed: the next one is flushed, with all before
    /// it. The pages that they free are not used again before the flush after the next, so this
    /// also bounds by how much the file grows. 0 selects the default, 1000; more than 2^32 count
    /// as that.
    pub deferred_commits: u64,
    /// How long in milliseconds a deferred commit may be left unflushed: a thread of the library's
    /// own flushes it then. The first deferred write starts the thread, or pm_open with
    /// PM_OPEN_EXPECT_DEFERRED, and closing the store ends it. 0 selects the default, 1000.
    pub deferred_age_ms: u64,
}

/// Open for reading only: the store must exist, and every write fails with PM_ERR_READ_ONLY.
/// Nothing is made or changed.
///
/// The handle reads the store in place, and each call sees the newest commit, where it can tell
/// writers what it reads: in the lock file, which must be there and writable. Otherwise it reads a
/// private copy, as of when it was opened, and no other process notices: `is_copy` in pm_stats is 1
/// then, and opening the store again shows what has changed. A copy is made with plain reads, in
/// memory as large as the store, within lock_wait_ms (or PM_ERR_TIMEOUT, if writers are faster than
/// it all that time); its pages are verified whatever `verify` says. The handle also reads a copy
/// in a container (a PID namespace other than the machine's first), unless the store is open in
/// that container and in no other, and on overlayfs, unless another process has the store open.
pub const PM_OPEN_READ_ONLY: u32 = 1;
/// Expect deferred writes (pm_deferred, PM_DURABILITY_RELAXED): make the flush that they need when
/// the store is opened, and stay ready for them while nobody writes. Without it, the second of
/// several deferred writes makes that flush, and so does the second after deferred_age_ms without
/// any. The first write of another process makes two flushes more than otherwise. Ignored together
/// with PM_OPEN_READ_ONLY.
pub const PM_OPEN_EXPECT_DEFERRED: u32 = 2;

/// Verify as much as the default level does, which is PM_VERIFY_FULL.
pub const PM_VERIFY_DEFAULT: i32 = 0;
/// Verify only that the file is a store, of a known format, and not truncated. A damaged page can
/// make LMDB end the process.
pub const PM_VERIFY_NONE: i32 = 1;
/// Verify also the free list, and that the tables have as many rows as the header says. This takes
/// a few reads, however large the store. A damaged page elsewhere can make LMDB end the process.
pub const PM_VERIFY_QUICK: i32 = 2;
/// Verify also every page and every row, and that all rows are consistent. No damage to a file that
/// passes can make LMDB end the process. The time is proportional to the size of the store.
pub const PM_VERIFY_FULL: i32 = 3;

/// A write that has returned survives a power cut. A commit makes one fsync call.
pub const PM_DURABILITY_FULL: i32 = 0;
/// Every write of the store is deferred, as those through pm_deferred: a power cut may undo the
/// writes of the last second, and no more than 1,000 commits (deferred_age_ms, deferred_commits),
/// last ones first and each as a whole, and never damages the store.
pub const PM_DURABILITY_RELAXED: i32 = 1;

/// Number of buckets of a pm_histogram.
pub const PM_HISTOGRAM_BUCKETS: usize = 40;

/// Distribution of a series of values. The bounds of the buckets are powers of two: `buckets[0]`
/// counts values up to 1, `buckets[i]` values above 2^(i-1) and up to 2^i, and the last bucket all
/// larger values.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_histogram {
    /// Number of values.
    pub count: u64,
    /// Sum of the values.
    pub sum: u64,
    /// Number of values in each bucket.
    pub buckets: [u64; PM_HISTOGRAM_BUCKETS],
}

/// Counts and sizes of a store at one moment. PM_STATS_INIT sets the size.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_stats {
    /// sizeof(pm_stats), set by the caller, at least 104, which ends before pages_free.
    /// PM_STATS_INIT sets it.
    pub struct_size: usize,
    /// Devices in the store.
    pub devices: u64,
    /// Device ids that belong to devices and are not faulty.
    pub taken_ids: u64,
    /// Device ids that were freed and can be assigned again.
    pub free_ids: u64,
    /// Device ids that are faulty, whether or not a device has them.
    pub faulty_ids: u64,
    /// Highest device id that was ever assigned, 0 for none.
    pub last_id: u64,
    /// Number of the newest commit: the commits since the store was created, and the numbers that
    /// were left out for commits that were undone, or that a power cut may have ended.
    pub commits: u64,
    /// Size of this process's memory map in bytes: address space, not memory. If another process
    /// has enlarged its map, this one follows with its next read or write.
    pub map_size: u64,
    /// Bytes of the map up to the end of the last page in use. Free pages before it count.
    pub map_used: u64,
    /// Length of the file in bytes.
    pub file_size: u64,
    /// Size of a page in bytes.
    pub page_size: u64,
    /// Number of slots in LMDB's reader table.
    pub max_readers: u64,
    /// Highest number of those slots that were in use at one time, by all processes.
    pub readers_in_use: u64,
    /// Pages that are free and not used again yet; they are part of map_used.
    pub pages_free: u64,
    /// Free pages that cannot be used again before the oldest reader ends.
    pub pages_held: u64,
    /// Read transactions that are active at this moment, in all processes. In an idle daemon these
    /// are its open walks.
    pub readers_active: u64,
    /// Commits made since the snapshot of the oldest active reader. Pages that they freed cannot be
    /// used again before that reader ends, so the file grows.
    pub oldest_reader_commits: u64,
    /// Reads of this process, on any store, that had to wait for a read permit of the process or
    /// for a slot in a reader table, since the process began.
    pub reader_waits: u64,
    /// Reads among these that timed out and failed with PM_ERR_TIMEOUT or PM_ERR_READERS_FULL.
    pub reader_refusals: u64,
    /// Open walks and running verifications of this process.
    pub walks_open: u64,
    /// Age of the oldest of these in nanoseconds, 0 for none.
    pub oldest_walk_ns: u64,
    /// Threads of this process that are blocked on a write: on the commit queue, on a device that
    /// an update has locked, or on the writer of another process.
    pub writers_waiting: u64,
    /// 1 if flushes have failed again and again, or the file system takes no writes, so that the
    /// store takes none until it is opened again; otherwise 0.
    pub writes_stopped: u64,
    /// 1 if the handle reads a private copy of the store, as of when it was opened (pm_open says
    /// when that is); otherwise 0. To see later commits, open the store again.
    pub is_copy: u64,
    /// Operations in each commit of this process since it opened the store. Every change of a list
    /// counts as one, an import counts as one.
    pub commit_operations: pm_histogram,
    /// Time that each of those commits took, in nanoseconds: to write the pages, and to flush them.
    /// The time before the commit, waiting included, does not count.
    pub commit_nanoseconds: pm_histogram,
    /// Flushes of the store's file that this process has made since it opened the store: one for
    /// each commit that is not deferred.
    pub flushes: u64,
    /// Commits that this process has undone: one that a power cut had left half written, when it
    /// opened the store, and those whose flush failed.
    pub undone_commits: u64,
    /// Deferred commits of this process that are not flushed yet (pm_deferred).
    pub deferred_commits: u64,
}

/// A read that is running, in this process or in another one. Pages that were freed since the
/// commit that it sees cannot be used again before it ends, so the file grows while it runs.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_running_read {
    /// sizeof(pm_running_read), set by the library.
    pub struct_size: usize,
    /// Commits made since the one that it sees.
    pub commits_behind: u64,
    /// How long it has been running, in nanoseconds, for the walks, verifications and backups of
    /// this process. 0 for short reads and for other processes, of which it is not known.
    pub age_ns: u64,
    /// Id of the process that reads, as that process sees it: where PID namespaces differ, another
    /// id than it has elsewhere.
    pub pid: u32,
}

/// The reads that are running, as pm_get_running_reads returns them: one block of memory, to be
/// freed with pm_free.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_running_reads {
    /// sizeof(pm_running_reads), set by the library.
    pub struct_size: usize,
    /// Number of reads.
    pub count: usize,
    /// Pointers to the reads, count of them; the one of the oldest commit is the first.
    pub reads: *const *const pm_running_read,
}

/// One device in a buffer of the caller's. The struct is followed by the name, a NUL, the parent's
/// name, a NUL, the error text, a NUL, and zeros up to a multiple of 8 bytes. It holds no pointers,
/// so the buffer may be moved; it suits runtimes in which every call is expensive.
/// pm_record_name(), pm_record_parent_name() and pm_record_error() find the texts, pm_record_next()
/// the next record.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_record {
    /// Bytes from the start of this record to the start of the next, a multiple of 8.
    pub record_size: u32,
    /// See pm_device.device_id.
    pub device_id: u32,
    /// See pm_device.size.
    pub size: u64,
    /// See pm_device.generation.
    pub generation: u64,
    /// See pm_device.state.
    pub state: i32,
    /// Length of the name in bytes, without its NUL.
    pub name_len: u32,
    /// Length of the parent's name in bytes, without its NUL.
    pub parent_name_len: u32,
    /// Length of the error text in bytes, without its NUL.
    pub error_len: u32,
}

/// A name in a list, or a path.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_name {
    /// The name or path, terminated by a NUL that name_len does not count.
    pub name: *const c_char,
    /// Length of name in bytes.
    pub name_len: usize,
}

/// The names of all devices, as pm_get_device_names returns them: one block of memory, to be freed
/// with pm_free.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_names {
    /// Number of names.
    pub count: usize,
    /// The names in byte order, count of them.
    pub names: *const pm_name,
}

/// The state of all device ids at one moment. An id from 1 to last_id that is in neither list is
/// taken: it belongs to one device. The struct that pm_walk_get_ids returns is one block of memory,
/// to be freed with pm_free.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_ids {
    /// sizeof(pm_ids), set by the caller, at least 48, or by pm_walk_get_ids. PM_IDS_INIT sets it.
    pub struct_size: usize,
    /// Highest id that was ever assigned, 0 for none.
    pub last_id: u32,
    /// Ids that can be assigned again, in ascending order.
    pub free_ids: *const u32,
    /// Number of free_ids.
    pub free_count: usize,
    /// Ids that must not be assigned, in ascending order. A device may have one of them.
    pub faulty_ids: *const u32,
    /// Number of faulty_ids.
    pub faulty_count: usize,
}

/// The state with this number.
pub(crate) fn state(number: i32) -> Outcome<DeviceState> {
    DeviceState::from_number(number.into()).ok_or_else(|| {
        Failure::Edge(
            PM_ERR_INVALID_STATE,
            format!("state {number} is not one of PM_STATE_UNKNOWN (0) to PM_STATE_FAULTY (13)"),
        )
    })
}
