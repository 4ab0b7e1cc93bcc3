//! Calls that compare a store with its pool, and apply differences.

use super::arguments::{with, zeroed, Difference, Text};
use super::Program;
use pool_metadata::capi::*;
use std::ptr::{null, null_mut};

impl Program {
    /// Compares, and applies what was found if no id in the pool is so high that keeping it out of
    /// use would make a row for each id below it.
    pub fn reconcile(
        &mut self,
        size: Option<u16>,
        ids: &[u32],
        name: &Text,
        commit: u64,
        in_use: i32,
    ) -> i32 {
        let (store, e): (_, *mut pm_error) = (self.store, &mut self.error);
        let is_high = ids.iter().any(|id| (5000..1 << 24).contains(id));
        with(name, |name, name_len| {
            let names = [pm_name { name, name_len }];
            let mut pool: pm_pool_state = zeroed();
            let known = size_of::<pm_pool_state>();
            pool.struct_size = size.map_or(known, |size| known.min(size.into()));
            (pool.device_ids, pool.device_count) = (ids.as_ptr(), ids.len());
            (pool.snapshots, pool.snapshot_count) = (names.as_ptr(), names.len());
            (pool.commit, pool.in_use) = (commit, in_use);
            let mut found: *mut pm_reconciliation = null_mut();
            // SAFETY: the handle is open or closed, the lists are as long as they say, and all of
            // it lives until the call returns.
            let mut status = unsafe { pm_reconcile(store, &pool, &mut found, e) };
            if status == PM_OK && !is_high {
                // SAFETY: the library has set `found` to a block that it has not freed.
                let (all, count) = unsafe { ((*found).differences, (*found).count) };
                // SAFETY: the differences are those in that block, which lives until the call
                // returns.
                status = unsafe { pm_apply_reconciliation(store, all, count, null_mut(), e) };
            }
            // SAFETY: NULL or the library's block, freed once and not used again.
            unsafe { pm_free(found.cast()) };
            status
        })
    }

    /// Applies differences that no comparison has found.
    pub fn apply_differences(&mut self, size: Option<u16>, given: &[Difference]) -> i32 {
        if given.iter().any(|(_, id, ..)| (5000..1 << 24).contains(id)) {
            return PM_OK;
        }
        let names: Vec<_> = given.iter().map(|(_, _, name, _)| name.bytes()).collect();
        let rows = given
            .iter()
            .zip(&names)
            .map(|((action, id, name, generation), bytes)| {
                let mut row: pm_difference = zeroed();
                let known = size_of::<pm_difference>();
                row.struct_size = size.map_or(known, |size| known.min(size.into()));
                (row.action, row.device_id) = ((*action).into(), *id);
                row.generation = (*generation).into();
                row.name = bytes.as_ref().map_or(null(), |bytes| bytes.as_ptr().cast());
                row.name_len = name.len(bytes);
                row
            });
        let rows: Vec<_> = rows.collect();
        let pointers: Vec<*const pm_difference> = rows.iter().map(|row| &raw const *row).collect();
        let mut applied = 0;
        let (list, count) = (pointers.as_ptr(), pointers.len());
        // SAFETY: the list has so many pointers, each to a struct with its size; structs and names
        // live until the call returns.
        unsafe { pm_apply_reconciliation(self.store, list, count, &mut applied, &mut self.error) }
    }
}
