//! A handle: its options, a second one for the same file, reading only, and closing.

use crate::common::peer::Peer;
use crate::common::{device, place, wait_until, Barrier, SetOnPanic};
use crate::subject::*;
use crate::through_rust_and_c;
use pool_metadata::capi::*;
use pool_metadata::{Change, DeviceInfo, DeviceState, Ids, MAX_ERROR_LEN};
use std::fs;
use std::os::unix::fs::{symlink, MetadataExt};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

through_rust_and_c!(
    option_out_of_range_is_refused,
    option_at_its_limit_is_taken,
    open_store_is_refused_by_every_path,
    one_of_many_threads_that_open_a_store_gets_it,
    read_only_store_takes_no_writes,
    closed_store_refuses_every_call,
    store_with_an_open_walk_stays_open,
    one_of_many_threads_that_close_a_store_does,
    store_is_closed_under_threads_that_use_it,
    reads_go_on_while_closing_waits_for_a_walk,
    reads_go_on_while_growth_waits_for_a_walk,
);

fn option_out_of_range_is_refused<S: Store>() {
    const MAX_MAP_SIZE: u64 = 1 << 46;
    const MAX_MAX_READERS: u32 = 1 << 20;
    let (_directory, path) = place();
    let sized = |map_size| pm_options {
        map_size,
        ..DEFAULTS
    };
    let shared = |max_readers| pm_options {
        max_readers,
        ..DEFAULTS
    };
    for (options, name) in [
        (sized(MAX_MAP_SIZE + 1), "map_size"),
        (sized(u64::MAX), "map_size"),
        (shared(MAX_MAX_READERS + 1), "max_readers"),
        (shared(u32::MAX), "max_readers"),
    ] {
        refused(S::open(&path, &options), PM_ERR_INVALID_ARGUMENT).says(&[name]);
        assert!(!path.exists());
    }
}

fn option_at_its_limit_is_taken<S: Store>() {
    let (directory, path) = place();
    // A map and a table that are too small are as large as need be.
    let small = pm_options {
        map_size: 1,
        max_readers: 1,
        verify: PM_VERIFY_QUICK,
        durability: PM_DURABILITY_RELAXED,
        ..waiting(u64::MAX)
    };
    let store = S::open(&path, &small).unwrap();
    let stats = store.stats().unwrap();
    assert_eq!((stats.map_size, stats.max_readers), (1 << 20, 128));
    add(&store, "a");
    store.sync().unwrap();
    store.close().unwrap();
    let large = pm_options {
        map_size: 1 << 32,
        max_readers: 5000,
        ..verifying(PM_VERIFY_NONE)
    };
    let store = S::open(&directory.path().join("large.db"), &large).unwrap();
    let stats = store.stats().unwrap();
    assert_eq!((stats.map_size, stats.max_readers), (1 << 32, 5000));
    // There is nothing to flush.
    store.sync().unwrap();
    store.close().unwrap();
}

fn open_store_is_refused_by_every_path<S: Store>() {
    let (directory, path) = place();
    let at = |name: &str| directory.path().join(name);
    let store: S = open(&path);
    add(&store, "a");
    symlink(&path, at("link")).unwrap();
    symlink("pool.db", at("relative-link")).unwrap();
    fs::hard_link(&path, at("hard-link")).unwrap();
    symlink(directory.path(), at("directory")).unwrap();
    let paths = [
        path.clone(),
        at("./pool.db"),
        at("link"),
        at("relative-link"),
        at("hard-link"),
        at("directory/pool.db"),
    ];
    for path in &paths {
        for flags in [0, PM_OPEN_READ_ONLY] {
            let start = Instant::now();
            let options = pm_options {
                flags,
                ..waiting(60_000)
            };
            refused(S::open(path, &options), PM_ERR_ALREADY_OPEN).says(&["this process"]);
            assert!(start.elapsed() < Duration::from_secs(5), "at once");
        }
    }
    // The first handle goes on, and its locks keep it and other processes apart.
    add(&store, "b");
    Peer::start("open_twice::open_and_wait", &path).finish();
    assert_eq!(get(&store, "child").device_id, 3);
    check(&store);
    store.close().unwrap();
    assert!(!at("hard-link-lock").exists() && !at("link-lock").exists());
    let store: S = open(&at("link"));
    assert_eq!(devices(&store).len(), 3);
    assert!(!at("link-lock").exists(), "the lock file is the file's own");
    check(&store);
}

fn one_of_many_threads_that_open_a_store_gets_it<S: Store>() {
    for _ in 0..50 {
        let (directory, path) = place();
        let start = Barrier::new(4);
        let open = || {
            start.wait();
            S::open(&path, &DEFAULTS)
        };
        let opened: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        // They stay open until all have tried, so no thread opens it after another.
        let mut stores = Vec::new();
        for outcome in opened {
            match outcome {
                Ok(store) => stores.push(store),
                failed => drop(refused(failed, PM_ERR_ALREADY_OPEN)),
            }
        }
        assert_eq!(stores.len(), 1);
        add(&stores[0], "a");
        check(&stores[0]);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }
}

/// Every call that writes.
fn writes<S: Store>(store: &S) -> Vec<crate::c::types::Outcome<()>> {
    let mut new = device("b");
    let mut never = |_: &mut DeviceInfo| panic!("the callback of an update that cannot be");
    let list = [Change::Add(device("b"))];
    let outcomes = vec![
        store.add(&mut new),
        store.update(b"a", &mut never),
        store.begin(b"a").map(drop),
        store.change_state(b"a", DeviceState::Removed),
        store.mark_faulty(b"a"),
        store.remove(b"a"),
        store.apply(&list).map(drop).map_err(|(_, failure)| failure),
        store.apply_each(&list).remove(0).map(drop),
        store.import(&[], &Ids::default()),
        store.sync(),
    ];
    assert_eq!(new, device("b"), "nothing is written back");
    outcomes
}

fn read_only_store_takes_no_writes<S: Store>() {
    let (_directory, path) = place();
    let store: S = open(&path);
    let a = add(&store, "a");
    store.close().unwrap();
    let before = fs::metadata(&path).unwrap();
    let store = S::open(&path, &READ_ONLY).unwrap();
    for outcome in writes(&store) {
        refused(outcome, PM_ERR_READ_ONLY).says(&[path.to_str().unwrap()]);
    }
    assert_eq!(devices(&store), [a]);
    check(&store);
    store.close().unwrap();
    let after = fs::metadata(&path).unwrap();
    let facts = |file: &fs::Metadata| (file.mtime(), file.mtime_nsec(), file.len());
    assert_eq!(facts(&before), facts(&after));
}

fn closed_store_refuses_every_call<S: Maintenance>() {
    let (directory, path) = place();
    let closed: S = open(&path);
    add(&closed, "a");
    closed.close().unwrap();
    // The file is open again under another handle, and the old one stays closed.
    let store: S = open(&path);
    let mut outcomes = writes(&closed);
    outcomes.extend([
        closed.get(b"a").map(drop),
        closed.get(b"").map(drop),
        closed.read(b"a").map(drop),
        closed.names().map(drop),
        closed.walk().map(drop),
        closed.walk_devices(&mut |_| panic!("a device of a closed store")),
        closed.stats().map(drop),
        closed.verify(),
        closed.check(9).map(drop),
        closed.backup(&directory.path().join("copy"), 0),
        closed.close(),
    ]);
    for outcome in outcomes {
        refused(outcome, PM_ERR_CLOSED);
    }
    assert_eq!(devices(&store).len(), 1);
    check(&store);
}

fn store_with_an_open_walk_stays_open<S: Store>() {
    const WAIT: Duration = Duration::from_secs(1);
    let (_directory, store) = new_store::<S>(&waiting(1000));
    add(&store, "a");
    let walk = store.walk().unwrap();
    let start = Instant::now();
    refused(store.close(), PM_ERR_BUSY).says(&["walk"]);
    assert!((WAIT..WAIT * 20).contains(&start.elapsed()));
    add(&store, "b");
    assert_eq!(walk.count(), 1);
    check(&store);
    store.close().unwrap();
}

fn one_of_many_threads_that_close_a_store_does<S: Store>() {
    for _ in 0..30 {
        let (_directory, store) = new_store::<S>(&DEFAULTS);
        let start = Barrier::new(4);
        let close = || {
            start.wait();
            store.close()
        };
        let outcomes: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(close)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let (closed, late): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
        assert_eq!(closed.len(), 1);
        for outcome in late {
            refused(outcome, PM_ERR_CLOSED);
        }
    }
}

fn store_is_closed_under_threads_that_use_it<S: Store>() {
    for round in 0..20 {
        let (_directory, path) = place();
        let store: S = open(&path);
        add(&store, "a");
        let (added, failed) = (AtomicUsize::new(1), AtomicBool::new(false));
        let run = |thread: usize| {
            for number in (0..).take_while(|_| !failed.load(Ordering::Relaxed)) {
                let outcome = match (thread + number) % 5 {
                    0 => store.get(b"a").map(drop),
                    1 => store.names().map(drop),
                    2 => store.stats().map(drop),
                    3 => store.update(b"a", &mut |device| {
                        device.size += 1;
                        Ok(())
                    }),
                    _ => {
                        let name = format!("{thread}-{number}");
                        let outcome = store.add(&mut device(name));
                        added.fetch_add(outcome.is_ok().into(), Ordering::SeqCst);
                        outcome
                    }
                };
                if let Err(failure) = outcome {
                    refused::<()>(Err(failure), PM_ERR_CLOSED);
                    return;
                }
            }
        };
        thread::scope(|scope| {
            let _end = SetOnPanic(&failed);
            for thread in 0..6 {
                let run = &run;
                scope.spawn(move || run(thread));
            }
            thread::sleep(Duration::from_millis(round));
            store.close().unwrap();
        });
        let again: S = open(&path);
        assert_eq!(devices(&again).len(), added.load(Ordering::SeqCst));
        check(&again);
    }
}

/// A thread that has a walk open reads on while another waits for the walk to end: otherwise each
/// would wait for the other. `wait_for_the_walk` returns only once the walk has ended.
fn reads_go_on_beside<S: Store>(store: &S, wait_for_the_walk: impl FnOnce() + Send) {
    let walk = store.walk().unwrap();
    let waiting = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            waiting.store(true, Ordering::SeqCst);
            wait_for_the_walk();
        });
        wait_until("the other thread runs", || waiting.load(Ordering::SeqCst));
        let end = Instant::now() + Duration::from_millis(200);
        while Instant::now() < end {
            get(store, "a");
            store.stats().unwrap();
            thread::sleep(Duration::from_millis(5));
        }
        drop(walk);
    });
}

fn reads_go_on_while_closing_waits_for_a_walk<S: Store>() {
    let (_directory, store) = new_store::<S>(&waiting(20_000));
    add(&store, "a");
    reads_go_on_beside(&store, || store.close().unwrap());
}

fn reads_go_on_while_growth_waits_for_a_walk<S: Store>() {
    let small = pm_options {
        map_size: 1 << 20,
        ..waiting(20_000)
    };
    let (_directory, store) = new_store::<S>(&small);
    add(&store, "a");
    let mut large = device("large");
    large.error = vec![b'e'; MAX_ERROR_LEN];
    reads_go_on_beside(&store, || store.add(&mut large).unwrap());
    check(&store);
}
