//! Damaged rows: what each level of verification sees when a store is opened, and that nothing is
//! ever read wrong.

use crate::common::{assorted, device, raw};
use crate::subject::*;
use crate::through_rust_and_c;
use lmdb::{RwTransaction, Transaction, WriteFlags};
use pool_metadata::capi::*;
use pool_metadata::DeviceState;
use raw::Tables;
use std::path::{Path, PathBuf};
use PM_VERIFY_FULL as FULL;
use PM_VERIFY_NONE as NONE;
use PM_VERIFY_QUICK as QUICK;

through_rust_and_c!(
    name_that_no_call_could_have_written_is_damage,
    flipped_bit_in_a_record_is_an_error_to_every_call_that_meets_it,
    every_flipped_bit_of_every_row_is_found,
    record_that_went_back_to_an_older_content_is_found,
    row_that_is_lost_or_too_many_is_found,
    id_that_cannot_be_is_found,
    record_under_another_name_is_found,
    journal_row_that_cannot_be_is_found,
);

pub fn open_at<S: Store>(path: &Path, verify: i32) -> crate::c::types::Outcome<S> {
    S::open(path, &verifying(verify))
}

/// Damages a store and holds that the levels from `level` on refuse it, that one with `word` in
/// the message, and that those below it do not look there.
fn seen_at<S: Store>(
    level: i32,
    word: &str,
    damage: impl FnOnce(&mut RwTransaction<'_>, &Tables),
) -> (tempfile::TempDir, PathBuf) {
    let (directory, path) = assorted();
    raw::edit(&path, damage);
    let before = std::fs::read(&path).unwrap();
    for verify in NONE..=FULL {
        let opened = open_at::<S>(&path, verify);
        if verify < level {
            opened.unwrap().close().unwrap();
            continue;
        }
        let failure = refused(opened, PM_ERR_CORRUPT);
        failure.says(&[path.to_str().unwrap()]);
        // A level above it may meet something else first.
        if verify == level {
            failure.says(&[word]);
        }
    }
    let after = std::fs::read(&path).unwrap();
    assert!(after == before, "the file has changed");
    (directory, path)
}

/// In a file in which all else holds. A caller that takes a name for a text that ends at a NUL
/// would take one device for another.
fn name_that_no_call_could_have_written_is_damage<S: Maintenance>() {
    let (_directory, path) = seen_at::<S>(FULL, "device \"b\\x00x\"", |txn, tables| {
        raw::become_another(txn, tables, b"b", b"b\0x", |_| {});
    });
    assert_name_is_not_cut::<S>(&path, b"b\0x");
    let (_directory, path) = seen_at::<S>(FULL, "device \"c\"", |txn, tables| {
        raw::become_another(txn, tables, b"c", b"c", |value| {
            // The lengths of the parent's name and of the error, the last two fields, are zero.
            let at = value.len() - 6;
            value.splice(at..at + 1, [3, b'a', 0, b'b']);
        });
    });
    assert_name_is_not_cut::<S>(&path, b"c");
    // A name that a call could have written is taken.
    let (_directory, path) = assorted();
    raw::edit(&path, |txn, tables| {
        raw::become_another(txn, tables, b"b", b"b-x", |_| {});
    });
    let store: S = open(&path);
    check(&store);
    assert_eq!(get(&store, "b-x").device_id, 2);
}

/// Opened without a look at the rows, the store shows that name with all of its bytes, under that
/// name alone, and a verification finds it.
fn assert_name_is_not_cut<S: Maintenance>(path: &Path, name: &[u8]) {
    let store: S = open_at(path, NONE).unwrap();
    assert_eq!(get(&store, name).name, name);
    assert!(store.names().unwrap().contains(&name.to_vec()));
    let cut = name.split(|byte| *byte == 0).next().unwrap();
    if cut != name {
        refused(look_up(&store, cut), PM_ERR_NOT_FOUND);
    }
    refused(store.verify(), PM_ERR_CORRUPT);
    get(&store, "a");
    let report = store.check(9).unwrap();
    let mut kinds = report.findings.iter().map(|finding| finding.kind);
    assert!(kinds.any(|kind| kind == PM_FINDING_RECORD_DAMAGED));
    store.close().unwrap();
}

fn flipped_bit_in_a_record_is_an_error_to_every_call_that_meets_it<S: Store>() {
    let (_directory, path) = seen_at::<S>(FULL, "device \"b\"", |txn, tables| {
        raw::rewrite(txn, tables.devices, b"b", |value| value[3] ^= 0x10);
    });
    // Opened without a look at the rows, the other records are fine.
    let store: S = open_at(&path, NONE).unwrap();
    let outcomes = [
        store.get(b"b").map(drop),
        store.read(b"b").map(drop),
        store.names().map(drop),
        store.verify(),
        store.change_state(b"b", DeviceState::Removed),
        store.begin(b"b").map(drop),
        store.mark_faulty(b"b"),
        store.remove(b"b"),
        store.add(&mut device("b")),
        store.walk_devices(&mut |device| {
            assert_eq!(device.name, b"a", "what comes before it is shown");
            Ok(())
        }),
    ];
    for outcome in outcomes {
        refused(outcome, PM_ERR_CORRUPT).says(&[path.to_str().unwrap(), "\"b\""]);
    }
    let mut walk = store.walk().unwrap();
    assert_eq!(walk.next().unwrap().unwrap().name, b"a");
    refused(walk.next().unwrap(), PM_ERR_CORRUPT);
    assert!(walk.next().is_none(), "the walk ends with the error");
    assert_eq!(get(&store, "c").device_id, 4);
    store.change_state(b"c", DeviceState::Removed).unwrap();
}

fn every_flipped_bit_of_every_row_is_found<S: Store>() {
    let (_directory, path) = assorted();
    let whole = std::fs::read(&path).unwrap();
    let mut rows = Vec::new();
    raw::edit(&path, |txn, tables| {
        for (table, in_devices) in [(tables.devices, true), (tables.ids, false)] {
            for key in raw::keys(txn, table) {
                let len = txn.get(table, &key).unwrap().len();
                rows.push((in_devices, key, len));
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
            refused(open_at::<S>(&path, FULL), PM_ERR_CORRUPT);
        }
    }
}

fn record_that_went_back_to_an_older_content_is_found<S: Store>() {
    let (_directory, path) = assorted();
    let mut old = Vec::new();
    raw::edit(&path, |txn, tables| {
        old = txn.get(tables.devices, b"b").unwrap().to_vec();
    });
    let store: S = open(&path);
    store.change_state(b"b", DeviceState::Removed).unwrap();
    check(&store);
    store.close().unwrap();
    raw::edit(&path, |txn, tables| {
        raw::rewrite(txn, tables.devices, b"b", |value| *value = old);
    });
    open_at::<S>(&path, QUICK).unwrap().close().unwrap();
    refused(open_at::<S>(&path, FULL), PM_ERR_CORRUPT).says(&["add up"]);
}

fn row_that_is_lost_or_too_many_is_found<S: Store>() {
    seen_at::<S>(QUICK, "\"devices\" has 2 rows", |txn, tables| {
        txn.del(tables.devices, b"c", None).unwrap();
    });
    seen_at::<S>(QUICK, "\"devices\" has 4 rows", |txn, tables| {
        let mut value = txn.get(tables.devices, b"c").unwrap().to_vec();
        raw::seal(b"d", &mut value);
        txn.put(tables.devices, b"d", &value, WriteFlags::empty())
            .unwrap();
    });
    for key in [&b"\0\0\0\0\x03"[..], b"\x02\0\0\0\x05"] {
        seen_at::<S>(QUICK, "\"ids\" has 3 rows", move |txn, tables| {
            txn.del(tables.ids, &key, None).unwrap();
        });
    }
    seen_at::<S>(QUICK, "\"journal\" has 1 rows", |txn, tables| {
        txn.del(tables.journal.unwrap(), &removal_of(8), None)
            .unwrap();
    });
    seen_at::<S>(QUICK, "header", |txn, tables| {
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

fn id_that_cannot_be_is_found<S: Store>() {
    seen_at::<S>(FULL, "id 2, which another device has", |txn, tables| {
        raw::set_id(txn, tables, b"c", 2);
    });
    // Two records exchanged: each is sound, and so are the ids. Only the sum tells.
    seen_at::<S>(FULL, "add up", |txn, tables| {
        raw::set_id(txn, tables, b"b", 4);
        raw::set_id(txn, tables, b"c", 2);
    });
    seen_at::<S>(FULL, "id 3 is free, and a device has it", |txn, tables| {
        raw::set_id(txn, tables, b"c", 3);
    });
    seen_at::<S>(FULL, "id 99", |txn, tables| {
        raw::set_id(txn, tables, b"c", 99)
    });
    seen_at::<S>(FULL, "id 0", |txn, tables| {
        raw::set_id(txn, tables, b"c", 0)
    });
    // An id of no device that is neither free nor faulty: it would never be given out again.
    seen_at::<S>(
        FULL,
        "id 4 is taken, and no device has it",
        |txn, tables| {
            raw::set_id(txn, tables, b"c", 5);
        },
    );
    let move_id_row = |from: [u8; 5], to: [u8; 5]| {
        move |txn: &mut RwTransaction<'_>, tables: &Tables| {
            txn.del(tables.ids, &from, None).unwrap();
            let mut value = [0; 4];
            raw::seal(&to, &mut value);
            txn.put(tables.ids, &to, &value, WriteFlags::empty())
                .unwrap();
        }
    };
    let [free_3, free_2] = [[0, 0, 0, 0, 3], [0, 0, 0, 0, 2]];
    let [faulty_5, faulty_3] = [[2, 0, 0, 0, 5], [2, 0, 0, 0, 3]];
    seen_at::<S>(
        FULL,
        "id 2 is free, and a device has it",
        move_id_row(free_3, free_2),
    );
    seen_at::<S>(
        FULL,
        "id 3 is free and faulty",
        move_id_row(faulty_5, faulty_3),
    );
    seen_at::<S>(
        FULL,
        "does not decode",
        move_id_row(free_3, [1, 0, 0, 0, 3]),
    );
}

/// The key of the first removal of a commit. Those in the store are of 8 and 9, and 10 is the last.
fn removal_of(commit: u8) -> [u8; 13] {
    [3, 0, 0, 0, 0, 0, 0, 0, commit, 0, 0, 0, 0]
}

fn journal_row_that_cannot_be_is_found<S: Store>() {
    let move_to = |key: [u8; 13], change: fn(&mut Vec<u8>)| {
        move |txn: &mut RwTransaction<'_>, tables: &Tables| {
            let (journal, old) = (tables.journal.unwrap(), removal_of(8));
            let mut value = txn.get(journal, &old).unwrap().to_vec();
            txn.del(journal, &old, None).unwrap();
            change(&mut value);
            raw::seal(&key, &mut value);
            txn.put(journal, &key, &value, WriteFlags::empty()).unwrap();
        }
    };
    let mut intent = removal_of(1);
    intent[0] = 2;
    let mut of_no_kind = removal_of(8);
    of_no_kind[0] = 4;
    let refused = "does not decode";
    seen_at::<S>(FULL, refused, move_to(of_no_kind, |_| {}));
    seen_at::<S>(FULL, refused, move_to(removal_of(8), |value| value[0] = 2));
    // A name that no device can have, or none.
    seen_at::<S>(FULL, refused, move_to(removal_of(8), |value| value[4] = 0));
    seen_at::<S>(FULL, "commit 11", move_to(removal_of(11), |_| {}));
    seen_at::<S>(
        FULL,
        "intent 1",
        move_to(intent, |value| {
            *value = b"\x01\x01\x01\x01\x01\x01n\0\0\0\0".to_vec();
        }),
    );
    // Sound in itself, and not the one that was written.
    seen_at::<S>(FULL, "add up", move_to(removal_of(7), |_| {}));
    seen_at::<S>(
        FULL,
        "add up",
        move_to(removal_of(8), |value| value[1] += 1),
    );
}

fn record_under_another_name_is_found<S: Store>() {
    seen_at::<S>(FULL, "device \"d\"", |txn, tables| {
        let value = txn.get(tables.devices, b"c").unwrap().to_vec();
        txn.del(tables.devices, b"c", None).unwrap();
        txn.put(tables.devices, b"d", &value, WriteFlags::empty())
            .unwrap();
    });
}
