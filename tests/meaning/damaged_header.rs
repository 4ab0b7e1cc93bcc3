//! Header rows whose numbers no store gets to: none of them is counted on past its end.

use crate::common::{device, place, raw};
use crate::damage::open_at;
use crate::subject::*;
use crate::through_rust_and_c;
use pool_metadata::capi::*;
use pool_metadata::MAX_DEVICE_ID;
use std::path::Path;
use PM_VERIFY_FULL as FULL;
use PM_VERIFY_NONE as NONE;
use PM_VERIFY_QUICK as QUICK;

through_rust_and_c!(
    header_beyond_the_last_id_is_damage,
    counter_that_would_pass_its_end_is_damage,
);

/// Makes a closed, empty store one that has given out ids 1 to `last`. Its rows do not add up any
/// more.
pub fn give_out_ids_up_to(path: &Path, last: u32) {
    raw::edit(path, |txn, tables| {
        raw::rewrite_header(txn, tables, |fields| fields.1 = last);
    });
}

fn header_beyond_the_last_id_is_damage<S: Store>() {
    let (_directory, path) = place();
    open::<S>(&path).close().unwrap();
    give_out_ids_up_to(&path, MAX_DEVICE_ID + 1);
    for verify in [QUICK, FULL] {
        refused(open_at::<S>(&path, verify), PM_ERR_CORRUPT);
    }
    if let Ok(store) = open_at::<S>(&path, NONE) {
        let failure = store.add(&mut device("a")).unwrap_err();
        let expected = [PM_ERR_IDS_EXHAUSTED, PM_ERR_CORRUPT];
        assert!(expected.contains(&failure.code), "{failure:?}");
    }
}

fn counter_that_would_pass_its_end_is_damage<S: Store>() {
    type Change = fn(&mut raw::HeaderFields);
    type Write<S> = fn(&S) -> crate::c::types::Outcome<()>;
    let cases: [(&str, Change, Write<S>); 6] = [
        ("commit", |h| h.0 = u64::MAX, |s| s.mark_faulty(b"a")),
        (
            "too many devices",
            |h| h.2 = u32::MAX,
            |s| s.add(&mut device("new")),
        ),
        ("no devices", |h| h.2 = 0, |s| s.remove(b"a")),
        ("free ids", |h| h.3 = u32::MAX, |s| s.remove(b"a")),
        ("faulty ids", |h| h.4 = u32::MAX, |s| s.mark_faulty(b"a")),
        ("journal rows", |h| h.6 = u32::MAX, |s| s.remove(b"a")),
    ];
    for (what, change, write) in cases {
        let (_directory, path) = place();
        let store: S = open(&path);
        add(&store, "a");
        add(&store, "gone");
        store.remove(b"gone").unwrap();
        store.close().unwrap();
        raw::edit(&path, |txn, tables| {
            raw::rewrite_header(txn, tables, change)
        });
        let store: S = open_at(&path, NONE).unwrap();
        let before = store.stats().unwrap().commits;
        refused(write(&store), PM_ERR_CORRUPT);
        assert_eq!(store.stats().unwrap().commits, before, "{what}");
        get(&store, "a");
    }
}
