//! Stores in use, files that are none, damaged structures, full and failing disks, kills.

use super::*;

#[test]
fn a_sound_store_is_left_alone() {
    let (_directory, path) = assorted();
    let before = std::fs::read(&path).unwrap();
    assert!(check_file(&path).is_sound());
    assert_eq!(repair(&path), Repaired::default());
    assert!(std::fs::read(&path).unwrap() == before);
    assert!(!Path::new(&format!("{}.before-repair-1", path.display())).exists());
}

fn lose_a_row(path: &Path) {
    raw::edit(path, |txn, tables| {
        del_id_row(txn, tables, &[0, 0, 0, 0, 3])
    });
}

#[test]
fn where_the_copy_goes() {
    let (directory, path) = assorted();
    lose_a_row(&path);
    let damaged = std::fs::read(&path).unwrap();
    let at = |name: &str| directory.path().join(name);
    let repair_to = |backup: &Path| {
        let mut how = RepairOptions::new();
        OpenOptions::new().repair(&path, how.backup(backup))
    };
    std::fs::write(at("taken"), "x").unwrap();
    assert_error!(repair_to(&at("taken")), Error::FileExists { .. });
    assert_error!(repair_to(&path), Error::FileExists { .. });
    assert_error!(repair_to(&at("no/where")), Error::NoSuchFile { .. });
    assert_error!(repair_to(Path::new("")), Error::InvalidPath { .. });
    assert!(
        std::fs::read(&path).unwrap() == damaged,
        "without a copy, nothing is done"
    );
    let repaired = repair_to(&at("copy")).unwrap();
    assert_eq!(repaired.backup, Some(at("copy")));
    assert!(std::fs::read(at("copy")).unwrap() == damaged);
    // By default, each gets a number of its own.
    for n in 1..=2 {
        lose_another(&path);
        let backup = repair(&path).backup.unwrap();
        assert_eq!(backup, at(&format!("pool.db.before-repair-{n}")));
    }
}

fn lose_another(path: &Path) {
    raw::edit(path, |txn, tables| {
        let first = raw::keys(txn, tables.ids).remove(0);
        del_id_row(txn, tables, &first);
    });
}

#[test]
fn a_store_in_use_is_checked_and_not_repaired() {
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
    assert!(sys::in_forked_child(|| matches!(
        store.check(9),
        Err(Error::Forked)
    )));
    store.close().unwrap();
    assert_error!(store.check(9), Error::Closed);
    assert!(repair(&path).after.is_sound());
}

#[test]
fn files_that_are_no_store_cannot_be_checked() {
    let (directory, path) = assorted();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("text"), "some text of somebody's").unwrap();
    std::fs::write(at("bbolt"), raw::bbolt_file()).unwrap();
    raw::foreign(&at("foreign"), |environment| {
        raw::put_rows(environment, [(b"header".to_vec(), b"v".to_vec())]);
    });
    raw::edit(&path, |txn, tables| {
        raw::rewrite(txn, tables.main, b"header", |value| {
            value[8] = 2;
            raw::seal(b"header", value);
        });
    });
    let both = |path: &Path| {
        let checked = options(50).check_file(path, 9);
        let repaired = options(50).repair(path, &RepairOptions::new());
        let errors = [error_of(checked), error_of(repaired)];
        assert_eq!(errors[0].to_string(), errors[1].to_string());
        errors.into_iter().next().unwrap()
    };
    assert!(matches!(both(&at("text")), Error::NotAStore { .. }));
    assert!(matches!(both(&at("bbolt")), Error::BboltFile { .. }));
    assert!(matches!(both(&at("foreign")), Error::ForeignLmdb { .. }));
    assert!(matches!(both(&path), Error::NewerFormat { .. }));
    assert!(matches!(
        both(directory.path()),
        Error::NotRegularFile { .. }
    ));
    assert!(matches!(both(&at("none")), Error::NoSuchFile { .. }));
    assert!(!at("none").exists());
}

/// Before the rows come the pages: LMDB follows every number in them.
#[test]
fn a_file_whose_structure_is_damaged_cannot_be_checked() {
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
    // The same of a store that is open, for who opened it without a look at its pages.
    let mut pages = sound.clone();
    let at = pages.record(Tree::Devices) + pages::ENTRIES;
    pages.put64(at, 7);
    pages.write(&path);
    let store = OpenOptions::new().verify(Verify::None).open(&path).unwrap();
    assert_error!(store.check(9), Error::Corrupt { .. });
}

#[test]
fn a_disk_that_is_full_or_fails_leaves_the_store_as_it_was() {
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
        let run = || {
            sys::fail_in_this_thread(calls, errno, None);
            options(100).repair(&path, &how)
        };
        let error = error_of(thread::scope(|scope| scope.spawn(run).join().unwrap()));
        assert_eq!(error.os_error(), Some(errno), "{error:?}");
        assert_eq!(check_file(&path), found);
        let left = std::fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(left, 2, "the store and its lock file");
    }
    assert!(repair(&path).after.is_sound());
}

#[test]
fn killed_at_any_moment_it_is_fixed_or_as_it_was() {
    let (directory, path) = assorted();
    let copy = directory.path().join("pool.db.before-repair-1");
    let damage = || {
        raw::edit(&path, |txn, tables| {
            for id in 20..200_u8 {
                put_id_row(txn, tables, &[2, 0, 0, 0, id]);
            }
        })
    };
    damage();
    let damaged = std::fs::read(&path).unwrap();
    let found = check_file(&path);
    let mut ended = [0, 0];
    let mut round = 0;
    // A slow machine takes longer: sooner or later it is killed before its end as well as after it.
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
