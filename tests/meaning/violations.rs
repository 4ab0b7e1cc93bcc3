//! Violations of every kind, made behind the store's back: what a check finds, and what a repair
//! makes of them.

use crate::common::{assorted, raw};
use crate::subject::*;
use crate::through_rust_and_c;
use lmdb::{RwTransaction, Transaction, WriteFlags};
use pool_metadata::capi::*;
use pool_metadata::{DeviceInfo, DeviceState};
use raw::Tables;
use std::fs;
use std::path::{Path, PathBuf};

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

/// What a finding is about, without its words: kind, name, id, fix.
type About = (i32, Option<&'static str>, Option<u32>, i32);

fn about(report: &Report) -> Vec<(i32, Option<String>, Option<u32>, i32)> {
    let about = |finding: &Finding| {
        let name = finding.name.as_ref();
        let name = name.map(|name| String::from_utf8_lossy(name).into_owned());
        (finding.kind, name, finding.device_id, finding.fix)
    };
    report.findings.iter().map(about).collect()
}

/// The devices whose records can be read. A walk would end at a damaged one, so their names come
/// from an unchecked backup.
fn records<S: Maintenance>(path: &Path) -> Vec<DeviceInfo> {
    let store = S::open(path, &verifying(PM_VERIFY_NONE)).unwrap();
    let copy = path.with_extension("names");
    store.backup(&copy, PM_BACKUP_UNCHECKED).unwrap();
    let mut names = Vec::new();
    raw::edit(&copy, |txn, tables| names = raw::keys(txn, tables.devices));
    fs::remove_file(&copy).unwrap();
    fs::remove_file(raw::lock_path(&copy)).unwrap();
    let found = names.iter().filter_map(|name| store.get(name).ok());
    found.collect()
}

/// Damages a store; holds that a check finds `expected`, that a repair leaves what has no fix and
/// nothing else, and that it keeps all records that could be read. Returns the repaired store.
fn fixes<S: Maintenance>(
    expected: &[About],
    damage: impl FnOnce(&mut RwTransaction<'_>, &Tables),
) -> (tempfile::TempDir, PathBuf) {
    let (directory, path) = assorted();
    raw::edit(&path, damage);
    let expected: Vec<_> = expected
        .iter()
        .map(|(kind, name, id, fix)| (*kind, name.map(str::to_owned), *id, *fix))
        .collect();
    let mut left = expected.clone();
    left.retain(|(.., fix)| *fix == PM_FIX_NOTHING);
    let report = assert_found::<S>(&path, &expected, left.len());
    let header_is_damaged = expected[0].0 == PM_FINDING_HEADER_DAMAGED;
    let before = (!header_is_damaged).then(|| records::<S>(&path));

    let repaired = S::repair(&path, false, None).unwrap();
    assert_eq!(repaired.findings, report.findings);
    assert_eq!(repaired.left, left.len() as u64);
    assert_eq!(about(&S::check_file(&path, 1000).unwrap()), left);
    match &repaired.backup {
        Some(backup) => {
            assert_eq!(*backup, with(&path, ".before-repair-1"));
            assert_eq!(about(&S::check_file(backup, 1000).unwrap()), expected);
        }
        None => assert_eq!(left.len(), expected.len()),
    }
    let after = records::<S>(&path);
    assert!(before.is_none_or(|before| before == after));
    if left.is_empty() {
        let store: S = open(&path);
        check(&store);
        for n in 0..20 {
            add(&store, format!("new-{n}"));
        }
        check(&store);
        assert_eq!(store.check(10).unwrap().total, 0);
    } else {
        refused(S::open(&path, &DEFAULTS), PM_ERR_CORRUPT);
    }
    // Another repair finds nothing more to do.
    let again = S::repair(&path, false, None).unwrap();
    assert_eq!((about(&again), again.backup), (left, None));
    (directory, path)
}

/// Holds that a check of the file, a dry run of a repair and a check of the open store find
/// `expected`, and change nothing.
fn assert_found<S: Maintenance>(
    path: &Path,
    expected: &[(i32, Option<String>, Option<u32>, i32)],
    unfixable: usize,
) -> Report {
    let bytes = fs::read(path).unwrap();
    let report = S::check_file(path, 1000).unwrap();
    assert_eq!(about(&report), expected);
    assert_eq!(report.total, expected.len() as u64);
    assert_eq!(report.unfixable, unfixable as u64);
    assert!(report
        .findings
        .iter()
        .all(|finding| finding.text.len() > 10));
    assert_eq!(S::repair(path, true, None).unwrap(), report);
    assert!(fs::read(path).unwrap() == bytes, "the file has changed");
    let failure = S::open(path, &DEFAULTS).err().unwrap();
    assert!([PM_ERR_CORRUPT, PM_ERR_FOREIGN_LMDB].contains(&failure.code));
    if let Ok(store) = S::open(path, &verifying(PM_VERIFY_NONE)) {
        assert_eq!(store.check(1000).unwrap(), report);
        let few = store.check(1).unwrap();
        assert_eq!((few.total, few.findings.len()), (report.total, 1));
    }
    report
}

/// The id of a record is its second byte, as long as it is below 251.
fn set_id(txn: &mut RwTransaction<'_>, tables: &Tables, name: &[u8], id: u8) {
    raw::rewrite(txn, tables.devices, name, |value| {
        value[1] = id;
        raw::seal(name, value);
    });
}

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
        |txn, tables| set_id(txn, tables, b"c", 2),
    );
    fixes::<S>(
        &[
            (PM_FINDING_RECORD_ID, Some("c"), Some(0), NOTHING),
            DIGEST,
            lost(4),
        ],
        |txn, tables| set_id(txn, tables, b"c", 0),
    );
    // An id that was never given out, and could be.
    let expected = [
        (PM_FINDING_RECORD_ID, Some("c"), Some(8), HEADER),
        DIGEST,
        lost(4),
        lost(7),
    ];
    fixes::<S>(&expected, |txn, tables| set_id(txn, tables, b"c", 8));
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
        set_id(txn, tables, b"c", 3);
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
