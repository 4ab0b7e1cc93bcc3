//! What the tests of this program are written against: a store, whether it is used through the
//! crate's Rust API or through the C functions. Calls take and return the same types on both
//! sides; a failure is what C reports of it.

use crate::c::types::{name_of, Failure, Outcome};
use crate::common::{self, device};
use pool_metadata::capi::*;
use pool_metadata::{Change, DeviceInfo, DeviceState, Ids};
use std::path::{Path, PathBuf};

/// Runs each of these tests through Rust and through C.
#[macro_export]
macro_rules! through_rust_and_c {
    ($($test:ident),* $(,)?) => {
        mod through_rust {
            $(#[test] fn $test() { super::$test::<$crate::rust::RustStore>(); })*
        }
        mod through_c {
            $(#[test] fn $test() { super::$test::<$crate::c::CStore>(); })*
        }
    };
}

/// What an update's callback does: changes the record, or fails with a code that is not 0.
pub type Edit<'a> = &'a mut dyn FnMut(&mut DeviceInfo) -> Result<(), i32>;
/// What a walk's callback does with each device: goes on, or fails with a code that is not 0.
pub type Visit<'a> = &'a mut dyn FnMut(DeviceInfo) -> Result<(), i32>;
/// What a change of a list has set: the device's id and generation; of a change of several ids, 0
/// and how many it has changed; of an intent that begins, 0 and its number.
pub type Applied = (u32, u64);
/// Why a list was refused, and the position of the change at fault, if it was one change's.
pub type Refusal = (Option<usize>, Failure);

/// An open store.
pub trait Store: Sized + Send + Sync {
    type Update: Update;
    type Walk: Walk;

    fn open(path: &Path, options: &pm_options) -> Outcome<Self>;
    fn close(&self) -> Outcome<()>;
    /// The store by a handle whose writes may be deferred.
    fn deferred(&self) -> Outcome<Self>;
    fn sync(&self) -> Outcome<()>;
    fn verify(&self) -> Outcome<()>;
    fn stats(&self) -> Outcome<pm_stats>;
    fn running_reads(&self) -> Outcome<Vec<RunningRead>>;

    fn add(&self, device: &mut DeviceInfo) -> Outcome<()>;
    /// A copy of the device.
    fn get(&self, name: &[u8]) -> Outcome<DeviceInfo>;
    /// The device as `read_device` shows it and `pm_read_device` puts it into a buffer.
    fn read(&self, name: &[u8]) -> Outcome<DeviceInfo>;
    fn names(&self) -> Outcome<Vec<Vec<u8>>>;
    fn change_state(&self, name: &[u8], state: DeviceState) -> Outcome<()>;
    fn mark_faulty(&self, name: &[u8]) -> Outcome<()>;
    fn remove(&self, name: &[u8]) -> Outcome<()>;

    fn update(&self, name: &[u8], edit: Edit<'_>) -> Outcome<()>;
    fn begin(&self, name: &[u8]) -> Outcome<Self::Update>;
    fn walk_devices(&self, visit: Visit<'_>) -> Outcome<()>;
    fn walk(&self) -> Outcome<Self::Walk>;

    fn apply(&self, changes: &[Change]) -> Result<Vec<Applied>, Refusal>;
    fn apply_each(&self, changes: &[Change]) -> Vec<Outcome<Applied>>;
    fn import(&self, devices: &[DeviceInfo], ids: &Ids) -> Outcome<()>;
}

/// What is done to a store as a whole, and to its file.
pub trait Maintenance: Store {
    /// `flags` are `PM_BACKUP_*`.
    fn backup(&self, path: &Path, flags: u32) -> Outcome<()>;
    /// Returns where the file is kept that was at `path`. Waits for others for a tenth of a second.
    fn restore(backup: &Path, path: &Path) -> Outcome<(pm_restored, Option<PathBuf>)>;
    /// Returns the length of the file before and after. Waits as `restore` does.
    fn compact(path: &Path) -> Outcome<(u64, u64)>;
    fn check(&self, limit: usize) -> Outcome<Report>;
    fn check_file(path: &Path, limit: usize) -> Outcome<Report>;
    /// Keeps the file at `backup`, or under a name of the library's choice.
    fn repair(path: &Path, dry_run: bool, backup: Option<&Path>) -> Outcome<Report>;
    fn salvage(damaged: &Path, target: &Path, limit: usize) -> Outcome<(pm_salvaged, Report)>;
}

/// A read that is running; `age_ns` is 0 if it is not known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RunningRead {
    pub pid: u32,
    pub commits_behind: u64,
    pub age_ns: u64,
}

/// An update that has begun.
pub trait Update: Send {
    /// The record: as it was when the update began, and as it has been changed since.
    fn device(&mut self) -> &mut DeviceInfo;
    fn commit(self) -> Outcome<()>;
    fn abort(self);
}

/// A walk, which shows devices one by one.
pub trait Walk: Iterator<Item = Outcome<DeviceInfo>> + Send {
    fn ids(&self) -> Outcome<Ids>;
}

/// What a check, a repair or a salvage has found.
#[derive(Debug, PartialEq)]
pub struct Report {
    pub findings: Vec<Finding>,
    pub total: u64,
    pub unfixable: u64,
    /// How many findings a repair has left; of anything else, all.
    pub left: u64,
    /// Where a repair has kept the file as it was.
    pub backup: Option<PathBuf>,
}

/// One violation; `kind` and `fix` are `PM_FINDING_*` and `PM_FIX_*`.
#[derive(Debug, PartialEq)]
pub struct Finding {
    pub kind: i32,
    pub fix: i32,
    pub device_id: Option<u32>,
    pub name: Option<Vec<u8>>,
    pub text: String,
}

/// The default options.
pub const DEFAULTS: pm_options = pm_options {
    struct_size: size_of::<pm_options>(),
    flags: 0,
    max_readers: 0,
    map_size: 0,
    lock_wait_ms: 0,
    verify: PM_VERIFY_DEFAULT,
    durability: PM_DURABILITY_FULL,
    identity: std::ptr::null(),
    identity_len: 0,
    max_pinned_growth: 0,
    deferred_commits: 0,
    deferred_age_ms: 0,
};

/// Options with that lock wait, which a test can afford to run into.
pub fn waiting(lock_wait_ms: u64) -> pm_options {
    pm_options {
        lock_wait_ms,
        ..DEFAULTS
    }
}

/// Options that check so much.
pub fn verifying(verify: i32) -> pm_options {
    pm_options { verify, ..DEFAULTS }
}

pub const READ_ONLY: pm_options = pm_options {
    flags: PM_OPEN_READ_ONLY,
    ..DEFAULTS
};

/// Opens a store with the default options.
#[track_caller]
pub fn open<S: Store>(path: &Path) -> S {
    S::open(path, &DEFAULTS).unwrap()
}

/// A new store in a directory of its own.
pub fn new_store<S: Store>(options: &pm_options) -> (tempfile::TempDir, S) {
    let (directory, path) = common::place();
    let store = S::open(&path, options).unwrap();
    (directory, store)
}

/// Adds a small device of that name and returns it as the store has it.
#[track_caller]
pub fn add<S: Store>(store: &S, name: impl Into<Vec<u8>>) -> DeviceInfo {
    let mut device = device(name);
    store.add(&mut device).unwrap();
    device
}

/// Looks a device up in both ways, which must agree. Not for a device that is being written.
#[track_caller]
pub fn get<S: Store>(store: &S, name: impl AsRef<[u8]>) -> DeviceInfo {
    look_up(store, name.as_ref()).unwrap()
}

/// Looks a device up as [`get`] does, also one that may not be there.
#[track_caller]
pub fn look_up<S: Store>(store: &S, name: &[u8]) -> Outcome<DeviceInfo> {
    let got = store.get(name);
    assert_eq!(store.read(name), got);
    got
}

/// Every device, in the order of a walk.
#[track_caller]
pub fn devices<S: Store>(store: &S) -> Vec<DeviceInfo> {
    store.walk().unwrap().map(Result::unwrap).collect()
}

/// The invariants that hold after every write: the store's own check, and what its counters must
/// add up to.
#[track_caller]
pub fn check<S: Store>(store: &S) {
    store.verify().unwrap();
    let (stats, names) = (store.stats().unwrap(), store.names().unwrap());
    assert!(names.is_sorted() && names.len() as u64 == stats.devices);
    assert_eq!(
        stats.taken_ids + stats.free_ids + stats.faulty_ids,
        stats.last_id
    );
}

/// All that a write could have changed: devices, ids and counters.
pub fn contents<S: Store>(store: &S) -> (Vec<DeviceInfo>, Ids, [u64; 6]) {
    let mut walk = store.walk().unwrap();
    let ids = walk.ids().unwrap();
    let devices = walk.by_ref().map(Result::unwrap).collect();
    (devices, ids, counters(&store.stats().unwrap()))
}

pub fn counters(stats: &pm_stats) -> [u64; 6] {
    [
        stats.devices,
        stats.taken_ids,
        stats.free_ids,
        stats.faulty_ids,
        stats.last_id,
        stats.commits,
    ]
}

/// Fails unless the call was refused with that status; what it reported.
#[track_caller]
pub fn refused<T>(outcome: Outcome<T>, status: i32) -> Failure {
    let Err(failure) = outcome else {
        panic!("a success, and not {}", name_of(status));
    };
    assert_eq!(name_of(failure.code), name_of(status), "{failure:?}");
    failure
}

impl Failure {
    /// Fails unless the message has all of these words.
    #[track_caller]
    pub fn says(&self, words: &[&str]) {
        for word in words {
            assert!(self.message.contains(word), "no {word:?}: {}", self.message);
        }
    }
}

/// The path with `suffix` behind its last name.
pub fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
