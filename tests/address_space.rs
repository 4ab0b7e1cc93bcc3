//! Processes with little address space: the map leaves room for the rest of the process, and grows
//! by what the file needs, not to what a process with plenty of it has mapped.

#[allow(dead_code)]
#[path = "children/address_space.rs"]
mod child;
mod common;

use child::{FIRST_MAP, LIMIT};
use common::peer::Peer;
use common::{add, check, device, place};
use pool_metadata::{PoolMetadata, MAX_ERROR_LEN};

#[test]
fn small_map_follows_a_file_that_a_large_map_makes_longer() {
    let (_directory, path) = place();
    let store = PoolMetadata::open(&path).unwrap();
    assert!(store.stats().unwrap().map_size > 2 * LIMIT);
    add(&store, "base");
    let mut peer = Peer::start("address_space::reader", &path);
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

/// A map is halved until it fits. Just above a power of two, it would fit and leave nothing.
#[test]
fn map_leaves_room_whatever_address_space_is_free() {
    let (_directory, path) = place();
    PoolMetadata::open(&path).unwrap();
    let powers = [32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384];
    let around = |power: u64| [power - 1, power, power + 1, power + 5, power + power / 3];
    for free in powers.into_iter().flat_map(around) {
        let mut peer = Peer::start("address_space::opener", &path);
        peer.tell(&free.to_string());
        let map: u64 = peer.hear().parse().unwrap();
        let most = free << 20;
        assert!((most / 8..most).contains(&map), "{free} MiB: {map}");
        peer.finish();
    }
    check(&PoolMetadata::open(&path).unwrap());
}
