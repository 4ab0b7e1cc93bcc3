//! What lists whose changes are made one by one wait for. What they do is in `meaning/changes.rs`.

mod common;

use common::SetOnDrop;
use pool_metadata::{
    Change, DeviceInfo, DeviceState, Durability, Error, OpenOptions, PoolMetadata,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Mutex;
use std::time::{Duration, Instant};

fn remove(name: &str) -> Change {
    Change::Remove { name: name.into() }
}

fn suspend(name: &str) -> Change {
    Change::ChangeState {
        name: name.into(),
        state: DeviceState::Suspended,
    }
}

/// A store with devices a, b and locked.
fn with_devices(lock_wait: Duration) -> (tempfile::TempDir, PoolMetadata) {
    let directory = tempfile::tempdir().unwrap();
    let mut options = OpenOptions::new();
    options.lock_wait(lock_wait);
    let store = options.open(directory.path().join("pool.db")).unwrap();
    for name in ["a", "b", "locked"] {
        store.add_device(&mut DeviceInfo::new(name)).unwrap();
    }
    (directory, store)
}

#[test]
fn locked_device_delays_only_its_own_changes() {
    let (_directory, store) = with_devices(Duration::from_secs(60));
    let update = store.begin_update("locked").unwrap();
    std::thread::scope(|scope| {
        let list = [
            suspend("locked"),
            suspend("a"),
            remove("locked"),
            suspend("b"),
        ];
        let store = &store;
        let listed = scope.spawn(move || store.apply_each(&list));
        let start = Instant::now();
        while store.get_device("b").unwrap().state != DeviceState::Suspended {
            assert!(start.elapsed() < Duration::from_secs(30));
            std::thread::yield_now();
        }
        drop(update);
        let results = listed.join().unwrap();
        assert!(results.iter().all(Result::is_ok), "{results:?}");
    });
    assert!(store.get_device("locked").is_err());
    store.verify().unwrap();
}

#[test]
fn changes_of_locked_devices_share_one_lock_wait() {
    const WAIT: Duration = Duration::from_millis(200);
    const LOCKED: usize = 100;
    let (_directory, store) = with_devices(WAIT);
    let update = store.begin_update("locked").unwrap();
    let mut list = vec![suspend("locked"); LOCKED];
    list.insert(1, suspend("a"));
    list.push(suspend("b"));
    std::thread::scope(|scope| {
        // In another thread than the update's, where it would be refused at once.
        let results = scope.spawn(|| {
            let start = Instant::now();
            let results = store.apply_each(&list);
            let took = start.elapsed();
            assert!((WAIT..LOCKED as u32 / 2 * WAIT).contains(&took), "{took:?}");
            results
        });
        for (index, result) in results.join().unwrap().iter().enumerate() {
            let made = index == 1 || index == LOCKED + 1;
            match result {
                Ok(_) => assert!(made, "{index}"),
                Err(error) => assert!(!made && matches!(error, Error::Timeout { .. }), "{error}"),
            }
        }
    });
    drop(update);
    let results = store.apply_each(&[suspend("locked"), remove("locked")]);
    assert!(results.iter().all(Result::is_ok));
    store.verify().unwrap();
}

/// The commits wait for the end of a walk: while it is open the map cannot grow.
#[test]
fn commits_that_need_a_larger_map_share_one_lock_wait() {
    const WAIT: Duration = Duration::from_secs(1);
    const COMMITS: u32 = 24;
    let directory = tempfile::tempdir().unwrap();
    let mut options = OpenOptions::new();
    options.lock_wait(WAIT).map_size(1 << 20);
    // The time must not depend on how the disk flushes.
    options.durability(Durability::Relaxed);
    let store = options.open(directory.path().join("pool.db")).unwrap();
    let mut list: Vec<_> = (0..256 * COMMITS)
        .map(|n| {
            Change::Add(DeviceInfo {
                error: vec![b'e'; 1500],
                ..DeviceInfo::new(format!("snap-{n:05}"))
            })
        })
        .collect();
    list.push(remove("absent"));
    let walk = store.walk().unwrap();
    let start = Instant::now();
    let results = store.apply_each(&list);
    let took = start.elapsed();
    assert!((WAIT..COMMITS / 3 * WAIT).contains(&took), "{took:?}");
    let (last, adds) = results.split_last().unwrap();
    assert!(matches!(last, Err(Error::NotFound { .. })), "{last:?}");
    let made = adds.iter().filter(|result| result.is_ok()).count();
    let late = |result: &&Result<_, _>| matches!(result, Err(Error::Timeout { .. }));
    let late = adds.iter().filter(late).count();
    assert!(made > 0 && late > 0 && made + late == adds.len());
    drop(walk);
    store.verify().unwrap();
}

/// When a thread's present write began, and how long its longest took.
struct Pace(Mutex<(Instant, Duration)>);

impl Pace {
    fn new() -> Pace {
        Pace(Mutex::new((Instant::now(), Duration::ZERO)))
    }

    fn begin(&self) {
        self.0.lock().unwrap().0 = Instant::now();
    }

    fn end(&self) {
        let mut pace = self.0.lock().unwrap();
        pace.1 = pace.1.max(pace.0.elapsed());
    }

    fn longest(&self) -> Duration {
        let pace = self.0.lock().unwrap();
        pace.1.max(pace.0.elapsed())
    }
}

/// Only waiting counts against the lock wait, not the work on a long list, while others write.
#[test]
fn long_list_may_take_longer_than_the_lock_wait() {
    const WAIT: Duration = Duration::from_millis(500);
    let directory = tempfile::tempdir().unwrap();
    let mut options = OpenOptions::new();
    options.lock_wait(WAIT).durability(Durability::Relaxed);
    let store = options.open(directory.path().join("pool.db")).unwrap();
    for name in ["same", "other-0", "other-1"] {
        store.add_device(&mut DeviceInfo::new(name)).unwrap();
    }
    let (stop, paces) = (AtomicBool::new(false), [Pace::new(), Pace::new()]);
    let ended = std::thread::scope(|scope| {
        let _end = SetOnDrop(&stop);
        let (store, stop) = (&store, &stop);
        for (name, pace) in ["other-0", "other-1"].into_iter().zip(&paces) {
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    pace.begin();
                    let _ = store.change_device_state(name, DeviceState::Suspended);
                    pace.end();
                }
            });
        }
        let (mut ended, mut next) = (Vec::new(), 0);
        for kind in [
            |_| suspend("same"),
            |n| {
                Change::Add(DeviceInfo {
                    error: vec![b'e'; 50_000],
                    ..DeviceInfo::new(format!("{n:05}"))
                })
            },
        ] {
            let (mut took, mut length, mut refused, mut stalls) = (Duration::ZERO, 500, None, 0);
            while took < WAIT * 3 / 2 && refused.is_none() {
                let list: Vec<_> = (next..next + length).map(kind).collect();
                next += length;
                paces
                    .iter()
                    .for_each(|pace| *pace.0.lock().unwrap() = (Instant::now(), Duration::ZERO));
                let start = Instant::now();
                refused = store.apply_each(&list).into_iter().find_map(Result::err);
                took = start.elapsed();
                // If the disk or the machine stood still, the list has waited for one commit for
                // so long, and may be refused.
                let stalled = paces.iter().any(|pace| pace.longest() > WAIT / 4);
                if refused.is_some() && stalled && stalls < 20 {
                    (stalls, refused, took) = (stalls + 1, None, Duration::ZERO);
                } else {
                    length *= 2;
                }
            }
            ended.push((length, took, stalls, refused));
        }
        ended
    });
    assert!(
        ended.iter().all(|(.., refused)| refused.is_none()),
        "{ended:?}"
    );
}

/// If the wait for a larger map times out, the changes that need none keep their turn, while other
/// threads write all the time.
#[test]
fn change_that_needs_no_larger_map_still_waits_for_its_turn() {
    const WAIT: Duration = Duration::from_secs(5);
    let directory = tempfile::tempdir().unwrap();
    let mut options = OpenOptions::new();
    options.lock_wait(WAIT).map_size(1 << 20);
    let store = options.open(directory.path().join("pool.db")).unwrap();
    let large = |n| {
        Change::Add(DeviceInfo {
            error: vec![b'e'; 1500],
            ..DeviceInfo::new(format!("snap-{n:05}"))
        })
    };
    let mut list: Vec<_> = (0..1024).map(large).collect();
    list.extend((0..256 * 80).map(|n| remove(&format!("absent-{n}"))));
    let walk = store.walk().unwrap();
    let stop = AtomicBool::new(false);
    let results = std::thread::scope(|scope| {
        let _end = SetOnDrop(&stop);
        for _ in 0..8 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let _ = store.remove_device("another");
                }
            });
        }
        store.apply_each(&list)
    });
    drop(walk);
    let late = |result: &&Result<_, _>| matches!(result, Err(Error::Timeout { .. }));
    let late = [&results[..1024], &results[1024..]].map(|part| part.iter().filter(late).count());
    assert!(late[0] > 0, "there was room for all of them");
    assert_eq!(late[1], 0);
}
