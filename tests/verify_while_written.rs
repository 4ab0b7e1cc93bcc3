//! Verification while other processes write: what stands in the file is never taken for damage,
//! however often its meta pages and its free pages are written over meanwhile, and no writer waits
//! for it.

#[allow(dead_code)]
#[path = "children/verify_while_written.rs"]
mod child;
mod common;

use child::DEVICES;
use common::peer::Peer;
use common::{bounded, check, device, options, place, until_unpinned};
use pool_metadata::{Change, Durability, PoolMetadata, Verify};

fn filled() -> (tempfile::TempDir, std::path::PathBuf) {
    let (directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    let names = (0..DEVICES).map(|n| format!("snap-{n:05}"));
    let changes: Vec<_> = names.map(|name| Change::Add(device(name))).collect();
    store.apply(&changes).unwrap();
    store.close().unwrap();
    (directory, path)
}

#[test]
fn store_that_another_process_writes_is_sound_at_every_check() {
    let (_directory, path) = filled();
    let mut writers = [0, 1].map(|_| Peer::start("verify_while_written::write_on", &path));
    writers.iter_mut().for_each(|writer| writer.expect("ready"));
    let mut reader = Peer::start("verify_while_written::read_on", &path);
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
fn store_that_this_process_writes_is_sound_at_every_check() {
    let (_directory, path) = filled();
    let mut options = bounded(20_000);
    let store = options.durability(Durability::Relaxed).open(&path).unwrap();
    std::thread::scope(|scope| {
        let verifier = scope.spawn(|| (0..20).for_each(|_| store.verify().unwrap()));
        let mut n = 0;
        while !verifier.is_finished() {
            let name = format!("snap-{:05}", n * 7919 % DEVICES);
            until_unpinned(|| store.remove_device(&name));
            until_unpinned(|| store.add_device(&mut device(&*name)));
            n += 1;
        }
        assert!(n > 20, "{n}");
    });
    check(&store);
}
