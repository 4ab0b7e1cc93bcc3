//! Roles of `tests/viewers`, `tests/read_only_fs` and `tests/deferred`.

use crate::common::{check, child, devices, options, sys};
use pool_metadata::{DeviceInfo, Error, PoolMetadata};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// Opens the store read-only, reads it and closes it, as the parent orders. What it reads always
/// adds up.
pub fn viewer(path: &Path) {
    let mut opened = None;
    let mut walk = None;
    child::say("ready");
    while let Some(line) = child::listen() {
        match line.as_str() {
            "open" => {
                drop((walk.take(), opened.take()));
                opened = Some(options(60_000).read_only(true).open(path).unwrap());
                child::say(&view(opened.as_ref().unwrap()));
            }
            "read" => child::say(&view(opened.as_ref().unwrap())),
            "walk" => {
                walk = Some(opened.as_ref().unwrap().walk().unwrap());
                child::say("walking");
            }
            "close" => {
                drop(walk.take());
                opened.take().unwrap().close().unwrap();
                child::say("closed");
            }
            other => panic!("no order {other}"),
        }
    }
}

/// As another user than the store's.
pub fn viewer_as_nobody(path: &Path) {
    sys::become_nobody();
    viewer(path);
}

fn view(store: &PoolMetadata) -> String {
    check(store);
    let stats = store.stats().unwrap();
    assert_eq!(devices(store).len() as u64, stats.devices);
    assert!(matches!(
        store.remove_device("base"),
        Err(Error::ReadOnly { .. })
    ));
    let kind = if stats.is_copy { "copy" } else { "live" };
    format!("{kind} of {}", stats.devices)
}

/// Opens the store without a wait, which nobody may keep it from, and adds a device each time that
/// the parent says so.
pub fn daemon(path: &Path) {
    let store = options(0).open(path).unwrap();
    child::say("ready");
    while let Some(name) = child::listen() {
        store.add_device(&mut DeviceInfo::new(name)).unwrap();
        check(&store);
        child::say(&format!("process {}", std::process::id()));
    }
}

/// As [`daemon`], with a viewer beside it whose view it reports.
pub fn daemon_and_viewer(path: &Path) {
    let store = options(0).open(path).unwrap();
    let mut viewer = Command::new(std::env::current_exe().unwrap());
    let viewer = viewer.arg("viewers::viewer").arg(path);
    let mut viewer = viewer
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut orders = viewer.stdin.take().unwrap();
    let mut answers = BufReader::new(viewer.stdout.take().unwrap()).lines();
    let mut next = || answers.next().unwrap().unwrap();
    assert_eq!(next(), "ready");
    writeln!(orders, "open").unwrap();
    next();
    child::say("ready");
    while let Some(name) = child::listen() {
        store.add_device(&mut DeviceInfo::new(name)).unwrap();
        writeln!(orders, "read").unwrap();
        child::say(&next());
    }
    drop(orders);
    assert!(viewer.wait().unwrap().success());
}
