//! The commands that change devices.

mod common;

use common::{add, devices, Place};
use pool_metadata::{DeviceState, PoolMetadata};

fn state_of(place: &Place, name: &str) -> Option<DeviceState> {
    let all = devices(&place.store);
    let found = all.iter().find(|device| device.name == name.as_bytes());
    found.map(|device| device.state)
}

#[test]
fn mark_faulty_takes_devices_and_ids_out_of_use() {
    let place = Place::pool();
    let run = place.run(["mark-faulty", "-y", "snap-1", "snap-2"]);
    assert_eq!(
        run.err,
        "will mark as faulty: snap-1 (id 4, Activated)\n\
         will mark as faulty: snap-2 (id 5, Activating)\n"
    );
    assert_eq!(
        run.expect(0),
        "snap-1 is faulty, and so is id 4\nsnap-2 is faulty, and so is id 5\n"
    );
    assert_eq!(state_of(&place, "snap-2"), Some(DeviceState::Faulty));
    // The jam is over: the device can be added again, with another id.
    let store = PoolMetadata::open(&place.store).unwrap();
    add(&store, "snap-1", "base", 1, DeviceState::Creating);
    assert_eq!(store.get_device("snap-1").unwrap().device_id, 3);
    assert_eq!(store.walk().unwrap().ids().unwrap().faulty, [4, 5, 6, 7]);
}

#[test]
fn set_state_sets_the_state_and_the_error_text() {
    let place = Place::pool();
    let run = place.run([
        "set-state",
        "-y",
        "deactivated",
        "snap-1",
        "snap-3",
        "--error",
        "a\\x0ab",
    ]);
    assert_eq!(
        run.err,
        "will set to Deactivated: snap-1 (id 4, Activated)\n\
         will set to Deactivated: snap-3 (id 7, Faulty)\n\
         note: id 7 stays faulty until the device is removed\n"
    );
    assert_eq!(
        run.expect(0),
        "snap-1 is Deactivated\nsnap-3 is Deactivated\n"
    );
    let all = devices(&place.store);
    assert_eq!(
        (all[2].state, &*all[2].error),
        (DeviceState::Deactivated, &b"a\nb"[..])
    );
    place
        .run(["set-state", "-y", "Created", "snap-1"])
        .expect(0);
    assert_eq!(devices(&place.store)[2].error, b"a\nb");
    place
        .run(["set-state", "-y", "Created", "snap-1", "--error", ""])
        .expect(0);
    assert_eq!(devices(&place.store)[2].error, b"");
    place
        .run(["set-state", "-y", "faulty", "snap-1"])
        .expect_error(2, "use `pmctl mark-faulty NAME`");
}

#[test]
fn rm_says_what_it_leaves_behind() {
    let place = Place::pool();
    let run = place.run(["rm", "--dry-run", "base", "snap-2", "--config", "/no/such"]);
    assert_eq!(
        run.err,
        "would remove base (id 1, Suspended)\n\
         note: 1 snapshot of it would name a parent that is not in the store\n\
         note: if the pool has it, delete it there too: \
         dmsetup message /dev/mapper/POOL 0 'delete 1'\n\
         would remove snap-2 (id 5, Activating)\n\
         note: if the pool has it, delete it there too: \
         dmsetup message /dev/mapper/POOL 0 'delete 5'\n\
         dry run: nothing was changed\n"
    );
    assert_eq!((run.code, run.out.as_str()), (0, ""));
    let run = place.run(["rm", "-y", "snap-2", "snap-1", "snap-1"]);
    assert!(run.err.contains("it is active by its state"), "{}", run.err);
    assert_eq!(
        run.expect(0),
        "snap-2 is removed, and id 5 is free\nsnap-1 is removed, and id 4 is free\n"
    );
    let names: Vec<_> = devices(&place.store).into_iter().map(|d| d.name).collect();
    assert_eq!(names, [&b"base"[..], b"base-2", b"snap-3"]);
}

#[test]
fn names_come_from_a_list_as_ls_prints_it() {
    let place = Place::with(|store| {
        for name in ["a b", "c\\d", "\u{1}", "rest"] {
            add(store, name, "", 1, DeviceState::Created);
        }
    });
    let list = place
        .run(["ls", "-H", "-o", "name", "--id", "1-3"])
        .expect(0);
    let run = place.run_with(["rm", "-y", "--from", "-"], list.as_bytes());
    run.expect(0);
    assert_eq!(devices(&place.store).len(), 1);
    std::fs::write(place.path("names"), "\nrest\n\n").unwrap();
    place.run(["rm", "-y", "--from", "names"]).expect(0);
    assert_eq!(devices(&place.store).len(), 0);
    place
        .run(["rm", "-y", "--from", "none"])
        .expect_error(3, "none: No such file");
    place
        .run_with(["rm", "-y", "--from", "-"], b"\\q\n")
        .expect_error(2, "a backslash");
}

#[test]
fn device_that_is_not_there_keeps_the_others_as_they_are() {
    let place = Place::pool();
    let before = devices(&place.store);
    for command in [
        &["rm", "-y"][..],
        &["mark-faulty", "-y"],
        &["set-state", "-y", "Created"],
    ] {
        place
            .run([command, &["base", "none", "no\\x0ane"]].concat())
            .expect_error(1, "not in the store: none no\\x0ane; nothing was changed");
    }
    assert_eq!(devices(&place.store), before);
}

#[test]
fn nothing_is_changed_without_a_yes_or_in_a_dry_run() {
    let place = Place::pool();
    place.run(["backup", "saved.db"]).expect(0);
    place.run(["dump"]).expect(0);
    let dump = place.run(["dump"]).expect(0);
    std::fs::write(place.path("dump"), dump).unwrap();
    let before = std::fs::read(&place.store).unwrap();
    let new = place.path("new.db");
    let new = new.to_str().unwrap();
    for command in [
        &["rm", "base"][..],
        &["mark-faulty", "base"],
        &["set-state", "Created", "base"],
        &["backup", "--overwrite", "saved.db"],
        &["restore", "saved.db"],
        &["load", "dump", "--store", new],
    ] {
        place
            .run(command)
            .expect_error(2, "--yes goes on without asking");
        let run = place.run([command, &["-n"]].concat());
        assert!(run.err.starts_with("would "), "{}", run.err);
        assert!(
            run.err.ends_with("dry run: nothing was changed\n"),
            "{}",
            run.err
        );
        assert_eq!((run.code, run.out.as_str()), (0, ""));
    }
    assert_eq!(std::fs::read(&place.store).unwrap(), before);
    let mut names: Vec<_> = place.files().into_iter().map(|file| file.0).collect();
    names.retain(|name| !name.to_str().unwrap().ends_with("-lock"));
    assert_eq!(
        names,
        [
            place.path("dump"),
            place.store.clone(),
            place.path("saved.db")
        ]
    );
}

#[test]
fn writing_commands_make_no_store_where_none_is() {
    let place = Place::empty();
    std::fs::write(place.path("names"), "a\n").unwrap();
    for command in [
        &["rm", "-y", "a"][..],
        &["mark-faulty", "-y", "a"],
        &["set-state", "-y", "Created", "a"],
        &["backup", "copy"],
        &["repair", "-y"],
        &["salvage", "new.db"],
    ] {
        let run = place.run(command);
        assert_eq!(run.code, 3, "{command:?} {}", run.err);
        assert_eq!(place.files().len(), 1, "{command:?}");
    }
}
