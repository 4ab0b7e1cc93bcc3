//! Commands beside a process that writes as fast as it can.

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{chain, Place};
use pool_metadata::{DeviceInfo, Error, OpenOptions};

/// Runs `look` while this process writes to the store. `pmctl` is another process.
fn beside_a_writer(place: &Place, look: impl FnOnce(&AtomicU64)) {
    // A command's read keeps freed pages from being used again, for as long as the machine lets it.
    let mut options = OpenOptions::new();
    let store = options
        .max_pinned_growth(16 << 20)
        .open(&place.store)
        .unwrap();
    let (stop, writes) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..2_u64 {
            let (store, stop, writes) = (&store, &stop, &writes);
            scope.spawn(move || {
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let name = format!("live-{thread}-{}", n % 50);
                    let write = || match n / 50 % 2 {
                        0 => store.add_device(&mut DeviceInfo::new(&*name)),
                        _ => store.remove_device(&name),
                    };
                    while let Err(error) = write() {
                        assert!(matches!(error, Error::Pinned { .. }), "{error}");
                    }
                    writes.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        // The writers end also if `look` fails.
        let _stop = Stop(&stop);
        look(&writes);
    });
    store.verify().unwrap();
    store.close().unwrap();
}

#[test]
fn every_command_works_beside_a_process_that_writes() {
    let place = Place::with(|store| chain(store, 2000, ""));
    beside_a_writer(&place, |writes| {
        for round in 0..2 {
            let before = writes.load(Ordering::Relaxed);
            let list = place.run(["ls", "-H", "-o", "name"]).expect(0);
            let fixed = list.lines().filter(|name| name.starts_with('n'));
            assert_eq!(fixed.count(), 2000 - round);
            place
                .run(["ls", "--sort", "generation", "--json"])
                .expect(0);
            place.run(["tree"]).expect(0);
            place.run(["show", "n0000007"]).expect(0);
            place.run(["stats", "--time-reads", "100"]).expect(0);
            place.run(["check"]).expect(0);
            let dump = place.run(["dump"]).expect(0);
            let copy = format!("copy-{round}.db");
            place.run(["backup", &copy]).expect(0);
            place.run(["check", "--store", &copy]).expect(0);
            let new = format!("new-{round}.db");
            let load = ["load", "-y", "-", "--store", &new];
            place.run_with(load, dump.as_bytes()).expect(0);
            let name = format!("n000{round:04}");
            place.run(["set-state", "-y", "Activated", &name]).expect(0);
            place.run(["mark-faulty", "-y", &name]).expect(0);
            place
                .run(["rm", "-y", &format!("n000{:04}", 1999 - round)])
                .expect(0);
            place.run(["rm", "-n", "n0000100"]).expect(0);
            // Nothing of this keeps the writers out.
            let start = Instant::now();
            while writes.load(Ordering::Relaxed) == before {
                assert!(start.elapsed() < Duration::from_secs(90), "no write");
                std::thread::yield_now();
            }
            place
                .run_with(["load", "-y", "-"], dump.as_bytes())
                .expect(1);
            let run = place.run(["restore", "-y", &copy, "--wait", "0.1"]);
            run.expect_error(3, "stop containerd first");
        }
    });
}
