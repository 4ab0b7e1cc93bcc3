//! The store compared with its pool, through Rust and through C.

use crate::c::types::{bytes, call, chars, Outcome};
use crate::c::CStore;
use crate::in_step::InStep;
use crate::rust::RustStore;
use pool_metadata::capi::*;
use pool_metadata::PoolState;
use std::ptr;

/// A difference: what it is, its action, name, id and state, whether the pool has it, and whether
/// it is to be deleted there.
pub type Row = (i32, i32, Vec<u8>, u32, i32, bool, bool);
/// The commit, the devices in both, and those that were left alone.
pub type Counts = (u64, u64, u64);

/// What was found, and how many differences were applied.
pub type Compared = (Counts, Vec<Row>, Outcome<u64>);

/// A store that is compared with its pool.
pub trait Reconcile: InStep {
    /// Compares, and applies the differences that `choose` takes, whose number is returned.
    fn reconcile(
        &self,
        pool: &PoolState,
        choose: impl Fn(&Row) -> bool,
        before_it_is_applied: impl FnOnce(),
    ) -> Outcome<Compared>;

    /// The differences; nothing is applied.
    fn differences(&self, pool: &PoolState) -> Outcome<(Counts, Vec<Row>)> {
        let (counts, rows, applied) = self.reconcile(pool, |_| false, || {})?;
        assert_eq!(applied.unwrap(), 0);
        Ok((counts, rows))
    }
}

impl Reconcile for RustStore {
    fn reconcile(
        &self,
        pool: &PoolState,
        choose: impl Fn(&Row) -> bool,
        before_it_is_applied: impl FnOnce(),
    ) -> Outcome<Compared> {
        let mut found = self.0.reconcile(pool)?;
        let row = |each: &pool_metadata::Difference| {
            assert!(!each.what.is_empty());
            (
                each.kind as i32,
                each.action as i32,
                each.name.clone().unwrap_or_default(),
                each.device_id.unwrap_or(0),
                each.state.map_or(-1, |state| state as i32),
                each.in_pool.is_some(),
                each.delete_from_pool,
            )
        };
        let rows = found.differences.iter().map(row).collect();
        found.differences.retain(|each| choose(&row(each)));
        before_it_is_applied();
        let applied = self.0.apply_reconciliation(&found).map_err(Into::into);
        let counts = (found.commit, found.in_both, found.newer);
        Ok((counts, rows, applied))
    }
}

impl Reconcile for CStore {
    fn reconcile(
        &self,
        pool: &PoolState,
        choose: impl Fn(&Row) -> bool,
        before_it_is_applied: impl FnOnce(),
    ) -> Outcome<Compared> {
        let devices = pool.devices.as_ref();
        let ids: Option<Vec<u32>> =
            devices.map(|all| all.iter().map(|device| device.device_id).collect());
        let names = pool.snapshots.as_ref().map(|names| {
            let name = |name: &Vec<u8>| {
                let (name, name_len) = chars(name);
                pm_name { name, name_len }
            };
            names.iter().map(name).collect::<Vec<_>>()
        });
        let given = pm_pool_state {
            struct_size: size_of::<pm_pool_state>(),
            device_ids: ids.as_ref().map_or(ptr::null(), Vec::as_ptr),
            device_count: ids.as_ref().map_or(0, Vec::len),
            snapshots: names.as_ref().map_or(ptr::null(), Vec::as_ptr),
            snapshot_count: names.as_ref().map_or(0, Vec::len),
            commit: pool.commit.unwrap_or(77),
            in_use: pool.commit.is_some().into(),
        };
        let mut found = ptr::null_mut();
        // SAFETY: the handle is the library's, and the lists live until the call returns.
        call(|error| unsafe { pm_reconcile(self.0, &given, &mut found, error) })?;
        // SAFETY: a call that succeeds has made the block, which is freed after its last use.
        unsafe {
            let block = *found;
            let all = std::slice::from_raw_parts(block.differences, block.count);
            let row = |each: *const pm_difference| {
                let each = &*each;
                assert_eq!(each.struct_size, size_of::<pm_difference>());
                assert_eq!(*each.name.add(each.name_len), 0);
                assert!(each.text_len > 0 && *each.text.add(each.text_len) == 0);
                (
                    each.kind,
                    each.action,
                    bytes(each.name, each.name_len),
                    each.device_id,
                    each.state,
                    each.in_pool == 1,
                    each.delete_from_pool == 1,
                )
            };
            let rows = all.iter().map(|each| row(*each)).collect();
            let chosen = all.iter().copied().filter(|each| choose(&row(*each)));
            let chosen: Vec<_> = chosen.collect();
            before_it_is_applied();
            let mut done = 77;
            let (list, count) = (chosen.as_ptr(), chosen.len());
            let applied =
                call(|error| pm_apply_reconciliation(self.0, list, count, &mut done, error));
            assert!(applied.is_ok() || done == 77, "written on success only");
            pm_free(found.cast());
            let counts = (block.commit, block.in_both, block.newer);
            Ok((counts, rows, applied.map(|()| done)))
        }
    }
}
