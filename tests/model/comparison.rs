//! What a comparison of a store with its pool and with the snapshotter finds, and what applying it
//! does.

use crate::c::types::Outcome;
use crate::comparing::{Compared, Counts, Reconcile, Row};
use crate::model::Model;
use crate::spec::Spec;
use crate::steps::check_ids;
use pool_metadata::capi::*;
use pool_metadata::{DeviceInfo, DeviceState, Error, PoolState, MAX_DEVICE_ID};
use std::collections::BTreeSet;

impl Spec {
    fn compare(&self, pool: &PoolState) -> Result<(Counts, Vec<Row>), Error> {
        let ids = pool.devices.as_ref().map(|devices| {
            let ids = devices.iter().map(|device| device.device_id);
            ids.collect::<Vec<_>>()
        });
        if ids.is_none() && pool.snapshots.is_none() {
            return Err(Error::NothingToCompare);
        }
        let mut listed = BTreeSet::new();
        for &device_id in ids.iter().flatten() {
            check_ids(&[device_id])?;
            if !listed.insert(device_id) {
                return Err(Error::ListedTwice { device_id });
            }
        }
        let is_newer = |generation| pool.commit.is_some_and(|commit| generation > commit);
        let (mut in_both, mut newer, mut rows) = (0, 0, Vec::new());
        for device in self.devices.values() {
            if is_newer(device.generation) {
                newer += 1;
                continue;
            }
            in_both += u64::from(listed.contains(&device.device_id));
            rows.extend(of_device(device, ids.is_some(), &listed, pool));
        }
        let removed = || self.removals.iter().filter(|gone| is_newer(gone.2));
        let is_left_alone = |id| self.owner(id).is_some() || removed().any(|gone| gone.1 == id);
        if ids.is_some() {
            let others = listed.iter().filter(|id| !is_left_alone(**id));
            rows.extend(others.map(|id| only_in_pool(*id, self.faulty.contains(id))));
            let leaked = self.faulty.iter().filter(|id| !is_left_alone(**id));
            let leaked = leaked.filter(|id| !listed.contains(id));
            let (kind, action) = (PM_DIFFERENCE_ID_LEAKED, PM_ACTION_FREE_ID);
            rows.extend(leaked.map(|id| (kind, action, vec![], *id, -1, false, false)));
        }
        let names: BTreeSet<_> = pool.snapshots.iter().flatten().collect();
        let missing = names.into_iter().filter(|name| {
            !self.devices.contains_key(*name) && !removed().any(|gone| gone.0 == **name)
        });
        let (kind, action) = (PM_DIFFERENCE_NO_DEVICE, PM_ACTION_NOTHING);
        rows.extend(missing.map(|name| (kind, action, name.clone(), 0, -1, false, false)));
        Ok(((self.commits, in_both, newer), rows))
    }

    /// Makes what these differences ask for, in one commit.
    fn settle(&mut self, rows: &[Row]) -> Result<u64, Error> {
        let asking = || rows.iter().filter(|row| row.1 != PM_ACTION_NOTHING);
        // The names are in their order.
        for row in asking().filter(|row| !row.2.is_empty()) {
            self.check_unlocked(&row.2)?;
        }
        let commits = self.commits;
        for (_, action, name, id, ..) in asking() {
            self.commits = commits;
            match *action {
                PM_ACTION_FREE_ID => self.free_id(*id)?,
                PM_ACTION_MARK_ID_FAULTY => drop(self.mark_ids_faulty(&[*id])?),
                PM_ACTION_REMOVE_RECORD => self.remove(name)?,
                PM_ACTION_REMOVE_RECORD_KEEP_ID => {
                    self.remove(name)?;
                    self.free.remove(id);
                    self.faulty.insert(*id);
                }
                other => unreachable!("{other} is no action"),
            }
        }
        let number = asking().count() as u64;
        self.commits = commits + u64::from(number > 0);
        Ok(number)
    }
}

/// Nothing goes that a snapshot may need, and no id is freed that the pool may have.
fn of_device(
    device: &DeviceInfo,
    is_pool_known: bool,
    listed: &BTreeSet<u32>,
    pool: &PoolState,
) -> Option<Row> {
    let id = device.device_id;
    let in_pool = listed.contains(&id);
    let is_gone = is_pool_known && !in_pool;
    let snapshots = pool.snapshots.as_ref();
    let has_snapshot = snapshots.is_some_and(|names| names.contains(&device.name));
    let (kind, action) = match (is_gone, has_snapshot) {
        // Its removal is pending.
        (false, _) if device.state == DeviceState::Removed => return None,
        (true, true) if device.state == DeviceState::Faulty => return None,
        (true, true) => (PM_DIFFERENCE_ONLY_IN_STORE, PM_ACTION_NOTHING),
        (true, false) if snapshots.is_none() => {
            (PM_DIFFERENCE_ONLY_IN_STORE, PM_ACTION_REMOVE_RECORD)
        }
        (true, false) => (PM_DIFFERENCE_NO_SNAPSHOT, PM_ACTION_REMOVE_RECORD),
        (false, false) if snapshots.is_some() => {
            (PM_DIFFERENCE_NO_SNAPSHOT, PM_ACTION_REMOVE_RECORD_KEEP_ID)
        }
        (false, _) => return None,
    };
    let delete = action == PM_ACTION_REMOVE_RECORD_KEEP_ID;
    let (name, state) = (device.name.clone(), device.state as i32);
    Some((kind, action, name, id, state, in_pool, delete))
}

fn only_in_pool(id: u32, is_faulty: bool) -> Row {
    let (kind, action) = match id {
        0 => (PM_DIFFERENCE_FOREIGN_ID, PM_ACTION_NOTHING),
        _ if id > MAX_DEVICE_ID => (PM_DIFFERENCE_FOREIGN_ID, PM_ACTION_NOTHING),
        _ if is_faulty => (PM_DIFFERENCE_ONLY_IN_POOL, PM_ACTION_NOTHING),
        _ => (PM_DIFFERENCE_ID_WOULD_COLLIDE, PM_ACTION_MARK_ID_FAULTY),
    };
    let delete = kind != PM_DIFFERENCE_FOREIGN_ID;
    (kind, action, vec![], id, -1, true, delete)
}

impl Reconcile for Model {
    fn reconcile(
        &self,
        pool: &PoolState,
        choose: impl Fn(&Row) -> bool,
        before_it_is_applied: impl FnOnce(),
    ) -> Outcome<Compared> {
        let (counts, rows) = self.read_spec()?.compare(pool)?;
        let chosen: Vec<_> = rows.iter().filter(|row| choose(row)).cloned().collect();
        before_it_is_applied();
        let applied = self.write_spec().and_then(|mut spec| spec.settle(&chosen));
        Ok((counts, rows, applied.map_err(Into::into)))
    }
}
