//! Roles of `tests/kills`.

#[path = "../kills/steps.rs"]
#[allow(dead_code)]
pub mod steps;

use crate::common::{child, device, devices, options, sys};
use pool_metadata::{OpenOptions, PoolMetadata};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};
use steps::take;

/// The longest that a write may take while processes die, unless the machine is overloaded.
pub const LONGEST: Duration = Duration::from_secs(10);
/// Options with a small map, so that it has to grow.
pub fn small() -> OpenOptions {
    let mut options = options(30_000);
    options.map_size(1 << 20);
    options
}

pub fn victim(argument: &str) {
    let (prefix, path) = argument.split_once(':').unwrap();
    let store = small().open(path).unwrap();
    say(b'O');
    // A kill takes back nothing, whether it was flushed or not.
    let deferred = store.deferred();
    for step in 0.. {
        let store = if step % 3 == 0 { &store } else { &deferred };
        take(store, prefix, step).unwrap();
        say(b'+');
    }
}

/// Reports each step before it is done.
pub fn liar(argument: &Path) {
    let store = small().open(argument).unwrap();
    for step in 0.. {
        say(b'+');
        say(b'+');
        take(&store, "liar", step).unwrap();
    }
}

fn say(what: u8) {
    let mut out = std::io::stdout();
    out.write_all(&[what]).unwrap();
    out.flush().unwrap();
}

/// A process that is not killed: reads and writes until the parent closes the pipe.
pub fn work_beside(path: &Path) {
    let store = small().open(path).unwrap();
    // A campaign lasts longer than a child may live otherwise.
    sys::die_after(24 * 3600);
    child::say("ready");
    while child::listen().is_some() {
        let longest = write_and_read(&store, "beside");
        assert!(longest < LONGEST, "a write took {longest:?}");
        child::say("done");
    }
}

/// Makes some writes and reads, and returns how long the longest write took.
pub fn write_and_read(store: &PoolMetadata, name: &str) -> Duration {
    let mut longest = Duration::ZERO;
    for round in 1..=20 {
        let start = Instant::now();
        match store.get_device(name) {
            Ok(_) => store
                .update_device(name, |device| {
                    device.size = round;
                    Ok::<(), pool_metadata::Error>(())
                })
                .unwrap(),
            Err(_) => store.add_device(&mut device(name)).unwrap(),
        }
        longest = longest.max(start.elapsed());
        let seen = devices(store);
        assert!(seen.iter().any(|device| device.name == name.as_bytes()));
        assert!(seen.is_sorted_by(|one, next| one.name < next.name));
    }
    longest
}
