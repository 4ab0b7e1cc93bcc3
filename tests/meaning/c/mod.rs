//! The C functions as a [`Store`], called as a careful C program would call them.

mod changes;
mod handles;
pub mod types;

use crate::subject::{
    waiting, Applied, Edit, Maintenance, Refusal, Report, RunningRead, Store, Visit, DEFAULTS,
};
use changes::List;
use handles::{on_update, on_walk, CUpdate, CWalk, Context};
use pool_metadata::capi::*;
use pool_metadata::{Change, DeviceInfo, DeviceState, Ids};
use std::ffi::c_char;
use std::path::{Path, PathBuf};
use std::ptr;
use types::{
    blank_error, bytes, call, chars, failure, from_c, path_of, records, take_report, to_c,
    to_records, Outcome,
};

/// Makes a call, whose last argument is the error struct.
macro_rules! c {
    ($function:ident($($argument:expr),* $(,)?)) => {
        // SAFETY: handles are the library's; texts, lists and buffers have the lengths that go
        // with them; structs say their sizes.
        call(|error| unsafe { $function($($argument,)* error) })
    };
}

/// An open store. Dropping it closes it, as dropping the Rust API's does.
pub struct CStore(pub *mut pm_store);

// SAFETY: the header lets any thread use any handle.
unsafe impl Send for CStore {}
// SAFETY: so does it for several threads at once.
unsafe impl Sync for CStore {}

fn path_chars(path: &Path) -> (*const c_char, usize) {
    chars(path.as_os_str().as_encoded_bytes())
}

impl Drop for CStore {
    fn drop(&mut self) {
        let _ = self.close();
    }
}

impl Store for CStore {
    type Update = CUpdate;
    type Walk = CWalk;

    fn open(path: &Path, options: &pm_options) -> Outcome<CStore> {
        let (path, len) = path_chars(path);
        let mut store = ptr::null_mut();
        c!(pm_open(path, len, options, &mut store))?;
        Ok(CStore(store))
    }

    fn close(&self) -> Outcome<()> {
        c!(pm_close(self.0))
    }

    fn deferred(&self) -> Outcome<CStore> {
        let mut deferred = ptr::null_mut();
        c!(pm_deferred(self.0, &mut deferred))?;
        Ok(CStore(deferred))
    }

    fn sync(&self) -> Outcome<()> {
        c!(pm_sync(self.0))
    }

    fn verify(&self) -> Outcome<()> {
        c!(pm_verify(self.0))
    }

    fn stats(&self) -> Outcome<pm_stats> {
        // SAFETY: zeros are a valid struct of numbers.
        let mut stats: pm_stats = unsafe { std::mem::zeroed() };
        stats.struct_size = size_of::<pm_stats>();
        c!(pm_get_stats(self.0, &mut stats))?;
        Ok(stats)
    }

    fn running_reads(&self) -> Outcome<Vec<RunningRead>> {
        let mut reads = ptr::null_mut();
        c!(pm_get_running_reads(self.0, &mut reads))?;
        // SAFETY: a call that succeeds has made the block, which is read before it is freed.
        unsafe {
            let listed = std::slice::from_raw_parts((*reads).reads, (*reads).count);
            let copy = listed.iter().map(|read| RunningRead {
                pid: (**read).pid,
                commits_behind: (**read).commits_behind,
                age_ns: (**read).age_ns,
            });
            let copy = copy.collect();
            pm_free(reads.cast());
            Ok(copy)
        }
    }

    fn add(&self, device: &mut DeviceInfo) -> Outcome<()> {
        let mut given = to_c(device);
        let outcome = c!(pm_add_device(self.0, &mut given));
        device.device_id = given.device_id;
        device.generation = given.generation;
        outcome
    }

    fn get(&self, name: &[u8]) -> Outcome<DeviceInfo> {
        let (name, len) = chars(name);
        let mut device = ptr::null_mut();
        c!(pm_get_device(self.0, name, len, &mut device))?;
        // SAFETY: a call that succeeds has made the block, which is read before it is freed.
        unsafe {
            let copy = from_c(&*device);
            pm_free(device.cast());
            Ok(copy)
        }
    }

    fn read(&self, name: &[u8]) -> Outcome<DeviceInfo> {
        let (name, len) = chars(name);
        let mut buffer = vec![0_u64; 32];
        loop {
            let (mut needed, capacity) = (0, buffer.len() * 8);
            let at = buffer.as_mut_ptr().cast();
            match c!(pm_read_device(self.0, name, len, at, capacity, &mut needed)) {
                Ok(()) => return Ok(records(&buffer, 1).remove(0)),
                Err(e) if e.code == PM_ERR_BUFFER_TOO_SMALL => buffer.resize(needed / 8, 0),
                Err(other) => return Err(other),
            }
        }
    }

    fn names(&self) -> Outcome<Vec<Vec<u8>>> {
        let mut names = ptr::null_mut();
        c!(pm_get_device_names(self.0, &mut names))?;
        // SAFETY: a call that succeeds has made the block, which is read before it is freed.
        unsafe {
            let listed = std::slice::from_raw_parts((*names).names, (*names).count);
            let copy = listed.iter().map(|n| bytes(n.name, n.name_len)).collect();
            pm_free(names.cast());
            Ok(copy)
        }
    }

    fn change_state(&self, name: &[u8], state: DeviceState) -> Outcome<()> {
        let (name, len) = chars(name);
        c!(pm_change_device_state(self.0, name, len, state as i32))
    }

    fn mark_faulty(&self, name: &[u8]) -> Outcome<()> {
        let (name, len) = chars(name);
        c!(pm_mark_faulty(self.0, name, len))
    }

    fn remove(&self, name: &[u8]) -> Outcome<()> {
        let (name, len) = chars(name);
        c!(pm_remove_device(self.0, name, len))
    }

    fn update(&self, name: &[u8], edit: Edit<'_>) -> Outcome<()> {
        let (name, len) = chars(name);
        let kept = DeviceInfo::default();
        let mut context = Context { edit, kept };
        let user_data = (&raw mut context).cast();
        c!(pm_update_device(
            self.0,
            name,
            len,
            Some(on_update),
            user_data
        ))
    }

    fn begin(&self, name: &[u8]) -> Outcome<CUpdate> {
        let (name, len) = chars(name);
        let (mut update, mut device) = (ptr::null_mut(), ptr::null_mut());
        c!(pm_update_begin(self.0, name, len, &mut update, &mut device))?;
        // SAFETY: both are those of an update that has begun.
        Ok(unsafe { CUpdate::new(update, device) })
    }

    fn walk_devices(&self, mut visit: Visit<'_>) -> Outcome<()> {
        let user_data = (&raw mut visit).cast();
        c!(pm_walk_devices(self.0, Some(on_walk), user_data))
    }

    fn walk(&self) -> Outcome<CWalk> {
        let mut walk = ptr::null_mut();
        c!(pm_walk_open(self.0, &mut walk))?;
        Ok(CWalk::new(walk))
    }

    fn apply(&self, changes: &[Change]) -> Result<Vec<Applied>, Refusal> {
        let list = List::new(changes);
        let before: Vec<_> = list.applied().collect();
        let (at, len, mut position) = (list.changes.as_ptr(), list.changes.len(), usize::MAX);
        match c!(pm_apply(self.0, at, len, &mut position)) {
            Ok(()) => Ok(list.applied().collect()),
            Err(failure) => {
                assert!(list.applied().eq(before), "nothing is written back");
                assert!(position <= len);
                Err(((position < len).then_some(position), failure))
            }
        }
    }

    fn apply_each(&self, changes: &[Change]) -> Vec<Outcome<Applied>> {
        let list = List::new(changes);
        let mut errors: Vec<pm_error> = changes.iter().map(|_| blank_error()).collect();
        let (at, len, results) = (
            list.changes.as_ptr(),
            list.changes.len(),
            errors.as_mut_ptr(),
        );
        let first = c!(pm_apply_each(self.0, at, len, results));
        let each = list.applied().zip(&errors);
        let each = each.map(|(applied, error)| match error.code {
            PM_OK => Ok(applied),
            _ => Err(failure(error)),
        });
        let each: Vec<_> = each.collect();
        if !each.is_empty() {
            let failed = each.iter().find_map(|outcome| outcome.as_ref().err());
            assert_eq!(first.as_ref().err(), failed, "it reports the first failure");
        }
        each
    }

    fn import(&self, devices: &[DeviceInfo], ids: &Ids) -> Outcome<()> {
        let ids = pm_ids {
            struct_size: size_of::<pm_ids>(),
            last_id: ids.last_id,
            free_ids: ids.free.as_ptr(),
            free_count: ids.free.len(),
            faulty_ids: ids.faulty.as_ptr(),
            faulty_count: ids.faulty.len(),
        };
        let records = to_records(devices);
        let (at, size) = (records.as_ptr().cast(), size_of_val(&records[..]));
        c!(pm_import(self.0, at, size, &ids))
    }
}

impl Maintenance for CStore {
    fn backup(&self, path: &Path, flags: u32) -> Outcome<()> {
        let (path, len) = path_chars(path);
        c!(pm_backup(self.0, path, len, flags))
    }

    fn restore(backup: &Path, path: &Path) -> Outcome<(pm_restored, Option<PathBuf>)> {
        let ((from, from_len), (path, len)) = (path_chars(backup), path_chars(path));
        let (options, mut kept) = (waiting(100), ptr::null_mut());
        let mut numbers = pm_restored {
            struct_size: size_of::<pm_restored>(),
            commits: 0,
            replaced_commits: 0,
            last_id: 0,
            replaced_last_id: 0,
        };
        c!(pm_restore(
            from,
            from_len,
            path,
            len,
            &options,
            &mut numbers,
            &mut kept
        ))?;
        // SAFETY: a call that succeeds has made the block or set NULL; it is read before it is
        // freed.
        unsafe {
            let copy = kept.as_ref().map(|kept| path_of(kept.name, kept.name_len));
            pm_free(kept.cast());
            Ok((numbers, copy))
        }
    }

    fn compact(path: &Path) -> Outcome<(u64, u64)> {
        let ((path, len), options) = (path_chars(path), waiting(100));
        let (mut before, mut after) = (0, 0);
        c!(pm_compact(path, len, &options, &mut before, &mut after))?;
        Ok((before, after))
    }

    fn check(&self, limit: usize) -> Outcome<Report> {
        let mut report = ptr::null_mut();
        c!(pm_check(self.0, limit, &mut report))?;
        Ok(take(report))
    }

    fn check_file(path: &Path, limit: usize) -> Outcome<Report> {
        let (path, len) = path_chars(path);
        let mut report = ptr::null_mut();
        c!(pm_check_file(path, len, &DEFAULTS, limit, &mut report))?;
        Ok(take(report))
    }

    fn repair(path: &Path, dry_run: bool, backup: Option<&Path>) -> Outcome<Report> {
        let (path, len) = path_chars(path);
        let (backup, backup_len) = backup.map_or((ptr::null(), 0), path_chars);
        let options = pm_repair_options {
            struct_size: size_of::<pm_repair_options>(),
            flags: if dry_run { PM_REPAIR_DRY_RUN } else { 0 },
            backup,
            backup_len,
            limit: 0,
            lock_wait_ms: 0,
        };
        let mut report = ptr::null_mut();
        c!(pm_repair(path, len, &options, &mut report))?;
        Ok(take(report))
    }

    fn salvage(damaged: &Path, target: &Path, limit: usize) -> Outcome<(pm_salvaged, Report)> {
        let ((from, from_len), (to, to_len)) = (path_chars(damaged), path_chars(target));
        let mut salvaged = pm_salvaged {
            struct_size: size_of::<pm_salvaged>(),
            devices: 0,
            recovered: 0,
            lost_pages: 0,
            complete: 0,
            commits: 0,
            last_id: 0,
        };
        let (options, mut report) = (&DEFAULTS, ptr::null_mut());
        c!(pm_salvage(
            from,
            from_len,
            to,
            to_len,
            options,
            limit,
            &mut salvaged,
            &mut report
        ))?;
        Ok((salvaged, take(report)))
    }
}

/// The devices of a walk that a call has handed out.
pub fn walk_of(walk: *mut pm_walk) -> CWalk {
    CWalk::new(walk)
}

/// Takes over a report that a call has handed out.
fn take(report: *mut pm_report) -> Report {
    // SAFETY: the call has succeeded, so it is a report.
    unsafe { take_report(report) }
}
