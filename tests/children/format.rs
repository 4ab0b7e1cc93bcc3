//! The role of `tests/format`.

use crate::common::{child, devices};
use pool_metadata::OpenOptions;
use std::path::Path;

/// Opens the store for reading, and keeps it open until the parent closes the pipe.
pub fn read_on(path: &Path) {
    let store = OpenOptions::new().read_only(true).open(path).unwrap();
    let before = devices(&store);
    child::say("open");
    while child::listen().is_some() {}
    assert_eq!(devices(&store), before);
}
