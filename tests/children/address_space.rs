//! Roles of `tests/address_space`.

use crate::common::{add, check, child, devices, options, sys};
use std::path::Path;

pub const LIMIT: u64 = 512 << 20;

pub const FIRST_MAP: u64 = 1 << 20;

/// Carries out orders: reads, and answers with the size of its map; or adds a device.
pub fn reader(path: &Path) {
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
