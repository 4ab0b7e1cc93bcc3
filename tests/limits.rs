//! The ends of the ranges: ids, names, texts, sizes.

mod common;

use common::{add, check, device, error_of, place, raw};
use pool_metadata::{
    DeviceInfo, DeviceState, Error, OpenOptions, PoolMetadata, Verify, MAX_DEVICE_ID,
    MAX_ERROR_LEN, MAX_NAME_LEN,
};
use std::path::Path;

/// Makes a closed, empty store one that has given out ids 1 to `last`. Its rows do not add up any
/// more.
fn give_out_ids_up_to(path: &Path, last: u32) {
    raw::edit(path, |txn, tables| {
        raw::rewrite(txn, tables.main, b"header", |header| {
            // Magic, format, a byte for commit 0; then the last id, which is 0 as well so far.
            assert_eq!(header[10..12], [0, 0]);
            let mut long = vec![252];
            long.extend(last.to_le_bytes());
            header.splice(11..12, long);
            raw::seal(b"header", header);
        });
    });
}

#[test]
fn the_last_id_is_given_out_and_none_after_it() {
    let (_directory, path) = place();
    PoolMetadata::open(&path).unwrap().close().unwrap();
    give_out_ids_up_to(&path, MAX_DEVICE_ID - 2);
    let mut lax = OpenOptions::new();
    let store = lax.verify(Verify::None).open(&path).unwrap();
    assert_eq!(store.stats().unwrap().last_id, 0xff_fffc);
    assert_eq!(add(&store, "a").device_id, 0xff_fffd);
    assert_eq!(add(&store, "b").device_id, 0xff_fffe);
    for _ in 0..2 {
        let mut more = device("c");
        let error = error_of(store.add_device(&mut more));
        assert!(matches!(error, Error::IdsExhausted), "{error:?}");
        assert_eq!(
            (more.device_id, store.stats().unwrap().last_id),
            (0, 0xff_fffe)
        );
    }
    // A faulty device cannot be added again either, and stays what it was.
    store.mark_faulty("a").unwrap();
    assert_error!(store.add_device(&mut device("a")), Error::IdsExhausted);
    assert_eq!(store.get_device("a").unwrap().device_id, 0xff_fffd);
    assert_error!(
        store.add_device(&mut device("b")),
        Error::AlreadyExists { .. }
    );
    // What is given back is there to be given out.
    store.remove_device("a").unwrap();
    assert_eq!(add(&store, "c").device_id, 0xff_fffd);
    assert_error!(store.add_device(&mut device("d")), Error::IdsExhausted);
}

#[test]
fn a_header_beyond_the_last_id_is_damage() {
    let (_directory, path) = place();
    PoolMetadata::open(&path).unwrap().close().unwrap();
    give_out_ids_up_to(&path, MAX_DEVICE_ID + 1);
    for verify in [Verify::Quick, Verify::Full] {
        let error = error_of(OpenOptions::new().verify(verify).open(&path));
        assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
    }
    if let Ok(store) = OpenOptions::new().verify(Verify::None).open(&path) {
        let error = error_of(store.add_device(&mut device("a")));
        assert!(
            matches!(error, Error::IdsExhausted | Error::Corrupt { .. }),
            "{error:?}"
        );
    }
}

#[test]
fn the_lowest_free_id_is_a_number_and_not_a_string() {
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    for id in 1..=300 {
        assert_eq!(add(&store, id.to_string()).device_id, id);
    }
    let freed = [256, 9, 255, 100, 10, 99, 2, 300, 1];
    for id in freed {
        store.remove_device(id.to_string()).unwrap();
    }
    let mut in_order = freed;
    in_order.sort_unstable();
    for id in in_order {
        assert_eq!(add(&store, format!("again-{id}")).device_id, id);
    }
    assert_eq!(add(&store, "next").device_id, 301);
    check(&store);
}

#[test]
fn names_of_every_length_and_every_byte() {
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    let mut expected = Vec::new();
    for len in [1, 2, 127, 128, 250, 251, 252, 510, MAX_NAME_LEN] {
        expected.push(vec![b'n'; len]);
        expected.push(vec![0xff; len]);
    }
    expected.extend((1..=255_u8).map(|byte| vec![byte]));
    expected.sort();
    expected.dedup();
    for name in &expected {
        let mut new = DeviceInfo::new(name.as_slice());
        new.parent_name.clone_from(name);
        new.error.clone_from(name);
        new.size = u64::MAX;
        store.add_device(&mut new).unwrap();
        assert_eq!(store.get_device(name).unwrap(), new);
    }
    assert_eq!(store.get_device_names().unwrap(), expected);
    check(&store);
}

#[test]
fn names_that_no_device_can_have() {
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    let long = vec![b'n'; MAX_NAME_LEN + 1];
    let huge = vec![b'n'; 1 << 20];
    for (name, why) in [
        (&b""[..], "empty"),
        (&long, "511"),
        (&huge, "511"),
        (b"\0", "NUL"),
        (b"a\0b", "NUL"),
    ] {
        let error = error_of(store.add_device(&mut DeviceInfo::new(name)));
        assert!(
            matches!(
                error,
                Error::InvalidName {
                    what: "device name",
                    ..
                }
            ),
            "{error:?}"
        );
        let message = error.to_string();
        assert!(message.contains(why) && message.len() < 500, "{message}");
        // To look one up is no mistake: it is not there.
        assert_error!(store.get_device(name), Error::NotFound { .. });
        assert_error!(store.remove_device(name), Error::NotFound { .. });
        assert_error!(store.mark_faulty(name), Error::NotFound { .. });
        assert_error!(store.begin_update(name), Error::NotFound { .. });
        let state = DeviceState::Removed;
        assert_error!(
            store.change_device_state(name, state),
            Error::NotFound { .. }
        );
        if !name.is_empty() {
            let mut child = device("child");
            child.parent_name = name.to_vec();
            let error = error_of(store.add_device(&mut child));
            assert!(
                matches!(
                    error,
                    Error::InvalidName {
                        what: "parent name",
                        ..
                    }
                ),
                "{error:?}"
            );
        }
    }
    assert_eq!(store.stats().unwrap().commits, 0);
    check(&store);
}

#[test]
fn a_text_at_the_limit_is_kept_and_a_longer_one_refused() {
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    let text: Vec<u8> = (0..MAX_ERROR_LEN).map(|n| (n % 253) as u8).collect();
    let mut new = device("a");
    new.error.clone_from(&text);
    store.add_device(&mut new).unwrap();
    store
        .change_device_state("a", DeviceState::Removing)
        .unwrap();
    assert!(store.get_device("a").unwrap().error == text);
    check(&store);
    new.name = b"b".to_vec();
    new.error.push(0);
    let error = error_of(store.add_device(&mut new));
    assert!(matches!(&error, Error::TooLong { len, .. } if *len == MAX_ERROR_LEN + 1));
    assert!(error.to_string().contains("1048577"), "{error}");
    assert_error!(store.get_device("b"), Error::NotFound { .. });
    check(&store);
}

/// Gives the header other numbers: commit, last id, devices, free ids, faulty ids.
fn set_header(path: &Path, change: impl FnOnce(&mut (u64, u32, u32, u32, u32, u128))) {
    raw::edit(path, |txn, tables| {
        raw::rewrite(txn, tables.main, b"header", |value| {
            let (mut fields, _) =
                bincode::serde::decode_from_slice(&value[10..], bincode::config::standard())
                    .unwrap();
            change(&mut fields);
            value.truncate(10);
            value.extend(
                bincode::serde::encode_to_vec(fields, bincode::config::standard()).unwrap(),
            );
            value.extend([0; 4]);
            raw::seal(b"header", value);
        });
    });
}

#[test]
fn counters_that_would_pass_their_ends_are_damage() {
    type Change = fn(&mut (u64, u32, u32, u32, u32, u128));
    type Write = fn(&PoolMetadata) -> Result<(), pool_metadata::Error>;
    let cases: [(&str, Change, Write); 5] = [
        ("commit", |h| h.0 = u64::MAX, |s| s.mark_faulty("a")),
        (
            "too many devices",
            |h| h.2 = u32::MAX,
            |s| s.add_device(&mut device("new")),
        ),
        ("no devices", |h| h.2 = 0, |s| s.remove_device("a")),
        ("free ids", |h| h.3 = u32::MAX, |s| s.remove_device("a")),
        ("faulty ids", |h| h.4 = u32::MAX, |s| s.mark_faulty("a")),
    ];
    for (what, change, write) in cases {
        let (_directory, path) = place();
        let store = PoolMetadata::open(&path).unwrap();
        add(&store, "a");
        add(&store, "gone");
        store.remove_device("gone").unwrap();
        store.close().unwrap();
        set_header(&path, change);
        let store = OpenOptions::new().verify(Verify::None).open(&path).unwrap();
        let before = store.stats().unwrap().commits;
        let error = error_of(write(&store));
        assert!(matches!(error, Error::Corrupt { .. }), "{what}: {error:?}");
        assert_eq!(store.stats().unwrap().commits, before, "{what}");
        assert!(store.get_device("a").is_ok(), "{what}");
    }
}
