//! The structs that cross the edge, and how they are read and filled.

use std::ffi::{c_char, c_void};

use crate::capi::status::{Failure, Outcome, PM_ERR_INVALID_STATE, PM_ERR_STRUCT_SIZE};
use crate::device::{DeviceRef, DeviceState};

/// Bytes of pm_error.message, the terminating NUL included.
pub const PM_ERROR_MESSAGE_SIZE: usize = 1024;
/// Longest name of a device or of its parent in bytes, without the NUL.
pub const PM_MAX_NAME_LEN: usize = 511;
/// Longest error text of a device in bytes: 1 MiB. A longer one is refused, never cut.
pub const PM_MAX_ERROR_LEN: usize = 1_048_576;
/// Largest device id that is given out.
pub const PM_MAX_DEVICE_ID: u32 = 16_777_214;

/// Not known; the state of a device that has not been created yet.
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
/// The device is suspended: its I/O waits.
pub const PM_STATE_SUSPENDED: i32 = 6;
/// The device is being resumed.
pub const PM_STATE_RESUMING: i32 = 7;
/// The device is active again after a suspension.
pub const PM_STATE_RESUMED: i32 = 8;
/// The device is being deactivated.
pub const PM_STATE_DEACTIVATING: i32 = 9;
/// The device is not active any more and still exists in the pool.
pub const PM_STATE_DEACTIVATED: i32 = 10;
/// The device is being removed from the pool.
pub const PM_STATE_REMOVING: i32 = 11;
/// The device is gone from the pool.
pub const PM_STATE_REMOVED: i32 = 12;
/// Something failed half way; the device and its id are not to be trusted.
pub const PM_STATE_FAULTY: i32 = 13;

/// What went wrong in a call. The caller owns it, initialises it with PM_ERROR_INIT, and passes its
/// address as the last argument, or NULL if the status is enough. A call writes it only when it
/// fails.
#[repr(C)]
pub struct pm_error {
    /// sizeof(pm_error), set by the caller.
    pub struct_size: usize,
    /// The status that the call returned, one of PM_ERR_*.
    pub code: i32,
    /// With PM_ERR_CALLBACK: what the callback returned; otherwise 0.
    pub callback_code: i32,
    /// The system's error number (errno) behind the failure; 0 if there is none.
    pub os_error: i32,
    /// What is wrong, with which name or path, and what to do. ASCII or UTF-8, ends in NUL.
    pub message: [c_char; PM_ERROR_MESSAGE_SIZE],
}

/// One thin device. Texts are bytes with a length; those that the library hands out also end in a
/// NUL that is not counted. Texts that the caller passes need none.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_device {
    /// sizeof(pm_device), set by who made the struct; PM_DEVICE_INIT does.
    pub struct_size: usize,
    /// Virtual size of the device in bytes, 0 to 2^64-1.
    pub size: u64,
    /// Number of the commit that last wrote the record. The store sets it; ignored on the way in,
    /// but by PM_CHANGE_UPDATE. It is never the same for two states of a device, unless
    /// pm_restore has put back an older backup: its numbers come again, so no record that was
    /// read before is to be given to PM_CHANGE_UPDATE then.
    pub generation: u64,
    /// Device id in the pool, 1 to PM_MAX_DEVICE_ID. The store assigns it.
    pub device_id: u32,
    /// Where the device stands, PM_STATE_*.
    pub state: i32,
    /// Name of the device, 1 to PM_MAX_NAME_LEN bytes, none of them NUL; unique in the store.
    pub name: *const c_char,
    /// Length of name in bytes.
    pub name_len: usize,
    /// Name of the device that this is a snapshot of, 0 to PM_MAX_NAME_LEN bytes, none of them
    /// NUL.
    pub parent_name: *const c_char,
    /// Length of parent_name in bytes; 0 for no parent.
    pub parent_name_len: usize,
    /// What went wrong with the device last, 0 to PM_MAX_ERROR_LEN bytes.
    pub error: *const c_char,
    /// Length of error in bytes; 0 for no error.
    pub error_len: usize,
    /// The library's own; NULL in a struct that the caller made.
    pub owner: *mut c_void,
}

/// Options of pm_open. PM_OPTIONS_INIT sets the size and leaves all else 0, which stands for the
/// defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_options {
    /// sizeof(pm_options), set by the caller; PM_OPTIONS_INIT does.
    pub struct_size: usize,
    /// PM_OPEN_* flags, or 0.
    pub flags: u32,
    /// Places in the reader table, shared by all processes: 1 to 1048576; fewer than 128 are
    /// raised to 128. 0: 1024.
    pub max_readers: u32,
    /// Size of the memory map in bytes, at most 2^46: address space, not memory or disk. It grows
    /// by itself. 0: 16 GiB.
    pub map_size: u64,
    /// How long a call waits for other threads and processes at each place where it may have to,
    /// in milliseconds. 0 is the default, 10000; 1 is the least that can be asked for.
    pub lock_wait_ms: u64,
    /// How much is checked before the store is used, PM_VERIFY_*.
    pub verify: i32,
    /// What a write's return means, PM_DURABILITY_*.
    pub durability: i32,
}

/// Open for reading only: the store must exist, and every write fails with PM_ERR_READ_ONLY.
pub const PM_OPEN_READ_ONLY: u32 = 1;

/// The default: PM_VERIFY_FULL.
pub const PM_VERIFY_DEFAULT: i32 = 0;
/// Check only what kind of file it is, and that it is not cut short. A damaged page can end the
/// process.
pub const PM_VERIFY_NONE: i32 = 1;
/// Check also the free list, and that the numbers of rows are those of the header: a few reads,
/// however large the store. A damaged page among the others can end the process.
pub const PM_VERIFY_QUICK: i32 = 2;
/// Check also every page and every row, and that all of them add up: no damage to the file can make
/// LMDB end the process.
pub const PM_VERIFY_FULL: i32 = 3;

/// A write that has returned survives a power cut.
pub const PM_DURABILITY_FULL: i32 = 0;
/// A power cut can undo the last write, as a whole; the file stays sound. See pm_sync.
pub const PM_DURABILITY_RELAXED: i32 = 1;

/// How many buckets a pm_histogram has.
pub const PM_HISTOGRAM_BUCKETS: usize = 40;

/// How many values of each size there were. The sizes double from bucket to bucket: `buckets[0]`
/// counts values up to 1, `buckets[i]` those up to 2^i that no bucket before it counts, and the
/// last all that are larger.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_histogram {
    /// How many values.
    pub count: u64,
    /// What they add up to.
    pub sum: u64,
    /// How many of them each bucket has.
    pub buckets: [u64; PM_HISTOGRAM_BUCKETS],
}

/// Counts and sizes of a store at one moment. PM_STATS_INIT sets the size.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_stats {
    /// sizeof(pm_stats), set by the caller; PM_STATS_INIT does.
    pub struct_size: usize,
    /// Devices in the store.
    pub devices: u64,
    /// Device ids that devices have and that are not faulty.
    pub taken_ids: u64,
    /// Device ids that were given back and wait to be given out again.
    pub free_ids: u64,
    /// Device ids that are faulty, whether a device has them or not.
    pub faulty_ids: u64,
    /// The highest device id that was ever given out; 0 for none.
    pub last_id: u64,
    /// Commits since the store was created.
    pub commits: u64,
    /// Size of this process's memory map in bytes: address space, not memory. If another process
    /// has made it larger, this one follows with its next read or write.
    pub map_size: u64,
    /// Bytes of the map in use, up to the end of the last page; pages freed in between count.
    pub map_used: u64,
    /// Length of the file in bytes.
    pub file_size: u64,
    /// Size of a page in bytes.
    pub page_size: u64,
    /// Places in the reader table.
    pub max_readers: u64,
    /// Places in use or kept for reuse, by all processes, at their highest so far.
    pub readers_in_use: u64,
    /// Pages that were freed and not used again yet: part of map_used.
    pub pages_free: u64,
    /// Those of the free pages that cannot be used again before the oldest reader ends.
    pub pages_held: u64,
    /// Reads that go on at this moment, in all processes: of a daemon at rest, its open walks.
    pub readers_active: u64,
    /// How many commits were made since the one that the oldest of those reads sees. What they
    /// freed stays where it is until that read ends, and the file grows instead.
    pub oldest_reader_commits: u64,
    /// How often a read of this process has had to wait for a slot of the process or for a place
    /// in the reader table, whatever the store, since the process began.
    pub reader_waits: u64,
    /// How often it has waited in vain, and failed with PM_ERR_TIMEOUT or PM_ERR_READERS_FULL.
    pub reader_refusals: u64,
    /// Walks and verifications of this process that are open.
    pub walks_open: u64,
    /// For how many nanoseconds the oldest of them has been.
    pub oldest_walk_ns: u64,
    /// Threads of this process that wait to write: for another thread to commit their operation or
    /// to finish its own, for a device that another update has locked, or for a writer of
    /// another process.
    pub writers_waiting: u64,
    /// 1 if a flush has failed, so that the store takes no writes until it is opened again; else
    /// 0.
    pub writes_stopped: u64,
    /// How many operations each commit of this process was for, since it opened the store. Of a
    /// list of changes each counts; an import is one.
    pub commit_operations: pm_histogram,
    /// How long LMDB took for each of those commits, in nanoseconds: to write its pages, and to
    /// flush them unless the store was opened with PM_DURABILITY_RELAXED. Waiting, and the
    /// work before, is not in it.
    pub commit_nanoseconds: pm_histogram,
}

/// One device in a caller's buffer, for runtimes where each call costs: this struct, then the name,
/// a NUL, the parent's name, a NUL, the error text, a NUL, and zeros up to a multiple of 8 bytes.
/// It holds no pointers, so the buffer may be moved. pm_record_name() and its siblings find the
/// texts.
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

/// One name of a list, or a path.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_name {
    /// The name or path; ends in a NUL that is not counted.
    pub name: *const c_char,
    /// Its length in bytes.
    pub name_len: usize,
}

/// The names of all devices, from pm_get_device_names. One block of memory, to be given to pm_free.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_names {
    /// How many.
    pub count: usize,
    /// That many names, in byte order.
    pub names: *const pm_name,
}

/// The state of all device ids at one moment. Ids from 1 to last_id that are in neither list are
/// taken: each belongs to one device. From pm_walk_get_ids it is one block of memory, to be given
/// to pm_free.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct pm_ids {
    /// sizeof(pm_ids), set by who made the struct; PM_IDS_INIT does.
    pub struct_size: usize,
    /// The highest id that was ever given out; 0 for none.
    pub last_id: u32,
    /// Ids that wait to be given out again, in ascending order.
    pub free_ids: *const u32,
    /// How many those are.
    pub free_count: usize,
    /// Ids that are not to be given out, in ascending order. A device may have one.
    pub faulty_ids: *const u32,
    /// How many those are.
    pub faulty_count: usize,
}

/// Largest struct size that is taken for one; more is taken for memory that was never set.
pub(crate) const LARGEST_STRUCT: usize = 1 << 16;

/// Reads a struct that begins with its size, as the caller's version of the header has it.
///
/// # Safety
/// `from` points to as many readable bytes as its first field says.
pub(crate) unsafe fn read_struct<T: Copy>(from: *const T, name: &str) -> Outcome<T> {
    // SAFETY: every struct passed here begins with its size.
    let size = unsafe { from.cast::<usize>().read() };
    let known = size_of::<T>();
    if size < known || size > LARGEST_STRUCT {
        return Err(bad_size(name, size, known));
    }
    // SAFETY: the caller's struct has `size` bytes, and those past the known ones are only
    // compared.
    let newer = unsafe { std::slice::from_raw_parts(from.cast::<u8>().add(known), size - known) };
    if newer.iter().any(|byte| *byte != 0) {
        return Err(bad_size(name, size, known));
    }
    // SAFETY: as above; the struct is plain data.
    Ok(unsafe { from.read() })
}

/// How many bytes of an output struct the caller has room for, at most the known ones.
pub(crate) fn output_size<T>(size: usize, least: usize, name: &str) -> Outcome<usize> {
    if size < least || size > LARGEST_STRUCT {
        return Err(bad_size(name, size, size_of::<T>()));
    }
    Ok(size.min(size_of::<T>()))
}

fn bad_size(name: &str, size: usize, known: usize) -> Failure {
    Failure::Edge(
        PM_ERR_STRUCT_SIZE,
        format!("{name}.struct_size is {size}; this library knows {known} bytes: initialise the struct with its _INIT macro, or use a newer library"),
    )
}

/// The caller's text.
///
/// # Safety
/// `text` points to `len` bytes that nobody changes while `'a` lasts, or `len` is 0.
#[inline]
pub(crate) unsafe fn text<'a>(text: *const c_char, len: usize, name: &str) -> Outcome<&'a [u8]> {
    if len == 0 {
        return Ok(&[]);
    }
    if text.is_null() {
        return Err(Failure::null(name));
    }
    if len > isize::MAX as usize {
        return Err(Failure::argument(format!(
            "{name} has the impossible length {len}"
        )));
    }
    // SAFETY: says the caller.
    Ok(unsafe { std::slice::from_raw_parts(text.cast(), len) })
}

/// The state with this number.
pub(crate) fn state(number: i32) -> Outcome<DeviceState> {
    DeviceState::from_number(number.into()).ok_or_else(|| {
        Failure::Edge(
            PM_ERR_INVALID_STATE,
            format!(
                "{number} is no device state; PM_STATE_UNKNOWN (0) to PM_STATE_FAULTY (13) are"
            ),
        )
    })
}

/// A caller's device, borrowed.
///
/// # Safety
/// Each text points to as many bytes as its length says, unchanged while `'a` lasts.
pub(crate) unsafe fn device<'a>(from: &pm_device) -> Outcome<DeviceRef<'a>> {
    Ok(DeviceRef {
        // SAFETY: says the caller.
        name: unsafe { text(from.name, from.name_len, "device.name")? },
        device_id: from.device_id,
        size: from.size,
        // SAFETY: says the caller.
        parent_name: unsafe { text(from.parent_name, from.parent_name_len, "device.parent_name")? },
        state: state(from.state)?,
        // SAFETY: says the caller.
        error: unsafe { text(from.error, from.error_len, "device.error")? },
        generation: from.generation,
    })
}
