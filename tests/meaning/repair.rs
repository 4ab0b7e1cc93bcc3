//! Checks and repairs of a store's file: what they copy, and what they refuse. What they find is in
//! `violations.rs`.

use crate::common::{assorted, raw};
use crate::subject::*;
use crate::through_rust_and_c;
use pool_metadata::capi::*;
use std::fs;
use std::path::{Path, PathBuf};

through_rust_and_c!(
    sound_store_is_left_alone,
    file_is_copied_before_it_is_repaired,
    file_that_is_no_store_is_neither_checked_nor_repaired,
);

fn sound_store_is_left_alone<S: Maintenance>() {
    let (_directory, path) = assorted();
    let before = fs::read(&path).unwrap();
    let nothing = Report {
        findings: Vec::new(),
        total: 0,
        unfixable: 0,
        left: 0,
        backup: None,
    };
    assert_eq!(S::check_file(&path, 1000).unwrap(), nothing);
    assert_eq!(S::repair(&path, false, None).unwrap(), nothing);
    assert!(fs::read(&path).unwrap() == before);
    assert!(!with(&path, ".before-repair-1").exists());
    let store: S = open(&path);
    assert_eq!(store.check(1).unwrap(), nothing);
    refused(S::check_file(&path, 1), PM_ERR_ALREADY_OPEN);
    refused(S::repair(&path, false, None), PM_ERR_ALREADY_OPEN);
}

/// Removes the first row of the table of ids.
fn lose_a_row(path: &Path) {
    raw::edit(path, |txn, tables| {
        let first = raw::keys(txn, tables.ids).remove(0);
        txn.del(tables.ids, &first, None).unwrap();
    });
}

fn file_is_copied_before_it_is_repaired<S: Maintenance>() {
    let (directory, path) = assorted();
    lose_a_row(&path);
    let damaged = fs::read(&path).unwrap();
    let at = |name: &str| directory.path().join(name);
    let repair_to = |backup: &Path| S::repair(&path, false, Some(backup));
    fs::write(at("taken"), "x").unwrap();
    refused(repair_to(&at("taken")), PM_ERR_FILE_EXISTS);
    refused(repair_to(&path), PM_ERR_FILE_EXISTS);
    refused(repair_to(&at("no/where")), PM_ERR_NO_SUCH_FILE);
    assert!(
        fs::read(&path).unwrap() == damaged,
        "without a copy, nothing is done"
    );
    let repaired = repair_to(&at("copy")).unwrap();
    assert_eq!(repaired.backup, Some(at("copy")));
    assert!(fs::read(at("copy")).unwrap() == damaged);
    // By default, each copy gets a number of its own.
    for n in 1..=2 {
        lose_a_row(&path);
        let backup = S::repair(&path, false, None).unwrap().backup.unwrap();
        assert_eq!(backup, at(&format!("pool.db.before-repair-{n}")));
    }
}

fn file_that_is_no_store_is_neither_checked_nor_repaired<S: Maintenance>() {
    let (directory, path) = assorted();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("text"), "some text of another program").unwrap();
    fs::write(at("bbolt"), raw::bbolt_file()).unwrap();
    raw::foreign(&at("foreign"), |environment| {
        raw::put_rows(environment, [(b"header".to_vec(), b"v".to_vec())]);
    });
    raw::edit(&path, |txn, tables| {
        raw::rewrite(txn, tables.main, b"header", |value| {
            value[8] = 3;
            raw::seal(b"header", value);
        });
    });
    for (path, status) in [
        (&at("text"), PM_ERR_NOT_A_STORE),
        (&at("bbolt"), PM_ERR_BBOLT_FILE),
        (&at("foreign"), PM_ERR_FOREIGN_LMDB),
        (&path, PM_ERR_NEWER_FORMAT),
        (&directory.path().into(), PM_ERR_NOT_REGULAR_FILE),
        (&at("none"), PM_ERR_NO_SUCH_FILE),
        (&PathBuf::new(), PM_ERR_INVALID_PATH),
    ] {
        let failure = refused(S::check_file(path, 9), status);
        assert_eq!(refused(S::repair(path, false, None), status), failure);
    }
    assert!(!at("none").exists());
}
