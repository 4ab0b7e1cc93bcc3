//! Updates and walks through the C functions, and the callbacks of those that take one.

use super::types::{call, from_c, ids_of, records, to_c, Outcome};
use crate::subject::{Edit, Update, Visit, Walk};
use pool_metadata::capi::*;
use pool_metadata::{DeviceInfo, Ids};
use std::collections::VecDeque;
use std::ffi::c_void;
use std::ptr;

/// Puts a changed record into an update's struct: short texts by the library's functions, which
/// copy them, and long ones and the name by pointers into `changed`, which has to live until the
/// update ends.
///
/// # Safety
/// `device` is the record of an update.
unsafe fn put_back(changed: &DeviceInfo, device: *mut pm_device) {
    let given = to_c(changed);
    // SAFETY: the caller says so.
    unsafe {
        (*device).size = given.size;
        (*device).state = given.state;
        (*device).device_id = given.device_id;
        (*device).generation = given.generation;
        ((*device).name, (*device).name_len) = (given.name, given.name_len);
        // A parent's name with a NUL is refused by its function; set by hand, it is refused by the
        // commit.
        let settable = !changed.parent_name.contains(&0);
        if settable && changed.parent_name.len() + changed.error.len() < 100 {
            call(|e| {
                pm_device_set_parent_name(device, given.parent_name, given.parent_name_len, e)
            })
            .unwrap();
            call(|e| pm_device_set_error(device, given.error, given.error_len, e)).unwrap();
        } else {
            ((*device).parent_name, (*device).parent_name_len) =
                (given.parent_name, given.parent_name_len);
            ((*device).error, (*device).error_len) = (given.error, given.error_len);
        }
    }
}

/// What `user_data` of an update's callback points to.
pub struct Context<'a> {
    pub edit: Edit<'a>,
    /// The texts that the struct points to until the update returns.
    pub kept: DeviceInfo,
}

pub unsafe extern "C-unwind" fn on_update(device: *mut pm_device, user_data: *mut c_void) -> i32 {
    // SAFETY: both are what `CStore::update` has passed to the library.
    unsafe {
        let context = &mut *user_data.cast::<Context<'_>>();
        context.kept = from_c(&*device);
        let outcome = (context.edit)(&mut context.kept);
        put_back(&context.kept, device);
        outcome.err().unwrap_or(PM_OK)
    }
}

pub unsafe extern "C-unwind" fn on_walk(device: *const pm_device, user_data: *mut c_void) -> i32 {
    // SAFETY: both are what `CStore::walk_devices` has passed to the library.
    unsafe {
        let visit = &mut *user_data.cast::<Visit<'_>>();
        visit(from_c(&*device)).err().unwrap_or(PM_OK)
    }
}

/// An update that has begun.
pub struct CUpdate {
    update: *mut pm_update,
    device: *mut pm_device,
    kept: DeviceInfo,
}

impl CUpdate {
    /// # Safety
    /// Both are those of an update that has begun.
    pub unsafe fn new(update: *mut pm_update, device: *mut pm_device) -> CUpdate {
        CUpdate {
            update,
            device,
            // SAFETY: the caller says so.
            kept: unsafe { from_c(&*device) },
        }
    }
}

// SAFETY: the header lets an update move between threads.
unsafe impl Send for CUpdate {}

impl Update for CUpdate {
    fn device(&mut self) -> &mut DeviceInfo {
        &mut self.kept
    }

    fn commit(mut self) -> Outcome<()> {
        let update = std::mem::replace(&mut self.update, ptr::null_mut());
        // SAFETY: the update is not used again; its texts live until the call returns.
        unsafe {
            put_back(&self.kept, self.device);
            call(|e| pm_update_commit(update, e))
        }
    }

    fn abort(self) {}
}

impl Drop for CUpdate {
    fn drop(&mut self) {
        // SAFETY: the update is not used again; what was committed is NULL here.
        unsafe { pm_update_abort(self.update) };
    }
}

/// A walk, page by page.
pub struct CWalk {
    walk: *mut pm_walk,
    page: VecDeque<DeviceInfo>,
}

// SAFETY: the header lets a walk move between threads.
unsafe impl Send for CWalk {}

impl CWalk {
    pub fn new(walk: *mut pm_walk) -> CWalk {
        CWalk {
            walk,
            page: VecDeque::new(),
        }
    }

    /// Reads the next page, of a few small records or one large one.
    fn read_page(&mut self) -> Outcome<()> {
        let mut buffer = vec![0_u64; 32];
        loop {
            let (mut count, mut needed, size) = (0, 0, buffer.len() * 8);
            let at = buffer.as_mut_ptr().cast();
            let walk = self.walk;
            // SAFETY: the walk is open; the buffer has that size.
            match call(|e| unsafe { pm_walk_next(walk, at, size, &mut count, &mut needed, e) }) {
                Ok(()) => {
                    self.page.extend(records(&buffer, count));
                    return Ok(());
                }
                Err(e) if e.code == PM_ERR_BUFFER_TOO_SMALL => buffer.resize(needed / 8, 0),
                Err(other) => return Err(other),
            }
        }
    }
}

impl Iterator for CWalk {
    type Item = Outcome<DeviceInfo>;

    fn next(&mut self) -> Option<Outcome<DeviceInfo>> {
        if self.page.is_empty() {
            if let Err(failure) = self.read_page() {
                return Some(Err(failure));
            }
        }
        self.page.pop_front().map(Ok)
    }
}

impl Walk for CWalk {
    fn ids(&self) -> Outcome<Ids> {
        let mut ids = ptr::null_mut();
        // SAFETY: the walk is open; the block is read before it is freed.
        unsafe {
            call(|e| pm_walk_get_ids(self.walk, &mut ids, e))?;
            let copy = ids_of(&*ids);
            pm_free(ids.cast());
            Ok(copy)
        }
    }
}

impl Drop for CWalk {
    fn drop(&mut self) {
        // SAFETY: the walk is not used again.
        unsafe { pm_walk_close(self.walk) };
    }
}
