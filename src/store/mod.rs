//! The store: its operations, a line each.

mod ids;
mod journal;
pub(crate) mod maintenance;
mod open;
pub(crate) mod options;
mod reconcile;
#[cfg(all(test, not(loom)))]
mod tests;
pub(crate) mod verify;
pub(crate) mod walk;
pub(crate) mod write;

use std::path::Path;
use std::sync::Arc;

pub use options::{Durability, OpenOptions, Verify};
pub use walk::{Walk, WalkFilter};
pub use write::changes::ApplyError;
use write::op::Op;
pub use write::op::{Applied, Change};
use write::pool::Pool;
pub use write::update::Update;

use crate::device::{DeviceInfo, DeviceRef, DeviceState};
use crate::device_ids::Ids;
use crate::error::{Error, Result};
use crate::file::processes;
use crate::journal::Intent;
use crate::stats::{ProcessStats, RunningRead, Stats};

/// The metadata of one thin-pool: its devices and its device ids, in one file.
///
/// All methods take `&self` and may be called from any number of threads at once. Readers never
/// wait for writers. A write returns once it is on disk, and when it returns an error, nothing has
/// changed.
///
/// # Waiting
/// No single wait is longer than [`OpenOptions::lock_wait`]; [`Error::Timeout`] says what was
/// waited for. A call has a few of them, one after the other, at most. A write in line behind a
/// commit of this process does not time out while that is under way, however long the disk takes.
///
/// # Forks
/// After a `fork`, every call in the child fails with [`Error::Forked`]. The child may open the
/// store itself; if another thread of its parent was opening or closing a store at that moment, it
/// may be unable to: [`Error::Timeout`].
pub struct PoolMetadata {
    pool: Arc<Pool>,
}

impl PoolMetadata {
    /// Opens the store at `path` with the default options, creating it (mode 0600) if it is absent.
    ///
    /// See [`OpenOptions::open`] for what else may be found there.
    pub fn open(path: impl AsRef<Path>) -> Result<PoolMetadata> {
        OpenOptions::new().open(path)
    }

    /// Adds a device and gives it a device id: the lowest that is free, or one that was never used.
    ///
    /// The id in `device` is ignored. On success the id and the generation are written back to it;
    /// on an error it is left as it was. A faulty device of the same name is replaced: it gets
    /// another id, and the one it had stays out of use as faulty.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::InvalidName`], [`Error::TooLong`],
    /// [`Error::IdsExhausted`], and those of every write: [`Error::ReadOnly`],
    /// [`Error::NestedWrite`], [`Error::Timeout`], [`Error::DiskFull`],
    /// [`Error::Pinned`], [`Error::Io`],
    /// [`Error::WritesStopped`], [`Error::MapFull`], [`Error::Corrupt`], [`Error::Closed`],
    /// [`Error::Forked`].
    pub fn add_device(&self, device: &mut DeviceInfo) -> Result<()> {
        (device.device_id, device.generation) = self.add_device_ref(device.as_ref())?;
        Ok(())
    }

    /// Adds a device from a borrowed record; the id and the generation that it got.
    pub(crate) fn add_device_ref(&self, device: DeviceRef<'_>) -> Result<(u32, u64)> {
        let written = self.pool.commit(&Op::Add(device))?;
        Ok((written.device_id, written.generation))
    }

    /// The device of that name, copied.
    ///
    /// # Errors
    /// [`Error::NotFound`] (for names that no device can have as well), [`Error::Corrupt`],
    /// [`Error::Closed`], [`Error::Forked`], [`Error::Timeout`], [`Error::ReadersFull`].
    pub fn get_device(&self, name: impl AsRef<[u8]>) -> Result<DeviceInfo> {
        self.read_device(name, |device| device.to_owned())
    }

    /// Shows the device of that name to `look` without copying it, and returns what `look` returns.
    ///
    /// `look` is called at most once, inside a read, with a read permit of the process held: it
    /// should be short, and must not call any store, this one or another, not even to read.
    ///
    /// # Errors
    /// As [`get_device`](Self::get_device).
    pub fn read_device<R>(
        &self,
        name: impl AsRef<[u8]>,
        mut look: impl FnMut(DeviceRef<'_>) -> R,
    ) -> Result<R> {
        self.pool.read(name.as_ref(), |device| Ok(look(device)))
    }

    /// Changes a device: `change` gets a copy of its record, once, on this thread, and what it
    /// leaves there is written. Nothing is written if it returns an error, which comes back as
    /// it is.
    ///
    /// While `change` runs, other devices can be written, and this one waits. `change` itself may
    /// read the store; its writes fail with [`Error::NestedWrite`].
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::IdentityChanged`] if `change` has changed the name or the
    /// device id; [`Error::Conflict`] if another process has changed the device meanwhile; and
    /// those of every write.
    pub fn update_device<E: From<Error>>(
        &self,
        name: impl AsRef<[u8]>,
        change: impl FnOnce(&mut DeviceInfo) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        Update::run(&self.pool, name.as_ref(), change)
    }

    /// The first phase of an update: locks the device, against writers of this process, and reads
    /// it.
    ///
    /// [`Update::commit`] or dropping the [`Update`] ends it.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Timeout`] if another update of the device does not end, and
    /// those of every write.
    pub fn begin_update(&self, name: impl AsRef<[u8]>) -> Result<Update> {
        Update::begin(&self.pool, name.as_ref())
    }

    /// Sets a device's state.
    ///
    /// # Errors
    /// [`Error::NotFound`], and those of every write.
    pub fn change_device_state(&self, name: impl AsRef<[u8]>, state: DeviceState) -> Result<()> {
        let name = name.as_ref();
        self.pool.commit(&Op::ChangeState { name, state }).map(drop)
    }

    /// Marks a device and its id as faulty. The device can then be added again, with another id;
    /// this id stays out of use until the device is removed.
    ///
    /// # Errors
    /// [`Error::NotFound`], and those of every write. Marking a faulty device again is no error.
    pub fn mark_faulty(&self, name: impl AsRef<[u8]>) -> Result<()> {
        let name = name.as_ref();
        self.pool.commit(&Op::MarkFaulty { name }).map(drop)
    }

    /// Removes a device and frees its id, even if it was faulty.
    ///
    /// # Errors
    /// [`Error::NotFound`], and those of every write.
    pub fn remove_device(&self, name: impl AsRef<[u8]>) -> Result<()> {
        let name = name.as_ref();
        self.pool.commit(&Op::Remove { name }).map(drop)
    }

    /// Shows every device to `visit`, by name in byte order, as of one moment. An error from
    /// `visit` ends the walk and comes back as it is. `visit` may read and write the store. A write
    /// that needs a larger map cannot wait for the end of its own walk: [`Error::Timeout`].
    ///
    /// # Errors
    /// Those of [`get_device`](Self::get_device).
    pub fn walk_devices<E: From<Error>>(
        &self,
        visit: impl FnMut(DeviceRef<'_>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        Walk::each(&self.pool.env, visit)
    }

    /// Begins a walk over every device, by name in byte order, as of this moment.
    ///
    /// A walk that stays open keeps the store from being closed and its map from growing, and the
    /// space of rows that are changed meanwhile from being used again.
    ///
    /// # Errors
    /// Those of [`get_device`](Self::get_device).
    pub fn walk(&self) -> Result<Walk> {
        Walk::open(&self.pool.env)
    }

    /// Begins a walk over the devices that a filter takes.
    ///
    /// It looks at every device all the same.
    ///
    /// # Errors
    /// Those of [`get_device`](Self::get_device).
    pub fn walk_filtered(&self, filter: &WalkFilter) -> Result<Walk> {
        Walk::filtered(&self.pool.env, filter)
    }

    /// The names of all devices, in byte order, as of one moment.
    ///
    /// # Errors
    /// Those of [`get_device`](Self::get_device).
    pub fn get_device_names(&self) -> Result<Vec<Vec<u8>>> {
        Walk::names(&self.pool.env)
    }

    /// Makes a list of changes in one commit: all of them, in their order, or none. A change sees
    /// what those before it did. What each did comes back in the same order.
    ///
    /// # Errors
    /// [`ApplyError`] says which change was refused, if one was, and why: with [`Error::Conflict`]
    /// if an update's record is of another generation by now, [`Error::IdentityChanged`] if its
    /// device id is not the one in the store; else as the change's own method.
    pub fn apply(&self, changes: &[Change]) -> std::result::Result<Vec<Applied>, ApplyError> {
        self.pool.apply(changes)
    }

    /// Makes each change of a list by itself, as if each came from a thread of its own, and says
    /// for each, in the same order, what it did or why it was refused. Changes of different
    /// devices share commits; those of one device are made in their order. A device that an
    /// update has locked is waited for last.
    ///
    /// For a runtime that has many writers in few threads. [`apply`](Self::apply) makes a list as a
    /// whole.
    ///
    /// # Errors
    /// Each as the change's own method; [`Error::Conflict`] and [`Error::IdentityChanged`] as from
    /// [`apply`](Self::apply).
    pub fn apply_each(&self, changes: &[Change]) -> Vec<Result<Applied>> {
        self.pool.apply_each(changes)
    }

    /// Fills an empty store with a whole pool's records, ids included, in one commit: to take
    /// another store over.
    ///
    /// `devices` are in the order of their names. Every id from 1 to `ids.last_id` must belong to a
    /// device, or be free, or be faulty; a faulty one may belong to a device as well. [`Walk`]
    /// and [`Walk::ids`] give both of another store.
    ///
    /// # Errors
    /// [`Error::NotEmpty`] if an id was ever given out, [`Error::InvalidImport`] says what does not
    /// go together, [`Error::InvalidName`], [`Error::TooLong`], and those of every write.
    pub fn import(&self, devices: &[DeviceRef<'_>], ids: &Ids) -> Result<()> {
        self.pool.import(devices, ids)
    }

    /// Fills an empty store as [`import`](Self::import) does, and in the same commit gives it the
    /// identity of its pool, if there is one here, and begins these intents: what another store's
    /// [`identity`](Self::identity) and [`intents`](Self::intents) returned. The intents get new
    /// numbers.
    ///
    /// # Errors
    /// Those of [`import`](Self::import), [`set_identity`](Self::set_identity) and
    /// [`begin_intent`](Self::begin_intent). The store is then as it was.
    pub fn import_with_journal(
        &self,
        devices: &[DeviceRef<'_>],
        ids: &Ids,
        identity: Option<&[u8]>,
        intents: &[Intent],
    ) -> Result<()> {
        self.pool
            .import_with_journal(devices, ids, identity, intents)
    }

    /// Counts and sizes, as of this moment.
    ///
    /// # Errors
    /// Those of [`get_device`](Self::get_device).
    pub fn stats(&self) -> Result<Stats> {
        let mut stats = self.pool.env.stats()?;
        stats.writers_waiting += (self.pool.queue.waiting() + self.pool.locks.waiting()) as u64;
        Ok(stats)
    }

    /// The reads that are running at this moment, in all processes, the one of the oldest commit
    /// first. Pages that were freed since that commit are not used again before the read ends.
    ///
    /// # Errors
    /// Those of [`get_device`](Self::get_device).
    pub fn running_reads(&self) -> Result<Vec<RunningRead>> {
        self.pool.env.running_reads()
    }

    /// The processes that have the store at `path` open, in the order of their ids, each with what
    /// it has counted since it opened it: commits and their times, flushes. This process needs no
    /// handle; if it has the store open, it is among them.
    ///
    /// A handle that can write publishes its counts, for as long as it is open, to processes that
    /// may look at its descriptors in `/proc`: those of the same user, and root. Of other processes
    /// it is only known that they have the store open, and why that is all: [`Uncounted`]. Those in
    /// PID namespaces that this one does not see, as in other containers, are missing.
    ///
    /// In Rust alone: in C and in Go, a process reads its own with `pm_get_stats` and `Stats`.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`] if there is no file, or no `/proc`; [`Error::InvalidPath`],
    /// [`Error::Permission`], [`Error::Io`].
    ///
    /// [`Uncounted`]: crate::Uncounted
    pub fn processes(path: impl AsRef<Path>) -> Result<Vec<ProcessStats>> {
        processes::find(path.as_ref())
    }

    /// Reads the whole store and checks that every row is sound and that they add up; see
    /// `docs/design.md`, "Invariants".
    ///
    /// # Errors
    /// [`Error::Corrupt`] says what is wrong; else those of [`get_device`](Self::get_device).
    pub fn verify(&self) -> Result<()> {
        verify::verify(&self.pool.env, Verify::Full)
    }

    /// What showed that the newest commit was not whole, if opening the store has undone one that a
    /// power cut had left half written: a line for the log. No write of it had returned.
    pub fn undone_at_open(&self) -> Option<&str> {
        self.pool.env.undone_at_open()
    }

    /// Flushes the store's file: all writes before it are durable then, deferred ones and those of
    /// processes that were killed as well.
    ///
    /// # Errors
    /// Those of every write.
    pub fn sync(&self) -> Result<()> {
        self.pool.check_not_in_update()?;
        self.pool.env.sync()
    }

    /// Another handle of this store, whose writes may be deferred: committed without a flush of
    /// their own. All else that is done through it, lists included, is as through this one.
    ///
    /// A deferred write is visible at once to every thread and process, and survives whatever kills
    /// the process. A power cut may take it back, together with all that was written after it:
    /// what is in force then is one whole commit, no older than the last that was flushed. It is
    /// durable once a later write that is not deferred has returned, or [`sync`](Self::sync), or
    /// [`close`](Self::close), and after [`OpenOptions::deferred_age`] or
    /// [`OpenOptions::deferred_commits`] at the latest.
    ///
    /// The store is the same, so closing it through either handle closes it for both, and it is
    /// closed by itself only when both were dropped.
    pub fn deferred(&self) -> PoolMetadata {
        PoolMetadata::from_pool(Arc::new(self.pool.deferred()))
    }

    /// Closes the store. Calls in flight in other threads finish first; calls after it fail with
    /// [`Error::Closed`], a second `close` as well. Dropping the store closes it too. What was
    /// deferred is flushed first.
    ///
    /// # Errors
    /// [`Error::Busy`] if calls in flight, or open walks, do not end within the lock wait, or
    /// another process keeps all others from writing for so long and what was deferred is not
    /// flushed: the store is then as it was, and can be closed later. Inside a walk's callback it
    /// fails at once, with [`Error::Busy`], and inside an update's with [`Error::NestedWrite`].
    /// [`Error::Io`] if what was deferred could not be flushed, and [`Error::WritesStopped`] if it
    /// could not be before: the store is closed all the same.
    pub fn close(&self) -> Result<()> {
        self.pool.check_not_in_update()?;
        self.pool.env.close()
    }

    /// The store's path, with symbolic links resolved.
    pub fn path(&self) -> &Path {
        self.pool.env.path()
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    pub(crate) fn from_pool(pool: Arc<Pool>) -> PoolMetadata {
        PoolMetadata { pool }
    }
}

impl std::fmt::Debug for PoolMetadata {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PoolMetadata")
            .field("path", &self.path())
            .finish()
    }
}
