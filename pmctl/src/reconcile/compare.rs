//! The comparison.

use std::collections::{BTreeMap, BTreeSet};

use pool_metadata::{DeviceInfo, DeviceState, MAX_DEVICE_ID};

use super::{Action, Difference, Given, Kind, Store};
use crate::pool::{PoolDevice, PoolDevices};
use crate::text;

/// All differences: of devices by name, then of ids.
pub fn compare(store: &Store, given: &Given) -> Vec<Difference> {
    let mut found = Vec::new();
    for device in &store.devices {
        let is_newer = given.as_of.is_some_and(|commit| device.generation > commit);
        if !is_newer {
            found.extend(of_device(device, given));
        }
    }
    if let Some(snapshots) = &given.snapshots {
        found.extend(without_device(store, snapshots));
    }
    if let Some(pool) = &given.pool {
        found.extend(without_record(store, pool));
        found.extend(nowhere(store, pool));
    }
    found
}

fn of_device(device: &DeviceInfo, given: &Given) -> Option<Difference> {
    let id = device.device_id;
    let in_pool = given.pool.as_ref().map(|pool| pool.contains(id));
    let known = given
        .snapshots
        .as_ref()
        .map(|names| names.contains(&device.name));
    // containerd removes the device of a removed snapshot later (async_remove).
    let removed = device.state == DeviceState::Removed;
    let (kind, what, actions) = match (known, in_pool) {
        (Some(false), _) if !removed => (
            Kind::NoSnapshot,
            "is in the store, and no snapshot has it",
            out_of_the_way(device, in_pool != Some(false)),
        ),
        (Some(true), Some(false)) if device.state != DeviceState::Faulty => (
            Kind::NotInPool,
            "is that of a snapshot, and not in the pool: its data is gone; remove the snapshot in \
             containerd",
            Vec::new(),
        ),
        (None, Some(false)) => (
            Kind::NotInPool,
            "is not in the pool",
            vec![Action::RemoveRecord(device.clone())],
        ),
        _ => return None,
    };
    let name = text::word(&device.name);
    Some(Difference {
        kind,
        name: Some(device.name.clone()),
        ids: Some((id, id)),
        what: format!("device {name} (id {id}, {}) {what}", device.state),
        actions,
    })
}

/// Removes a device, and keeps its id out of use while the pool may have it.
fn out_of_the_way(device: &DeviceInfo, may_be_in_pool: bool) -> Vec<Action> {
    let mut actions = vec![Action::RemoveRecord(device.clone())];
    if may_be_in_pool {
        actions.push(Action::MarkFaulty(device.device_id));
        actions.push(Action::Deactivate(device.name.clone()));
        actions.push(Action::Delete(device.device_id));
    }
    actions
}

fn without_device<'a>(
    store: &'a Store,
    snapshots: &'a BTreeSet<Vec<u8>>,
) -> impl Iterator<Item = Difference> + 'a {
    let has = |name: &Vec<u8>| {
        store
            .devices
            .binary_search_by(|device| device.name.cmp(name))
            .is_ok()
    };
    snapshots
        .iter()
        .filter(move |name| !has(name))
        .map(|name| Difference {
            kind: Kind::NoDevice,
            name: Some(name.clone()),
            ids: None,
            what: format!(
                "snapshot {} has no device in the store; remove the snapshot in containerd",
                text::word(name)
            ),
            actions: Vec::new(),
        })
}

/// Ids in the pool that no device in the store has.
fn without_record(store: &Store, pool: &PoolDevices) -> Vec<Difference> {
    let owned: BTreeSet<u32> = store
        .devices
        .iter()
        .map(|device| device.device_id)
        .collect();
    let others = pool.iter().filter(|device| !owned.contains(&device.id));
    others.map(|device| of_pool(device, store)).collect()
}

fn of_pool(device: &PoolDevice, store: &Store) -> Difference {
    let id = device.id;
    let is_in = |ids: &[u32]| ids.binary_search(&id).is_ok();
    let (kind, what, actions) = if id == 0 || id > MAX_DEVICE_ID {
        let what = "is in the pool, and no store gives it out: another program has made it";
        (Kind::Foreign, what, Vec::new())
    } else if is_in(&store.ids.faulty) {
        let what = "is faulty, and in the pool, where it takes room";
        (Kind::FaultyInPool, what, vec![Action::Delete(id)])
    } else {
        let what = match is_in(&store.ids.free) {
            true => "is in the pool and free in the store: the device that gets it fails",
            false => "is in the pool and was never given out: the device that gets it fails",
        };
        let actions = vec![Action::MarkFaulty(id), Action::Delete(id)];
        (Kind::WouldCollide, what, actions)
    };
    let blocks = match device.mapped_blocks {
        Some(blocks) => format!(" ({})", text::count(blocks, "block")),
        None => String::new(),
    };
    Difference {
        kind,
        name: None,
        ids: Some((id, id)),
        what: format!("id {id}{blocks} {what}"),
        actions,
    }
}

/// Faulty ids that neither a device nor the pool has.
fn nowhere(store: &Store, pool: &PoolDevices) -> Vec<Difference> {
    let owned: BTreeMap<u32, ()> = store.devices.iter().map(|d| (d.device_id, ())).collect();
    let faulty = store.ids.faulty.iter().copied();
    let nowhere: Vec<u32> = faulty
        .filter(|id| !owned.contains_key(id) && !pool.contains(*id))
        .collect();
    let runs = nowhere.chunk_by(|a, b| a + 1 == *b);
    runs.map(|run| {
        let (first, last) = (run[0], run[run.len() - 1]);
        let what = match first == last {
            true => format!("id {first} is faulty, and neither a device nor the pool has it"),
            false => format!(
                "the ids {first}-{last} are faulty, and neither a device nor the pool has them"
            ),
        };
        Difference {
            kind: Kind::FaultyNowhere,
            name: None,
            ids: Some((first, last)),
            what,
            actions: vec![Action::Free(first, last)],
        }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pool_metadata::Ids;

    fn store() -> Store {
        let device = |name: &str, device_id, state, generation| DeviceInfo {
            device_id,
            state,
            generation,
            ..DeviceInfo::new(name)
        };
        Store {
            devices: vec![
                device("a", 1, DeviceState::Activated, 1),
                device("b", 2, DeviceState::Faulty, 2),
                device("c", 3, DeviceState::Removed, 3),
                device("d", 4, DeviceState::Created, 9),
            ],
            ids: Ids {
                last_id: 9,
                free: vec![5],
                faulty: vec![2, 6, 7, 8, 9],
            },
        }
    }

    fn found(pool: Option<&str>, snapshots: Option<&[&str]>, as_of: Option<u64>) -> Vec<String> {
        let given = Given {
            pool: pool.map(|text| PoolDevices::parse(text.as_bytes()).unwrap()),
            snapshots: snapshots
                .map(|all| all.iter().map(|name| name.as_bytes().to_vec()).collect()),
            as_of,
        };
        let all = compare(&store(), &given);
        all.iter()
            .map(|difference| {
                let about = match (&difference.name, difference.ids) {
                    (Some(name), _) => String::from_utf8(name.clone()).unwrap(),
                    (None, Some((first, last))) => format!("{first}-{last}"),
                    _ => String::new(),
                };
                let actions: Vec<_> = difference.actions.iter().map(Action::words).collect();
                format!("{} {about}: {}", difference.kind.word(), actions.join("; "))
            })
            .collect()
    }

    #[test]
    fn store_and_pool_that_agree_differ_in_nothing() {
        assert_eq!(
            found(Some("1\n2\n3\n4\n"), None, None),
            ["faulty-nowhere 6-9: free the ids 6-9"]
        );
        assert_eq!(found(None, Some(&["a", "b", "d"]), None), [""; 0]);
    }

    #[test]
    fn pool_is_compared_by_ids() {
        assert_eq!(
            found(Some("0\n1\n3\n4\n5\n7\n12\n16777215\n"), None, None),
            [
                "not-in-pool b: remove the record of b",
                "foreign 0-0: ",
                "would-collide 5-5: make id 5 faulty, so that it is not given out; delete id 5 \
                 from the pool",
                "faulty-in-pool 7-7: delete id 7 from the pool",
                "would-collide 12-12: make id 12 faulty, so that it is not given out; delete id 12 \
                 from the pool",
                "foreign 16777215-16777215: ",
                "faulty-nowhere 6-6: free id 6",
                "faulty-nowhere 8-9: free the ids 8-9",
            ]
        );
    }

    #[test]
    fn device_that_no_snapshot_has_is_put_out_of_the_way() {
        // c is removed, and waits for containerd's cleanup.
        let jam =
            "no-snapshot a: remove the record of a; make id 1 faulty, so that it is not given \
                   out; deactivate a; delete id 1 from the pool";
        assert_eq!(found(None, Some(&["b", "d"]), None), [jam]);
        assert_eq!(
            found(Some("1\n3\n4\n6\n7\n8\n9\n"), Some(&["b", "d"]), None)[0],
            jam
        );
        let gone = found(Some("2\n3\n4\n6\n7\n8\n9\n"), Some(&["b", "d"]), None);
        assert_eq!(gone[0], "no-snapshot a: remove the record of a");
    }

    #[test]
    fn snapshot_without_a_device_or_data_is_containerds_to_remove() {
        let found = found(
            Some("2\n3\n4\n6\n7\n8\n9\n"),
            Some(&["a", "b", "d", "x"]),
            None,
        );
        assert_eq!(found[..2], ["not-in-pool a: ", "no-device x: "]);
    }

    #[test]
    fn device_that_was_written_after_the_lists_were_made_is_left_alone() {
        let devices = |as_of| {
            let found = found(Some("1\n2\n3\n6\n7\n8\n9\n"), None, as_of);
            found.iter().filter(|text| text.contains("record")).count()
        };
        assert_eq!(
            (devices(None), devices(Some(8)), devices(Some(9))),
            (1, 0, 1)
        );
    }
}
