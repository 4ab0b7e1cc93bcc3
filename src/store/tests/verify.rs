//! Verification of the bytes that a store has written.

use crate::device::DeviceInfo;
use crate::store::PoolMetadata;
use crate::verify::meta::LAST_PAGE_AT;
use crate::verify::newest::in_force;
use crate::verify::{Level, Meta, Metas, Report};

fn store_bytes() -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pool.db");
    let store = PoolMetadata::open(&path).unwrap();
    for n in 0..300 {
        let device = &mut DeviceInfo::new(format!("device-{n}"));
        store.add_device(device).unwrap();
    }
    store.close().unwrap();
    std::fs::read(path).unwrap()
}

#[test]
fn bytes_are_verified_as_a_file_is() {
    let bytes = store_bytes();
    let report = Report::of_bytes(&&bytes[..], Level::Full).unwrap();
    assert!(report.is_sound(), "{report}");
    assert_eq!((report.lost, report.sound_before), (0, None));
    for level in [Level::Quick, Level::Full] {
        let report = Report::of_bytes(&&bytes[..8192], level).unwrap();
        assert!(report.to_string().contains("cut short"), "{report}");
    }
    assert!(!Report::of_bytes(&&b""[..], Level::Full).unwrap().is_sound());
}

#[test]
fn leaked_pages_are_counted_and_do_no_harm() {
    let mut bytes = store_bytes();
    let metas = Metas::read(&&bytes[..]).unwrap();
    let meta = in_force(&&bytes[..], &metas).unwrap().unwrap().meta;
    // The preallocated pages behind the last page, counted as in use.
    let at = Meta::home(meta.txnid) * meta.page_size as usize + LAST_PAGE_AT;
    bytes[at..at + 8].copy_from_slice(&(meta.last_page + 3).to_le_bytes());
    let report = Report::of_bytes(&&bytes[..], Level::Full).unwrap();
    assert!(report.is_sound(), "{report}");
    assert_eq!(report.lost, 3);
}
