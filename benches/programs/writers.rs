//! Threads that write: a program that `make bench-writers` runs beside its goroutines.
//!
//! They write to raw LMDB: each write takes LMDB's own lock, puts a device's row and the header
//! row, and commits, which flushes, as a program does that calls LMDB directly and checks nothing.
//! Or they write to this store. Commands come on standard input, a line each, and each is answered
//! with a line: `open raw|store FILE` (of this library's layout), `add|update WRITERS
//! MILLISECONDS`, the answer to which is how long it took and how long each write took, all in
//! nanoseconds.
#![allow(unsafe_code)]

use lmdb_sys as ffi;
use pool_metadata::{DeviceInfo, DeviceState, Error, PoolMetadata};
use std::ffi::CString;
use std::fmt::Write;
use std::io::BufRead;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

fn check(code: libc::c_int) {
    assert_eq!(code, ffi::MDB_SUCCESS, "LMDB failed");
}

fn val(bytes: &[u8]) -> ffi::MDB_val {
    ffi::MDB_val {
        mv_size: bytes.len(),
        mv_data: bytes.as_ptr() as *mut libc::c_void,
    }
}

/// An open file of this library's layout.
struct Raw {
    env: *mut ffi::MDB_env,
    main: ffi::MDB_dbi,
    devices: ffi::MDB_dbi,
    /// How many devices it had when it was opened.
    size: u64,
}

/// What the threads write to.
trait Subject: Sync {
    fn size(&self) -> u64;
    fn add(&self, name: String);
    fn update(&self, name: String);
}

// SAFETY: LMDB's environment may be used from any thread; each write has a transaction of its own.
unsafe impl Sync for Raw {}

impl Raw {
    fn open(path: &str) -> Raw {
        let name = CString::new(path).unwrap();
        let (mut env, mut main, mut devices) = (null_mut(), 0, 0);
        // SAFETY: the calls are in the order that lmdb.h asks for; all that is pointed to outlives
        // them, and zeros are a valid `MDB_stat`.
        let size = unsafe {
            check(ffi::mdb_env_create(&mut env));
            check(ffi::mdb_env_set_maxdbs(env, 2));
            check(ffi::mdb_env_set_mapsize(env, 16 << 30));
            let flags = ffi::MDB_NOSUBDIR | ffi::MDB_NOTLS;
            check(ffi::mdb_env_open(env, name.as_ptr(), flags, 0o600));
            let mut txn = null_mut();
            check(ffi::mdb_txn_begin(env, null_mut(), 0, &mut txn));
            check(ffi::mdb_dbi_open(txn, std::ptr::null(), 0, &mut main));
            check(ffi::mdb_dbi_open(txn, c"devices".as_ptr(), 0, &mut devices));
            let mut stat: ffi::MDB_stat = std::mem::zeroed();
            check(ffi::mdb_stat(txn, devices, &mut stat));
            check(ffi::mdb_txn_commit(txn));
            stat.ms_entries as u64
        };
        Raw {
            env,
            main,
            devices,
            size,
        }
    }

    fn write(&self, name: &str, read_first: bool) {
        let mut txn = null_mut();
        let rows = [
            (self.devices, name.as_bytes(), &[7_u8; 45][..]),
            (self.main, &b"header"[..], &[7_u8; 50][..]),
        ];
        // SAFETY: the environment is open; LMDB copies keys and values, and the transaction ends
        // here.
        unsafe {
            check(ffi::mdb_txn_begin(self.env, null_mut(), 0, &mut txn));
            if read_first {
                let (mut key, mut found) = (val(name.as_bytes()), val(b""));
                check(ffi::mdb_get(txn, self.devices, &mut key, &mut found));
            }
            for (dbi, key, value) in rows {
                check(ffi::mdb_put(txn, dbi, &mut val(key), &mut val(value), 0));
            }
            check(ffi::mdb_txn_commit(txn));
        }
    }
}

impl Subject for Raw {
    fn size(&self) -> u64 {
        self.size
    }

    fn add(&self, name: String) {
        self.write(&name, false);
    }

    fn update(&self, name: String) {
        self.write(&name, true);
    }
}

impl Subject for PoolMetadata {
    fn size(&self) -> u64 {
        self.stats().unwrap().devices
    }

    fn add(&self, name: String) {
        self.add_device(&mut DeviceInfo::new(name)).unwrap();
    }

    fn update(&self, name: String) {
        let change = |device: &mut DeviceInfo| {
            device.state = DeviceState::Activated;
            Ok::<(), Error>(())
        };
        self.update_device(name, change).unwrap();
    }
}

/// An open subject, and how many writes it has been asked for.
struct Bench {
    subject: Box<dyn Subject>,
    size: u64,
    next: AtomicU64,
}

impl Bench {
    fn new(subject: Box<dyn Subject>) -> Bench {
        Bench {
            size: subject.size(),
            subject,
            next: AtomicU64::new(0),
        }
    }

    /// The names are those that the goroutines write.
    fn write_next(&self, update: bool) {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        match update {
            true => {
                let name = format!("containerd-pool-snap-{:06}", n * 7919 % self.size);
                self.subject.update(name);
            }
            false => self.subject.add(format!("new-{n:09}")),
        }
    }

    /// Lets `writers` threads write until the time is over. Returns how long that took, and how
    /// long each write took.
    fn run(&self, update: bool, writers: usize, long: Duration) -> (Duration, Vec<Duration>) {
        let start = Instant::now();
        let one = || {
            let mut times = Vec::new();
            while times.is_empty() || start.elapsed() < long {
                let before = Instant::now();
                self.write_next(update);
                times.push(before.elapsed());
            }
            times
        };
        let all = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..writers).map(|_| scope.spawn(one)).collect();
            let times = threads.into_iter().flat_map(|t| t.join().unwrap());
            times.collect()
        });
        (start.elapsed(), all)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // SAFETY: no transaction runs.
        unsafe { ffi::mdb_env_close(self.env) };
    }
}

fn main() {
    let mut bench = None;
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["open", kind, path] => {
                drop(bench.take());
                let subject: Box<dyn Subject> = match kind {
                    "raw" => Box::new(Raw::open(path)),
                    "store" => Box::new(PoolMetadata::open(path).unwrap()),
                    _ => panic!("not a kind: {line}"),
                };
                bench = Some(Bench::new(subject));
                println!("opened");
            }
            [what @ ("add" | "update"), writers, millis] => {
                let bench = bench.as_ref().expect("`open` comes first");
                let long = Duration::from_millis(millis.parse().unwrap());
                let (took, times) = bench.run(what == "update", writers.parse().unwrap(), long);
                let mut answer = took.as_nanos().to_string();
                for time in times {
                    write!(answer, " {}", time.as_nanos()).unwrap();
                }
                println!("{answer}");
            }
            _ => panic!("not a command: {line}"),
        }
    }
}
