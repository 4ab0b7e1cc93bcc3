//! What a store is made of, shared by its handle and by the walks and updates that it has given
//! out.

use std::sync::Arc;

use crate::device::DeviceRef;
use crate::error::{Error, Result};
use crate::format::record;
use crate::format::table::Table;
use crate::lmdb::env::Env;
use crate::lmdb::read::Try;
use crate::store::write::device_locks::DeviceLocks;
use crate::store::write::queue::{self, CommitQueue};
use crate::sync::read_permits::ReadPermit;

/// A store, shared by its handle and by the walks and updates that it has given out.
pub(crate) struct Pool {
    pub(crate) env: Arc<Env>,
    pub(crate) locks: DeviceLocks,
    pub(crate) queue: Arc<CommitQueue>,
    /// Whether what is written through it may be committed without a flush of its own.
    pub(crate) deferred: bool,
    end: Arc<End>,
}

/// The end of all writes: flushes what they have deferred.
struct End(Arc<Env>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.finish_deferral();
    }
}

impl Pool {
    /// The pool of an environment that was just opened.
    pub fn new(env: Arc<Env>) -> Pool {
        Pool {
            end: Arc::new(End(Arc::clone(&env))),
            env,
            locks: DeviceLocks::default(),
            queue: Arc::new(queue::new_queue()),
            deferred: false,
        }
    }

    /// Another pool of this store, whose writes need no flush of their own.
    pub fn deferred(&self) -> Pool {
        Pool {
            env: Arc::clone(&self.env),
            locks: self.locks.clone(),
            queue: Arc::clone(&self.queue),
            deferred: true,
            end: Arc::clone(&self.end),
        }
    }

    /// Looks one device up and shows it to `look`, once, while the read lasts.
    pub fn read<R>(
        &self,
        name: &[u8],
        mut look: impl FnMut(DeviceRef<'_>) -> Result<R>,
    ) -> Result<R> {
        self.check_lookup(name)?;
        self.env
            .read_row(Table::Devices, name, |row| look(self.decode(name, row)?))
    }

    /// Looks one device up without waiting, for a caller that holds a read permit.
    #[inline]
    pub fn try_read<R>(
        &self,
        permit: &ReadPermit,
        name: &[u8],
        mut look: impl FnMut(DeviceRef<'_>) -> Result<R>,
    ) -> Result<Try<R>> {
        self.check_lookup(name)?;
        self.env.try_read_row(permit, Table::Devices, name, |row| {
            look(self.decode(name, row)?)
        })
    }

    /// Refuses a name that LMDB does not take as a key, empty or too long: no device has it.
    #[inline]
    pub fn check_lookup(&self, name: &[u8]) -> Result<()> {
        if name.is_empty() || name.len() > crate::limits::MAX_NAME_LEN {
            self.env.check_usable()?;
            return Err(Error::not_found(name));
        }
        Ok(())
    }

    #[inline]
    fn decode<'a>(&self, name: &'a [u8], row: Option<&'a [u8]>) -> Result<DeviceRef<'a>> {
        match row {
            Some(value) => record::decode(name, value).map_err(|e| e.at(self.env.path())),
            None => Err(Error::not_found(name)),
        }
    }
}
