//! Repairs of stores in use, damaged structures, full and failing disks, kills. What a repair finds
//! and fixes is in `meaning/violations.rs`.

mod common;

use common::pages::{self, Pages, Tree};
use common::peer::{self, Peer};
use common::{assorted, error_of, options, raw, sys};
use lmdb::WriteFlags;
use pool_metadata::{Error, OpenOptions, RepairOptions, Repaired, Report, Verify};
use std::path::Path;

fn check_file(path: &Path) -> Report {
    OpenOptions::new().check_file(path, 1000).unwrap()
}

fn repair(path: &Path) -> Repaired {
    OpenOptions::new()
        .repair(path, &RepairOptions::new())
        .unwrap()
}

fn lose_a_row(path: &Path) {
    raw::edit(path, |txn, tables| {
        txn.del(tables.ids, &[0, 0, 0, 0, 3], None).unwrap();
    });
}

#[test]
fn store_in_use_is_checked_and_not_repaired() {
    let (_directory, path) = assorted();
    lose_a_row(&path);
    let mut peer = Peer::start("repair::hold", &path);
    peer.expect("open");
    assert_eq!(check_file(&path).total, 3);
    let how = RepairOptions::new();
    assert_error!(options(50).repair(&path, &how), Error::AlreadyOpen { .. });
    peer.finish();
    let store = OpenOptions::new().verify(Verify::None).open(&path).unwrap();
    assert_error!(options(50).repair(&path, &how), Error::AlreadyOpen { .. });
    assert_error!(options(50).check_file(&path, 9), Error::AlreadyOpen { .. });
    assert_eq!(store.check(9).unwrap().total, 3);
    assert!(store.check(0).unwrap().findings.is_empty());
    assert!(sys::in_forked_child(|| matches!(
        store.check(9),
        Err(Error::Forked)
    )));
    store.close().unwrap();
    assert_error!(store.check(9), Error::Closed);
    assert!(repair(&path).after.is_sound());
}

/// LMDB follows every number in the pages, so they are checked before the rows.
#[test]
fn file_whose_structure_is_damaged_cannot_be_checked() {
    let (_directory, path) = assorted();
    let sound = Pages::read(&path);
    let damages: [fn(&mut Pages); 4] = [
        |pages| {
            let at = pages.at(pages.root(Tree::Devices)) + 12;
            pages.put16(at, 0xfff0);
        },
        |pages| {
            let at = pages.node_at(pages.root(Tree::Ids), 1);
            pages.put32(at, 1 << 20);
        },
        |pages| {
            let at = pages.record(Tree::Devices) + pages::ENTRIES;
            pages.put64(at, 7);
        },
        |pages| {
            let len = pages.0.len();
            pages.0.truncate(len / 16);
        },
    ];
    for damage in damages {
        let mut pages = sound.clone();
        damage(&mut pages);
        pages.write(&path);
        let checked = error_of(options(50).check_file(&path, 9));
        let repaired = error_of(options(50).repair(&path, &RepairOptions::new()));
        assert!(matches!(checked, Error::Corrupt { .. }), "{checked:?}");
        assert!(matches!(repaired, Error::Corrupt { .. }), "{repaired:?}");
        assert!(std::fs::read(&path).unwrap() == pages.0);
    }
    sound.write(&path);
    assert!(check_file(&path).is_sound());
    // A store that was opened without a look at its pages finds the damage when it is checked.
    let mut pages = sound.clone();
    let at = pages.record(Tree::Devices) + pages::ENTRIES;
    pages.put64(at, 7);
    pages.write(&path);
    let store = OpenOptions::new().verify(Verify::None).open(&path).unwrap();
    assert_error!(store.check(9), Error::Corrupt { .. });
}

#[test]
fn disk_that_is_full_or_fails_leaves_the_store_as_it_was() {
    let (directory, path) = assorted();
    lose_a_row(&path);
    let found = check_file(&path);
    for (calls, errno) in [
        (sys::WRITES, libc::ENOSPC),
        (sys::WRITES, libc::EIO),
        (sys::FLUSHES, libc::EIO),
        (&[libc::SYS_renameat2][..], libc::EIO),
    ] {
        let how = RepairOptions::new();
        let run = || options(100).repair(&path, &how);
        let error = error_of(sys::with_errno(calls, errno, None, run));
        assert_eq!(error.os_error(), Some(errno), "{error:?}");
        assert_eq!(check_file(&path), found);
        let left = std::fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(left, 2, "the store and its lock file");
    }
    assert!(repair(&path).after.is_sound());
}

#[test]
fn repair_killed_at_any_moment_has_fixed_all_or_nothing() {
    let (directory, path) = assorted();
    let copy = directory.path().join("pool.db.before-repair-1");
    let damage = || {
        raw::edit(&path, |txn, tables| {
            for id in 20..200_u8 {
                let key = [2, 0, 0, 0, id];
                let mut value = [0; 4];
                raw::seal(&key, &mut value);
                txn.put(tables.ids, &key, &value, WriteFlags::empty())
                    .unwrap();
            }
        })
    };
    damage();
    let damaged = std::fs::read(&path).unwrap();
    let found = check_file(&path);
    let mut ended = [0, 0];
    let mut round = 0;
    // A slow machine takes more rounds to be killed both before its end and after it.
    while round < 60 || (ended.contains(&0) && round < 600) {
        std::fs::write(&path, &damaged).unwrap();
        peer::start_and_kill(
            "repair::repair_on",
            &path,
            round * 211 % (7000 << (round / 60)),
        );
        round += 1;
        let now = check_file(&path);
        assert!(now.is_sound() || now == found, "{now:?}");
        ended[usize::from(now.is_sound())] += 1;
        // What was fixed was copied before.
        assert!(!now.is_sound() || std::fs::read(&copy).unwrap() == damaged);
        let _ = std::fs::remove_file(&copy);
    }
    println!("as it was, fixed: {ended:?}");
    assert!(ended[0] > 0 && ended[1] > 0);
}
