//! Violations of every kind, made behind the store's back: what a check tells of them, and what a
//! repair makes of them.

#[path = "../common/mod.rs"]
mod common;
mod trouble;

use common::pages::{self, Pages, Tree};
use common::peer::{self, Peer};
use common::{add, assorted, check, devices, error_of, options, raw, sys};
use lmdb::{RwTransaction, Transaction, WriteFlags};
use pool_metadata::{DeviceInfo, DeviceState, Error, Finding, FindingKind, Fix, OpenOptions};
use pool_metadata::{PoolMetadata, RepairOptions, Repaired, Report, Verify};
use raw::Tables;
use std::path::{Path, PathBuf};
use std::thread;
use FindingKind::*;

fn check_file(path: &Path) -> Report {
    OpenOptions::new().check_file(path, 1000).unwrap()
}

fn repair(path: &Path) -> Repaired {
    OpenOptions::new()
        .repair(path, &RepairOptions::new())
        .unwrap()
}

/// What a finding is about, without its words.
type Told = (FindingKind, Option<&'static str>, Option<u32>, Fix);

fn told(report: &Report) -> Vec<(FindingKind, Option<String>, Option<u32>, Fix)> {
    let one = |finding: &Finding| {
        let name = finding.name.as_ref();
        let name = name.map(|name| String::from_utf8_lossy(name).into_owned());
        (finding.kind, name, finding.device_id, finding.fix)
    };
    report.findings.iter().map(one).collect()
}

/// What the store holds, but for records that cannot be read.
fn records(path: &Path) -> Vec<DeviceInfo> {
    let store = OpenOptions::new().verify(Verify::None).open(path).unwrap();
    let names = {
        let mut names = Vec::new();
        raw_names(path, &store, &mut names);
        names
    };
    let found = names.iter().filter_map(|name| store.get_device(name).ok());
    found.collect()
}

/// The keys of the devices, which a walk over a damaged record does not tell.
fn raw_names(path: &Path, store: &PoolMetadata, names: &mut Vec<Vec<u8>>) {
    let copy = path.with_extension("names");
    let mut backup = pool_metadata::BackupOptions::new();
    store.backup(&copy, backup.verify(false)).unwrap();
    raw::edit(&copy, |txn, tables| *names = raw::keys(txn, tables.devices));
    std::fs::remove_file(&copy).unwrap();
    std::fs::remove_file(raw::lock_path(&copy)).unwrap();
}

/// Damages a store; holds that the check says `expected`, that the repair leaves what has no fix
/// and nothing else, and that it keeps all records that could be read. Returns the repaired store.
fn fixes(
    expected: &[Told],
    damage: impl FnOnce(&mut RwTransaction<'_>, &Tables),
) -> (tempfile::TempDir, PathBuf) {
    let (directory, path) = assorted();
    raw::edit(&path, damage);
    let bytes = std::fs::read(&path).unwrap();
    let expected: Vec<_> = expected
        .iter()
        .map(|(kind, name, id, fix)| (*kind, name.map(str::to_owned), *id, *fix))
        .collect();
    let report = check_file(&path);
    assert_eq!(told(&report), expected);
    assert_eq!(report.total, expected.len() as u64);
    let hopeless = |told: &&(_, _, _, Fix)| told.3 == Fix::Nothing;
    assert_eq!(
        report.unfixable,
        expected.iter().filter(hopeless).count() as u64
    );
    assert!(report
        .findings
        .iter()
        .all(|finding| !finding.what.is_empty()));
    let mut dry = RepairOptions::new();
    let dry_run = OpenOptions::new().repair(&path, dry.dry_run(true)).unwrap();
    assert_eq!((&dry_run.before, dry_run.backup), (&report, None));
    assert_eq!(dry_run.after, report);
    assert!(
        std::fs::read(&path).unwrap() == bytes,
        "a check changes nothing"
    );
    assert_error!(
        PoolMetadata::open(&path),
        Error::Corrupt { .. } | Error::ForeignLmdb { .. }
    );
    // Of a store that is open, the same.
    if let Ok(store) = OpenOptions::new().verify(Verify::None).open(&path) {
        assert_eq!(store.check(1000).unwrap(), report);
        let few = store.check(1).unwrap();
        assert_eq!((few.total, few.findings.len()), (report.total, 1));
        assert!(store.check(0).unwrap().findings.is_empty());
    }
    let header = expected.iter().any(|told| told.0 == HeaderDamaged);
    let before = (!header).then(|| records(&path));
    let repaired = repair(&path);
    assert_eq!(repaired.before, report);
    let left: Vec<_> = expected.iter().filter(hopeless).cloned().collect();
    assert_eq!(told(&repaired.after), left);
    match &repaired.backup {
        Some(backup) => {
            assert_eq!(
                backup,
                Path::new(&format!("{}.before-repair-1", path.display()))
            );
            assert_eq!(told(&check_file(backup)), expected);
        }
        None => assert_eq!(left.len(), expected.len()),
    }
    let after = records(&path);
    assert!(before.is_none_or(|before| before == after));
    if left.is_empty() {
        let store = PoolMetadata::open(&path).unwrap();
        check(&store);
        for n in 0..20 {
            add(&store, format!("new-{n}"));
        }
        check(&store);
        assert!(store.check(10).unwrap().is_sound());
    } else {
        assert_error!(PoolMetadata::open(&path), Error::Corrupt { .. });
    }
    // Another repair finds nothing more to do.
    let again = repair(&path);
    assert_eq!((told(&again.before), again.backup), (left, None));
    (directory, path)
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
    txn.del(tables.ids, &key, Option::None).unwrap();
}

const HEADER: Fix = Fix::Header;
const NOTHING: Fix = Fix::Nothing;
/// What comes with every change to a row behind the store's back.
const DIGEST: Told = (Digest, None, None, HEADER);
const COUNTERS: Told = (Counters, None, None, HEADER);

#[test]
fn counters_of_the_header() {
    for (field, to) in [(2, 4), (2, 0), (3, 3), (4, 1)] {
        fixes(&[COUNTERS], |txn, tables| {
            set_header(txn, tables, field, to)
        });
    }
}

#[test]
fn a_digest_of_other_rows() {
    // A record that went back to an older content: all that can be known is that something is not
    // as it was.
    fixes(&[DIGEST], |txn, tables| {
        raw::rewrite(txn, tables.devices, b"b", |value| {
            let state = value.len() - 4 - 3;
            value[state] = DeviceState::Removed as u8;
            raw::seal(b"b", value);
        });
    });
    fixes(
        &[COUNTERS, DIGEST, (Lost, None, Some(4), Fix::MakeFaulty)],
        |txn, tables| txn.del(tables.devices, b"c", Option::None).unwrap(),
    );
}

#[test]
fn a_damaged_header() {
    let expected = [(HeaderDamaged, None, None, HEADER)];
    let (_directory, path) = fixes(&expected, |txn, tables| {
        raw::rewrite(txn, tables.main, b"header", |value| value[12] ^= 1);
    });
    let store = PoolMetadata::open(&path).unwrap();
    assert_eq!(store.get_device("c").unwrap().device_id, 4);
    fixes(&expected, |txn, tables| {
        txn.del(tables.main, b"header", Option::None).unwrap();
    });
    // Its very first bytes.
    fixes(&expected, |txn, tables| {
        raw::rewrite(txn, tables.main, b"header", |value| value[0] ^= 1);
    });
}

#[test]
fn a_last_id_or_commit_that_went_back() {
    fixes(
        &[
            (RecordId, Some("c"), Some(4), HEADER),
            (IdRowOutside, None, Some(6), HEADER),
            (IdRowOutside, None, Some(5), HEADER),
        ],
        |txn, tables| set_header(txn, tables, 1, 3),
    );
    let commit = |txn: &mut RwTransaction<'_>, tables: &Tables| set_header(txn, tables, 0, 3);
    let generations = ["a", "c"].map(|name| (RecordGeneration, Some(name), None, HEADER));
    let (_directory, path) = fixes(&generations, commit);
    let store = PoolMetadata::open(&path).unwrap();
    let newest = add(&store, "newest").generation;
    assert!(devices(&store)
        .iter()
        .all(|device| device.generation <= newest));
}

#[test]
fn a_last_id_that_went_ahead() {
    let lost = |id| (Lost, None, Some(id), Fix::MakeFaulty);
    fixes(&[lost(7), lost(8), lost(9)], |txn, tables| {
        set_header(txn, tables, 1, 9);
    });
}

#[test]
fn ids_that_are_in_two_states() {
    let remove = Fix::RemoveIdRow;
    fixes(
        &[COUNTERS, DIGEST, (FreeAndOwned, None, Some(2), remove)],
        |txn, tables| put_id_row(txn, tables, &[0, 0, 0, 0, 2]),
    );
    fixes(
        &[COUNTERS, DIGEST, (FreeAndOwned, None, Some(1), remove)],
        |txn, tables| put_id_row(txn, tables, &[0, 0, 0, 0, 1]),
    );
    fixes(
        &[COUNTERS, DIGEST, (FreeAndFaulty, None, Some(5), remove)],
        |txn, tables| put_id_row(txn, tables, &[0, 0, 0, 0, 5]),
    );
}

#[test]
fn ids_that_nobody_has() {
    for (key, id) in [([0, 0, 0, 0, 3], 3), ([2, 0, 0, 0, 5], 5)] {
        let lost = (Lost, None, Some(id), Fix::MakeFaulty);
        let (_directory, path) = fixes(&[COUNTERS, DIGEST, lost], |txn, tables| {
            del_id_row(txn, tables, &key);
        });
        let ids = PoolMetadata::open(&path)
            .unwrap()
            .walk()
            .unwrap()
            .ids()
            .unwrap();
        assert!(ids.faulty.contains(&id), "{ids:?}");
    }
}

#[test]
fn rows_that_are_none() {
    let damaged = |id| (IdRowDamaged, None, id, Fix::RemoveIdRow);
    let outside = |id| (IdRowOutside, None, Some(id), Fix::RemoveIdRow);
    let lost = (Lost, None, Some(3), Fix::MakeFaulty);
    fixes(
        &[damaged(Some(3)), COUNTERS, DIGEST, lost],
        |txn, tables| {
            raw::rewrite(txn, tables.ids, &[0, 0, 0, 0, 3], |value| value[1] ^= 4);
        },
    );
    fixes(&[damaged(Some(2)), DIGEST], |txn, tables| {
        put_id_row(txn, tables, &[1, 0, 0, 0, 2]);
    });
    fixes(&[damaged(None), DIGEST], |txn, tables| {
        put_id_row(txn, tables, b"something else");
    });
    fixes(&[outside(0), outside(0xff_ffff), DIGEST], |txn, tables| {
        put_id_row(txn, tables, &[0, 0, 0, 0, 0]);
        put_id_row(txn, tables, &[2, 0, 0xff, 0xff, 0xff]);
    });
    // One of an id that could be: it is believed, and the ids before it are nobody's.
    let beyond = (IdRowOutside, None, Some(9), HEADER);
    let lost = |id| (Lost, None, Some(id), Fix::MakeFaulty);
    fixes(
        &[beyond, COUNTERS, DIGEST, lost(7), lost(8)],
        |txn, tables| {
            put_id_row(txn, tables, &[2, 0, 0, 0, 9]);
        },
    );
}

#[test]
fn records_that_are_not_fixed() {
    let lost = |id| (Lost, None, Some(id), Fix::MakeFaulty);
    fixes(
        &[(RecordDamaged, Some("b"), None, NOTHING), DIGEST, lost(2)],
        |txn, tables| raw::rewrite(txn, tables.devices, b"b", |value| value[3] ^= 1),
    );
    fixes(
        &[
            (SharedId, Some("b"), Some(2), NOTHING),
            (SharedId, Some("c"), Some(2), NOTHING),
            DIGEST,
            lost(4),
        ],
        |txn, tables| set_id(txn, tables, b"c", 2),
    );
    fixes(
        &[(RecordId, Some("c"), Some(0), NOTHING), DIGEST, lost(4)],
        |txn, tables| set_id(txn, tables, b"c", 0),
    );
    // An id that was never given out, and could be.
    let expected = [
        (RecordId, Some("c"), Some(8), HEADER),
        DIGEST,
        lost(4),
        lost(7),
    ];
    fixes(&expected, |txn, tables| set_id(txn, tables, b"c", 8));
    // A commit that no store ever gets to.
    fixes(
        &[(RecordGeneration, Some("b"), None, NOTHING), DIGEST],
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

#[test]
fn everything_at_once() {
    let (_directory, path) = assorted();
    raw::edit(&path, |txn, tables| {
        set_id(txn, tables, b"c", 3);
        put_id_row(txn, tables, &[0, 0, 0, 0, 2]);
        del_id_row(txn, tables, &[2, 0, 0, 0, 5]);
        put_id_row(txn, tables, b"nonsense");
        set_header(txn, tables, 1, 2);
        set_header(txn, tables, 2, 77);
    });
    let repaired = repair(&path);
    assert!(repaired.after.is_sound(), "{:?}", repaired.after);
    let store = PoolMetadata::open(&path).unwrap();
    check(&store);
    let ids = store.walk().unwrap().ids().unwrap();
    assert_eq!(
        (ids.last_id, ids.free, ids.faulty),
        (6, vec![6], vec![1, 4, 5])
    );
    assert_eq!(store.get_device("c").unwrap().device_id, 3);
}
