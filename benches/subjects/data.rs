//! The pool that is measured: its devices, its files, and the order in which devices are asked for.

use super::open_store;
use pool_metadata::{DeviceInfo, DeviceState};
use std::path::{Path, PathBuf};

/// The directory of a run's files, removed when this is dropped.
pub struct Scratch(PathBuf);

const PREFIX: &str = "pm-bench-";

impl Scratch {
    /// A new directory in `parent`. Those of runs that were killed are removed.
    pub fn new(parent: &Path) -> Scratch {
        for entry in std::fs::read_dir(parent).unwrap().flatten() {
            let name = entry.file_name();
            let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
            if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        let path = parent.join(format!("{PREFIX}{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A path of that name in the directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Memory that is a file system: /dev/shm, or what `PM_BENCH_TMPFS` names.
pub fn tmpfs() -> PathBuf {
    std::env::var_os("PM_BENCH_TMPFS").map_or_else(|| "/dev/shm".into(), PathBuf::from)
}

/// A directory on a disk: one in cargo's target directory, or what `PM_BENCH_DISK` names.
pub fn disk() -> PathBuf {
    let target = || env!("CARGO_TARGET_TMPDIR").into();
    std::env::var_os("PM_BENCH_DISK").map_or_else(target, PathBuf::from)
}

/// Bytes free in the file system of `path`.
pub fn room(path: &Path) -> u64 {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
    let mut stat = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: the path ends in NUL, and both outlive the call; zeros are a valid `statvfs`.
    let stat = unsafe {
        assert_eq!(libc::statvfs(path.as_ptr(), stat.as_mut_ptr()), 0);
        stat.assume_init()
    };
    stat.f_bavail * stat.f_frsize
}

/// A pool of `size` devices in a file. Benchmarks work on copies of it.
#[derive(Clone)]
pub struct Pool {
    pub size: u64,
    pub file: PathBuf,
}

impl Pool {
    /// A copy of the pool's file under a name of its own, in the same directory.
    pub fn copy(&self, purpose: &str) -> PathBuf {
        let copy = self
            .file
            .with_file_name(format!("{}-{purpose}.db", self.size));
        std::fs::copy(&self.file, &copy).unwrap();
        copy
    }

    /// Names of devices that are in the pool, in random order.
    pub fn names(&self) -> Names {
        Names::new(self.size, |n| device_number(n % self.size + 1))
    }

    /// Names of devices that are not in the pool, which sort between those that are, in random
    /// order.
    pub fn new_names(&self) -> Names {
        Names::new(self.size, |n| device_number(n % self.size + 1) + 1)
    }
}

/// Fills a store through the API, one commit a device, and keeps a copy of the file at each of
/// `sizes`.
pub fn fill(scratch: &Scratch, sizes: &[u64]) -> Vec<Pool> {
    let growing = scratch.file("growing.db");
    let mut next = 1;
    let pools = sizes
        .iter()
        .map(|&size| {
            let store = open_store(&growing);
            for n in next..=size {
                store.add_device(&mut device(n)).unwrap();
            }
            store.close().unwrap();
            next = size + 1;
            let file = scratch.file(&format!("{size}.db"));
            std::fs::copy(&growing, &file).unwrap();
            Pool { size, file }
        })
        .collect();
    std::fs::remove_file(growing).unwrap();
    pools
}

/// Every second number is left out, so that new devices can come between old ones.
fn device_number(n: u64) -> u64 {
    2 * n
}

/// A name as containerd makes them: the pool's, "snap", and a number.
pub fn name(number: u64) -> Vec<u8> {
    format!("containerd-pool-snap-{number}").into_bytes()
}

/// The parent of every device that a benchmark adds.
pub fn parent() -> Vec<u8> {
    name(2)
}

/// The device that is the pool's `n`th, counted from 1: a layer of an image or a container on top
/// of one.
fn device(n: u64) -> DeviceInfo {
    let mut device = DeviceInfo::new(name(device_number(n)));
    device.size = 10 << 30;
    if n % 10 != 1 {
        device.parent_name = name(device_number(n - 1));
    }
    device.state = match n % 10 {
        0 => DeviceState::Activated,
        9 => DeviceState::Suspended,
        _ => DeviceState::Deactivated,
    };
    device
}

/// Names in random order that repeat without end, in one block of memory, so that the next one is
/// cheap to fetch.
#[derive(Clone)]
pub struct Names {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    at: usize,
}

impl Names {
    fn new(size: u64, number: impl Fn(u64) -> u64) -> Names {
        let mut names = Names {
            bytes: Vec::new(),
            ends: vec![0],
            at: 0,
        };
        // As many as there are devices, without repeats; only a part of a large pool.
        let step = (size as f64 * 0.618) as u64;
        let step = (step..).find(|step| gcd(*step, size) == 1).unwrap();
        let mut order: Vec<u64> = (0..size.min(1 << 18)).map(|i| i * step % size).collect();
        shuffle(&mut order);
        for n in order {
            names.bytes.extend(name(number(n)));
            names.ends.push(names.bytes.len() as u32);
        }
        names
    }

    /// How many names come before they repeat.
    pub fn len(&self) -> usize {
        self.ends.len() - 1
    }

    pub fn next(&mut self) -> &[u8] {
        if self.at == self.len() {
            self.at = 0;
        }
        self.at += 1;
        &self.bytes[self.ends[self.at - 1] as usize..self.ends[self.at] as usize]
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 {
        a
    } else {
        gcd(b, a % b)
    }
}

/// A random order that is the same in every run (Fisher-Yates over SplitMix64).
fn shuffle(items: &mut [u64]) {
    let mut state = 1_u64;
    for i in (1..items.len()).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        items.swap(i, ((z ^ z >> 31) % (i as u64 + 1)) as usize);
    }
}
