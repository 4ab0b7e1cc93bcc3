//! One device: add, get, change its state, mark it faulty, remove it; and which id it gets.

use crate::common::{device, place};
use crate::damaged_header::give_out_ids_up_to;
use crate::subject::*;
use crate::through_rust_and_c;
use pool_metadata::capi::*;
use pool_metadata::{DeviceInfo, DeviceState, MAX_DEVICE_ID, MAX_ERROR_LEN, MAX_NAME_LEN};

through_rust_and_c!(
    added_device_comes_back_whole,
    device_with_only_a_name_is_empty_otherwise,
    names_of_every_length_and_byte_are_kept,
    names_that_no_device_can_have_are_refused,
    names_that_no_device_has_are_not_found,
    every_state_is_kept,
    error_text_at_the_limit_is_kept_and_a_longer_one_refused,
    device_is_added_once_unless_it_is_faulty,
    faulty_device_that_is_removed_gives_its_id_back,
    lowest_free_id_by_number_is_given_out_first,
    last_id_is_given_out_and_none_after_it,
);

fn added_device_comes_back_whole<S: Store>() {
    let (directory, store) = new_store::<S>(&DEFAULTS);
    let given = DeviceInfo {
        name: b"base".to_vec(),
        device_id: 4711, // ignored, and so is the generation
        size: u64::MAX,
        parent_name: b"root".to_vec(),
        state: DeviceState::Suspended,
        error: b"it\0was\nnot me".to_vec(),
        generation: 1 << 20,
    };
    let mut added = given.clone();
    store.add(&mut added).unwrap();
    let expected = DeviceInfo {
        device_id: 1,
        generation: 1,
        ..given
    };
    assert_eq!(added, expected);
    assert_eq!(get(&store, "base"), expected);
    // The file alone tells the same.
    store.close().unwrap();
    let store: S = open(&directory.path().join("pool.db"));
    assert_eq!(devices(&store), [expected]);
    check(&store);
}

fn device_with_only_a_name_is_empty_otherwise<S: Store>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    store.add(&mut DeviceInfo::new("d")).unwrap();
    let expected = DeviceInfo {
        device_id: 1,
        generation: 1,
        ..DeviceInfo::new("d")
    };
    assert_eq!(get(&store, "d"), expected);
    assert_eq!(expected.state, DeviceState::Unknown);
}

fn names_of_every_length_and_byte_are_kept<S: Store>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    let mut expected = Vec::new();
    for len in [1, 2, 127, 128, 250, 251, 252, 510, MAX_NAME_LEN] {
        expected.push(vec![b'n'; len]);
        expected.push(vec![0xff; len]);
    }
    expected.extend((1..=255_u8).map(|byte| vec![byte]));
    expected.push(b"\x01\x80\xc3\x28 \n".to_vec());
    expected.sort();
    expected.dedup();
    for name in &expected {
        let mut new = DeviceInfo::new(name.as_slice());
        new.parent_name.clone_from(name);
        new.error.clone_from(name);
        new.size = u64::MAX;
        store.add(&mut new).unwrap();
        assert_eq!(get(&store, name), new);
    }
    assert_eq!(store.names().unwrap(), expected);
    check(&store);
}

fn names_that_no_device_can_have_are_refused<S: Store>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    let long = vec![b'n'; MAX_NAME_LEN + 1];
    let huge = vec![b'n'; 1 << 20];
    for (name, why) in [
        (&b""[..], "empty"),
        (&long, "511"),
        (&huge, "511"),
        (b"\0", "NUL"),
        (b"a\0b", "NUL"),
    ] {
        let mut new = DeviceInfo::new(name);
        let failure = refused(store.add(&mut new), PM_ERR_INVALID_NAME);
        failure.says(&["device name", why]);
        assert!(failure.message.len() < 500, "{failure:?}");
        assert_eq!((new.device_id, new.generation), (0, 0));
        // Looking one up is no mistake: no device has it.
        assert_not_found(&store, name);
        if !name.is_empty() {
            let mut child = device("child");
            child.parent_name = name.to_vec();
            refused(store.add(&mut child), PM_ERR_INVALID_NAME).says(&["parent name", why]);
        }
    }
    assert_eq!(store.stats().unwrap().commits, 0);
    assert_eq!(add(&store, "d").device_id, 1, "no refused one took an id");
    check(&store);
}

fn names_that_no_device_has_are_not_found<S: Store>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    add(&store, "base");
    add(&store, "gone");
    store.remove(b"gone").unwrap();
    for name in [&b"none"[..], b"bas", b"base\0", b"basement", b"gone"] {
        assert_not_found(&store, name);
    }
    assert_eq!(store.names().unwrap(), [b"base"]);
    check(&store);
}

#[track_caller]
fn assert_not_found<S: Store>(store: &S, name: &[u8]) {
    refused(look_up(store, name), PM_ERR_NOT_FOUND);
    refused(
        store.change_state(name, DeviceState::Removed),
        PM_ERR_NOT_FOUND,
    );
    refused(store.mark_faulty(name), PM_ERR_NOT_FOUND);
    refused(store.remove(name), PM_ERR_NOT_FOUND);
    refused(store.begin(name), PM_ERR_NOT_FOUND);
    let mut never = |_: &mut DeviceInfo| panic!("a callback without a device");
    refused(store.update(name, &mut never), PM_ERR_NOT_FOUND);
}

fn every_state_is_kept<S: Store>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    add(&store, "base");
    for state in DeviceState::ALL {
        let mut new = device(format!("{state:?}"));
        new.state = state;
        store.add(&mut new).unwrap();
        assert_eq!(get(&store, &new.name).state, state);
        store.change_state(b"base", state).unwrap();
        assert_eq!(get(&store, "base").state, state);
    }
    check(&store);
}

fn error_text_at_the_limit_is_kept_and_a_longer_one_refused<S: Store>() {
    let (directory, mut store) = new_store::<S>(&DEFAULTS);
    let text: Vec<u8> = (0..MAX_ERROR_LEN).map(|n| (n % 253) as u8).collect();
    let mut new = device("a");
    new.error.clone_from(&text);
    store.add(&mut new).unwrap();
    // A write that does not touch the text keeps it.
    store.change_state(b"a", DeviceState::Removing).unwrap();
    for _ in 0..2 {
        assert!(get(&store, "a").error == text);
        check(&store);
        store.close().unwrap();
        store = open(&directory.path().join("pool.db"));
    }
    new.name = b"b".to_vec();
    new.error.push(0);
    refused(store.add(&mut new), PM_ERR_TOO_LONG).says(&["1048577"]);
    assert_not_found(&store, b"b");
    check(&store);
}

fn device_is_added_once_unless_it_is_faulty<S: Store>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    add(&store, "base");
    let mut again = DeviceInfo::new("base");
    refused(store.add(&mut again), PM_ERR_ALREADY_EXISTS).says(&["\"base\""]);
    assert_eq!(again, DeviceInfo::new("base"));
    // Marking a faulty device again is no error.
    for _ in 0..2 {
        store.mark_faulty(b"base").unwrap();
        assert_eq!(get(&store, "base").state, DeviceState::Faulty);
    }
    again.size = 7;
    store.add(&mut again).unwrap();
    assert_eq!((again.device_id, get(&store, "base")), (2, again.clone()));
    // Faulty by its state alone: the id that it had is out of use all the same.
    store.change_state(b"base", DeviceState::Faulty).unwrap();
    store.add(&mut again).unwrap();
    assert_eq!(again.device_id, 3);
    assert_eq!(store.walk().unwrap().ids().unwrap().faulty, [1, 2]);
    check(&store);
}

fn faulty_device_that_is_removed_gives_its_id_back<S: Store>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    add(&store, "base");
    store.mark_faulty(b"base").unwrap();
    store.remove(b"base").unwrap();
    assert_eq!(add(&store, "next").device_id, 1);
    check(&store);
}

fn lowest_free_id_by_number_is_given_out_first<S: Store>() {
    let (_directory, store) = new_store::<S>(&DEFAULTS);
    for id in 1..=300 {
        assert_eq!(add(&store, id.to_string()).device_id, id);
    }
    let freed = [256, 9, 255, 100, 10, 99, 2, 300, 1];
    for id in freed {
        store.remove(id.to_string().as_bytes()).unwrap();
    }
    let mut in_order = freed;
    in_order.sort_unstable();
    for id in in_order {
        assert_eq!(add(&store, format!("again-{id}")).device_id, id);
    }
    assert_eq!(add(&store, "next").device_id, 301);
    check(&store);
}

fn last_id_is_given_out_and_none_after_it<S: Store>() {
    let (_directory, path) = place();
    open::<S>(&path).close().unwrap();
    give_out_ids_up_to(&path, MAX_DEVICE_ID - 2);
    let store = S::open(&path, &verifying(PM_VERIFY_NONE)).unwrap();
    assert_eq!(store.stats().unwrap().last_id, 0xff_fffc);
    assert_eq!(add(&store, "a").device_id, 0xff_fffd);
    assert_eq!(add(&store, "b").device_id, 0xff_fffe);
    for _ in 0..2 {
        let mut more = device("c");
        refused(store.add(&mut more), PM_ERR_IDS_EXHAUSTED).says(&["16777214"]);
        assert_eq!(
            (more.device_id, store.stats().unwrap().last_id),
            (0, 0xff_fffe)
        );
    }
    // A faulty device cannot be added again either, and stays what it was.
    store.mark_faulty(b"a").unwrap();
    refused(store.add(&mut device("a")), PM_ERR_IDS_EXHAUSTED);
    assert_eq!(get(&store, "a").device_id, 0xff_fffd);
    refused(store.add(&mut device("b")), PM_ERR_ALREADY_EXISTS);
    // An id that is given back is there to be given out.
    store.remove(b"a").unwrap();
    assert_eq!(add(&store, "c").device_id, 0xff_fffd);
    refused(store.add(&mut device("d")), PM_ERR_IDS_EXHAUSTED);
}

#[test]
fn numbers_of_c_and_rust_are_the_same() {
    assert_eq!(PM_MAX_NAME_LEN, MAX_NAME_LEN);
    assert_eq!(PM_MAX_ERROR_LEN, MAX_ERROR_LEN);
    assert_eq!(PM_MAX_DEVICE_ID, MAX_DEVICE_ID);
    assert_eq!(PM_STATE_FAULTY, DeviceState::Faulty as i32);
}
