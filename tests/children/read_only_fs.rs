//! Roles of `tests/read_only_fs`.

use crate::common::{check, child, options};
use pool_metadata::{Error, PoolMetadata};
use std::path::Path;

/// Opens the store read-only, reads it and closes it, as the parent orders.
pub fn reader(path: &Path) {
    let mut opened = None;
    child::say("ready");
    while let Some(line) = child::listen() {
        match line.as_str() {
            "open" => {
                let mut options = options(200);
                match options.read_only(true).open(path) {
                    Ok(store) => {
                        check(&store);
                        child::say(&format!("{} devices", store.stats().unwrap().devices));
                        opened = Some(store);
                    }
                    Err(Error::AlreadyOpen { path: of, why }) => {
                        assert_eq!(*of, *path);
                        assert!(why.contains("read-only"), "{why}");
                        child::say("already open");
                    }
                    Err(other) => panic!("{other:?}"),
                }
            }
            "read" => {
                let store: &PoolMetadata = opened.as_ref().unwrap();
                check(store);
                child::say(&format!("{} devices", store.stats().unwrap().devices));
            }
            "close" => {
                opened.take().unwrap().close().unwrap();
                child::say("closed");
            }
            other => panic!("no order {other}"),
        }
    }
}
