//! Lists of changes, each made by itself.

use pool_metadata::{
    Change, DeviceInfo, DeviceState, Durability, Error, OpenOptions, PoolMetadata,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Mutex;
use std::time::{Duration, Instant};

fn store() -> (tempfile::TempDir, PoolMetadata) {
    let directory = tempfile::tempdir().unwrap();
    let store = PoolMetadata::open(directory.path().join("pool.db")).unwrap();
    (directory, store)
}

fn add(name: impl AsRef<[u8]>) -> Change {
    Change::Add(DeviceInfo::new(name.as_ref()))
}

fn remove(name: &str) -> Change {
    Change::Remove { name: name.into() }
}

fn suspend(name: &str) -> Change {
    Change::ChangeState {
        name: name.into(),
        state: DeviceState::Suspended,
    }
}

fn names(store: &PoolMetadata) -> Vec<String> {
    let names = store.get_device_names().unwrap();
    names
        .into_iter()
        .map(|name| String::from_utf8(name).unwrap())
        .collect()
}

fn commits(store: &PoolMetadata) -> u64 {
    store.stats().unwrap().commits
}

#[test]
fn one_that_is_refused_keeps_no_other_from_being_made() {
    let (_directory, store) = store();
    store.add_device(&mut DeviceInfo::new("there")).unwrap();
    let mut stale = store.get_device("there").unwrap();
    stale.generation += 1;
    let results = store.apply_each(&[
        add("z"),
        add("there"),
        Change::Update(stale.clone()),
        remove("absent"),
        add(""),
        add("a"),
    ]);
    assert_eq!(results.len(), 6);
    assert_eq!(results[0].as_ref().unwrap().device_id, 3);
    assert!(matches!(results[1], Err(Error::AlreadyExists { .. })));
    // It is of a device that the list has before it: made after that, and so in a commit of its
    // own.
    assert!(matches!(results[2], Err(Error::Conflict { .. })));
    assert!(matches!(results[3], Err(Error::NotFound { .. })));
    assert!(matches!(results[4], Err(Error::InvalidName { .. })));
    assert_eq!(results[5].as_ref().unwrap().device_id, 2);
    assert_eq!(commits(&store), 2, "what could share a commit has");
    assert_eq!(names(&store), ["a", "there", "z"]);
    store.verify().unwrap();

    assert!(store.apply_each(&[]).is_empty());
    assert!(store.apply_each(&[remove("a")])[0].is_ok());
    assert_eq!(names(&store), ["there", "z"]);
}

#[test]
fn the_changes_of_one_device_are_made_in_their_order() {
    let (_directory, store) = store();
    let results = store.apply_each(&[
        add("x"),
        suspend("x"),
        remove("x"),
        add("y"),
        add("x"),
        add("x"),
    ]);
    assert!(results[..5].iter().all(Result::is_ok), "{results:?}");
    assert!(matches!(results[5], Err(Error::AlreadyExists { .. })));
    assert_eq!(names(&store), ["x", "y"]);
    store.verify().unwrap();
}

#[test]
fn a_long_list_takes_several_commits() {
    let (_directory, store) = store();
    let many: Vec<_> = (0..1000).map(|n| add(format!("snap-{n}"))).collect();
    assert!(store.apply_each(&many).iter().all(Result::is_ok));
    assert_eq!(commits(&store), 4);
    // Three megabytes of texts.
    let long: Vec<_> = (0..200)
        .map(|n| {
            Change::Add(DeviceInfo {
                error: vec![b'e'; 16_000],
                ..DeviceInfo::new(format!("long-{n}"))
            })
        })
        .collect();
    assert!(store.apply_each(&long).iter().all(Result::is_ok));
    assert_eq!(commits(&store), 4 + 4);
    assert_eq!(store.stats().unwrap().devices, 1200);
    store.verify().unwrap();
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
fn nobody_waits_for_a_device_but_who_changes_it() {
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
fn one_lock_wait_is_for_all_changes_of_locked_devices() {
    const WAIT: Duration = Duration::from_millis(200);
    const LOCKED: usize = 100;
    let (_directory, store) = with_devices(WAIT);
    let update = store.begin_update("locked").unwrap();
    let mut list = vec![suspend("locked"); LOCKED];
    list.insert(1, suspend("a"));
    list.push(suspend("b"));
    std::thread::scope(|scope| {
        // In a thread of its own: in the update's, it would be refused.
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

#[test]
fn a_store_that_takes_no_writes_says_so_for_each() {
    let (directory, store) = store();
    store.add_device(&mut DeviceInfo::new("a")).unwrap();
    store.add_device(&mut DeviceInfo::new("b")).unwrap();
    let list = [suspend("a"), remove("b")];
    let inside = store.update_device("a", |_| {
        let results = store.apply_each(&list);
        assert!(results
            .iter()
            .all(|result| matches!(result, Err(Error::NestedWrite))));
        Ok::<(), Error>(())
    });
    inside.unwrap();
    store.close().unwrap();
    let results = store.apply_each(&list);
    assert_eq!(results.len(), 2);
    assert!(results.iter().all(|r| matches!(r, Err(Error::Closed))));
    let mut options = OpenOptions::new();
    options.read_only(true);
    let store = options.open(directory.path().join("pool.db")).unwrap();
    let results = store.apply_each(&list);
    assert!(results
        .iter()
        .all(|result| matches!(result, Err(Error::ReadOnly { .. }))));
    assert_eq!(store.stats().unwrap().devices, 2);
}

#[test]
fn lists_and_single_writes_of_many_threads_go_together() {
    let (_directory, store) = store();
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let store = &store;
            scope.spawn(move || {
                for round in 0..30 {
                    let name = |n| format!("{thread}-{round}-{n}");
                    if thread % 2 == 0 {
                        // The last of each list is everybody's.
                        let mut list: Vec<_> = (0..5).map(|n| add(name(n))).collect();
                        list.push(add("shared"));
                        list.push(remove("shared"));
                        let results = store.apply_each(&list);
                        assert!(results[..5].iter().all(Result::is_ok));
                    } else {
                        for n in 0..5 {
                            store.add_device(&mut DeviceInfo::new(name(n))).unwrap();
                        }
                    }
                }
            });
        }
    });
    let all = names(&store);
    let own = all.iter().filter(|name| *name != "shared").count();
    assert_eq!(own, 6 * 30 * 5);
    store.verify().unwrap();
}

/// What is waited for is the end of a walk, without which the map cannot grow.
#[test]
fn one_lock_wait_is_for_all_commits_that_need_a_larger_map() {
    const WAIT: Duration = Duration::from_secs(1);
    const COMMITS: u32 = 24;
    let directory = tempfile::tempdir().unwrap();
    let mut options = OpenOptions::new();
    options.lock_wait(WAIT).map_size(1 << 20);
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

/// The work on a long list is no wait: it may take longer than the lock wait, while others write.
#[test]
fn a_long_list_may_take_longer_than_the_lock_wait() {
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
                // A disk, or a machine, that stood still made it wait for one commit so long: that
                // is a wait.
                let stalled = paces.iter().any(|pace| pace.longest() > WAIT / 4);
                if refused.is_some() && stalled && stalls < 20 {
                    (stalls, refused, took) = (stalls + 1, None, Duration::ZERO);
                } else {
                    length *= 2;
                }
            }
            ended.push((length, took, stalls, refused));
        }
        stop.store(true, Ordering::Relaxed);
        ended
    });
    assert!(
        ended.iter().all(|(.., refused)| refused.is_none()),
        "{ended:?}"
    );
}

/// A wait for a larger map, in vain, does not take their turn from those that need none, beside
/// threads that write all the time.
#[test]
fn what_needs_no_larger_map_waits_for_its_turn_all_the_same() {
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
        for _ in 0..8 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let _ = store.remove_device("another");
                }
            });
        }
        let results = store.apply_each(&list);
        stop.store(true, Ordering::Relaxed);
        results
    });
    drop(walk);
    let late = |result: &&Result<_, _>| matches!(result, Err(Error::Timeout { .. }));
    let late = [&results[..1024], &results[1024..]].map(|part| part.iter().filter(late).count());
    assert!(late[0] > 0, "there was room for all of them");
    assert_eq!(late[1], 0);
}
