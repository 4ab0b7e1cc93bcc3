//! Deferred writes, which are made through a handle of their own.

use crate::common::place;
use crate::subject::*;
use crate::through_rust_and_c;
use pool_metadata::capi::*;
use pool_metadata::{Change, DeviceInfo, DeviceState, Ids};

through_rust_and_c!(
    deferred_writes_are_those_of_the_store_itself,
    deferred_list_is_made_as_a_whole,
    deferred_write_waits_for_an_update_through_the_other_handle,
    deferred_write_inside_an_update_of_the_other_handle_is_refused,
    refused_deferred_write_changes_nothing,
    deferred_writes_are_there_after_close,
    closed_store_refuses_deferred_writes,
    read_only_store_refuses_deferred_writes,
    store_that_expects_deferred_writes_need_not_get_any,
);

fn deferred_writes_are_those_of_the_store_itself<S: Store>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    let deferred = store.deferred().unwrap();
    let mut a = add(&deferred, "a");
    assert_eq!(devices(&store), [a.clone()]);
    deferred.change_state(b"a", DeviceState::Created).unwrap();
    let grow = |device: &mut DeviceInfo| {
        device.size = 7;
        Ok(())
    };
    deferred.update(b"a", &mut { grow }).unwrap();
    store.mark_faulty(b"a").unwrap();
    let found = get(&store, "a");
    (a.state, a.size, a.generation) = (DeviceState::Faulty, 7, found.generation);
    assert_eq!(found, a);
    deferred.remove(b"a").unwrap();
    assert!(store.names().unwrap().is_empty());
    check(&store);
}

fn deferred_list_is_made_as_a_whole<S: Store>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    let deferred = store.deferred().unwrap();
    let adding = |name: &str| Change::Add(DeviceInfo::new(name));
    deferred.apply(&[adding("a"), adding("b")]).unwrap();
    let twice = deferred.apply(&[adding("c"), adding("c")]);
    assert_eq!(twice.unwrap_err().0, Some(1));
    let each = deferred.apply_each(&[adding("a"), adding("d")]);
    assert!(each[0].is_err() && each[1].is_ok());
    assert_eq!(store.names().unwrap(), [b"a", b"b", b"d"]);
    check(&store);
    let (_other, empty) = new_store::<S>(&DEFAULTS);
    let imported = DeviceInfo {
        device_id: 1,
        ..DeviceInfo::new("imported")
    };
    let ids = Ids {
        last_id: 1,
        ..Ids::default()
    };
    let deferred = empty.deferred().unwrap();
    deferred.import(&[imported], &ids).unwrap();
    assert_eq!(empty.names().unwrap(), [b"imported"]);
    check(&empty);
}

fn deferred_write_waits_for_an_update_through_the_other_handle<S: Store>() {
    let (_directory, store) = new_store::<S>(&waiting(20));
    add(&store, "a");
    let deferred = store.deferred().unwrap();
    let update = store.begin(b"a").unwrap();
    let waited = deferred.change_state(b"a", DeviceState::Created);
    refused(waited, PM_ERR_TIMEOUT).says(&["a"]);
    update.commit().unwrap();
    deferred.change_state(b"a", DeviceState::Created).unwrap();
}

fn deferred_write_inside_an_update_of_the_other_handle_is_refused<S: Store>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    add(&store, "a");
    let deferred = store.deferred().unwrap();
    let mut inside = None;
    let edit = &mut |_: &mut DeviceInfo| {
        inside = Some(deferred.remove(b"b"));
        Ok(())
    };
    store.update(b"a", edit).unwrap();
    refused(inside.unwrap(), PM_ERR_NESTED_WRITE);
}

fn refused_deferred_write_changes_nothing<S: Store>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    let deferred = store.deferred().unwrap();
    let a = add(&deferred, "a");
    let before = store.stats().unwrap().commits;
    refused(deferred.remove(b"b"), PM_ERR_NOT_FOUND);
    refused(
        deferred.add(&mut DeviceInfo::new("a")),
        PM_ERR_ALREADY_EXISTS,
    );
    assert_eq!(
        (devices(&store), store.stats().unwrap().commits),
        (vec![a], before)
    );
}

fn deferred_writes_are_there_after_close<S: Store>() {
    let (_directory, path) = place();
    let store: S = open(&path);
    let deferred = store.deferred().unwrap();
    let added: Vec<_> = (0..5).map(|n| add(&deferred, format!("{n}"))).collect();
    store.close().unwrap();
    refused(deferred.remove(b"0"), PM_ERR_CLOSED);
    let store: S = open(&path);
    assert_eq!(devices(&store), added);
    check(&store);
}

fn closed_store_refuses_deferred_writes<S: Store>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    let deferred = store.deferred().unwrap();
    add(&deferred, "a");
    store.close().unwrap();
    for refusal in [deferred.remove(b"a"), deferred.sync(), deferred.close()] {
        refused(refusal, PM_ERR_CLOSED);
    }
    refused(deferred.get(b"a"), PM_ERR_CLOSED);
}

fn read_only_store_refuses_deferred_writes<S: Store>() {
    let (_directory, path) = place();
    let store: S = open(&path);
    let a = add(&store, "a");
    store.close().unwrap();
    let store = S::open(&path, &READ_ONLY).unwrap();
    let deferred = store.deferred().unwrap();
    refused(deferred.remove(b"a"), PM_ERR_READ_ONLY);
    assert_eq!(get(&deferred, "a"), a);
    store.close().unwrap();
}

fn store_that_expects_deferred_writes_need_not_get_any<S: Store>() {
    let (_directory, path) = place();
    for flags in [PM_OPEN_EXPECT_DEFERRED, 0] {
        let options = pm_options { flags, ..DEFAULTS };
        let store = S::open(&path, &options).unwrap();
        let ready = store.stats().unwrap().flushes;
        assert_eq!(ready > 0, flags == PM_OPEN_EXPECT_DEFERRED);
        let name = format!("{flags}");
        let added = add(&store, name.as_str());
        assert_eq!(store.stats().unwrap().flushes, ready + 1);
        let viewer = pm_options {
            flags: flags | PM_OPEN_READ_ONLY,
            ..DEFAULTS
        };
        store.close().unwrap();
        let store = S::open(&path, &viewer).unwrap();
        assert_eq!(get(&store, &name), added);
        refused(store.remove(name.as_bytes()), PM_ERR_READ_ONLY);
        store.close().unwrap();
    }
}
