//! A new store of what is whole in a damaged file. `tests/salvage` damages every part of a file.

use crate::common::{files_with, place, raw};
use crate::subject::*;
use crate::through_rust_and_c;
use pool_metadata::capi::*;
use std::fs;
use std::path::PathBuf;

through_rust_and_c!(
    sound_store_comes_back_as_it_is,
    damaged_record_is_left_out_and_reported,
    file_without_its_first_pages_loses_no_device,
    highest_id_that_was_seen_stands_for_that_of_a_lost_header,
    empty_store_comes_back_empty,
    salvage_that_cannot_be_is_refused,
);

/// A closed store with a hundred devices, all but one of ids 1 to 101.
fn lived_in<S: Store>() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let (directory, path) = place();
    let store: S = open(&path);
    for n in 0..=100 {
        add(&store, format!("device-{n:02}"));
    }
    store.remove(b"device-50").unwrap();
    store.mark_faulty(b"device-04").unwrap();
    check(&store);
    store.close().unwrap();
    let target = directory.path().join("new.db");
    (directory, path, target)
}

fn sound_store_comes_back_as_it_is<S: Maintenance>() {
    let (_directory, path, target) = lived_in::<S>();
    let before = fs::read(&path).unwrap();
    let (numbers, report) = S::salvage(&path, &target, 1000).unwrap();
    assert!(fs::read(&path).unwrap() == before, "it is only read");
    assert_eq!((numbers.devices, numbers.complete), (100, 1));
    assert_eq!((numbers.recovered, numbers.lost_pages), (0, 0));
    // The additions, the removal and the faulty mark.
    assert_eq!((numbers.commits, numbers.last_id), (103, 101));
    assert_eq!((report.total, report.findings.len()), (0, 0));
    assert!(files_with(&target, ".salvaging").is_empty());
    let new: S = open(&target);
    let (mut salvaged, ids, _) = contents(&new);
    check(&new);
    let (mut old, old_ids, _) = contents(&open::<S>(&path));
    // Generations begin anew.
    for device in salvaged.iter_mut().chain(&mut old) {
        device.generation = 0;
    }
    assert_eq!((salvaged, ids), (old, old_ids));
    assert_eq!(add(&new, "next").device_id, 51);
}

fn damaged_record_is_left_out_and_reported<S: Maintenance>() {
    let (_directory, path, target) = lived_in::<S>();
    // In every page that has the record, also in those that later commits have freed.
    let mut bytes = fs::read(&path).unwrap();
    let name = b"device-07";
    for at in 0..bytes.len() - name.len() {
        if bytes[at..].starts_with(name) {
            bytes[at + name.len() + 3] ^= 1;
        }
    }
    fs::write(&path, bytes).unwrap();
    refused(S::open(&path, &DEFAULTS), PM_ERR_CORRUPT);
    let (numbers, report) = S::salvage(&path, &target, 1).unwrap();
    assert_eq!((numbers.devices, numbers.complete), (99, 0));
    assert_eq!((numbers.commits, numbers.last_id), (103, 101));
    // The damaged record, its lost id, and the free id.
    assert_eq!(
        (report.total, report.findings.len(), report.unfixable),
        (3, 1, 1)
    );
    let finding = &report.findings[0];
    assert_eq!(finding.kind, PM_FINDING_RECORD_DAMAGED);
    assert_eq!(finding.name.as_deref(), Some(&b"device-07"[..]));
    let store: S = open(&target);
    refused(store.get(b"device-07"), PM_ERR_NOT_FOUND);
    get(&store, "device-99");
    // Neither the lost device's id is given out nor 51: without that record, nothing shows that it
    // is still free.
    assert_eq!(add(&store, "next").device_id, 102);
    check(&store);
}

fn file_without_its_first_pages_loses_no_device<S: Maintenance>() {
    let (_directory, path, target) = lived_in::<S>();
    let mut bytes = fs::read(&path).unwrap();
    bytes[..8192].fill(0);
    fs::write(&path, bytes).unwrap();
    let (numbers, _) = S::salvage(&path, &target, 1000).unwrap();
    assert_eq!((numbers.devices, numbers.complete), (100, 0));
    let store: S = open(&target);
    assert_eq!(devices(&store).len(), 100);
    check(&store);
}

fn highest_id_that_was_seen_stands_for_that_of_a_lost_header<S: Maintenance>() {
    let (_directory, path, target) = lived_in::<S>();
    let mut bytes = fs::read(&path).unwrap();
    let magic = b"poolmeta";
    for at in 0..bytes.len() - magic.len() {
        if bytes[at..].starts_with(magic) {
            bytes[at + magic.len() + 2] ^= 1;
        }
    }
    fs::write(&path, bytes).unwrap();
    let (numbers, report) = S::salvage(&path, &target, 1000).unwrap();
    assert_eq!((numbers.complete, numbers.commits), (0, 0));
    assert_eq!(numbers.last_id, 101);
    let mut kinds = report.findings.iter().map(|finding| finding.kind);
    assert!(kinds.any(|kind| kind == PM_FINDING_HEADER_DAMAGED));
    check(&open::<S>(&target));
}

fn empty_store_comes_back_empty<S: Maintenance>() {
    let (directory, path) = place();
    let at = |name: &str| directory.path().join(name);
    open::<S>(&path).close().unwrap();
    let (numbers, _) = S::salvage(&path, &at("first"), 9).unwrap();
    assert_eq!((numbers.devices, numbers.complete), (0, 1));
    check(&open::<S>(&at("first")));
    // Its header row is enough to recognise it by.
    let mut bytes = fs::read(&path).unwrap();
    bytes[..4096].fill(0);
    fs::write(&path, bytes).unwrap();
    let (numbers, _) = S::salvage(&path, &at("second"), 9).unwrap();
    assert_eq!((numbers.devices, numbers.complete), (0, 0));
    check(&open::<S>(&at("second")));
}

fn salvage_that_cannot_be_is_refused<S: Maintenance>() {
    let (directory, path, target) = lived_in::<S>();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("text"), "some text of another program").unwrap();
    fs::write(at("empty"), "").unwrap();
    fs::write(at("zeros"), [0; 50_000]).unwrap();
    fs::write(at("bbolt"), raw::bbolt_file()).unwrap();
    raw::foreign(&at("foreign"), |environment| {
        raw::put_rows(environment, [(b"header".to_vec(), b"v".to_vec())]);
    });
    for name in ["text", "empty", "zeros", "bbolt", "foreign"] {
        refused(S::salvage(&at(name), &target, 9), PM_ERR_NOT_A_STORE);
    }
    for (from, to, status) in [
        (&path, &path, PM_ERR_FILE_EXISTS),
        (&path, &at("text"), PM_ERR_FILE_EXISTS),
        (&path, &at("no/where"), PM_ERR_NO_SUCH_FILE),
        (&at("none"), &target, PM_ERR_NO_SUCH_FILE),
        (&at(""), &target, PM_ERR_NOT_REGULAR_FILE),
        (&PathBuf::new(), &target, PM_ERR_INVALID_PATH),
        (&path, &PathBuf::new(), PM_ERR_INVALID_PATH),
    ] {
        refused(S::salvage(from, to, 9), status);
    }
    let store: S = open(&path);
    refused(S::salvage(&path, &target, 9), PM_ERR_ALREADY_OPEN);
    check(&store);
    assert!(!target.exists() && files_with(&target, ".salvaging").is_empty());
}
