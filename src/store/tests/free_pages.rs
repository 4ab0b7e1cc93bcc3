//! Statistics of free pages, which are not counted one by one, beside a count of LMDB's list.

use crate::device::{DeviceInfo, DeviceState};
use crate::lmdb::raw::Database;
use crate::lmdb::snapshot::Snapshot;
use crate::store::{Change, PoolMetadata};

/// Pages in LMDB's list, those that were freed by the commits from `oldest` on, and the rows.
fn listed(store: &PoolMetadata, oldest: u64) -> (u64, u64, u64) {
    let snapshot = Snapshot::open(&store.pool().env).unwrap();
    let number = |bytes: &[u8]| u64::from_ne_bytes(*bytes.first_chunk().unwrap());
    let (mut all, mut held, mut rows) = (0, 0, 0);
    let counted = snapshot.each_row_of(Database::FREE_LIST, |by, pages| {
        all += number(pages);
        held += if number(by) >= oldest {
            number(pages)
        } else {
            0
        };
        rows += 1;
        Ok(())
    });
    counted.unwrap();
    (all, held, rows)
}

/// The commit that a walk which is opened now sees.
fn newest(store: &PoolMetadata) -> u64 {
    Snapshot::open(&store.pool().env).unwrap().commit()
}

fn assert_counted(store: &PoolMetadata, oldest: u64) {
    let (all, held, _) = listed(store, oldest);
    let stats = store.stats().unwrap();
    assert_eq!((stats.pages_free, stats.pages_held), (all, held));
}

#[test]
fn free_and_held_pages_are_those_in_the_list_however_long_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let store = PoolMetadata::open(directory.path().join("pool.db")).unwrap();
    const NONE: u64 = u64::MAX;
    assert_counted(&store, NONE);
    let commit = |times: usize| {
        for number in 0..times {
            let state = DeviceState::from_number((number % 13) as i64).unwrap();
            store.change_device_state("device-7", state).unwrap();
        }
    };
    let device = |number: usize| {
        let mut device = DeviceInfo::new(format!("device-{number}"));
        // Some texts have pages of their own.
        device.error = vec![b'x'; number * 37 % 9000];
        Change::Add(device)
    };
    store
        .apply(&(0..500).map(device).collect::<Vec<_>>())
        .unwrap();
    assert_counted(&store, NONE);
    let oldest = newest(&store);
    let forgotten = store.walk().unwrap();
    commit(600);
    assert_counted(&store, oldest);
    let younger = store.walk().unwrap();
    commit(10);
    assert_counted(&store, oldest);
    drop(forgotten);
    assert_counted(&store, oldest + 600);
    drop(younger);
    assert_counted(&store, NONE);
    // The list stays long: each commit uses the pages of one row, and adds a row.
    commit(50);
    assert!(listed(&store, NONE).2 > 300);
    assert_counted(&store, NONE);
    let oldest = newest(&store);
    let short = store.walk().unwrap();
    commit(3);
    assert_counted(&store, oldest);
    drop(short);
    // Values that take many pages each leave long rows in the list.
    let removal = |number| Change::Remove {
        name: format!("device-{number}").into_bytes(),
    };
    store
        .apply(&(100..400).map(removal).collect::<Vec<_>>())
        .unwrap();
    assert_counted(&store, NONE);
}
