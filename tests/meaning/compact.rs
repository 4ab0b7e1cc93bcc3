//! A file made as short as its content allows: the content stays, and what is in use or damaged is
//! left as it is.

use crate::common::{device, files_with, place, raw};
use crate::subject::*;
use crate::through_rust_and_c;
use pool_metadata::capi::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

through_rust_and_c!(
    compacted_store_has_its_content_and_a_shorter_file,
    store_in_use_is_not_compacted,
    damaged_or_other_file_is_left_as_it_is,
);

/// A closed store with a few devices, and room from a time when it had large ones.
fn long<S: Store>() -> (tempfile::TempDir, PathBuf) {
    let (directory, path) = place();
    let store = open::<S>(&path);
    let mut large = device("large");
    large.error = vec![b'e'; 1 << 20];
    for round in 0..4 {
        large.name = format!("large-{round}").into();
        store.add(&mut large).unwrap();
    }
    for round in 0..4 {
        store.remove(format!("large-{round}").as_bytes()).unwrap();
    }
    for n in 0..200 {
        add(&store, format!("device-{n}"));
    }
    store.mark_faulty(b"device-7").unwrap();
    store.close().unwrap();
    (directory, path)
}

fn content_of<S: Store>(path: &Path) -> impl PartialEq + std::fmt::Debug {
    let store = open::<S>(path);
    check(&store);
    let found = contents(&store);
    store.close().unwrap();
    found
}

fn compacted_store_has_its_content_and_a_shorter_file<S: Maintenance>() {
    let (_directory, path) = long::<S>();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let (content, len) = (content_of::<S>(&path), path.metadata().unwrap().len());
    let (before, after) = S::compact(&path).unwrap();
    assert_eq!((before, after), (len, path.metadata().unwrap().len()));
    assert!(before > 4 << 20 && after < 256 << 10, "{before} {after}");
    assert!(files_with(&path, ".partial").is_empty() && !raw::lock_path(&path).exists());
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(content_of::<S>(&path), content);
    // It goes on as any store, generations included.
    let store = open::<S>(&path);
    let commits = store.stats().unwrap().commits;
    assert_eq!(add(&store, "next").generation, commits + 1);
    check(&store);
    store.close().unwrap();
    S::compact(&path).unwrap();
    drop(content_of::<S>(&path));
}

fn store_in_use_is_not_compacted<S: Maintenance>() {
    let (_directory, path) = long::<S>();
    let store = open::<S>(&path);
    let bytes = fs::read(&path).unwrap();
    refused(S::compact(&path), PM_ERR_ALREADY_OPEN);
    assert!(fs::read(&path).unwrap() == bytes && files_with(&path, ".partial").is_empty());
    check(&store);
    store.close().unwrap();
    S::compact(&path).unwrap();
}

fn damaged_or_other_file_is_left_as_it_is<S: Maintenance>() {
    let (directory, path) = long::<S>();
    let mut damaged = fs::read(&path).unwrap();
    // The record, and what is left of it on free pages.
    for at in 0..damaged.len() - 30 {
        if damaged[at..].starts_with(b"device-100") {
            damaged[at + 20] ^= 1;
        }
    }
    let none = directory.path().join("none");
    refused(S::compact(&none), PM_ERR_NO_SUCH_FILE);
    assert!(!none.exists());
    for (bytes, code) in [
        (damaged, PM_ERR_CORRUPT),
        (vec![b'x'; 9000], PM_ERR_NOT_A_STORE),
    ] {
        fs::write(&path, &bytes).unwrap();
        refused(S::compact(&path), code).says(&[path.to_str().unwrap()]);
        assert!(fs::read(&path).unwrap() == bytes && files_with(&path, ".partial").is_empty());
    }
    refused(S::compact(Path::new("")), PM_ERR_INVALID_PATH);
}
