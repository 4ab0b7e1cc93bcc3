//! Questions, bars and colours, in a pseudo-terminal.

mod common;

use std::fs::File;
use std::process::Command;

use common::{devices, on_the_terminal, Place};
use nix::fcntl::{Flock, FlockArg};
use rexpect::session::{spawn_command, PtySession};

const PATIENCE_MS: u64 = 60_000;

fn spawn(place: &Place, arguments: &[&str], more: impl FnOnce(&mut Command)) -> PtySession {
    let mut command = on_the_terminal();
    command
        .env("TERM", "xterm")
        .env("PM_STORE", &place.store)
        .current_dir(place.directory.path())
        .args(arguments);
    more(&mut command);
    spawn_command(command, Some(PATIENCE_MS)).unwrap()
}

/// Fails unless the program has ended with this code.
#[track_caller]
fn expect_exit(session: &PtySession, code: i32) {
    // The type of the status is not part of what rexpect makes public.
    let status = format!("{:?}", session.process().wait().unwrap());
    assert!(
        status.starts_with("Exited(") && status.ends_with(&format!(", {code})")),
        "{status}"
    );
}

#[test]
fn question_is_asked_and_only_a_yes_is_one() {
    let place = Place::pool();
    for answer in ["", "n", "no", "x", "yess"] {
        let mut session = spawn(&place, &["rm", "base-2"], |_| ());
        session
            .exp_string("will remove base-2 (id 2, Activated)")
            .unwrap();
        session.exp_string("go on? [y/N] ").unwrap();
        session.send_line(answer).unwrap();
        session
            .exp_string("nothing was changed: the answer was not yes")
            .unwrap();
        session.exp_eof().unwrap();
        expect_exit(&session, 1);
        assert_eq!(devices(&place.store).len(), 5);
    }
    let mut session = spawn(&place, &["rm", "base-2"], |_| ());
    session.exp_string("go on? [y/N] ").unwrap();
    session.send_line("YES").unwrap();
    session
        .exp_string("base-2 is removed, and id 2 is free")
        .unwrap();
    session.exp_eof().unwrap();
    expect_exit(&session, 0);
    assert_eq!(devices(&place.store).len(), 4);
}

#[test]
fn colours_are_used_on_a_terminal_and_not_with_no_color() {
    let place = Place::pool();
    let shown = |arguments: &[&str], no_color: &str| {
        let mut session = spawn(&place, arguments, |command| {
            command.env("NO_COLOR", no_color);
        });
        session.exp_eof().unwrap()
    };
    assert!(shown(&["ls"], "").contains("\x1b[31mFaulty\x1b[0m"));
    assert!(!shown(&["ls"], "1").contains('\x1b'));
    assert!(shown(&["ls", "--color", "always"], "1").contains("\x1b[31mFaulty"));
    assert!(!shown(&["ls", "--color", "never"], "").contains('\x1b'));
    let piped = place.run(["ls"]).expect(0);
    assert!(!piped.contains('\x1b'));
    let forced = place.run(["ls", "--color", "always"]).expect(0);
    assert!(forced.contains("\x1b[31mFaulty\x1b[0m"));
}

#[test]
fn work_of_more_than_a_second_shows_its_progress_on_a_terminal_only() {
    let place = Place::pool();
    let dump = place.run(["dump"]).expect(0);
    std::fs::write(place.path("dump"), dump).unwrap();
    // A store is made under this name. Whoever has it locked is waited for.
    let new = File::create(place.path("new.db.new")).unwrap();
    let held = Flock::lock(new, FlockArg::LockExclusiveNonblock).unwrap();
    let to_new = ["load", "-y", "dump", "--store", "new.db"];
    let mut session = spawn(&place, &[], |command| {
        command.args(to_new).args(["--wait", "60"]);
    });
    session.exp_string("loading, ").unwrap();
    drop(held);
    session.exp_string("new.db: 5 devices").unwrap();
    session.exp_eof().unwrap();
    expect_exit(&session, 0);

    std::fs::remove_file(place.path("new.db")).unwrap();
    let new = File::create(place.path("new.db.new")).unwrap();
    let _held = Flock::lock(new, FlockArg::LockExclusiveNonblock).unwrap();
    let run = place.run(to_new.into_iter().chain(["--wait", "1.5"]));
    assert!(!run.err.contains("loading"), "{}", run.err);
    run.expect_error(3, "timed out after 1500 ms");
}
