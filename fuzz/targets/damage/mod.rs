//! A store with a bit of everything in it, and ways to damage its file.

use arbitrary::Arbitrary;
use pool_metadata::{Change, DeviceInfo, DeviceState, OpenOptions, PoolMetadata, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

const PAGE: usize = 4096;

/// One piece of damage to the whole file.
#[derive(Arbitrary, Debug)]
pub enum Damage {
    /// Bytes of a page are replaced.
    Bytes {
        page: u8,
        at: u16,
        bytes: [u8; 4],
        len: u8,
    },
    /// One bit is flipped.
    Bit { page: u8, at: u16, bit: u8 },
    /// A page is in another one's place.
    Copy { from: u8, to: u8 },
    /// A page is an older version of itself.
    Stale { page: u8 },
    /// A page is zeroed.
    Zero { page: u8 },
    /// The file ends here.
    Cut { page: u8, at: u16 },
}

/// The file, an older copy of it, and its content.
pub struct Original {
    pub now: Vec<u8>,
    before: Vec<u8>,
    /// Its content after each of the last commits, the newest last.
    pub states: Vec<Devices>,
}

pub type Devices = BTreeMap<Vec<u8>, DeviceInfo>;

pub fn place(name: &str) -> PathBuf {
    static DIRECTORY: OnceLock<tempfile::TempDir> = OnceLock::new();
    let new = || {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        }
    };
    DIRECTORY.get_or_init(|| new().unwrap()).path().join(name)
}

pub fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .lock_wait(Duration::from_millis(200))
        .map_size(64 << 20);
    options
}

/// Some leaf pages, a branch page, overflow pages, ids that are free and faulty, and pages that are
/// free.
pub fn original() -> &'static Original {
    static ORIGINAL: OnceLock<Original> = OnceLock::new();
    ORIGINAL.get_or_init(|| {
        let path = place("original");
        let store = options().open(&path).unwrap();
        let devices: Vec<_> = (0..150).map(new_device).collect();
        let adds: Vec<_> = devices.into_iter().map(Change::Add).collect();
        store.apply(&adds).unwrap();
        store.remove_device("device-7").unwrap();
        store.mark_faulty("device-9").unwrap();
        let before = std::fs::read(&path).unwrap();
        let mut states = vec![all(&store).unwrap()];
        for number in 20..30 {
            store.remove_device(format!("device-{number}")).unwrap();
            states.push(all(&store).unwrap());
        }
        store.close().unwrap();
        Original {
            now: std::fs::read(&path).unwrap(),
            before,
            states,
        }
    })
}

pub fn new_device(number: usize) -> DeviceInfo {
    let mut device = DeviceInfo::new(format!("device-{number}"));
    device.state = DeviceState::Created;
    device.parent_name = vec![b'p'; number % 40];
    // Every fiftieth is too long for a leaf.
    device.error = vec![b'e'; if number % 50 == 0 { 3000 } else { number % 7 }];
    device
}

pub fn all(store: &PoolMetadata) -> Result<Devices> {
    let names = store.get_device_names()?.into_iter();
    names
        .map(|name| Ok((name.clone(), store.get_device(&name)?)))
        .collect()
}

/// The pages in use come first; the rest of the file is zeros.
fn offset(page: u8, at: u16, file: &[u8]) -> usize {
    (usize::from(page) * PAGE + usize::from(at) % PAGE).min(file.len().saturating_sub(1))
}

fn whole_page(page: u8, file: &[u8]) -> std::ops::Range<usize> {
    let start = offset(page, 0, file) / PAGE * PAGE;
    start..(start + PAGE).min(file.len())
}

pub fn apply(damage: &Damage, file: &mut Vec<u8>) {
    match *damage {
        Damage::Bytes {
            page,
            at,
            bytes,
            len,
        } => {
            for (at, byte) in
                (offset(page, at, file)..file.len()).zip(&bytes[..usize::from(len % 5).min(4)])
            {
                file[at] = *byte;
            }
        }
        Damage::Bit { page, at, bit } => {
            let at = offset(page, at, file);
            if let Some(byte) = file.get_mut(at) {
                *byte ^= 1 << (bit % 8);
            }
        }
        Damage::Copy { from, to } => {
            let (from, to) = (whole_page(from, file), whole_page(to, file));
            if from.len() == to.len() {
                file.copy_within(from, to.start);
            }
        }
        Damage::Stale { page } => {
            let range = whole_page(page, file);
            if let Some(old) = original().before.get(range.clone()) {
                file[range].copy_from_slice(old);
            }
        }
        Damage::Zero { page } => {
            let range = whole_page(page, file);
            file[range].fill(0);
        }
        Damage::Cut { page, at } => file.truncate(offset(page, at, file)),
    }
}
