//! Taking a whole pool over, and telling all that is needed to do so.

use pool_metadata::{DeviceInfo, DeviceState, Error, Ids, PoolMetadata};

fn store() -> (tempfile::TempDir, PoolMetadata) {
    let directory = tempfile::tempdir().unwrap();
    let store = PoolMetadata::open(directory.path().join("pool.db")).unwrap();
    (directory, store)
}

fn device(name: &str, device_id: u32, state: DeviceState) -> DeviceInfo {
    DeviceInfo {
        device_id,
        state,
        size: 1 << 30,
        ..DeviceInfo::new(name)
    }
}

fn import(store: &PoolMetadata, devices: &[DeviceInfo], ids: &Ids) -> Result<(), Error> {
    let devices: Vec<_> = devices.iter().map(DeviceInfo::as_ref).collect();
    store.import(&devices, ids)
}

#[test]
fn a_pool_that_was_told_comes_back_the_same() {
    let (_a, from) = store();
    for name in ["base", "gone", "odd", "snap", "twice"] {
        from.add_device(&mut DeviceInfo::new(name)).unwrap();
    }
    from.remove_device("gone").unwrap();
    from.mark_faulty("odd").unwrap();
    from.mark_faulty("twice").unwrap();
    from.add_device(&mut DeviceInfo::new("twice")).unwrap();
    let mut walk = from.walk().unwrap();
    let ids = walk.ids().unwrap();
    assert_eq!(
        (ids.last_id, &ids.free[..], &ids.faulty[..]),
        (5, &[][..], &[3, 5][..])
    );
    let devices: Vec<DeviceInfo> = walk.by_ref().collect::<Result<_, _>>().unwrap();

    let (_b, to) = store();
    import(&to, &devices, &ids).unwrap();
    to.verify().unwrap();
    for device in &devices {
        let copy = to.get_device(&device.name).unwrap();
        assert_eq!(
            DeviceInfo {
                generation: device.generation,
                ..copy
            },
            *device
        );
    }
    assert_eq!(to.walk().unwrap().ids().unwrap(), ids);
    let mut next = DeviceInfo::new("next");
    to.add_device(&mut next).unwrap();
    assert_eq!(next.device_id, 6);
    to.verify().unwrap();
    assert!(matches!(
        import(&to, &devices, &ids),
        Err(Error::NotEmpty { .. })
    ));
}

#[test]
fn many_devices_fit_into_one_commit() {
    let (_directory, store) = store();
    let count = 50_000;
    let devices: Vec<_> = (1..=count)
        .map(|id| device(&format!("snap-{id:06}"), id, DeviceState::Activated))
        .collect();
    let ids = Ids {
        last_id: count,
        ..Ids::default()
    };
    import(&store, &devices, &ids).unwrap();
    store.verify().unwrap();
    let stats = store.stats().unwrap();
    assert_eq!((stats.devices, stats.commits), (count.into(), 1));
    assert!(stats.file_size >= stats.map_used);
}

#[test]
fn what_does_not_go_together_is_refused_and_leaves_the_store_empty() {
    use DeviceState::Created;
    let (_directory, store) = store();
    let ids = |last_id, free: &[u32], faulty: &[u32]| Ids {
        last_id,
        free: free.to_vec(),
        faulty: faulty.to_vec(),
    };
    let one = [device("a", 1, Created)];
    let none = [device("a", 0, Created)];
    let two = [device("a", 1, Created), device("b", 1, Created)];
    let unordered = [device("b", 1, Created), device("a", 2, Created)];
    let same = [device("a", 1, Created), device("a", 2, Created)];
    let cases: [(&[DeviceInfo], Ids, &str); 12] = [
        (&one, ids(2, &[], &[]), "id 2 is neither"),
        (&one, ids(0, &[], &[]), "id 1, beyond the last, which is 0"),
        (&none, ids(3, &[], &[]), "id 0, which is none"),
        (&two, ids(1, &[], &[]), "as another device does"),
        (&one, ids(1, &[1], &[]), "the free id 1"),
        (&one, ids(2, &[2], &[2]), "both free and faulty"),
        (&[], ids(2, &[2, 1], &[]), "ascending"),
        (&[], ids(2, &[1, 1], &[]), "ascending"),
        (&[], ids(1, &[0], &[]), "not from 1"),
        (&[], ids(1, &[], &[2]), "not from 1"),
        (&unordered, ids(2, &[], &[]), "order of names"),
        (&same, ids(2, &[], &[]), "comes twice"),
    ];
    for (devices, ids, words) in cases {
        match import(&store, devices, &ids) {
            Err(Error::InvalidImport { what }) => assert!(what.contains(words), "{what}"),
            other => panic!("{words}: {other:?}"),
        }
    }
    let too_many = ids(pool_metadata::MAX_DEVICE_ID + 1, &[], &[]);
    assert!(matches!(
        import(&store, &[], &too_many),
        Err(Error::InvalidImport { .. })
    ));
    let bad_name = [device("", 1, Created)];
    assert!(matches!(
        import(&store, &bad_name, &ids(1, &[], &[])),
        Err(Error::InvalidName { .. })
    ));
    assert_eq!(store.stats().unwrap().commits, 0);
    store.verify().unwrap();
    import(&store, &one, &ids(1, &[], &[1])).unwrap();
    store.verify().unwrap();
}
