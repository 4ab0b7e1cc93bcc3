//! The crate's Rust API as a [`Store`].

use crate::c::types::{bytes, status_of, Failure, Outcome};
use crate::subject::{
    Applied, Edit, Finding, Maintenance, Refusal, Report, RunningRead, Store, Update, Visit, Walk,
};
use pool_metadata::capi::*;
use pool_metadata::{
    BackupOptions, Change, DeviceInfo, DeviceState, Durability, Error, Histogram, Ids, OpenOptions,
    PoolMetadata, RepairOptions, Verify,
};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub struct RustStore(pub PoolMetadata);

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure {
            code: status_of(&error),
            callback_code: 0,
            os_error: error.os_error().unwrap_or(0),
            message: error.to_string(),
        }
    }
}

/// What C reports of a callback that has failed.
pub fn callback_failure(code: i32) -> Failure {
    Failure {
        code: PM_ERR_CALLBACK,
        callback_code: code,
        os_error: 0,
        message: format!("the callback returned {code}"),
    }
}

fn options(from: &pm_options) -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .read_only(from.flags & PM_OPEN_READ_ONLY != 0)
        .expect_deferred(from.flags & PM_OPEN_EXPECT_DEFERRED != 0)
        .verify(match from.verify {
            PM_VERIFY_NONE => Verify::None,
            PM_VERIFY_QUICK => Verify::Quick,
            _ => Verify::Full,
        })
        .durability(match from.durability {
            PM_DURABILITY_RELAXED => Durability::Relaxed,
            _ => Durability::Full,
        })
        .max_pinned_growth(from.max_pinned_growth);
    if from.identity_len > 0 {
        // SAFETY: the test's identity is as long as it says.
        options.identity(unsafe { bytes(from.identity, from.identity_len) });
    }
    // In C, 0 stands for the default.
    if from.map_size != 0 {
        options.map_size(from.map_size);
    }
    if from.deferred_commits != 0 {
        options.deferred_commits(from.deferred_commits);
    }
    if from.deferred_age_ms != 0 {
        options.deferred_age(Duration::from_millis(from.deferred_age_ms));
    }
    if from.max_readers != 0 {
        options.max_readers(from.max_readers);
    }
    if from.lock_wait_ms != 0 {
        options.lock_wait(Duration::from_millis(from.lock_wait_ms));
    }
    options
}

fn histogram(from: &Histogram) -> pm_histogram {
    pm_histogram {
        count: from.count,
        sum: from.sum,
        buckets: from.buckets,
    }
}

fn report(from: &pool_metadata::Report) -> Report {
    let finding = |finding: &pool_metadata::Finding| Finding {
        kind: finding.kind as i32,
        fix: finding.fix as i32,
        device_id: finding.device_id,
        name: finding.name.clone(),
        text: finding.what.clone(),
    };
    Report {
        findings: from.findings.iter().map(finding).collect(),
        total: from.total,
        unfixable: from.unfixable,
        left: from.total,
        backup: None,
    }
}

impl Store for RustStore {
    type Update = pool_metadata::Update;
    type Walk = RustWalk;

    fn open(path: &Path, from: &pm_options) -> Outcome<RustStore> {
        Ok(RustStore(options(from).open(path)?))
    }

    fn close(&self) -> Outcome<()> {
        Ok(self.0.close()?)
    }

    fn deferred(&self) -> Outcome<RustStore> {
        Ok(RustStore(self.0.deferred()))
    }

    fn sync(&self) -> Outcome<()> {
        Ok(self.0.sync()?)
    }

    fn verify(&self) -> Outcome<()> {
        Ok(self.0.verify()?)
    }

    fn stats(&self) -> Outcome<pm_stats> {
        let stats = self.0.stats()?;
        Ok(pm_stats {
            struct_size: size_of::<pm_stats>(),
            devices: stats.devices,
            taken_ids: stats.taken_ids,
            free_ids: stats.free_ids,
            faulty_ids: stats.faulty_ids,
            last_id: stats.last_id,
            commits: stats.commits,
            map_size: stats.map_size,
            map_used: stats.map_used,
            file_size: stats.file_size,
            page_size: stats.page_size,
            max_readers: stats.max_readers,
            readers_in_use: stats.readers_in_use,
            pages_free: stats.pages_free,
            pages_held: stats.pages_held,
            readers_active: stats.readers_active,
            oldest_reader_commits: stats.oldest_reader_commits,
            reader_waits: stats.reader_waits,
            reader_refusals: stats.reader_refusals,
            walks_open: stats.walks_open,
            oldest_walk_ns: stats.oldest_walk.as_nanos() as u64,
            writers_waiting: stats.writers_waiting,
            writes_stopped: stats.writes_stopped.into(),
            is_copy: stats.is_copy.into(),
            commit_operations: histogram(&stats.commit_operations),
            commit_nanoseconds: histogram(&stats.commit_nanoseconds),
            flushes: stats.flushes,
            undone_commits: stats.undone_commits,
            deferred_commits: stats.deferred_commits,
        })
    }

    fn running_reads(&self) -> Outcome<Vec<RunningRead>> {
        let read = |read: pool_metadata::RunningRead| RunningRead {
            pid: read.pid,
            commits_behind: read.commits_behind,
            age_ns: read.age.map_or(0, |age| age.as_nanos() as u64),
        };
        Ok(self.0.running_reads()?.into_iter().map(read).collect())
    }

    fn add(&self, device: &mut DeviceInfo) -> Outcome<()> {
        Ok(self.0.add_device(device)?)
    }

    fn get(&self, name: &[u8]) -> Outcome<DeviceInfo> {
        Ok(self.0.get_device(name)?)
    }

    fn read(&self, name: &[u8]) -> Outcome<DeviceInfo> {
        Ok(self.0.read_device(name, |device| device.to_owned())?)
    }

    fn names(&self) -> Outcome<Vec<Vec<u8>>> {
        Ok(self.0.get_device_names()?)
    }

    fn change_state(&self, name: &[u8], state: DeviceState) -> Outcome<()> {
        Ok(self.0.change_device_state(name, state)?)
    }

    fn mark_faulty(&self, name: &[u8]) -> Outcome<()> {
        Ok(self.0.mark_faulty(name)?)
    }

    fn remove(&self, name: &[u8]) -> Outcome<()> {
        Ok(self.0.remove_device(name)?)
    }

    fn update(&self, name: &[u8], edit: Edit<'_>) -> Outcome<()> {
        self.0
            .update_device(name, |device| edit(device).map_err(callback_failure))
    }

    fn begin(&self, name: &[u8]) -> Outcome<pool_metadata::Update> {
        Ok(self.0.begin_update(name)?)
    }

    fn walk_devices(&self, visit: Visit<'_>) -> Outcome<()> {
        self.0
            .walk_devices(|device| visit(device.to_owned()).map_err(callback_failure))
    }

    fn walk(&self) -> Outcome<RustWalk> {
        Ok(RustWalk(self.0.walk()?))
    }

    fn apply(&self, changes: &[Change]) -> Result<Vec<Applied>, Refusal> {
        match self.0.apply(changes) {
            Ok(made) => Ok(changes.iter().zip(made).map(applied).collect()),
            Err(refused) => Err((refused.index, refused.error.into())),
        }
    }

    fn apply_each(&self, changes: &[Change]) -> Vec<Outcome<Applied>> {
        let results = self.0.apply_each(changes).into_iter();
        let results = changes.iter().zip(results);
        results
            .map(|(change, result)| Ok(applied((change, result?))))
            .collect()
    }

    fn import(&self, devices: &[DeviceInfo], ids: &Ids) -> Outcome<()> {
        let devices: Vec<_> = devices.iter().map(DeviceInfo::as_ref).collect();
        Ok(self.0.import(&devices, ids)?)
    }
}

/// What a change has set.
fn applied((change, made): (&Change, pool_metadata::Applied)) -> Applied {
    match change {
        Change::FreeFaultyIds { .. }
        | Change::MarkIdsFaulty { .. }
        | Change::MarkIdsFaultyUpTo { .. }
        | Change::BeginIntent(_) => (0, made.number),
        Change::FinishIntent { .. } => (0, 0),
        _ => (made.device_id, made.generation),
    }
}

impl Maintenance for RustStore {
    fn backup(&self, path: &Path, flags: u32) -> Outcome<()> {
        let mut options = BackupOptions::new();
        options
            .compact(flags & PM_BACKUP_COMPACT != 0)
            .overwrite(flags & PM_BACKUP_OVERWRITE != 0)
            .verify(flags & PM_BACKUP_UNCHECKED == 0);
        Ok(self.0.backup(path, &options)?)
    }

    fn restore(backup: &Path, path: &Path) -> Outcome<(pm_restored, Option<PathBuf>)> {
        let mut options = OpenOptions::new();
        options.lock_wait(Duration::from_millis(100));
        let restored = options.restore(backup, path)?;
        let numbers = pm_restored {
            struct_size: size_of::<pm_restored>(),
            commits: restored.commits,
            replaced_commits: restored.replaced.map_or(0, |old| old.commits),
            last_id: restored.last_id,
            replaced_last_id: restored.replaced.map_or(0, |old| old.last_id),
        };
        Ok((numbers, restored.kept))
    }

    fn compact(path: &Path) -> Outcome<(u64, u64)> {
        let mut options = OpenOptions::new();
        options.lock_wait(Duration::from_millis(100));
        let compacted = options.compact(path)?;
        Ok((compacted.before, compacted.after))
    }

    fn check(&self, limit: usize) -> Outcome<Report> {
        Ok(report(&self.0.check(limit)?))
    }

    fn check_file(path: &Path, limit: usize) -> Outcome<Report> {
        Ok(report(&OpenOptions::new().check_file(path, limit)?))
    }

    fn repair(path: &Path, dry_run: bool, backup: Option<&Path>) -> Outcome<Report> {
        let mut options = RepairOptions::new();
        options.dry_run(dry_run);
        if let Some(backup) = backup {
            options.backup(backup);
        }
        let repaired = OpenOptions::new().repair(path, &options)?;
        let found = Report {
            left: repaired.after.total,
            backup: repaired.backup,
            ..report(&repaired.before)
        };
        let after = Self::check_file(path, 1000).unwrap();
        assert_eq!(report(&repaired.after), after, "what it says that it left");
        Ok(found)
    }

    fn salvage(damaged: &Path, target: &Path, limit: usize) -> Outcome<(pm_salvaged, Report)> {
        let salvaged = OpenOptions::new().salvage(damaged, target, limit)?;
        let numbers = pm_salvaged {
            struct_size: size_of::<pm_salvaged>(),
            devices: salvaged.devices,
            recovered: salvaged.recovered,
            lost_pages: salvaged.lost_pages,
            complete: salvaged.complete.into(),
            commits: salvaged.commits.unwrap_or(0),
            last_id: salvaged.last_id,
        };
        Ok((numbers, report(&salvaged.report)))
    }
}

impl Update for pool_metadata::Update {
    fn device(&mut self) -> &mut DeviceInfo {
        self.device_mut()
    }

    fn commit(self) -> Outcome<()> {
        Ok(pool_metadata::Update::commit(self)?)
    }

    fn abort(self) {
        pool_metadata::Update::abort(self);
    }
}

pub struct RustWalk(pool_metadata::Walk);

impl Iterator for RustWalk {
    type Item = Outcome<DeviceInfo>;

    fn next(&mut self) -> Option<Outcome<DeviceInfo>> {
        Some(self.0.next()?.map_err(Failure::from))
    }
}

impl Walk for RustWalk {
    fn ids(&self) -> Outcome<Ids> {
        Ok(self.0.ids()?)
    }
}
