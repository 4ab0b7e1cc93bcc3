//! The C functions behind Rust's types, called as a careful C program would call them.

use crate::c_types::{bytes, call, chars, from_c, records, to_c, Failure, Outcome};
use crate::ops::Op;
use pool_metadata::capi::*;
use pool_metadata::{DeviceInfo, DeviceState, Ids, PoolMetadata};
use std::ffi::c_void;
use std::path::Path;
use std::ptr;

/// Puts a changed record into an update's struct: short texts by the library's functions, which
/// copy them, and long ones and the name by pointers into `changed`, which has to live until the
/// update ends.
///
/// # Safety
/// `device` is the record of an update.
unsafe fn put_back(changed: &DeviceInfo, device: *mut pm_device) {
    let given = to_c(changed);
    // SAFETY: says the caller.
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

/// What an update's callback does: changes the record, or fails with a code that is not 0.
pub type Change<'a> = &'a mut dyn FnMut(&mut DeviceInfo) -> Result<(), i32>;

/// What `user_data` points to.
struct Context<'a> {
    change: Change<'a>,
    /// The texts that the struct points to until the update returns.
    kept: DeviceInfo,
}

unsafe extern "C-unwind" fn on_update(device: *mut pm_device, user_data: *mut c_void) -> i32 {
    // SAFETY: both are what `CStore::update` has passed to the library.
    unsafe {
        let context = &mut *user_data.cast::<Context<'_>>();
        context.kept = from_c(&*device);
        let outcome = (context.change)(&mut context.kept);
        put_back(&context.kept, device);
        outcome.err().unwrap_or(PM_OK)
    }
}

/// What a walk's callback does with each device: goes on, or fails with a code that is not 0.
pub type Visit<'a> = &'a mut dyn FnMut(DeviceInfo) -> Result<(), i32>;

unsafe extern "C-unwind" fn on_walk(device: *const pm_device, user_data: *mut c_void) -> i32 {
    // SAFETY: both are what `CStore::walk_devices` has passed to the library.
    unsafe {
        let visit = &mut *user_data.cast::<Visit<'_>>();
        visit(from_c(&*device)).err().unwrap_or(PM_OK)
    }
}

/// An open store. Closed by `close`, or left to the process's end.
pub struct CStore(*mut pm_store);

/// An update that has begun.
pub struct CUpdate {
    update: *mut pm_update,
    device: *mut pm_device,
    kept: DeviceInfo,
}

/// A walk, page by page.
pub struct CWalk(*mut pm_walk);

impl CStore {
    pub fn open(path: &Path, options: &pm_options) -> Outcome<CStore> {
        let (path, len) = chars(path.as_os_str().as_encoded_bytes());
        let mut store = ptr::null_mut();
        // SAFETY: the path has that length; the others are whole structs.
        call(|e| unsafe { pm_open(path, len, options, &mut store, e) })?;
        Ok(CStore(store))
    }

    pub fn close(&self) -> Outcome<()> {
        // SAFETY: here and below, the handle was made by `pm_open`, and texts have their lengths.
        call(|e| unsafe { pm_close(self.0, e) })
    }

    pub fn sync(&self) -> Outcome<()> {
        // SAFETY: as above.
        call(|e| unsafe { pm_sync(self.0, e) })
    }

    pub fn verify(&self) -> Outcome<()> {
        // SAFETY: as above.
        call(|e| unsafe { pm_verify(self.0, e) })
    }

    pub fn stats(&self) -> Outcome<pm_stats> {
        // SAFETY: zeros are a valid struct of numbers.
        let mut stats: pm_stats = unsafe { std::mem::zeroed() };
        stats.struct_size = size_of::<pm_stats>();
        // SAFETY: as above; the struct says its size.
        call(|e| unsafe { pm_get_stats(self.0, &mut stats, e) })?;
        Ok(stats)
    }

    pub fn add(&self, device: &mut DeviceInfo) -> Outcome<()> {
        let mut given = to_c(device);
        // SAFETY: as above; the struct's texts live in `device`.
        let outcome = call(|e| unsafe { pm_add_device(self.0, &mut given, e) });
        device.device_id = given.device_id;
        device.generation = given.generation;
        outcome
    }

    pub fn change_state(&self, name: &[u8], state: DeviceState) -> Outcome<()> {
        let (name, len) = chars(name);
        // SAFETY: as above.
        call(|e| unsafe { pm_change_device_state(self.0, name, len, state as i32, e) })
    }

    pub fn mark_faulty(&self, name: &[u8]) -> Outcome<()> {
        let (name, len) = chars(name);
        // SAFETY: as above.
        call(|e| unsafe { pm_mark_faulty(self.0, name, len, e) })
    }

    pub fn remove(&self, name: &[u8]) -> Outcome<()> {
        let (name, len) = chars(name);
        // SAFETY: as above.
        call(|e| unsafe { pm_remove_device(self.0, name, len, e) })
    }

    /// The device by `pm_get_device`; `pm_read_device` must say the same.
    pub fn get(&self, name: &[u8]) -> Outcome<DeviceInfo> {
        let (text, len) = chars(name);
        let mut device = ptr::null_mut();
        // SAFETY: as above; the block is the library's until it is freed.
        let got = call(|e| unsafe { pm_get_device(self.0, text, len, &mut device, e) }).map(|()| {
            // SAFETY: a call that succeeds has made the block.
            unsafe {
                let copy = from_c(&*device);
                pm_free(device.cast());
                copy
            }
        });
        assert_eq!(self.read(name), got);
        got
    }

    fn read(&self, name: &[u8]) -> Outcome<DeviceInfo> {
        let (name, len) = chars(name);
        let mut buffer = vec![0_u64; 32];
        loop {
            let (mut needed, capacity) = (0, buffer.len() * 8);
            let at = buffer.as_mut_ptr().cast();
            // SAFETY: as above; the buffer has that capacity.
            match call(|e| unsafe {
                pm_read_device(self.0, name, len, at, capacity, &mut needed, e)
            }) {
                Ok(()) => return Ok(records(&buffer, 1).remove(0)),
                Err(e) if e.code == PM_ERR_BUFFER_TOO_SMALL => buffer.resize(needed / 8, 0),
                Err(other) => return Err(other),
            }
        }
    }

    pub fn update(&self, name: &[u8], change: Change<'_>) -> Outcome<()> {
        let (name, len) = chars(name);
        let mut context = Context {
            change,
            kept: DeviceInfo::default(),
        };
        let user_data = (&raw mut context).cast();
        // SAFETY: as above; the callback gets what it asks for.
        call(|e| unsafe { pm_update_device(self.0, name, len, Some(on_update), user_data, e) })
    }

    pub fn begin(&self, name: &[u8]) -> Outcome<CUpdate> {
        let (name, len) = chars(name);
        let (mut update, mut device) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: as above.
        call(|e| unsafe { pm_update_begin(self.0, name, len, &mut update, &mut device, e) })?;
        // SAFETY: an update that has begun has a record.
        let kept = unsafe { from_c(&*device) };
        Ok(CUpdate {
            update,
            device,
            kept,
        })
    }

    pub fn walk_devices(&self, mut visit: Visit<'_>) -> Outcome<()> {
        let user_data = (&raw mut visit).cast();
        // SAFETY: as above; the callback gets what it asks for.
        call(|e| unsafe { pm_walk_devices(self.0, Some(on_walk), user_data, e) })
    }

    pub fn walk(&self) -> Outcome<CWalk> {
        let mut walk = ptr::null_mut();
        // SAFETY: as above.
        call(|e| unsafe { pm_walk_open(self.0, &mut walk, e) })?;
        Ok(CWalk(walk))
    }

    pub fn names(&self) -> Outcome<Vec<Vec<u8>>> {
        let mut names = ptr::null_mut();
        // SAFETY: as above; the block is read before it is freed.
        unsafe {
            call(|e| pm_get_device_names(self.0, &mut names, e))?;
            let listed = std::slice::from_raw_parts((*names).names, (*names).count);
            let copy = listed.iter().map(|n| bytes(n.name, n.name_len)).collect();
            pm_free(names.cast());
            Ok(copy)
        }
    }

    /// Makes the changes, given as kinds and devices, in one commit; the position of the one that
    /// was refused.
    pub fn apply(&self, changes: &mut [(i32, DeviceInfo)]) -> Result<(), (usize, Failure)> {
        let mut devices: Vec<pm_device> = changes.iter().map(|(_, device)| to_c(device)).collect();
        let list: Vec<pm_change> = (devices.iter_mut().zip(changes.iter()))
            .map(|(device, (kind, _))| pm_change {
                kind: *kind,
                device,
            })
            .collect();
        let (at, len, mut refused) = (list.as_ptr(), list.len(), 0);
        // SAFETY: as above; the list has that length.
        let outcome = call(|e| unsafe { pm_apply(self.0, at, len, &mut refused, e) });
        for ((_, device), given) in changes.iter_mut().zip(&devices) {
            device.device_id = given.device_id;
            device.generation = given.generation;
        }
        outcome.map_err(|failure| (refused, failure))
    }

    /// Fills the store with these pages' records.
    pub fn import(&self, records: &[u64], ids: &Ids) -> Outcome<()> {
        let ids = pm_ids {
            struct_size: size_of::<pm_ids>(),
            last_id: ids.last_id,
            free_ids: ids.free.as_ptr(),
            free_count: ids.free.len(),
            faulty_ids: ids.faulty.as_ptr(),
            faulty_count: ids.faulty.len(),
        };
        let (at, size) = (records.as_ptr().cast(), size_of_val(records));
        // SAFETY: as above; lists and records have their lengths.
        call(|e| unsafe { pm_import(self.0, at, size, &ids, e) })
    }
}

impl CUpdate {
    /// The record as it was when the update began.
    pub fn device(&self) -> &DeviceInfo {
        &self.kept
    }

    /// Changes the record and commits it.
    pub fn commit(mut self, change: impl FnOnce(&mut DeviceInfo)) -> Outcome<()> {
        change(&mut self.kept);
        // SAFETY: the update is not used again; its texts live until the call returns.
        unsafe {
            put_back(&self.kept, self.device);
            call(|e| pm_update_commit(self.update, e))
        }
    }

    pub fn abort(self) {
        // SAFETY: the update is not used again.
        unsafe { pm_update_abort(self.update) };
    }
}

impl CWalk {
    /// The next page of that many bytes, or of more where one record needs it: records, and how
    /// many.
    pub fn page(&mut self, capacity: usize) -> Outcome<(Vec<u64>, usize)> {
        let mut buffer = vec![0_u64; capacity / 8];
        loop {
            let (mut count, mut needed, size) = (0, 0, buffer.len() * 8);
            let at = buffer.as_mut_ptr().cast();
            // SAFETY: the walk is open; the buffer has that size.
            match call(|e| unsafe { pm_walk_next(self.0, at, size, &mut count, &mut needed, e) }) {
                Ok(()) => return Ok((buffer, count)),
                Err(e) if e.code == PM_ERR_BUFFER_TOO_SMALL => buffer.resize(needed / 8, 0),
                Err(other) => return Err(other),
            }
        }
    }

    pub fn ids(&self) -> Outcome<Ids> {
        let mut ids = ptr::null_mut();
        // SAFETY: the walk is open; the block is read before it is freed.
        unsafe {
            call(|e| pm_walk_get_ids(self.0, &mut ids, e))?;
            let list = |at, count| std::slice::from_raw_parts(at, count).to_vec();
            let copy = Ids {
                last_id: (*ids).last_id,
                free: list((*ids).free_ids, (*ids).free_count),
                faulty: list((*ids).faulty_ids, (*ids).faulty_count),
            };
            pm_free(ids.cast());
            Ok(copy)
        }
    }
}

impl Drop for CStore {
    fn drop(&mut self) {
        let _ = self.close();
    }
}

impl Drop for CWalk {
    fn drop(&mut self) {
        // SAFETY: the walk is not used again.
        unsafe { pm_walk_close(self.0) };
    }
}

/// The operation as one change of a list, for both sides.
pub fn list_change(
    op: &Op,
    rust: &PoolMetadata,
) -> Option<((i32, DeviceInfo), pool_metadata::Change)> {
    use pool_metadata::Change;
    Some(match op {
        Op::Add(device) => ((PM_CHANGE_ADD, device.clone()), Change::Add(device.clone())),
        Op::ChangeState(name, state) => (
            (
                PM_CHANGE_STATE,
                DeviceInfo {
                    state: *state,
                    ..DeviceInfo::new(name.clone())
                },
            ),
            Change::ChangeState {
                name: name.clone(),
                state: *state,
            },
        ),
        Op::MarkFaulty(name) => (
            (PM_CHANGE_MARK_FAULTY, DeviceInfo::new(name.clone())),
            Change::MarkFaulty { name: name.clone() },
        ),
        Op::Remove(name) => (
            (PM_CHANGE_REMOVE, DeviceInfo::new(name.clone())),
            Change::Remove { name: name.clone() },
        ),
        Op::Update(name, edit) => {
            let mut device = rust.get_device(name).ok()?;
            let _ = edit.apply(&mut device);
            ((PM_CHANGE_UPDATE, device.clone()), Change::Update(device))
        }
        _ => return None,
    })
}
