//! Verification while other processes write: what stands in the file is never taken for damage,
//! however often its meta pages and its free pages are written over meanwhile, and no writer waits
//! for it.

mod common;

use common::child::{self, Peer};
use common::{add, check, device, options, place};
use pool_metadata::{Change, DeviceInfo, Durability, Error, OpenOptions, PoolMetadata, Verify};
use std::path::Path;

/// Enough for several threads, and for leaves that many commits share.
const DEVICES: usize = 8000;

#[test]
fn child_entry() {
    child::entry(|role, argument| match role {
        "write" => write_on(argument.as_ref()),
        "read" => read_on(argument.as_ref()),
        other => panic!("no role {other}"),
    });
}

fn filled() -> (tempfile::TempDir, std::path::PathBuf) {
    let (directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    let names = (0..DEVICES).map(|n| format!("snap-{n:05}"));
    let changes: Vec<_> = names.map(|name| Change::Add(device(name))).collect();
    store.apply(&changes).unwrap();
    store.close().unwrap();
    (directory, path)
}

/// Changes the store as fast as it can, all over, until it is killed. Another may have been faster
/// with a device.
fn write_on(path: &Path) {
    let mut options = options(20_000);
    let store = options.durability(Durability::Relaxed).open(path).unwrap();
    child::say("ready");
    let mut done = 0;
    for n in 0_usize.. {
        let name = format!("snap-{:05}", n * 7919 % DEVICES);
        let change = |device: &mut DeviceInfo| {
            device.error = vec![b'e'; n % 7 * 1000];
            Ok(())
        };
        let result = match n % 5 {
            0 => store.remove_device(&name),
            1 => store.add_device(&mut device(format!("snap-{:05}", (n - 1) * 7919 % DEVICES))),
            _ => store.update_device(&name, change),
        };
        match result {
            Ok(()) => {
                done += 1;
                if done % 100 == 0 {
                    child::say("100 more");
                }
            }
            Err(Error::NotFound { .. } | Error::AlreadyExists { .. } | Error::Conflict { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Opens the store, for reading, over and over, until it is killed.
fn read_on(path: &Path) {
    for round in 1.. {
        let store = options(20_000).read_only(true).open(path).unwrap();
        store.verify().unwrap();
        store.close().unwrap();
        child::say(&round.to_string());
    }
}

#[test]
fn a_store_that_is_written_is_sound_whenever_it_is_looked_at() {
    let (_directory, path) = filled();
    let mut writers = [0, 1].map(|_| Peer::start("write", &path));
    writers.iter_mut().for_each(|writer| writer.expect("ready"));
    let mut reader = Peer::start("read", &path);
    for round in 0..20 {
        let level = if round % 4 == 0 {
            Verify::Quick
        } else {
            Verify::Full
        };
        let opened = options(20_000).verify(level).open(&path);
        let store = opened.unwrap_or_else(|e| panic!("round {round}: {e}"));
        store.verify().unwrap();
        store.close().unwrap();
    }
    // Everybody came forward meanwhile.
    for peer in &mut writers {
        peer.expect("100 more");
    }
    reader.expect("1");
    drop((writers, reader));
    check(&PoolMetadata::open(&path).unwrap());
}

/// This process's own writers do not disturb it either.
#[test]
fn a_store_that_this_process_writes_is_sound_whenever_it_is_looked_at() {
    let (_directory, path) = filled();
    let mut options = OpenOptions::new();
    let store = options.durability(Durability::Relaxed).open(&path).unwrap();
    std::thread::scope(|scope| {
        let verifier = scope.spawn(|| (0..20).for_each(|_| store.verify().unwrap()));
        let mut n = 0;
        while !verifier.is_finished() {
            let name = format!("snap-{:05}", n * 7919 % DEVICES);
            store.remove_device(&name).unwrap();
            add(&store, name);
            n += 1;
        }
        assert!(n > 20, "{n}");
    });
    check(&store);
}
