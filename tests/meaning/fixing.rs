//! What holds of every damaged store: a check finds the violations and changes nothing, and a
//! repair fixes what has a fix and keeps every record.

use crate::common::{assorted, raw};
use crate::subject::*;
use lmdb::RwTransaction;
use pool_metadata::capi::*;
use pool_metadata::DeviceInfo;
use raw::Tables;
use std::fs;
use std::path::{Path, PathBuf};

/// What a finding is about, without its words: kind, name, id, fix.
pub type About = (i32, Option<&'static str>, Option<u32>, i32);

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
pub fn fixes<S: Maintenance>(
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
