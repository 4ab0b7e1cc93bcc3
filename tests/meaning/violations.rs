//! Violations of every kind, made behind the store's back: what a check finds, and what a repair
//! makes of them.

use crate::common::{assorted, raw};
use crate::fixing::{fixes, About};
use crate::subject::*;
use crate::through_rust_and_c;
use lmdb::{RwTransaction, Transaction, WriteFlags};
use pool_metadata::capi::*;
use pool_metadata::DeviceState;
use raw::Tables;

through_rust_and_c!(
    counter_of_the_header_is_found_and_fixed,
    digest_of_other_rows_is_found_and_fixed,
    damaged_header_is_written_anew,
    last_id_or_commit_that_went_back_is_set_to_the_highest,
    id_beyond_the_last_one_used_becomes_faulty,
    id_in_two_states_keeps_the_safer_one,
    id_that_no_device_has_becomes_faulty,
    row_of_no_id_is_removed,
    damaged_row_of_the_journal_is_removed,
    record_that_cannot_be_believed_is_not_touched,
    all_violations_are_fixed_at_once,
);

/// Field `n` of the header, all of which are below 251 and so a byte each: commit, last id,
/// devices, free, faulty.
fn set_header(txn: &mut RwTransaction<'_>, tables: &Tables, field: usize, to: u8) {
    raw::rewrite(txn, tables.main, b"header", |value| {
        value[10 + field] = to;
        raw::seal(b"header", value);
    });
}

fn put_id_row(txn: &mut RwTransaction<'_>, tables: &Tables, key: &[u8]) {
    let mut value = [0; 4];
    raw::seal(key, &mut value);
    txn.put(tables.ids, &key, &value, WriteFlags::empty())
        .unwrap();
}

fn del_id_row(txn: &mut RwTransaction<'_>, tables: &Tables, key: &[u8]) {
    txn.del(tables.ids, &key, None).unwrap();
}

const HEADER: i32 = PM_FIX_HEADER;
const NOTHING: i32 = PM_FIX_NOTHING;
/// What comes with every change to a row behind the store's back.
const DIGEST: About = (PM_FINDING_DIGEST, None, None, HEADER);
const COUNTERS: About = (PM_FINDING_COUNTERS, None, None, HEADER);

fn counter_of_the_header_is_found_and_fixed<S: Maintenance>() {
    for (field, to) in [(2, 4), (2, 0), (3, 3), (4, 1)] {
        fixes::<S>(&[COUNTERS], |txn, tables| {
            set_header(txn, tables, field, to)
        });
    }
}

fn digest_of_other_rows_is_found_and_fixed<S: Maintenance>() {
    // A record that went back to an older content: all that can be known is that something is not
    // as it was.
    fixes::<S>(&[DIGEST], |txn, tables| {
        raw::rewrite(txn, tables.devices, b"b", |value| {
            let state = value.len() - 4 - 3;
            value[state] = DeviceState::Removed as u8;
            raw::seal(b"b", value);
        });
    });
    fixes::<S>(
        &[
            COUNTERS,
            DIGEST,
            (PM_FINDING_LOST, None, Some(4), PM_FIX_MAKE_FAULTY),
        ],
        |txn, tables| txn.del(tables.devices, b"c", None).unwrap(),
    );
}

fn damaged_header_is_written_anew<S: Maintenance>() {
    let expected = [(PM_FINDING_HEADER_DAMAGED, None, None, HEADER)];
    let (_directory, path) = fixes::<S>(&expected, |txn, tables| {
        raw::rewrite(txn, tables.main, b"header", |value| value[12] ^= 1);
    });
    let store = open::<S>(&path);
    assert_eq!(get(&store, "c").device_id, 4);
    fixes::<S>(&expected, |txn, tables| {
        txn.del(tables.main, b"header", None).unwrap();
    });
    // Its very first bytes.
    fixes::<S>(&expected, |txn, tables| {
        raw::rewrite(txn, tables.main, b"header", |value| value[0] ^= 1);
    });
}

fn last_id_or_commit_that_went_back_is_set_to_the_highest<S: Maintenance>() {
    fixes::<S>(
        &[
            (PM_FINDING_RECORD_ID, Some("c"), Some(4), HEADER),
            (PM_FINDING_ID_ROW_OUTSIDE, None, Some(6), HEADER),
            (PM_FINDING_ID_ROW_OUTSIDE, None, Some(5), HEADER),
        ],
        |txn, tables| set_header(txn, tables, 1, 3),
    );
    let commit = |txn: &mut RwTransaction<'_>, tables: &Tables| set_header(txn, tables, 0, 3);
    let generation = |name| (PM_FINDING_RECORD_GENERATION, Some(name), None, HEADER);
    let removal = (PM_FINDING_JOURNAL_ROW, None, None, HEADER);
    let expected = [generation("a"), generation("c"), removal, removal];
    let (_directory, path) = fixes::<S>(&expected, commit);
    let store = open::<S>(&path);
    let newest = add(&store, "newest").generation;
    assert!(devices(&store)
        .iter()
        .all(|device| device.generation <= newest));
}

fn id_beyond_the_last_one_used_becomes_faulty<S: Maintenance>() {
    let lost = |id| (PM_FINDING_LOST, None, Some(id), PM_FIX_MAKE_FAULTY);
    fixes::<S>(&[lost(7), lost(8), lost(9)], |txn, tables| {
        set_header(txn, tables, 1, 9);
    });
}

fn id_in_two_states_keeps_the_safer_one<S: Maintenance>() {
    let remove = PM_FIX_REMOVE_ID_ROW;
    fixes::<S>(
        &[
            COUNTERS,
            DIGEST,
            (PM_FINDING_FREE_AND_OWNED, None, Some(2), remove),
        ],
        |txn, tables| put_id_row(txn, tables, &[0, 0, 0, 0, 2]),
    );
    fixes::<S>(
        &[
            COUNTERS,
            DIGEST,
            (PM_FINDING_FREE_AND_OWNED, None, Some(1), remove),
        ],
        |txn, tables| put_id_row(txn, tables, &[0, 0, 0, 0, 1]),
    );
    fixes::<S>(
        &[
            COUNTERS,
            DIGEST,
            (PM_FINDING_FREE_AND_FAULTY, None, Some(5), remove),
        ],
        |txn, tables| put_id_row(txn, tables, &[0, 0, 0, 0, 5]),
    );
}

fn id_that_no_device_has_becomes_faulty<S: Maintenance>() {
    for (key, id) in [([0, 0, 0, 0, 3], 3), ([2, 0, 0, 0, 5], 5)] {
        let lost = (PM_FINDING_LOST, None, Some(id), PM_FIX_MAKE_FAULTY);
        let (_directory, path) = fixes::<S>(&[COUNTERS, DIGEST, lost], |txn, tables| {
            del_id_row(txn, tables, &key);
        });
        let ids = open::<S>(&path).walk().unwrap().ids().unwrap();
        assert!(ids.faulty.contains(&id), "{ids:?}");
    }
}

fn row_of_no_id_is_removed<S: Maintenance>() {
    let damaged = |id| (PM_FINDING_ID_ROW_DAMAGED, None, id, PM_FIX_REMOVE_ID_ROW);
    let outside = |id| {
        (
            PM_FINDING_ID_ROW_OUTSIDE,
            None,
            Some(id),
            PM_FIX_REMOVE_ID_ROW,
        )
    };
    let lost = (PM_FINDING_LOST, None, Some(3), PM_FIX_MAKE_FAULTY);
    fixes::<S>(
        &[damaged(Some(3)), COUNTERS, DIGEST, lost],
        |txn, tables| {
            raw::rewrite(txn, tables.ids, &[0, 0, 0, 0, 3], |value| value[1] ^= 4);
        },
    );
    fixes::<S>(&[damaged(Some(2)), DIGEST], |txn, tables| {
        put_id_row(txn, tables, &[1, 0, 0, 0, 2]);
    });
    fixes::<S>(&[damaged(None), DIGEST], |txn, tables| {
        put_id_row(txn, tables, b"something else");
    });
    fixes::<S>(&[outside(0), outside(0xff_ffff), DIGEST], |txn, tables| {
        put_id_row(txn, tables, &[0, 0, 0, 0, 0]);
        put_id_row(txn, tables, &[2, 0, 0xff, 0xff, 0xff]);
    });
    // A row of an id that could be is believed, and the ids before it belong to no device.
    let beyond = (PM_FINDING_ID_ROW_OUTSIDE, None, Some(9), HEADER);
    let lost = |id| (PM_FINDING_LOST, None, Some(id), PM_FIX_MAKE_FAULTY);
    fixes::<S>(
        &[beyond, COUNTERS, DIGEST, lost(7), lost(8)],
        |txn, tables| {
            put_id_row(txn, tables, &[2, 0, 0, 0, 9]);
        },
    );
}

fn damaged_row_of_the_journal_is_removed<S: Maintenance>() {
    let removed = (
        PM_FINDING_JOURNAL_ROW,
        None,
        None,
        PM_FIX_REMOVE_JOURNAL_ROW,
    );
    let removal_of = |commit| [3, 0, 0, 0, 0, 0, 0, 0, commit, 0, 0, 0, 0];
    let (_directory, path) = fixes::<S>(&[removed, COUNTERS, DIGEST], |txn, tables| {
        let journal = tables.journal.unwrap();
        raw::rewrite(txn, journal, &removal_of(8), |value| value[1] ^= 1);
    });
    raw::edit(&path, |txn, tables| {
        assert_eq!(raw::keys(txn, tables.journal.unwrap()), [removal_of(9)]);
    });
    fixes::<S>(&[removed, COUNTERS, DIGEST], |txn, tables| {
        let journal = tables.journal.unwrap();
        txn.put(journal, b"something else", b"x", WriteFlags::empty())
            .unwrap();
    });
    // A row that was lost: all that can be known is that it is not there.
    fixes::<S>(&[COUNTERS, DIGEST], |txn, tables| {
        txn.del(tables.journal.unwrap(), &removal_of(8), None)
            .unwrap();
    });
}

fn record_that_cannot_be_believed_is_not_touched<S: Maintenance>() {
    let lost = |id| (PM_FINDING_LOST, None, Some(id), PM_FIX_MAKE_FAULTY);
    fixes::<S>(
        &[
            (PM_FINDING_RECORD_DAMAGED, Some("b"), None, NOTHING),
            DIGEST,
            lost(2),
        ],
        |txn, tables| raw::rewrite(txn, tables.devices, b"b", |value| value[3] ^= 1),
    );
    fixes::<S>(
        &[
            (PM_FINDING_SHARED_ID, Some("b"), Some(2), NOTHING),
            (PM_FINDING_SHARED_ID, Some("c"), Some(2), NOTHING),
            DIGEST,
            lost(4),
        ],
        |txn, tables| raw::set_id(txn, tables, b"c", 2),
    );
    fixes::<S>(
        &[
            (PM_FINDING_RECORD_ID, Some("c"), Some(0), NOTHING),
            DIGEST,
            lost(4),
        ],
        |txn, tables| raw::set_id(txn, tables, b"c", 0),
    );
    // An id that was never given out, and could be.
    let expected = [
        (PM_FINDING_RECORD_ID, Some("c"), Some(8), HEADER),
        DIGEST,
        lost(4),
        lost(7),
    ];
    fixes::<S>(&expected, |txn, tables| raw::set_id(txn, tables, b"c", 8));
    // A commit that no store ever gets to.
    fixes::<S>(
        &[
            (PM_FINDING_RECORD_GENERATION, Some("b"), None, NOTHING),
            DIGEST,
        ],
        |txn, tables| {
            let key = b"b";
            let mut value = txn.get(tables.devices, key).unwrap().to_vec();
            // Version, id, size 4096 (251 and two bytes), then the generation.
            assert_eq!(value[2], 251);
            value.splice(5..6, [253, 0, 0, 0, 0, 0, 0, 0, 0x80]);
            raw::seal(key, &mut value);
            txn.put(tables.devices, key, &value, WriteFlags::empty())
                .unwrap();
        },
    );
}

fn all_violations_are_fixed_at_once<S: Maintenance>() {
    let (_directory, path) = assorted();
    raw::edit(&path, |txn, tables| {
        raw::set_id(txn, tables, b"c", 3);
        put_id_row(txn, tables, &[0, 0, 0, 0, 2]);
        del_id_row(txn, tables, &[2, 0, 0, 0, 5]);
        put_id_row(txn, tables, b"nonsense");
        set_header(txn, tables, 1, 2);
        set_header(txn, tables, 2, 77);
    });
    let repaired = S::repair(&path, false, None).unwrap();
    assert_eq!(repaired.left, 0, "{repaired:?}");
    let store = open::<S>(&path);
    check(&store);
    let ids = store.walk().unwrap().ids().unwrap();
    assert_eq!(
        (ids.last_id, ids.free, ids.faulty),
        (6, vec![6], vec![1, 4, 5])
    );
    assert_eq!(get(&store, "c").device_id, 3);
}
