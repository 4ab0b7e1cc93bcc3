//! Roles of `tests/repair`.

use crate::common::{child, options};
use pool_metadata::{OpenOptions, RepairOptions, Verify};
use std::path::Path;

pub fn hold(path: &Path) {
    let _store = OpenOptions::new().verify(Verify::None).open(path).unwrap();
    child::say("open");
    child::listen();
}

pub fn repair_on(path: &Path) {
    child::dies();
    let _ = options(5000).repair(path, &RepairOptions::new());
    child::listen();
}
