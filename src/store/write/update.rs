//! The two phases of an update: lock and read, then compare and write.

use std::sync::Arc;

use crate::device::{DeviceInfo, DeviceRef};
use crate::error::{kept, Error, Result};
use crate::store::write::device_locks::DeviceLock;
use crate::store::write::op::{Applied, Op};
use crate::store::write::pool::Pool;
use crate::store::write::queue::CommitQueue;
use crate::sync::callbacks::CallbackScope;

/// An update that has begun: the device is locked against writers of this process, and its record
/// can be changed. Nothing is written before [`commit`](Update::commit), and nothing at all if the
/// update is dropped.
///
/// It may move to another thread. It keeps no transaction open, so it does not block the writes of
/// other devices, and the store can be closed under it: its commit then fails with
/// [`Error::Closed`].
pub struct Update {
    pool: Arc<Pool>,
    device: DeviceInfo,
    device_id: u32,
    generation: u64,
    lock: DeviceLock,
}

impl Update {
    pub(crate) fn begin(pool: &Arc<Pool>, name: &[u8]) -> Result<Update> {
        pool.check_not_in_update()?;
        pool.env.check_writable()?;
        // Before the lock, which copies the name: one that is too long may be of any length.
        pool.check_lookup(name)?;
        let lock = pool.lock_device(name, &pool.env.lock_wait())?;
        lock.set_open(true);
        let device = pool.read(name, |device| Ok(device.to_owned()))?;
        Ok(Update {
            pool: Arc::clone(pool),
            device_id: device.device_id,
            generation: device.generation,
            device,
            lock,
        })
    }

    /// Changes a device: begins an update, has `change` change the record, and writes it.
    pub(crate) fn run<E: From<Error>>(
        pool: &Arc<Pool>,
        name: &[u8],
        change: impl FnOnce(&mut DeviceInfo) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let mut update = Update::begin(pool, name)?;
        {
            let _scope = update.enter_callback();
            change(&mut update.device)?;
        }
        Ok(update.commit()?)
    }

    /// The record as it stands in this update.
    pub fn device(&self) -> &DeviceInfo {
        &self.device
    }

    /// The record, to be changed. Its name and device id must stay; its generation is ignored.
    pub fn device_mut(&mut self) -> &mut DeviceInfo {
        &mut self.device
    }

    /// Writes the record and ends the update.
    ///
    /// # Errors
    /// [`Error::IdentityChanged`], [`Error::InvalidName`] (of the parent), [`Error::TooLong`];
    /// [`Error::Conflict`] or [`Error::NotFound`] if another process has changed or removed the
    /// device since the update began; and those of every write. Nothing is written then, and
    /// the update is over.
    pub fn commit(self) -> Result<()> {
        self.write().map(drop)
    }

    fn write(&self) -> Result<Applied> {
        self.commit_as(self.device.as_ref())
    }

    /// Writes `device` in the record's place, without a copy of texts that may have to be refused.
    pub(crate) fn commit_as(&self, device: DeviceRef<'_>) -> Result<Applied> {
        if device.name != self.lock.name() || device.device_id != self.device_id {
            return Err(Error::IdentityChanged {
                name: self.lock.name().into(),
                new_name: kept(device.name),
                device_id: self.device_id,
                new_device_id: device.device_id,
            });
        }
        self.lock.set_open(false);
        self.pool.commit_locked(&Op::Update(DeviceRef {
            generation: self.generation,
            ..device
        }))
    }

    /// Ends the update without a write, as dropping it does.
    pub fn abort(self) {}

    /// Marks this thread as being inside the update's callback until the scope is dropped.
    pub(crate) fn enter_callback(&self) -> CallbackScope<CommitQueue> {
        CallbackScope::enter(&self.pool.queue)
    }
}

impl std::fmt::Debug for Update {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Update")
            .field("device", &self.device)
            .finish()
    }
}
