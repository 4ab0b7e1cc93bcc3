use super::*;
use crate::device::DeviceInfo;
use crate::pool::OpenOptions;

/// A walk keeps the map from growing: who needs no more of it is not made to wait by who does.
#[test]
fn what_fits_is_done_though_what_shares_its_commit_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let store = OpenOptions::new()
        .map_size(1 << 20)
        .lock_wait(Duration::from_millis(30))
        .open(directory.path().join("pool.db"))
        .unwrap();
    let walk = store.walk().unwrap();
    let pool = store.pool();
    let mut large = DeviceInfo::new("b");
    large.error = vec![b'e'; crate::MAX_ERROR_LEN];
    let [small, other] = ["a", "c"].map(DeviceInfo::new);
    let ops = [&small, &large, &other].map(|device| Op::Add(device.as_ref()));
    let deadline = pool.env.deadline();
    let writing = pool.env.begin_writing(&deadline).unwrap();
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
