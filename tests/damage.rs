//! Damaged rows: what each level of verification sees when a store is opened, and that nothing is
//! ever read wrong.

mod common;

use common::{assorted, check, device, raw};
use lmdb::{RwTransaction, Transaction, WriteFlags};
use pool_metadata::{DeviceState, Error, Finding, FindingKind, OpenOptions};
use pool_metadata::{PoolMetadata, Verify};
use raw::Tables;
use std::path::Path;
use Verify::{Full, None, Quick};

fn open(path: &Path, verify: Verify) -> Result<PoolMetadata, Error> {
    OpenOptions::new().verify(verify).open(path)
}

/// Damages a store, and holds that the levels from `seen_by` on refuse it, with that word in the
/// message.
fn seen_by(
    seen_by: Verify,
    word: &str,
    damage: impl FnOnce(&mut RwTransaction<'_>, &Tables),
) -> (tempfile::TempDir, std::path::PathBuf) {
    let (directory, path) = assorted();
    raw::edit(&path, damage);
    let before = std::fs::read(&path).unwrap();
    let order = |level| [None, Quick, Full].iter().position(|l| *l == level);
    for level in [None, Quick, Full] {
        let result = open(&path, level);
        if order(level) < order(seen_by) {
            result
                .expect("a level that does not look there")
                .close()
                .unwrap();
            continue;
        }
        let error = common::error_of(result);
        assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
        let message = error.to_string();
        assert!(message.contains(path.to_str().unwrap()), "{message}");
        // The levels look at different things first.
        assert!(level != seen_by || message.contains(word), "{message}");
    }
    assert!(
        std::fs::read(&path).unwrap() == before,
        "the file is as it was"
    );
    (directory, path)
}

/// Names that no call can write, in a file in which all else holds. Who takes a name for a text
/// that ends at a NUL would take the one device for the other.
#[test]
fn a_name_that_no_call_could_have_written() {
    let (_directory, path) = seen_by(Full, "device \"b\\x00x\"", |txn, tables| {
        raw::become_another(txn, tables, b"b", b"b\0x", |_| {});
    });
    misleads_nobody(&path, b"b\0x");
    let (_directory, path) = seen_by(Full, "device \"c\"", |txn, tables| {
        raw::become_another(txn, tables, b"c", b"c", |value| {
            // The lengths of the parent's name and of the error, the last two fields, are zero.
            let at = value.len() - 6;
            value.splice(at..at + 1, [3, b'a', 0, b'b']);
        });
    });
    misleads_nobody(&path, b"c");
    // What is no worse than before is taken.
    let (_directory, path) = assorted();
    raw::edit(&path, |txn, tables| {
        raw::become_another(txn, tables, b"b", b"b-x", |_| {});
    });
    let store = open(&path, Full).unwrap();
    check(&store);
    assert_eq!(store.get_device("b-x").unwrap().device_id, 2);
}

/// Opened without a look at the rows, it shows that name with all of its bytes, under that name
/// alone, and a check tells.
fn misleads_nobody(path: &Path, name: &[u8]) {
    let store = open(path, None).unwrap();
    assert_eq!(store.get_device(name).unwrap().name, name);
    assert!(store.get_device_names().unwrap().contains(&name.to_vec()));
    let cut = name.split(|byte| *byte == 0).next().unwrap();
    assert!(cut == name || matches!(store.get_device(cut), Err(Error::NotFound { .. })));
    assert_error!(store.verify(), Error::Corrupt { .. });
    assert!(store.get_device("a").is_ok());
    let report = store.check(9).unwrap();
    let damaged = |finding: &Finding| finding.kind == FindingKind::RecordDamaged;
    assert!(report.findings.iter().any(damaged), "{report:?}");
}

#[test]
fn a_flipped_bit_in_a_record() {
    let (_directory, path) = seen_by(Full, "device \"b\"", |txn, tables| {
        raw::rewrite(txn, tables.devices, b"b", |value| value[3] ^= 0x10);
    });
    // Opened without a look at the rows, that record is an error to everybody and the others are
    // fine.
    let store = open(&path, None).unwrap();
    let corrupt = |result: Result<(), Error>| {
        let error = common::error_of(result);
        assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
    };
    corrupt(store.get_device("b").map(drop));
    corrupt(store.get_device_names().map(drop));
    corrupt(store.verify());
    corrupt(store.change_device_state("b", DeviceState::Removed));
    corrupt(store.begin_update("b").map(drop));
    corrupt(store.mark_faulty("b"));
    corrupt(store.remove_device("b"));
    corrupt(store.add_device(&mut device("b")));
    let shown: Vec<_> = store
        .walk()
        .unwrap()
        .map(|row| row.map_err(|_| ()))
        .collect();
    assert_eq!(shown.len(), 2, "the walk ends with the error");
    assert!(shown[0].is_ok() && shown[1].is_err());
    assert_eq!(store.get_device("c").unwrap().device_id, 4);
    store
        .change_device_state("c", DeviceState::Removed)
        .unwrap();
}

#[test]
fn every_flipped_bit_of_every_row() {
    let (_directory, path) = assorted();
    let whole = std::fs::read(&path).unwrap();
    let mut rows = Vec::new();
    raw::edit(&path, |txn, tables| {
        for (table, name) in [(tables.devices, true), (tables.ids, false)] {
            for key in raw::keys(txn, table) {
                let len = txn.get(table, &key).unwrap().len();
                rows.push((name, key, len));
            }
        }
    });
    assert_eq!(rows.len(), 7);
    for (in_devices, key, len) in &rows {
        for bit in 0..len * 8 {
            std::fs::write(&path, &whole).unwrap();
            raw::edit(&path, |txn, tables| {
                let table = if *in_devices {
                    tables.devices
                } else {
                    tables.ids
                };
                raw::rewrite(txn, table, key, |value| value[bit / 8] ^= 1 << (bit % 8));
            });
            assert_error!(open(&path, Full), Error::Corrupt { .. });
        }
    }
}

#[test]
fn a_record_that_went_back_to_an_older_content() {
    let (_directory, path) = assorted();
    let mut old = Vec::new();
    raw::edit(&path, |txn, tables| {
        old = txn.get(tables.devices, b"b").unwrap().to_vec();
    });
    let store = open(&path, Full).unwrap();
    store
        .change_device_state("b", DeviceState::Removed)
        .unwrap();
    check(&store);
    store.close().unwrap();
    raw::edit(&path, |txn, tables| {
        raw::rewrite(txn, tables.devices, b"b", |value| *value = old);
    });
    open(&path, Quick).unwrap().close().unwrap();
    let error = common::error_of(open(&path, Full));
    assert!(error.to_string().contains("add up"), "{error}");
}

#[test]
fn rows_that_are_lost_or_too_many() {
    seen_by(Quick, "2 devices", |txn, tables| {
        txn.del(tables.devices, b"c", Option::None).unwrap();
    });
    seen_by(Quick, "4 devices", |txn, tables| {
        let mut value = txn.get(tables.devices, b"c").unwrap().to_vec();
        raw::seal(b"d", &mut value);
        txn.put(tables.devices, b"d", &value, WriteFlags::empty())
            .unwrap();
    });
    for key in [&b"\0\0\0\0\x03"[..], b"\x02\0\0\0\x05"] {
        seen_by(Quick, "3 id rows", move |txn, tables| {
            txn.del(tables.ids, &key, Option::None).unwrap();
        });
    }
    seen_by(Quick, "header", |txn, tables| {
        raw::rewrite(txn, tables.main, b"header", |value| {
            // Of the fields in order, all below 251 and so a byte each, the third is the number of
            // devices.
            let at = 10 + 2;
            assert_eq!(value[at], 3);
            value[at] = 4;
            raw::seal(b"header", value);
        });
    });
}

/// The id of a record is its second byte, as long as it is below 251.
fn set_id(txn: &mut RwTransaction<'_>, tables: &Tables, name: &[u8], id: u8) {
    raw::rewrite(txn, tables.devices, name, |value| {
        value[1] = id;
        raw::seal(name, value);
    });
}

#[test]
fn ids_that_cannot_be() {
    seen_by(Full, "id 2, which another device has", |txn, tables| {
        set_id(txn, tables, b"c", 2);
    });
    // Two records exchanged: each is sound, and so are the ids. Only the sum tells.
    seen_by(Full, "add up", |txn, tables| {
        set_id(txn, tables, b"b", 4);
        set_id(txn, tables, b"c", 2);
    });
    seen_by(Full, "id 3 is free, and a device has it", |txn, tables| {
        set_id(txn, tables, b"c", 3);
    });
    seen_by(Full, "id 99", |txn, tables| set_id(txn, tables, b"c", 99));
    seen_by(Full, "id 0", |txn, tables| set_id(txn, tables, b"c", 0));
    // An id of no device that is neither free nor faulty: it would never be given out again.
    seen_by(
        Full,
        "id 4 is taken, and no device has it",
        |txn, tables| {
            set_id(txn, tables, b"c", 5);
        },
    );
    let move_id_row = |from: [u8; 5], to: [u8; 5]| {
        move |txn: &mut RwTransaction<'_>, tables: &Tables| {
            txn.del(tables.ids, &from, Option::None).unwrap();
            let mut value = [0; 4];
            raw::seal(&to, &mut value);
            txn.put(tables.ids, &to, &value, WriteFlags::empty())
                .unwrap();
        }
    };
    let [free_3, free_2] = [[0, 0, 0, 0, 3], [0, 0, 0, 0, 2]];
    let [faulty_5, faulty_3] = [[2, 0, 0, 0, 5], [2, 0, 0, 0, 3]];
    seen_by(
        Full,
        "id 2 is free, and a device has it",
        move_id_row(free_3, free_2),
    );
    seen_by(
        Full,
        "id 3 is free and faulty",
        move_id_row(faulty_5, faulty_3),
    );
    seen_by(
        Full,
        "does not decode",
        move_id_row(free_3, [1, 0, 0, 0, 3]),
    );
}

#[test]
fn a_record_under_another_name() {
    seen_by(Full, "device \"d\"", |txn, tables| {
        let value = txn.get(tables.devices, b"c").unwrap().to_vec();
        txn.del(tables.devices, b"c", Option::None).unwrap();
        txn.put(tables.devices, b"d", &value, WriteFlags::empty())
            .unwrap();
    });
}
