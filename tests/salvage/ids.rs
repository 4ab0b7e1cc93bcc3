//! Ids: which are known to be free, and which of two devices keeps the id that both have.

use super::*;

#[test]
fn lost_table_of_ids_leaves_no_id_free() {
    let (_directory, path, old) = filled_at_once(|pages| {
        let root = pages.root(Tree::Ids);
        wipe(pages, root);
    });
    let (found, target) = salvage(&path);
    assert!(!found.complete);
    let new = contents(&target);
    assert_eq!(new.devices, old.devices);
    assert!(new.ids.free.is_empty());
    for id in old.ids.free.iter().chain(&old.ids.faulty) {
        let owned = new.devices.values().any(|device| device.device_id == *id);
        assert!(owned || new.ids.faulty.contains(id), "{id}");
    }
    assert_ids_are_safe(&target, &old);
}

#[test]
fn newer_of_two_records_with_one_id_is_kept() {
    let (_directory, path, _) = lived_in();
    raw::edit(&path, |txn, tables| {
        raw::rewrite(txn, tables.devices, b"device-010", |value| {
            assert_eq!(value[1], 11);
            value[1] = 4;
            raw::seal(b"device-010", value);
        });
    });
    let (found, target) = salvage(&path);
    let shared: Vec<_> = found
        .report
        .findings
        .iter()
        .filter(|f| f.kind == SharedId)
        .collect();
    assert_eq!(shared.len(), 1, "{:?}", found.report);
    assert_eq!(
        (shared[0].device_id, shared[0].fix),
        (Some(4), Fix::Nothing)
    );
    let new = contents(&target);
    // device-003 is of an earlier commit.
    assert!(new.devices.contains_key(&b"device-010"[..]));
    assert!(!new.devices.contains_key(&b"device-003"[..]));
    assert!(new.ids.faulty.contains(&11));
}

/// The root of an earlier commit leads to what was free then: ids that were given out since are not
/// given out again, and a device that has one is not taken for a removed one.
#[test]
fn id_that_an_earlier_commit_had_free_is_not_given_out() {
    for lost in [true, false] {
        let (_directory, path, history) = lived_in();
        let before = Pages::read(&path);
        let store = PoolMetadata::open(&path).unwrap();
        let given = add(&store, "device-250-since").device_id;
        store.close().unwrap();
        let old = contents(&path);
        let mut pages = Pages::read(&path);
        let is_since = |name: &[u8]| name == b"device-250-since";
        let leaf = pages.leaves(Tree::Devices).into_iter().find(|leaf| {
            let mut keys = (0..pages.nodes(*leaf)).map(|at| pages.key(*leaf, at));
            keys.any(is_since)
        });
        let root = pages.root(Tree::Main);
        wipe(&mut pages, root);
        if lost {
            wipe(&mut pages, leaf.unwrap());
        }
        assert_ne!(before.root(Tree::Main), root);
        pages.write(&path);
        let (found, target) = salvage(&path);
        assert!(!found.complete);
        let new = contents(&target);
        assert!(new.ids.free.is_empty());
        assert_eq!(new.ids.faulty.contains(&given), lost);
        for (name, device) in &new.devices {
            let known = history.get(name).is_some_and(|was| was.contains(device));
            assert!(known || is_since(name));
        }
        let since = new.devices.get(&b"device-250-since"[..]);
        assert_eq!(
            since.map(|device| device.device_id),
            (!lost).then_some(given)
        );
        assert_ids_are_safe(&target, &old);
    }
}
