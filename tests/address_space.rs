//! A process with little address space reads a store that one with plenty of it makes longer: its
//! map grows by what the file needs, not to what the other has mapped.

mod common;

use common::child::{self, Peer};
use common::{add, check, device, devices, options, place, sys};
use pool_metadata::{PoolMetadata, MAX_ERROR_LEN};
use std::path::Path;

#[test]
fn child_entry() {
    child::entry(|role, argument| match role {
        "reader" => reader(argument.as_ref()),
        other => panic!("no role {other}"),
    });
}

const LIMIT: u64 = 512 << 20;
const FIRST_MAP: u64 = 1 << 20;

/// Reads each time it is told to, and says how large its map was then; adds what it is told to.
fn reader(path: &Path) {
    sys::limit(libc::RLIMIT_AS, LIMIT);
    let store = options(20_000).map_size(FIRST_MAP).open(path).unwrap();
    child::say(&store.stats().unwrap().map_size.to_string());
    while let Some(line) = child::listen() {
        if line == "add" {
            add(&store, "small");
        }
        assert_eq!(store.get_device("base").unwrap().device_id, 1);
        assert_eq!(
            store.get_device_names().unwrap().len(),
            devices(&store).len()
        );
        check(&store);
        child::say(&store.stats().unwrap().map_size.to_string());
    }
}

#[test]
fn a_small_map_follows_a_file_that_a_large_one_makes_longer() {
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    assert!(store.stats().unwrap().map_size > 2 * LIMIT);
    add(&store, "base");
    let mut peer = Peer::start("reader", &path);
    let mut map: u64 = peer.hear().parse().unwrap();
    assert_eq!(map, FIRST_MAP);
    for number in 0..6 {
        let mut large = device(format!("large-{number}"));
        large.error = vec![b'e'; MAX_ERROR_LEN];
        store.add_device(&mut large).unwrap();
        peer.tell("read");
        map = peer.hear().parse().unwrap();
        assert!(
            (store.stats().unwrap().map_used..LIMIT).contains(&map),
            "{map}"
        );
    }
    assert!(map > FIRST_MAP, "the file never outgrew it");
    // It can write as well, by a map far smaller than the other's.
    peer.tell("add");
    peer.hear();
    assert_eq!(store.get_device("small").unwrap().device_id, 8);
    check(&store);
    peer.finish();
}
