use std::time::Instant;

use super::*;
use crate::device::{DeviceInfo, DeviceState};
use crate::store::options::OpenOptions;
use crate::store::write::op::Change;

/// A walk keeps the map from growing, which blocks only the operations that need a larger one.
#[test]
fn operation_that_fits_is_made_though_one_in_its_commit_does_not_fit() {
    let directory = tempfile::tempdir().unwrap();
    let store = OpenOptions::new()
        .map_size(1 << 20)
        .lock_wait(Duration::from_millis(300))
        .open(directory.path().join("pool.db"))
        .unwrap();
    let walk = store.walk().unwrap();
    let pool = store.pool();
    let mut large = DeviceInfo::new("b");
    large.error = vec![b'e'; crate::limits::MAX_ERROR_LEN];
    let [small, other] = ["a", "c"].map(DeviceInfo::new);
    let ops = [&small, &large, &other].map(|device| Op::Add(device.as_ref()));
    let waits = pool.env.lock_wait();
    let writing = pool.env.begin_writing(&waits).unwrap();
    let results = write_batch(&writing, &ops);
    assert_eq!(
        [0, 1, 2].map(|at| results[at].is_ok()),
        [true, false, true],
        "the large one needs a larger map"
    );
    assert!(matches!(results[1], Err(Error::Timeout { .. })));
    drop(writing);
    drop(walk);
    store.add_device(&mut large).unwrap();
    assert_eq!(store.stats().unwrap().devices, 3);
}

/// Changes of a device that is in a list twice are made one by one, and still the call waits for a
/// larger map only once.
#[test]
fn changes_made_one_by_one_wait_for_a_larger_map_once() {
    const WAIT: Duration = Duration::from_secs(1);
    const LARGE: usize = 20;
    let directory = tempfile::tempdir().unwrap();
    let store = OpenOptions::new()
        .map_size(1 << 20)
        .lock_wait(WAIT)
        .open(directory.path().join("pool.db"))
        .unwrap();
    let mut device = DeviceInfo::new("large");
    device.error = vec![b'e'; crate::limits::MAX_ERROR_LEN];
    let add = Change::Add(device);
    let name = b"absent".to_vec();
    let list = vec![[add, Change::Remove { name }]; LARGE].concat();
    let walk = store.walk().unwrap();
    let start = Instant::now();
    let results = store.apply_each(&list);
    let took = start.elapsed();
    assert!((WAIT..WAIT * LARGE as u32 / 2).contains(&took), "{took:?}");
    for pair in results.chunks(2) {
        assert!(matches!(pair[0], Err(Error::Timeout { .. })), "{pair:?}");
        assert!(matches!(pair[1], Err(Error::NotFound { .. })), "{pair:?}");
    }
    drop(walk);
}

/// Rows replace rows of other lengths, on the same page, on others and on pages of their own; alone
/// and after a row of the other table.
#[test]
fn row_replaces_one_of_any_length() {
    let directory = tempfile::tempdir().unwrap();
    let store = OpenOptions::new()
        .open(directory.path().join("pool.db"))
        .unwrap();
    let name = |n: usize| format!("device-{n:03}");
    for n in 0..60 {
        store.add_device(&mut DeviceInfo::new(name(n))).unwrap();
    }
    let mut expected = Vec::new();
    for (round, len) in [0, 700, 10, 5000, 1500, 5001, 1, 0].into_iter().enumerate() {
        expected.clear();
        for n in 0..60 {
            let n = n * 7 % 60;
            let error = vec![b'0' + round as u8; len + n % 3];
            let change = |device: &mut DeviceInfo| {
                device.error.clone_from(&error);
                Ok::<(), Error>(())
            };
            store.update_device(name(n), change).unwrap();
            match (round + n) % 4 {
                0 => store.mark_faulty(name(n)).unwrap(),
                1 => store
                    .change_device_state(name(n), DeviceState::Created)
                    .unwrap(),
                _ => {}
            }
            expected.push((name(n), error));
        }
        expected.sort();
        store.verify().unwrap();
        for (name, error) in &expected {
            assert_eq!(store.get_device(name).unwrap().error, *error, "{name}");
        }
    }
}

/// The disk takes far longer for a commit than any wait may take. Nothing that waits behind it has
/// a reason to fail: it would have to wait for the same disk.
#[test]
fn writes_in_line_behind_a_commit_that_stalls_do_not_time_out() {
    const WAIT: Duration = Duration::from_millis(300);
    const STALL: Duration = Duration::from_secs(2);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pool.db");
    let store = OpenOptions::new().lock_wait(WAIT).open(path).unwrap();
    for name in ["a", "b", "open"] {
        store.add_device(&mut DeviceInfo::new(name)).unwrap();
    }
    let update = store.begin_update("open").unwrap();
    let pool = store.pool();
    let (stalls, stalled) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let (store, list) = (&store, [Change::Add(DeviceInfo::new("c"))]);
        scope.spawn(move || {
            let stall = |_: &mut WriteTxn<'_>| {
                stalls.send(()).unwrap();
                std::thread::sleep(STALL);
                Ok(())
            };
            pool.commit_alone(&pool.env.lock_wait(), stall).unwrap();
        });
        stalled.recv().unwrap();
        let start = Instant::now();
        // A device is wanted by two: one waits for its turn, the other for the device.
        let change = |name, state| move || store.change_device_state(name, state);
        let [one, other] = [DeviceState::Created, DeviceState::Removed];
        let changes = [("a", one), ("a", other), ("b", one), ("b", other)]
            .map(|(name, state)| scope.spawn(change(name, state)));
        let lists = scope.spawn(move || store.apply(&list).map(drop));
        let each = scope.spawn(|| {
            store
                .apply_each(&[Change::Add(DeviceInfo::new("d"))])
                .remove(0)
        });
        // An update ends when the program wants, and closing keeps its limit.
        let behind_update = scope.spawn(change("open", DeviceState::Created));
        let refused = behind_update.join().unwrap();
        assert!(matches!(refused, Err(Error::Timeout { .. })), "{refused:?}");
        assert!(matches!(store.close(), Err(Error::Busy { .. })));
        assert!(start.elapsed() < STALL, "before the commit's end");
        for change in changes {
            change.join().unwrap().unwrap();
        }
        lists.join().unwrap().unwrap();
        each.join().unwrap().unwrap();
    });
    update.commit().unwrap();
    store.verify().unwrap();
    store.close().unwrap();
}
