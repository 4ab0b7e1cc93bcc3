//! Roles of `tests/growth`.

use crate::assert_error;
use crate::common::{add, campaign, check, child, device, options, SetOnDrop};
use pool_metadata::{DeviceInfo, DeviceState, Error, PoolMetadata};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A store whose map starts at a mebibyte.
pub fn open(path: &Path, lock_wait_ms: u64) -> PoolMetadata {
    options(lock_wait_ms).map_size(1 << 20).open(path).unwrap()
}

pub const WRITERS: usize = 4;

/// Longer than any of these tests may take.
pub const PATIENT: u64 = 100_000;

/// What a writer does in a step, to one of its own devices.
pub enum Step {
    Add(usize),
    Update(usize),
    Remove(usize),
}

/// Adds devices, and updates and removes earlier ones in between, so that pages are freed and
/// reused.
pub fn step(number: usize) -> Step {
    match number % 5 {
        3 => Step::Update(number - 3),
        4 => Step::Remove(number - 3),
        _ => Step::Add(number),
    }
}

pub fn name(prefix: &str, writer: usize, number: usize) -> String {
    format!("{prefix}-{writer}-{number:05}")
}

/// A text that repeats one byte, which identifies its writer and step.
pub fn text(writer: usize, number: usize) -> Vec<u8> {
    vec![(writer * 50 + number % 50) as u8; 10_000 + number * 7919 % 40_000]
}

pub fn write(store: &PoolMetadata, prefix: &str, writer: usize, steps: usize) {
    for number in 0..steps {
        match step(number) {
            Step::Add(at) => {
                let mut new = device(name(prefix, writer, at));
                new.error = text(writer, number);
                store.add_device(&mut new).unwrap();
            }
            Step::Update(at) => {
                let changed = store.update_device(name(prefix, writer, at), |device| {
                    assert_eq!(device.error, text(writer, at));
                    device.error = text(writer, number);
                    Ok::<(), Error>(())
                });
                changed.unwrap();
            }
            Step::Remove(at) => store.remove_device(name(prefix, writer, at)).unwrap(),
        }
    }
}

/// Reads everything; each text must be one that a writer wrote.
pub fn look_around(store: &PoolMetadata) {
    for device in store.walk().unwrap() {
        let device = device.unwrap();
        let first = device.error.first().copied().unwrap_or_default();
        assert!(device.error.iter().all(|byte| *byte == first));
    }
    assert_eq!(store.get_device("base").unwrap().device_id, 1);
    assert!(store.stats().unwrap().devices > 0);
}

/// Runs writers beside readers until the writers are done.
pub fn work(store: &PoolMetadata, prefix: &str, steps: usize) {
    let writing = AtomicUsize::new(WRITERS);
    let look = || {
        let mut rounds = 0;
        while writing.load(Ordering::SeqCst) > 0 || rounds == 0 {
            look_around(store);
            rounds += 1;
        }
    };
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let writing = &writing;
            scope.spawn(move || {
                // The readers end although a writer has failed.
                struct Done<'a>(&'a AtomicUsize);
                impl Drop for Done<'_> {
                    fn drop(&mut self) {
                        self.0.fetch_sub(1, Ordering::SeqCst);
                    }
                }
                let _done = Done(writing);
                write(store, prefix, writer, steps);
            });
        }
        scope.spawn(look);
        scope.spawn(look);
    });
}

pub fn worker(argument: &str) {
    let (prefix, path) = argument.split_once(':').unwrap();
    let (prefix, steps) = prefix.split_once('/').unwrap();
    let store = open(path.as_ref(), PATIENT);
    child::say("ready");
    child::listen();
    work(&store, prefix, steps.parse().unwrap());
    check(&store);
    child::say("done");
}

/// Reads until the parent says to end.
pub fn looker(path: &Path) {
    let store = options(PATIENT)
        .map_size(1 << 20)
        .read_only(true)
        .open(path)
        .unwrap();
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            child::say("ready");
            child::listen();
            ended.store(true, Ordering::SeqCst);
        });
        while !ended.load(Ordering::SeqCst) {
            look_around(&store);
        }
    });
    check(&store);
}

/// How one thread's writes ended while a walk was open.
#[derive(Default)]
struct Outcome {
    done: Vec<Vec<u8>>,
    timed_out: Vec<DeviceInfo>,
}

/// Adds devices until `stop` is set, and records which were added. No call may take much longer
/// than the lock wait.
fn add_for_a_while(
    store: &PoolMetadata,
    wait: Duration,
    stop: &AtomicBool,
    make: impl Fn(usize) -> DeviceInfo,
) -> Outcome {
    let mut outcome = Outcome::default();
    for number in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let mut new = make(number);
        let start = Instant::now();
        let result = store.add_device(&mut new);
        let took = start.elapsed();
        assert!(took < wait * 40, "{took:?} for {result:?}");
        match result {
            Ok(()) => outcome.done.push(new.name),
            Err(Error::Timeout { waited, .. }) => {
                assert_eq!(waited, wait);
                assert!(took >= wait, "{took:?}");
                outcome.timed_out.push(new);
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    outcome
}

/// Needs a process of its own, so that no other test uses its read permits.
pub fn cannot_grow(path: &Path) {
    let wait = Duration::from_millis(300);
    let store = open(path, 300);
    add(&store, "base");
    let walk = store.walk().unwrap();
    let stop = AtomicBool::new(false);
    let (store, stop) = (&store, &stop);
    let outcomes: Vec<Outcome> = thread::scope(|scope| {
        let end = SetOnDrop(stop);
        let adding: Vec<_> = (0..6)
            .map(|thread| {
                // Half of the writers need a larger map, the others fit into this one.
                let len = if thread % 2 == 0 { 300_000 } else { 10 };
                let make = move |number| DeviceInfo {
                    error: vec![b'e'; len],
                    ..device(format!("{thread}-{number}"))
                };
                scope.spawn(move || add_for_a_while(store, wait, stop, make))
            })
            .collect();
        // Reads succeed at once all the while: no writer that waits holds a read permit.
        let start = Instant::now();
        let mut gets = 0;
        while start.elapsed() < wait * campaign(8, 200) as u32 {
            assert_eq!(store.get_device("base").unwrap().device_id, 1);
            gets += 1;
            thread::sleep(Duration::from_micros(100));
        }
        assert!(gets > 20, "{gets}");
        drop(end);
        adding.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let names = store.get_device_names().unwrap();
    let (mut done, mut timed_out) = (1, 0);
    for outcome in &outcomes {
        assert!(outcome.done.iter().all(|name| names.contains(name)));
        let refused = &outcome.timed_out;
        assert!(refused.iter().all(|device| !names.contains(&device.name)));
        done += outcome.done.len();
        timed_out += refused.len();
    }
    assert_eq!(names.len(), done, "what is there was reported as done");
    assert!(timed_out > 3, "{timed_out}");
    assert_eq!(walk.count(), 1, "the walk's own view stays what it was");
    // Nothing prevents the growth any more.
    for mut device in outcomes.into_iter().flat_map(|outcome| outcome.timed_out) {
        store.add_device(&mut device).unwrap();
    }
    assert!(store.stats().unwrap().map_size > 1 << 20);
    check(store);
}

/// Keeps a walk while the parent makes the file larger than this process's map.
pub fn keeps_a_walk(path: &Path) {
    let wait = Duration::from_millis(300);
    let store = open(path, 300);
    let mut walk = store.walk().unwrap();
    assert_eq!(walk.next().unwrap().unwrap().name, b"base");
    child::say("walking");
    child::listen();
    // Calls that need the larger map time out, all within the lock wait.
    for _ in 0..3 {
        let tries: [&dyn Fn() -> Result<(), Error>; 3] = [
            &|| store.get_device("base").map(drop),
            &|| store.walk().map(drop),
            &|| store.change_device_state("base", DeviceState::Removed),
        ];
        for attempt in tries {
            let start = Instant::now();
            let result = attempt();
            assert_error!(result, Error::Timeout { .. });
            assert!((wait / 2..wait * 40).contains(&start.elapsed()));
        }
    }
    // The walk itself goes on.
    assert!(walk.next().is_none());
    child::say("told");
    child::listen();
    drop(walk);
    assert_eq!(
        store.get_device("base").unwrap().state,
        DeviceState::Activated
    );
    store
        .change_device_state("base", DeviceState::Suspended)
        .unwrap();
    check(&store);
}

/// Needs a larger map while its own walk prevents the growth.
pub fn wants_more(path: &Path) {
    let store = open(path, 3000);
    let _walk = store.walk().unwrap();
    let mut large = device("large");
    large.error = vec![b'e'; pool_metadata::MAX_ERROR_LEN];
    child::say("begins");
    assert_error!(store.add_device(&mut large), Error::Timeout { .. });
    child::say("gives up");
    child::listen();
}
