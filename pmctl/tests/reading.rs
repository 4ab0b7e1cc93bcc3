//! The commands that only read: what they print, and that they change nothing.

mod common;

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use common::{add, chain, pmctl, Place};
use insta::assert_snapshot;
use pool_metadata::{DeviceInfo, DeviceState, Ids};

/// A store whose names are not what a terminal should get.
fn strange_names() -> Place {
    Place::with(|store| {
        for name in [
            &b"\x1b[31mred"[..],
            b"\xff\xfe",
            b"a b",
            b"back\\slash",
            b"-",
        ] {
            store.add_device(&mut DeviceInfo::new(name)).unwrap();
        }
        let mut device = DeviceInfo::new("\u{202e}gnp");
        device.parent_name = b"a b".to_vec();
        device.error = b"line\nline".to_vec();
        store.add_device(&mut device).unwrap();
    })
}

#[test]
fn ls_prints_the_columns_that_are_asked_for() {
    let place = Place::pool();
    assert_snapshot!("ls", place.run(["ls"]).expect(0));
    let columns = ["ls", "-H", "-b", "-o", "id,size,generation,error,name"];
    assert_snapshot!("ls_columns", place.run(columns).expect(0));
    assert_snapshot!("ls_json", place.run(["ls", "--json"]).expect(0));
    let json = ["ls", "--json", "-o", "name,error,generation"];
    assert_snapshot!("ls_json_columns", place.run(json).expect(0));
}

#[test]
fn ls_filters_take_devices_that_meet_all_of_them() {
    let place = Place::pool();
    let names = |filter: &[&str]| {
        let arguments = [&["ls", "-H", "-o", "name"], filter].concat();
        let out = place.run(arguments).expect(0);
        out.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(&[]), "base base-2 snap-1 snap-2 snap-3");
    assert_eq!(names(&["--bases"]), "base base-2");
    assert_eq!(names(&["--parent", "snap-1"]), "snap-2 snap-3");
    assert_eq!(names(&["--state", "faulty,Activating"]), "snap-2 snap-3");
    assert_eq!(names(&["--id", "1-2,4"]), "base base-2 snap-1");
    assert_eq!(names(&["--name", "snap-*", "--id", "5"]), "snap-2");
    assert_eq!(names(&["--name", "none"]), "");
    assert_eq!(
        names(&["--sort", "size"]),
        "base-2 base snap-1 snap-2 snap-3"
    );
    assert_eq!(
        names(&["--sort", "id", "-r"]),
        "snap-3 snap-2 snap-1 base-2 base"
    );
    assert_eq!(names(&["-r"]), "snap-3 snap-2 snap-1 base-2 base");
}

#[test]
fn ids_are_listed_with_their_devices() {
    let place = Place::pool();
    assert_snapshot!("ids", place.run(["ids"]).expect(0));
    let faulty = ["ids", "--state", "faulty,free", "--unowned", "--json"];
    assert_eq!(
        place.run(faulty).expect(0),
        "{\"device\":null,\"first\":3,\"last\":3,\"state\":\"free\"}\n\
         {\"device\":null,\"first\":6,\"last\":6,\"state\":\"faulty\"}\n"
    );
}

#[test]
fn show_prints_records_and_what_belongs_to_them() {
    let place = Place::pool();
    assert_snapshot!("show", place.run(["show", "snap-1", "snap-3"]).expect(0));
    assert_snapshot!(
        "show_json",
        place.run(["show", "--json", "--id", "1"]).expect(0)
    );
    let run = place.run(["show", "base", "no\\x20such", "--id", "77"]);
    assert!(run.out.contains("base"), "{}", run.out);
    assert_eq!(
        (run.code, run.err.as_str()),
        (
            1,
            "pmctl: device \"no such\" is not in the store\n       \
             no device in the store has id 77\n       \
             `pmctl ls` lists the devices there are\n"
        )
    );
}

#[test]
fn names_that_are_no_text_are_escaped_and_found_by_what_is_shown() {
    let place = strange_names();
    assert_snapshot!(
        "strange_ls",
        place.run(["ls", "-o", "name,parent,error"]).expect(0)
    );
    assert_snapshot!(
        "strange_json",
        place.run(["ls", "--json", "-o", "name,error"]).expect(0)
    );
    assert_snapshot!("strange_tree", place.run(["tree"]).expect(0));
    let names = place.run(["ls", "-H", "-o", "name"]).expect(0);
    for name in names.lines() {
        let shown = place
            .run(["ls", "-H", "-o", "name", "--name", name])
            .expect(0);
        assert_eq!(shown.trim_end(), name);
        place.run(["show", "--", name]).expect(0);
    }
    place
        .run(["show", "back\\slash"])
        .expect_error(2, "a backslash is written as \\\\");
}

#[test]
fn nothing_that_reads_prints_control_characters() {
    let place = strange_names();
    for arguments in [
        &["ls", "-o", "name,parent,error"][..],
        &["tree"],
        &["stats"],
        &["check"],
    ] {
        let run = place.run(arguments);
        for text in [run.out, run.err] {
            assert!(
                text.chars().all(|c| c == '\n' || (' '..='~').contains(&c)),
                "{text:?}"
            );
        }
    }
    let run = place.run(["ls", "--store", "/no/\u{1b}[31mstore"]);
    assert!(
        run.err.contains("/no/\\x1b[31mstore") && !run.err.contains('\u{1b}'),
        "{}",
        run.err
    );
}

#[test]
fn tree_shows_lost_parents_and_cycles_and_follows_neither() {
    let place = Place::pool();
    assert_snapshot!("tree", place.run(["tree"]).expect(0));
    let mut command = pmctl();
    command
        .args(["tree", "--depth", "1", "--store", "pool.db"])
        .env("LC_ALL", "C.UTF-8");
    let drawn = place.finish(command, b"").expect(0);
    let second = drawn.lines().nth(1).unwrap();
    assert_eq!(second, "\u{2514}\u{2500} snap-1  id 4  Activated  10.0 GiB");
    assert_eq!(drawn.lines().count(), 3);

    let place = Place::with(|store| {
        for (name, parent) in [
            ("a", "c"),
            ("b", "a"),
            ("c", "b"),
            ("d", "b"),
            ("self", "self"),
            ("x", "lost"),
            ("y", "x"),
            ("0", "d"),
        ] {
            add(store, name, parent, 4096, DeviceState::Created);
        }
    });
    assert_snapshot!("tree_cycles", place.run(["tree"]).expect(1));
    assert_snapshot!("tree_json", place.run(["tree", "--json"]).expect(1));
}

#[test]
fn tree_of_a_chain_of_thousands_takes_no_more_space_for_each() {
    let place = Place::with(|store| chain(store, 5000, ""));
    let out = place.run(["tree"]).expect(0);
    assert_eq!(out.lines().count(), 5000);
    assert!(
        out.lines()
            .last()
            .unwrap()
            .contains("(4999) n0004999  id 5000"),
        "{out}"
    );
    assert!(out.lines().all(|line| line.len() < 200));
}

#[test]
fn check_of_a_sound_store_says_so() {
    let place = Place::pool();
    assert_eq!(place.run(["check"]).expect(0), "[DIR]/pool.db: sound\n");
    let json = place.run(["check", "--json"]).expect(0);
    assert_eq!(json, "{\"findings\":0,\"sound\":true,\"unfixable\":0}\n");
}

#[test]
fn reading_commands_leave_every_file_as_it_is() {
    let place = Place::pool();
    std::fs::remove_file(place.path("pool.db-lock")).unwrap();
    let before = place.files();
    let commands = [
        &["ls"][..],
        &["ls", "--sort", "id"],
        &["show", "base"],
        &["tree"],
        &["ids"],
        &["stats"],
        &["check"],
        &["changes", "--since", "0"],
        &["dump"],
        &["doctor"],
        &["watch", "--count", "1"],
    ];
    for arguments in commands {
        let run = place.run(arguments);
        assert!(run.code <= 1, "{}", run.err);
        assert_eq!(place.files(), before, "{arguments:?}");
    }
    // A store that is not there is not made.
    let place = Place::empty();
    for arguments in commands {
        let run = place.run(arguments);
        assert!((run.out + &run.err).contains("pool.db: the file does not exist"));
        assert!(place.files().is_empty(), "{arguments:?}");
    }
}

#[test]
fn reader_that_goes_away_ends_the_list_without_a_word() {
    let place = Place::with(|store| {
        chain(store, 3000, &"x".repeat(400));
    });
    let mut child = pmctl()
        .args(["ls", "--store"])
        .arg(&place.store)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut reader = BufReader::with_capacity(64, child.stdout.take().unwrap());
    reader.read_line(&mut line).unwrap();
    assert!(line.starts_with("NAME"), "{line}");
    drop(reader);
    assert!(child.wait().unwrap().success());
    let mut err = String::new();
    child.stderr.unwrap().read_to_string(&mut err).unwrap();
    assert_eq!(err, "");
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let place = Place::pool();
    let mut command = pmctl();
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    command
        .args(["ls", "--store"])
        .arg(&place.store)
        .stdout(full);
    let output = command.output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{err}");
    assert!(
        err.contains("the output cannot be written: No space left"),
        "{err}"
    );
}

/// A list in order of names is printed while it is read; sorting it takes memory for each device.
#[test]
fn list_takes_no_memory_for_each_device() {
    const DEVICES: u32 = 150_000;
    let place = Place::with(|store| {
        let device = |n| DeviceInfo {
            device_id: n,
            ..DeviceInfo::new(format!("containerd-pool-snap-{n:06}"))
        };
        let devices: Vec<_> = (1..=DEVICES).map(device).collect();
        let devices: Vec<_> = devices.iter().map(DeviceInfo::as_ref).collect();
        let ids = Ids {
            last_id: DEVICES,
            ..Ids::default()
        };
        store.import(&devices, &ids).unwrap();
    });
    let with_little_memory = |sorted: &[&str]| {
        let mut command = Command::new("sh");
        command
            .args(["-c", "ulimit -d 16000 && exec \"$0\" \"$@\""])
            .arg(env!("CARGO_BIN_EXE_pmctl"))
            .args(["ls", "--no-header"])
            .args(sorted)
            .env("PM_STORE", &place.store);
        command.output().unwrap()
    };
    let listed = with_little_memory(&[]);
    let err = String::from_utf8_lossy(&listed.stderr);
    assert!(listed.status.success(), "{err}");
    let lines = listed.stdout.iter().filter(|byte| **byte == b'\n');
    assert_eq!(lines.count(), DEVICES as usize);
    // So little that one which keeps what it has read fails.
    let sorted = with_little_memory(&["--sort", "size"]);
    assert!(!sorted.status.success());
}
