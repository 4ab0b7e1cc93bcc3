//! Which store it is, and what is said where there is none that can be used.

mod common;

use common::{pmctl, Place};

#[test]
fn store_is_the_option_or_the_variable_or_the_one_of_containerd() {
    let place = Place::pool();
    let config = place.path("config.toml");
    let plugin = "[plugins.\"io.containerd.snapshotter.v1.devmapper\"]";
    let root = place.directory.path().display();
    let text = format!("version = 2\n{plugin}\nroot_path = \"{root}\"\npool_name = \"pool\"\n");
    std::fs::write(&config, text).unwrap();
    let run = |arguments: &[&str], variable: Option<&str>| {
        let mut command = pmctl();
        command.args(arguments);
        command.envs(variable.map(|path| ("PM_STORE", path)));
        place.finish(command, b"")
    };
    let list = run(&["ls", "--store", "pool.db"], Some("/no/such")).expect(0);
    assert_eq!(run(&["--store", "pool.db", "ls"], None).expect(0), list);
    assert_eq!(run(&["ls"], Some("pool.db")).expect(0), list);
    assert_eq!(
        run(&["ls", "--config", "config.toml"], None).expect(0),
        list
    );
    run(&["ls", "--config", "none.toml"], None).expect_error(
        2,
        "no store is named: give --store PATH or set PM_STORE; none.toml: No such file",
    );
    std::fs::write(&config, "version = 2\n").unwrap();
    run(&["ls", "--config", "config.toml"], None)
        .expect_error(2, "config.toml sets no pool_name in [plugins.");
}

#[test]
fn each_kind_of_unusable_file_has_its_message_and_exit_code_3() {
    let place = Place::empty();
    let bad = |bytes: &[u8], text: &str| {
        std::fs::write(&place.store, bytes).unwrap();
        place.run(["ls"]).expect_error(3, text);
        assert_eq!(std::fs::read(&place.store).unwrap(), bytes);
        let _ = std::fs::remove_file(place.path("pool.db-lock"));
    };
    bad(b"text", "pool.db: is not a pool-metadata store");
    let mut bolt = vec![0; 16384];
    for page in 0..2 {
        bolt[page * 4096 + 8] = 4;
        bolt[page * 4096 + 16..][..4].copy_from_slice(&0xED0C_DAED_u32.to_le_bytes());
        bolt[page * 4096 + 20] = 2;
    }
    bad(&bolt, "pm-migrate check PATH");
    std::fs::remove_file(&place.store).unwrap();
    std::fs::create_dir(&place.store).unwrap();
    place.run(["ls"]).expect_error(3, "is a directory");
}

#[test]
fn damaged_store_is_named_with_the_way_back() {
    let place = Place::pool();
    let mut bytes = std::fs::read(&place.store).unwrap();
    bytes[2 * 4096..].fill(0xff);
    std::fs::write(&place.store, bytes).unwrap();
    for command in ["ls", "check", "tree"] {
        let run = place.run([command]);
        assert!(run.err.contains("pmctl salvage TARGET"), "{}", run.err);
        run.expect_error(3, "the store is damaged");
    }
}

#[test]
fn wrong_command_lines_are_exit_code_2() {
    let place = Place::pool();
    for arguments in [
        &["no-such-command"][..],
        &["ls", "--format", "nothing"],
        &["ls", "--state", "broken"],
        &["ls", "--id", "0"],
        &["ls", "--parent", "\\q"],
        &["ls", "--wait", "-1"],
        &["show"],
        &[],
    ] {
        let run = place.run(arguments);
        assert_eq!(
            (run.code, run.out.as_str()),
            (2, ""),
            "{arguments:?} {}",
            run.err
        );
        assert!(!run.err.is_empty());
    }
    for arguments in [&["--help"][..], &["--version"], &["ls", "--help"]] {
        let run = place.run(arguments);
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{arguments:?}");
    }
}
