//! Backups, restores, repairs and salvages.

mod common;

use std::path::Path;

use common::{devices, Place};
use lmdb::{
    Cursor, Database, Environment, EnvironmentFlags, RwTransaction, Transaction, WriteFlags,
};
use pool_metadata::{Change, PoolMetadata};

/// Changes the rows of a closed store without the library.
fn edit(path: &Path, change: impl FnOnce(&mut RwTransaction<'_>, [Database; 2])) {
    let environment = Environment::new()
        .set_flags(EnvironmentFlags::NO_SUB_DIR)
        .set_max_dbs(8)
        .set_map_size(64 << 20)
        .open(path)
        .unwrap();
    // Opening a table takes a transaction of its own.
    let tables = ["devices", "ids"].map(|name| environment.open_db(Some(name)).unwrap());
    let mut txn = environment.begin_rw_txn().unwrap();
    change(&mut txn, tables);
    txn.commit().unwrap();
    drop(environment);
    mark_flushed(path);
}

/// Marks the newest commit of a store of 4 KiB pages as flushed, as the library does: what is wrong
/// with it is then damage, and not what a power cut has left half written.
fn mark_flushed(path: &Path) {
    const PAGE: usize = 4096;
    const COMMIT: usize = 144;
    const MARK: usize = 160;
    let mut file = std::fs::read(path).unwrap();
    let commit = |page| u64::from_le_bytes(file[page + COMMIT..][..8].try_into().unwrap());
    let newest: u64 = commit(0).max(commit(PAGE));
    let fields = [newest.to_le_bytes(), [0; 8], [0; 8]].concat();
    let sum = crc32c::crc32c(&fields).to_le_bytes();
    let mark = [&b"pmfl"[..], &sum, &fields].concat();
    let page = if newest.is_multiple_of(2) { PAGE } else { 0 };
    file[page + MARK..][..mark.len()].copy_from_slice(&mark);
    std::fs::write(path, file).unwrap();
}

/// Takes the row of the free id away, so that nothing is known of the id.
fn lose_free_id(place: &Place) {
    edit(&place.store, |txn, [_, ids]| {
        let rows: Vec<Vec<u8>> = {
            let mut cursor = txn.open_ro_cursor(ids).unwrap();
            cursor
                .iter_start()
                .map(|row| row.unwrap().0.to_vec())
                .collect()
        };
        let free = rows.iter().find(|key| key.ends_with(&[3])).unwrap();
        txn.del(ids, free, None).unwrap();
    });
}

/// Flips a bit in the record of a device.
fn damage_record(place: &Place, name: &str) {
    edit(&place.store, |txn, [devices, _]| {
        let mut value = txn.get(devices, &name).unwrap().to_vec();
        let middle = value.len() / 2;
        value[middle] ^= 1;
        txn.put(devices, &name, &value, WriteFlags::empty())
            .unwrap();
    });
}

#[test]
fn backup_is_a_store_and_restore_brings_it_back() {
    let place = Place::pool();
    let before = devices(&place.store);
    let out = place.run(["backup", "saved.db"]).expect(0);
    assert!(
        out.starts_with("saved.db: ") && out.ends_with(", checked\n"),
        "{out}"
    );
    assert_eq!(devices(&place.path("saved.db")), before);
    place
        .run(["backup", "saved.db"])
        .expect_error(1, "saved.db: a file exists already");
    place.run(["backup", "--compact", "small.db"]).expect(0);
    assert_eq!(devices(&place.path("small.db")), before);
    place.run(["rm", "-y", "base-2"]).expect(0);
    let run = place.run(["restore", "-y", "saved.db"]);
    assert!(
        run.err.contains("will put a copy of saved.db ("),
        "{}",
        run.err
    );
    assert!(run
        .err
        .contains("will keep what is there now as [DIR]/pool.db.before-restore"));
    assert_eq!(
        run.expect(0),
        "[DIR]/pool.db has what saved.db has: 11 commits, highest id 7\n\
         what was there is [DIR]/pool.db.before-restore: 12 commits, highest id 7\n\
         if the pool is newer, ids that are free here and all above 7 may be in use there\n\
         the pool is as it was: before containerd starts, compare the two \
         (pmctl reconcile --pool FILE)\n"
    );
    assert_eq!(devices(&place.store), before);
    assert_eq!(devices(&place.path("pool.db.before-restore")).len(), 4);
    place
        .run(["backup", "-y", "--overwrite", "saved.db"])
        .expect(0);
}

#[test]
fn restore_and_repair_are_refused_while_the_store_is_open() {
    let place = Place::pool();
    place.run(["backup", "saved.db"]).expect(0);
    lose_free_id(&place);
    let mut options = pool_metadata::OpenOptions::new();
    let open = options
        .verify(pool_metadata::Verify::None)
        .open(&place.store)
        .unwrap();
    for command in [
        &["restore", "-y", "saved.db"][..],
        &["repair", "-y"],
        &["salvage", "new.db"],
    ] {
        let run = place.run([command, &["--wait", "0.05"]].concat());
        assert!(run.err.contains("stop containerd first"), "{}", run.err);
        assert_eq!(run.code, 3);
    }
    open.close().unwrap();
}

#[test]
fn repair_fixes_what_needs_no_guessing_and_keeps_the_file() {
    let place = Place::pool();
    assert_eq!(
        place.run(["repair"]).expect(0),
        "[DIR]/pool.db: sound, nothing to repair\n"
    );
    lose_free_id(&place);
    let before = std::fs::read(&place.store).unwrap();
    place
        .run(["ls"])
        .expect_error(3, "`pmctl check` lists what is wrong");
    let check = place.run(["check"]).expect(1);
    assert!(
        check.contains("3 findings, of which a repair fixes 3"),
        "{check}"
    );
    assert!(
        check.contains("stop containerd, then type: pmctl repair"),
        "{check}"
    );
    let run = place.run(["repair", "-n"]);
    assert!(run.err.contains("would fix: id 3 "), "{}", run.err);
    assert_eq!(run.code, 1);
    place.run(["repair"]).expect_error(2, "--yes goes on");
    assert_eq!(std::fs::read(&place.store).unwrap(), before);
    assert_eq!(
        place.run(["repair", "--yes"]).expect(0),
        "[DIR]/pool.db: 3 findings fixed\nthe file as it was is [DIR]/pool.db.before-repair-1\n"
    );
    assert_eq!(
        std::fs::read(place.path("pool.db.before-repair-1")).unwrap(),
        before
    );
    assert_eq!(place.run(["check"]).expect(0), "[DIR]/pool.db: sound\n");
}

#[test]
fn what_cannot_be_repaired_is_named_and_salvaged() {
    let place = Place::pool();
    damage_record(&place, "snap-2");
    let check = place.run(["check", "--json"]).expect(1);
    let first: serde_json::Value = serde_json::from_str(check.lines().next().unwrap()).unwrap();
    assert!(
        check.contains("\"kind\":\"RecordDamaged\",\"name\":\"snap-2\""),
        "{check}"
    );
    assert!(first["what"].is_string());
    let run = place.run(["repair", "-y"]);
    assert!(run
        .out
        .contains("device \"snap-2\" has a damaged record: cannot be repaired"));
    assert!(run.out.ends_with("(pmctl salvage TARGET)\n"), "{}", run.out);
    assert_eq!(run.code, 1);
    let damaged = std::fs::read(&place.store).unwrap();
    let run = place.run(["salvage", "-n", "new.db"]);
    assert_eq!(
        run.err,
        "would read [DIR]/pool.db, and make a new store at new.db\n\
                         dry run: nothing was changed\n"
    );
    assert!(!place.path("new.db").exists());
    let out = place.run(["salvage", "new.db"]).expect(1);
    assert!(out.contains("snap-2"), "{out}");
    assert!(
        out.ends_with(
            "as of 12 commits, highest id 7\n\
             once you are content with it (pmctl ls --store new.db): pmctl restore new.db\n\
             if the pool is newer, ids that are free here and all above 7 may be in use there\n\
             the pool still has what is missing in it: before containerd starts, compare the two \
             (pmctl reconcile --pool FILE)\n"
        ),
        "{out}"
    );
    assert_eq!(std::fs::read(&place.store).unwrap(), damaged);
    place.run(["restore", "-y", "new.db"]).expect(0);
    assert!(devices(&place.store).len() >= 4);
}

#[test]
fn copy_of_a_store_that_fails_the_check_needs_to_be_asked_for() {
    let place = Place::pool();
    lose_free_id(&place);
    place
        .run(["backup", "copy.db"])
        .expect_error(3, "the store is damaged");
    let out = place.run(["backup", "--no-check", "copy.db"]).expect(0);
    assert!(
        out.starts_with("copy.db: ") && !out.contains("checked"),
        "{out}"
    );
    let run = place.run(["check", "--store", "copy.db"]);
    assert_eq!(run.code, 1);
    assert!(PoolMetadata::open(place.path("copy.db")).is_err());
}

#[test]
fn compact_leaves_the_free_pages_out() {
    let place = Place::with(|store| {
        common::chain(store, 3000, "");
        let names = store.get_device_names().unwrap();
        let gone = names[10..]
            .iter()
            .map(|name| Change::Remove { name: name.clone() });
        store.apply(&gone.collect::<Vec<_>>()).unwrap();
    });
    let before = devices(&place.store);
    let size = || std::fs::metadata(&place.store).unwrap().len();
    let large = size();
    let store = PoolMetadata::open(&place.store).unwrap();
    place
        .run(["compact", "-y", "--wait", "0.05"])
        .expect_error(3, "stop containerd first");
    drop(store);
    let run = place.run(["compact", "-n"]);
    assert!(
        run.err
            .contains("would write [DIR]/pool.db again, without its free pages: "),
        "{}",
        run.err
    );
    assert_eq!(size(), large);
    let out = place.run(["compact", "-y"]).expect(0);
    assert!(
        out.starts_with("[DIR]/pool.db: ") && out.ends_with(" before\n"),
        "{out}"
    );
    assert!(size() < large);
    assert_eq!(devices(&place.store), before);
}
