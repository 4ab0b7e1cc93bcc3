//! `pmctl watch`, beside a process that writes.

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use common::{add, on_the_terminal, pmctl, Place};
use pool_metadata::{DeviceState, PoolMetadata};
use rexpect::session::spawn_command;

/// A watch, which would not end by itself when an assertion fails.
struct Watch(Child);

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn changes_are_printed_as_they_are_made() {
    let place = Place::pool();
    let store = PoolMetadata::open(&place.store).unwrap();
    let mut command = pmctl();
    command
        .args(["watch", "--interval", "0.02", "--store"])
        .arg(&place.store)
        .stdout(Stdio::piped());
    let mut watch = Watch(command.spawn().unwrap());
    // The watch has begun once a change is in it: what was made before is not shown.
    let mut lines = BufReader::new(watch.0.stdout.take().unwrap()).lines();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let store = &store;
        scope.spawn(move || {
            for n in 0.. {
                if stopped.try_recv() != Err(std::sync::mpsc::TryRecvError::Empty) {
                    break;
                }
                add(store, &format!("new-{n}"), "", 1, DeviceState::Creating);
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        });
        let first = lines.next().unwrap().unwrap();
        assert!(first.contains("  written  new-"), "{first}");
        drop(stop);
    });
    store.mark_faulty("base-2").unwrap();
    store.remove_device("snap-2").unwrap();
    let mut rest = lines
        .map(Result::unwrap)
        .skip_while(|line| !line.contains("base-2"));
    let faulty = rest.next().unwrap();
    assert!(
        faulty.ends_with("  written  base-2  id 2  Faulty"),
        "{faulty}"
    );
    let removed = rest.next().unwrap();
    assert!(removed.ends_with("  removed  snap-2  id 5"), "{removed}");
    // Restores and repairs do not have to wait for a watch, nor does closing.
    store.close().unwrap();
}

#[test]
fn table_on_a_terminal_shows_the_store_and_its_newest_changes() {
    let place = Place::pool();
    let mut command = on_the_terminal();
    command.env("TERM", "xterm").env("NO_COLOR", "1");
    command
        .args(["watch", "--interval", "0.05", "--store"])
        .arg(&place.store);
    let mut session = spawn_command(command, Some(60_000)).unwrap();
    session
        .exp_string("5 devices, ids: 1 free, 2 faulty; file ")
        .unwrap();
    let store = PoolMetadata::open(&place.store).unwrap();
    store
        .change_device_state("base", DeviceState::Resumed)
        .unwrap();
    session
        .exp_string("  written  base  id 1  Resumed")
        .unwrap();
    store.close().unwrap();
    session.process_mut().exit().unwrap();
}

#[test]
fn watch_ends_after_as_many_looks_as_it_is_asked_for() {
    let place = Place::pool();
    let run = place.run(["watch", "--count", "2", "--interval", "0"]);
    assert_eq!((run.code, run.out.as_str(), run.err.as_str()), (0, "", ""));
    let place = Place::empty();
    place
        .run(["watch"])
        .expect_error(3, "the file does not exist");
}
