//! The store beside the pool and the snapshotter: what contradicts is found, and settled.

mod common;

use common::{add, devices, Place};
use insta::assert_snapshot;
use pool_metadata::{DeviceInfo, DeviceState, Error, Ids, PoolMetadata};

const THIN_DUMP: &str = include_str!("fixtures/thin_dump.xml");
const THIN_LS: &str = include_str!("fixtures/thin_ls.txt");
const THIN_LS_FORMAT: &str = include_str!("fixtures/thin_ls_format.txt");

/// A store beside the pool of the fixtures, which has the ids 1, 2, 4, 5 and 9.
fn place() -> Place {
    let place = Place::with(|store| {
        for n in 1..=7 {
            add(
                store,
                &format!("thin-snap-{n}"),
                "",
                1 << 30,
                DeviceState::Activated,
            );
        }
        store.mark_faulty("thin-snap-4").unwrap();
        store.mark_faulty("thin-snap-6").unwrap();
        // Both get other ids, 8 and 9, and then give them back.
        for n in [4, 6] {
            add(
                store,
                &format!("thin-snap-{n}"),
                "",
                1 << 30,
                DeviceState::Created,
            );
            store.remove_device(format!("thin-snap-{n}")).unwrap();
        }
        store.remove_device("thin-snap-5").unwrap();
    });
    for (name, text) in [
        ("dump.xml", THIN_DUMP),
        ("ls", THIN_LS),
        ("ls-format", THIN_LS_FORMAT),
        (
            "snapshots",
            "thin-snap-1\nthin-snap-3\nthin-snap-7\nthin-snap-77\n",
        ),
    ] {
        std::fs::write(place.path(name), text).unwrap();
    }
    place
}

fn ids(place: &Place) -> Ids {
    let store = PoolMetadata::open(&place.store).unwrap();
    store.verify().unwrap();
    let ids = store.walk().unwrap().ids().unwrap();
    store.close().unwrap();
    ids
}

#[test]
fn every_form_of_the_tools_output_gives_the_same_comparison() {
    let place = place();
    let before = (devices(&place.store), ids(&place));
    let run = |list: &str| place.run(["reconcile", "-n", "--pool", list, "--pool-name", "thin"]);
    let found = run("dump.xml");
    assert_snapshot!("reconcile_pool", format!("{}---\n{}", found.out, found.err));
    assert_eq!(found.code, 1);
    assert_eq!(run("ls-format").out, found.out);
    // The default form has no numbers of blocks.
    let without_blocks = run("ls").out;
    assert_eq!(without_blocks.lines().count(), found.out.lines().count());
    assert!(without_blocks.contains("id 5 is in the pool; no device has it"));
    let input = place.run_with(["reconcile", "-n", "--pool", "-"], THIN_LS.as_bytes());
    assert_eq!(input.code, 1);
    assert_eq!((devices(&place.store), ids(&place)), before);
}

#[test]
fn differences_are_settled_in_one_commit_and_then_nothing_is_left_for_the_store() {
    let place = place();
    let arguments = [
        "reconcile",
        "-y",
        "--pool",
        "dump.xml",
        "--snapshots",
        "snapshots",
    ];
    let run = place.run(arguments.into_iter().chain(["--pool-name", "thin"]));
    assert_snapshot!("reconcile_settled", format!("{}---\n{}", run.out, run.err));
    assert_eq!(run.code, 1);
    let left: Vec<_> = devices(&place.store)
        .into_iter()
        .map(|device| device.name)
        .collect();
    assert_eq!(left, [b"thin-snap-1", b"thin-snap-3", b"thin-snap-7"]);
    // What is in the pool stays out of use, what is nowhere is free again.
    assert_eq!(ids(&place).faulty, [2, 4, 5, 9]);
    assert_eq!(ids(&place).free, [6, 8]);
    let again = place.run(["reconcile", "-n", "--pool", "dump.xml", "--json"]);
    let kinds: Vec<_> = again
        .out
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|line| format!("{} {}", line["kind"].as_str().unwrap(), line["first_id"]))
        .collect();
    assert_eq!(
        kinds,
        [
            "OnlyInStore 3",
            "OnlyInStore 7",
            "OnlyInPool 2",
            "OnlyInPool 4",
            "OnlyInPool 5",
            "OnlyInPool 9"
        ]
    );
    // Once the pool does not have them any more, they are put back into use.
    std::fs::write(place.path("after"), "1\n3\n7\n").unwrap();
    place.run(["reconcile", "-y", "--pool", "after"]).expect(0);
    assert_eq!(ids(&place).faulty, [0; 0]);
    let out = place.run(["reconcile", "--pool", "after"]).expect(0);
    assert_eq!(out, "nothing differs\n");
}

#[test]
fn jam_of_a_device_that_no_snapshot_has_is_ended_beside_the_running_daemon() {
    let place = Place::with(|store| {
        for n in 1..=3 {
            add(
                store,
                &format!("thin-snap-{n}"),
                "",
                1 << 30,
                DeviceState::Activated,
            );
        }
    });
    // This process is the daemon. After a power cut its own database lacks the last snapshot.
    let daemon = PoolMetadata::open(&place.store).unwrap();
    let add_again = || daemon.add_device(&mut DeviceInfo::new("thin-snap-3"));
    assert!(matches!(add_again(), Err(Error::AlreadyExists { .. })));
    let arguments = ["reconcile", "-y", "--snapshots", "-", "--pool-name", "thin"];
    let names = b"thin-snap-1\nthin-snap-2\n";
    place
        .run_with(arguments, names)
        .expect_error(1, "has the store open, and may have made devices since");
    let commit = place.run(["stats", "--commit"]).expect(0);
    let as_of = arguments.into_iter().chain(["--as-of", commit.trim_end()]);
    let run = place.run_with(as_of, names);
    assert_eq!(
        run.out,
        "device \"thin-snap-3\" (id 3, Activated) belongs to no snapshot\n  \
         store: remove the record of thin-snap-3, and make id 3 faulty, so that no device gets it\n\
         for the pool, as root, once nothing uses these devices:\n  \
         dmsetup remove thin-snap-3\n  \
         dmsetup message /dev/mapper/thin 0 'delete 3'\n"
    );
    assert_eq!(run.code, 1);
    add_again().unwrap();
    assert_eq!(daemon.get_device("thin-snap-3").unwrap().device_id, 4);
}

#[test]
fn device_that_was_made_after_the_lists_is_left_alone() {
    let place = Place::with(|store| add(store, "a", "", 1, DeviceState::Activated));
    let commit = place.run(["stats", "--commit"]).expect(0);
    std::fs::write(place.path("pool"), "1\n").unwrap();
    let daemon = PoolMetadata::open(&place.store).unwrap();
    add(&daemon, "b", "", 1, DeviceState::Activated);
    let arguments = ["reconcile", "-y", "--pool", "pool"];
    let as_of = arguments.into_iter().chain(["--as-of", commit.trim_end()]);
    assert_eq!(place.run(as_of).expect(0), "nothing differs\n");
    place
        .run(arguments)
        .expect_error(1, "stop it first, or say of when the lists are");
    assert!(daemon.get_device("b").is_ok());
    drop(daemon);
    place.run(arguments).expect(0);
    assert_eq!(devices(&place.store).len(), 1);
}

#[test]
fn each_bad_list_has_its_message_and_changes_nothing() {
    let place = place();
    let before = std::fs::read(&place.store).unwrap();
    let duplicate = THIN_DUMP.replace("dev_id=\"9\"", "dev_id=\"1\"");
    let beyond = THIN_DUMP.replace("dev_id=\"9\"", "dev_id=\"16777216\"");
    for (list, what) in [
        (
            &THIN_DUMP[..THIN_DUMP.len() - 20],
            "list: line 16: the XML is damaged",
        ),
        (&duplicate, "list: line 15: id 1 is in line 2 as well"),
        (&beyond, "list: line 15: id 16777216 has more than 24 bits"),
        ("1\n1\n", "list: line 2: id 1 is in line 1 as well"),
        ("hello\n", "list: line 1: there is no column DEV"),
    ] {
        std::fs::write(place.path("list"), list).unwrap();
        place
            .run(["reconcile", "-y", "--pool", "list"])
            .expect_error(1, what);
    }
    place
        .run(["reconcile", "-y", "--pool", "none"])
        .expect_error(3, "none: No such file");
    place
        .run(["reconcile", "-y"])
        .expect_error(2, "--pool <FILE>");
    place
        .run(["reconcile", "-y", "--pool", "-", "--snapshots", "-"])
        .expect_error(2, "only one of the lists");
    place
        .run_with(["reconcile", "-y", "--snapshots", "-"], b"a\\q\n")
        .expect_error(2, "a backslash is written as");
    assert_eq!(std::fs::read(&place.store).unwrap(), before);
    // An id that no store gives out is another program's, and stays.
    let run = place.run_with(["reconcile", "-n", "--pool", "-"], b"0\n1\n");
    assert!(
        run.out
            .contains("id 0 is in the pool; no store gives it out"),
        "{}",
        run.out
    );
}

#[test]
fn list_of_another_pool_is_refused() {
    let place = place();
    let before = devices(&place.store);
    for list in ["", "100\n200\n"] {
        place
            .run_with(["reconcile", "-y", "--pool", "-"], list.as_bytes())
            .expect_error(
                1,
                "none of the store's 4 devices is in the list of the pool's devices",
            );
    }
    for list in ["", "other-snap-1\nother-snap-3\nother-snap-1\n"] {
        place
            .run_with(["reconcile", "-y", "--snapshots", "-"], list.as_bytes())
            .expect_error(
                1,
                "none of the store's 4 devices is in the list of snapshots",
            );
    }
    assert_eq!(devices(&place.store), before);
    let anew = ["reconcile", "-y", "--pool", "-", "--other-pool"];
    place.run_with(anew, b"").expect(0);
    assert_eq!(devices(&place.store).len(), 0);
}

#[test]
fn store_of_another_pool_is_refused_by_its_name() {
    let place = Place::pool();
    let named = |command: &'static [&'static str], name: &'static str| {
        place.run(command.iter().copied().chain(["--identity", name]))
    };
    // Reading does not name the store, the first change does.
    named(&["ls"], "uuid-1").expect(0);
    named(&["rm", "-y", "base-2"], "uuid-2").expect(0);
    assert!(place
        .run(["stats"])
        .expect(0)
        .contains("  pool                   uuid-2\n"));
    for command in [
        &["ls"][..],
        &["rm", "-y", "base"],
        &["reconcile", "--snapshots", "/dev/null"],
    ] {
        named(command, "uuid-1").expect_error(3, "the store belongs to the pool \"uuid-2\"");
    }
    place.run(["ls"]).expect(0);
}

#[test]
fn faulty_ids_are_freed_and_those_of_devices_are_not() {
    let place = place();
    let faulty = "pmctl ids --state faulty --unowned";
    place
        .run(["free-id", "-y", "1"])
        .expect_error(1, "id 1 belongs to device thin-snap-1;");
    place.run(["free-id", "-y", "5"]).expect_error(1, faulty);
    place
        .run(["free-id", "-y", "20-30"])
        .expect_error(1, "no id of 20-30 is faulty");
    place
        .run(["free-id", "-y", "16777215"])
        .expect_error(2, "there is no id 16777215");
    place.run(["free-id", "4"]).expect_error(2, "--yes goes on");
    let run = place.run(["free-id", "-n", "4-6"]);
    assert!(
        run.err.starts_with("would free the ids 4 6\n"),
        "{}",
        run.err
    );
    assert_eq!(
        place.run(["free-id", "-y", "1-9", "4"]).expect(0),
        "2 ids free again\n"
    );
    assert_eq!(ids(&place).faulty, [0; 0]);
}

#[test]
fn changes_since_a_commit_are_listed_in_their_order() {
    let place = Place::pool();
    assert_snapshot!("changes", place.run(["changes", "--since", "3"]).expect(0));
    assert_snapshot!(
        "changes_json",
        place.run(["changes", "--since", "7", "--json"]).expect(0)
    );
    let commit = place.run(["stats", "--commit"]).expect(0);
    let none = place
        .run(["changes", "--since", commit.trim_end()])
        .expect(0);
    assert_eq!(none, format!("up to commit {commit}"));
}
