//! `pmctl doctor`, with a `dmsetup` that says what the test wants.

mod common;

use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};

use common::{pmctl, Place};
use pool_metadata::PoolMetadata;
use serde_json::Value;

/// What `dmsetup status` says of a pool in good order.
const GOOD: &str = "0 20971520 thin-pool 7 100/4096 3/1000 - rw discard_passdown - - 1024";

/// Puts a program into the directory `bin` of the place.
fn program(place: &Place, name: &str, script: &str) {
    let bin = place.path("bin");
    fs::create_dir_all(&bin).unwrap();
    fs::write(bin.join(name), format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
}

/// A `dmsetup` with this status of the pool, and this table of active devices.
fn dmsetup(place: &Place, status: &str, table: &str) {
    let script = format!("case $1 in status) echo '{status}' ;; table) echo '{table}' ;; esac");
    program(place, "dmsetup", &script);
}

/// The findings about something, as "level: what".
fn findings(place: &Place, about: &str) -> Vec<String> {
    let mut command = pmctl();
    command.env(
        "PATH",
        format!("{}:/usr/bin:/bin", place.path("bin").display()),
    );
    command.args(["doctor", "--json", "--store", "pool.db", "--pool", "thin"]);
    let run = place.finish(command, b"");
    let all: Vec<Value> = run
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let bad = all.iter().any(|finding| finding["level"] == "problem");
    assert_eq!(run.code, i32::from(bad), "{}{}", run.out, run.err);
    all.iter()
        .filter(|finding| finding["about"] == about)
        .map(|finding| {
            let text = |key| finding[key].as_str().unwrap();
            format!("{}: {}", text("level"), text("what"))
        })
        .collect()
}

#[test]
fn sound_store_and_pool_are_fine() {
    let place = Place::pool();
    dmsetup(&place, GOOD, "snap-1: 0 20971520 thin 253:2 4");
    let resolved = |text: &str| text.replace("[DIR]/", "");
    let store: Vec<_> = findings(&place, "store")
        .iter()
        .map(|text| resolved(text))
        .collect();
    assert_eq!(store, ["fine: pool.db is sound"]);
    assert_eq!(
        findings(&place, "pool"),
        [
            "fine: thin is at transaction 7",
            "fine: 1 devices of the store are active, with their ids"
        ]
    );
    // On a machine where a containerd runs, doctor says that it does not have this store open.
    let processes = findings(&place, "processes");
    assert!(!processes[0].contains("is open in"), "{processes:?}");
    assert_eq!(findings(&place, "ids"), ["fine: up to 7: 1 free, 2 faulty"]);
    assert_eq!(
        findings(&place, "devices"),
        [
            "fine: 5 devices",
            "note: 1 is faulty: snap-3",
            "note: 1 is in the middle of an operation: snap-2"
        ]
    );
    assert_eq!(findings(&place, "left over"), [""; 0]);
}

#[test]
fn pool_that_contradicts_the_store_or_is_in_a_bad_state_is_a_problem() {
    let place = Place::pool();
    dmsetup(&place, GOOD, "snap-1: 0 20971520 thin 253:2 9");
    let found = findings(&place, "pool");
    let what = "problem: snap-1 is active in the kernel as id 9, and has id 4 in the store";
    assert!(found.contains(&what.to_owned()), "{found:?}");
    dmsetup(
        &place,
        &GOOD.replace(" rw ", " out_of_data_space "),
        "No devices found",
    );
    assert_eq!(
        findings(&place, "pool")[0],
        "problem: thin has no data blocks left"
    );
    dmsetup(&place, "0 20971520 thin-pool Fail", "");
    let failed = "problem: thin is in the state Fail: it serves no requests";
    assert_eq!(findings(&place, "pool")[0], failed);
    program(
        &place,
        "dmsetup",
        "echo 'Device does not exist.' >&2; exit 1",
    );
    let none = "problem: dmsetup does not find thin: Device does not exist.";
    assert_eq!(findings(&place, "pool")[0], none);
}

#[test]
fn what_is_wrong_with_files_is_said_with_the_command_for_it() {
    let place = Place::pool();
    fs::set_permissions(&place.store, fs::Permissions::from_mode(0o666)).unwrap();
    fs::write(place.path("pool.db.partial-0123456789abcdef"), "").unwrap();
    fs::write(place.path("pool.db.bbolt"), "x").unwrap();
    let run = place.run(["doctor"]);
    assert_eq!(run.code, 1, "{}", run.out);
    for text in [
        "may be written by other users (mode 666)\n",
        "                        chmod 600 [DIR]/pool.db\n",
        "temporary files of calls that run or were killed: [DIR]/pool.db.partial-0123456789abcdef",
        "kept files     1 file of earlier states, 1 B",
        "pmctl doctor --pool NAME",
    ] {
        assert!(run.out.contains(text), "{text}: {}", run.out);
    }
}

#[test]
fn process_that_has_the_store_open_is_named() {
    let place = Place::pool();
    dmsetup(&place, GOOD, "");
    let store = PoolMetadata::open(&place.store).unwrap();
    let found = findings(&place, "processes");
    let this = format!("fine: the store is open in {} (", std::process::id());
    assert!(found[0].starts_with(&this), "{found:?}");
    store.close().unwrap();
}

#[test]
fn processes_that_cannot_be_looked_for_are_not_said_to_be_none() {
    let place = Place::pool();
    fs::remove_file(place.path("pool.db")).unwrap();
    symlink("pool.db", place.path("pool.db")).unwrap();
    let found = findings(&place, "processes");
    assert!(
        found[0].starts_with("note: which processes have the store open is not known: "),
        "{found:?}"
    );
}

#[test]
fn store_that_is_missing_or_damaged_is_a_problem_with_the_way_on() {
    let place = Place::empty();
    dmsetup(&place, GOOD, "");
    let found = findings(&place, "store");
    assert!(
        found[0].starts_with("problem: [DIR]/pool.db: the file does not exist"),
        "{found:?}"
    );
    let place = Place::pool();
    dmsetup(&place, GOOD, "");
    let mut bytes = fs::read(&place.store).unwrap();
    bytes[2 * 4096..].fill(0xff);
    fs::write(&place.store, bytes).unwrap();
    let run = place.run(["doctor"]);
    assert!(run.out.contains("the store is damaged"), "{}", run.out);
    assert!(run.out.contains("pmctl salvage TARGET"), "{}", run.out);
    assert_eq!(run.code, 1);
}
