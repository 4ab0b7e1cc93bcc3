//! The C ABI, called as a program in C does.

use super::data::parent;
use pool_metadata::capi::*;
use std::ffi::c_void;
use std::hint::black_box;
use std::mem::size_of;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{null, null_mut};
use std::rc::Rc;

/// A `pm_store`, closed when dropped.
pub struct Store(*mut pm_store);

/// 64 KiB of a caller's memory, aligned as `pm_walk_next` asks for.
pub struct ReadBuffer(Vec<u64>);

impl ReadBuffer {
    pub fn new() -> ReadBuffer {
        ReadBuffer(vec![0; 8192])
    }

    fn parts(&mut self) -> (*mut c_void, usize) {
        (self.0.as_mut_ptr().cast(), self.0.len() * 8)
    }
}

fn check(code: i32) {
    assert_eq!(code, PM_OK, "a pm_ function failed");
}

/// NULL for the error, hidden from the optimiser: the library's own code is what is measured.
fn no_error() -> *mut pm_error {
    black_box(null_mut())
}

impl Store {
    /// Opens without verification.
    pub fn open(path: &Path) -> Rc<Store> {
        // SAFETY: all zeros is a valid `pm_options`.
        let mut options: pm_options = unsafe { std::mem::zeroed() };
        options.struct_size = size_of::<pm_options>();
        options.verify = PM_VERIFY_NONE;
        Store::open_with(path, &options)
    }

    pub fn open_with(path: &Path, options: &pm_options) -> Rc<Store> {
        let path = path.as_os_str().as_bytes();
        let mut store = null_mut();
        // SAFETY: all that is pointed to outlives the call.
        check(unsafe {
            pm_open(
                path.as_ptr().cast(),
                path.len(),
                options,
                &mut store,
                no_error(),
            )
        });
        Rc::new(Store(store))
    }

    pub fn get(&self, name: &[u8]) {
        let mut device = null_mut();
        // SAFETY: the store is open; all that is pointed to outlives the call; the block is freed
        // once.
        unsafe {
            check(pm_get_device(
                self.0,
                name.as_ptr().cast(),
                name.len(),
                &mut device,
                no_error(),
            ));
            pm_free(black_box(device).cast());
        }
    }

    pub fn read(&self, name: &[u8], buffer: &mut ReadBuffer) {
        let (buffer, capacity) = buffer.parts();
        let mut needed = 0;
        // SAFETY: the store is open; the buffer has room for `capacity` bytes.
        check(unsafe {
            pm_read_device(
                self.0,
                name.as_ptr().cast(),
                name.len(),
                buffer,
                capacity,
                &mut needed,
                no_error(),
            )
        });
    }

    /// Walks in pages, does something after each, and returns the number of devices.
    pub fn walk_pages(&self, buffer: &mut ReadBuffer, mut each_page: impl FnMut()) -> u64 {
        let (mut total, mut count, mut needed) = (0, 0, 0);
        let (buffer, capacity) = buffer.parts();
        let mut walk = null_mut();
        // SAFETY: the store is open; the buffer has room for `capacity` bytes; the walk is closed
        // once.
        unsafe {
            check(pm_walk_open(self.0, &mut walk, no_error()));
            loop {
                check(pm_walk_next(
                    walk,
                    buffer,
                    capacity,
                    &mut count,
                    &mut needed,
                    no_error(),
                ));
                if count == 0 {
                    break;
                }
                total += count as u64;
                each_page();
            }
            pm_walk_close(walk);
        }
        total
    }

    /// Walks with a callback and returns the number of devices.
    pub fn walk_callback(&self) -> u64 {
        unsafe extern "C-unwind" fn count(_device: *const pm_device, total: *mut c_void) -> i32 {
            // SAFETY: `walk_callback` passes the address of its counter.
            unsafe { *total.cast::<u64>() += 1 };
            0
        }
        let mut total = 0_u64;
        // SAFETY: the store is open; the counter outlives the call.
        check(unsafe { pm_walk_devices(self.0, Some(count), (&raw mut total).cast(), no_error()) });
        total
    }

    pub fn add(&self, name: &[u8]) {
        let parent = parent();
        let mut device = pm_device {
            struct_size: size_of::<pm_device>(),
            size: 10 << 30,
            generation: 0,
            device_id: 0,
            state: PM_STATE_CREATING,
            name: name.as_ptr().cast(),
            name_len: name.len(),
            parent_name: parent.as_ptr().cast(),
            parent_name_len: parent.len(),
            error: null(),
            error_len: 0,
            owner: null_mut(),
        };
        // SAFETY: the store is open; the device and its texts outlive the call.
        check(unsafe { pm_add_device(self.0, &mut device, no_error()) });
    }

    pub fn update(&self, name: &[u8]) {
        unsafe extern "C-unwind" fn change(device: *mut pm_device, _: *mut c_void) -> i32 {
            // SAFETY: the library passes a device that is valid until the callback returns.
            let state = unsafe { &mut (*device).state };
            *state = match *state {
                PM_STATE_ACTIVATED => PM_STATE_DEACTIVATED,
                _ => PM_STATE_ACTIVATED,
            };
            0
        }
        // SAFETY: the store is open; the name outlives the call.
        check(unsafe {
            pm_update_device(
                self.0,
                name.as_ptr().cast(),
                name.len(),
                Some(change),
                null_mut(),
                no_error(),
            )
        });
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: the store is open and not used again.
        check(unsafe { pm_close(self.0, no_error()) });
    }
}
