//! Taking a whole pool over, from what a walk tells of it.

use crate::subject::*;
use crate::through_rust_and_c;
use pool_metadata::capi::*;
use pool_metadata::{DeviceInfo, DeviceState, Ids, MAX_DEVICE_ID, MAX_ERROR_LEN};

through_rust_and_c!(
    pool_that_a_walk_tells_of_comes_back_the_same,
    many_devices_are_imported_in_one_commit,
    store_that_has_given_out_an_id_is_not_filled,
    empty_pool_leaves_a_store_that_can_be_filled,
    pool_that_does_not_go_together_is_refused_and_leaves_the_store_empty,
    device_that_could_not_be_added_is_not_imported,
);

fn device(name: &str, device_id: u32) -> DeviceInfo {
    DeviceInfo {
        device_id,
        state: DeviceState::Created,
        size: 1 << 30,
        ..DeviceInfo::new(name)
    }
}

fn ids(last_id: u32, free: &[u32], faulty: &[u32]) -> Ids {
    Ids {
        last_id,
        free: free.to_vec(),
        faulty: faulty.to_vec(),
    }
}

fn pool_that_a_walk_tells_of_comes_back_the_same<S: Store>() {
    let (_a, from) = new_store::<S>(&DEFAULTS);
    for name in ["base", "free", "gone", "odd", "snap", "twice"] {
        add(&from, name);
    }
    from.mark_faulty(b"odd").unwrap();
    from.mark_faulty(b"twice").unwrap();
    from.remove(b"gone").unwrap();
    add(&from, "twice");
    from.remove(b"free").unwrap();
    from.update(b"snap", &mut |device| {
        device.parent_name = b"base".to_vec();
        device.error = b"what happened".to_vec();
        Ok(())
    })
    .unwrap();
    let (mut devices, ids_before, counted) = contents(&from);
    assert_eq!(ids_before, ids(6, &[2], &[4, 6]));

    let (_b, to) = new_store::<S>(&DEFAULTS);
    to.import(&devices, &ids_before).unwrap();
    check(&to);
    // All is the same but for the generations.
    devices.iter_mut().for_each(|device| device.generation = 1);
    assert_eq!(
        to.walk().unwrap().map(Result::unwrap).collect::<Vec<_>>(),
        devices
    );
    assert_eq!(to.walk().unwrap().ids().unwrap(), ids_before);
    assert_eq!(counters(&to.stats().unwrap())[..5], counted[..5]);
    assert_eq!(to.stats().unwrap().commits, 1);
    for id in [2, 7] {
        assert_eq!(add(&to, format!("next-{id}")).device_id, id);
    }
    check(&to);
}

fn many_devices_are_imported_in_one_commit<S: Store>() {
    const COUNT: u32 = 50_000;
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    let devices: Vec<_> = (1..=COUNT)
        .map(|id| device(&format!("snap-{id:06}"), id))
        .collect();
    store.import(&devices, &ids(COUNT, &[], &[])).unwrap();
    check(&store);
    let stats = store.stats().unwrap();
    assert_eq!((stats.devices, stats.commits), (COUNT.into(), 1));
    assert!(stats.file_size >= stats.map_used);
}

fn store_that_has_given_out_an_id_is_not_filled<S: Store>() {
    let (directory, store) = new_store::<S>(&DEFAULTS);
    let path = directory.path().join("pool.db");
    add(&store, "base");
    let import = || store.import(&[device("a", 1)], &ids(1, &[], &[]));
    refused(import(), PM_ERR_NOT_EMPTY).says(&[path.to_str().unwrap()]);
    store.remove(b"base").unwrap();
    refused(import(), PM_ERR_NOT_EMPTY);
    assert_eq!(store.stats().unwrap().devices, 0);
    check(&store);
}

fn empty_pool_leaves_a_store_that_can_be_filled<S: Store>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    store.import(&[], &Ids::default()).unwrap();
    store
        .import(&[device("a", 1)], &ids(2, &[2], &[1]))
        .unwrap();
    assert_eq!(counters(&store.stats().unwrap())[..5], [1, 0, 1, 1, 2]);
    check(&store);
}

fn pool_that_does_not_go_together_is_refused_and_leaves_the_store_empty<S: Store>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    let one = [device("a", 1)];
    let none = [device("a", 0)];
    let two = [device("a", 1), device("b", 1)];
    let unordered = [device("b", 1), device("a", 2)];
    let same = [device("a", 1), device("a", 2)];
    let cases: [(&[DeviceInfo], Ids, &str); 14] = [
        (&one, ids(2, &[], &[]), "id 2 is neither"),
        (&one, ids(0, &[], &[]), "id 1, beyond the last, which is 0"),
        (&none, ids(3, &[], &[]), "id 0, which is out of range"),
        (&two, ids(1, &[], &[]), "id 1, which another device has"),
        (&one, ids(1, &[1], &[]), "the free id 1"),
        (&one, ids(2, &[2], &[2]), "both free and faulty"),
        (&[], ids(2, &[2, 1], &[]), "ascending"),
        (&[], ids(2, &[1, 1], &[]), "ascending"),
        (&[], ids(1, &[0], &[]), "not from 1"),
        (&[], ids(1, &[], &[2]), "not from 1"),
        (&unordered, ids(2, &[], &[]), "order of names"),
        (&same, ids(2, &[], &[]), "listed twice"),
        (&[], ids(MAX_DEVICE_ID + 1, &[], &[]), "16777214"),
        (&[], ids(u32::MAX, &[], &[]), "16777214"),
    ];
    for (devices, ids, words) in cases {
        let outcome = store.import(devices, &ids);
        refused(outcome, PM_ERR_INVALID_ARGUMENT).says(&[words]);
    }
    assert_eq!(counters(&store.stats().unwrap()), [0; 6]);
    store.import(&one, &ids(1, &[], &[1])).unwrap();
    check(&store);
}

fn device_that_could_not_be_added_is_not_imported<S: Store>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    let mut long = device("d", 1);
    long.error = vec![b'e'; MAX_ERROR_LEN + 1];
    let mut parent = device("d", 1);
    parent.parent_name = b"a\0b".to_vec();
    for (device, status) in [
        (device("", 1), PM_ERR_INVALID_NAME),
        (parent, PM_ERR_INVALID_NAME),
        (long.clone(), PM_ERR_TOO_LONG),
    ] {
        refused(store.import(&[device], &ids(1, &[], &[])), status);
        assert_eq!(store.stats().unwrap().commits, 0);
    }
    long.error.pop();
    store.import(&[long], &ids(1, &[], &[])).unwrap();
    assert_eq!(get(&store, "d").error.len(), MAX_ERROR_LEN);
    check(&store);
}
