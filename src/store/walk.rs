//! A walk over all devices at one commit.

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::device::{DeviceInfo, DeviceRef, DeviceState};
use crate::error::{Error, Result};
use crate::format::record;
use crate::lmdb::env::Env;
use crate::lmdb::raw::Move;
use crate::lmdb::snapshot::Snapshot;
use crate::sync::callbacks::CallbackScope;

/// Which devices a walk shows: by default all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalkFilter {
    /// The states that a device may have; none stands for any.
    pub states: Vec<DeviceState>,
    /// The name of the parent that a device has to have; an empty one for devices without a parent.
    pub parent: Option<Vec<u8>>,
    /// The ids that a device may have.
    pub ids: RangeInclusive<u32>,
    /// The commit after which the device must have been written.
    pub since: u64,
}

impl Default for WalkFilter {
    fn default() -> WalkFilter {
        WalkFilter {
            states: Vec::new(),
            parent: None,
            ids: 0..=u32::MAX,
            since: 0,
        }
    }
}

impl WalkFilter {
    /// The devices that are snapshots of the one of that name.
    pub fn children_of(name: impl Into<Vec<u8>>) -> WalkFilter {
        WalkFilter {
            parent: Some(name.into()),
            ..WalkFilter::default()
        }
    }

    fn takes(&self, device: &DeviceRef<'_>) -> bool {
        (self.states.is_empty() || self.states.contains(&device.state))
            && self.ids.contains(&device.device_id)
            && device.generation > self.since
            && self
                .parent
                .as_ref()
                .is_none_or(|parent| parent == device.parent_name)
    }
}

/// All devices as of the moment when the walk began, by name in byte order.
///
/// As an iterator it copies each device; [`next_ref`](Walk::next_ref) does not. It may move to
/// another thread, and the store may be written meanwhile: the walk does not see it.
pub struct Walk {
    snapshot: Snapshot,
    /// Where the next device is; none after the last, and where a filter has to find it.
    next: Option<Move>,
    /// What `next` is once a device was shown. A walk without a filter, which is to be fast, asks
    /// for none.
    then: Option<Move>,
    filtered: Option<Box<Filtered>>,
}

/// A filter, and where it goes on to look.
struct Filtered {
    filter: WalkFilter,
    next: Option<Move>,
}

impl Walk {
    pub(crate) fn open(env: &Arc<Env>) -> Result<Walk> {
        Ok(Walk {
            snapshot: Snapshot::open(env)?,
            next: Some(Move::First),
            then: Some(Move::Next),
            filtered: None,
        })
    }

    pub(crate) fn filtered(env: &Arc<Env>, filter: &WalkFilter) -> Result<Walk> {
        let filtered = Filtered {
            filter: filter.clone(),
            next: Some(Move::First),
        };
        Ok(Walk {
            snapshot: Snapshot::open(env)?,
            next: None,
            then: None,
            filtered: Some(Box::new(filtered)),
        })
    }

    /// The next device, borrowed until the walk goes on; `None` after the last, and after an error.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) if its record is damaged,
    /// [`Error::Forked`](crate::Error::Forked) in a forked child.
    // Out of line, the device is returned through memory: a fifth more time for each on the line
    // "pm_walk_next in pages / raw cursor" of `make bench`.
    #[inline(always)]
    pub fn next_ref(&mut self) -> Result<Option<DeviceRef<'_>>> {
        let to = match self.next.take() {
            Some(to) => to,
            None => match self.find_next()? {
                Some(to) => to,
                None => return Ok(None),
            },
        };
        let (row, env) = self.snapshot.device_row(to)?;
        let Some((name, value)) = row else {
            return Ok(None);
        };
        let device = record::decode(name, value).map_err(|e| e.at(env.path()))?;
        self.next = self.then;
        Ok(Some(device))
    }

    /// Goes on to the next device that the filter takes, which is then shown by staying there.
    #[cold]
    #[inline(never)]
    fn find_next(&mut self) -> Result<Option<Move>> {
        let Some(filtered) = &mut self.filtered else {
            return Ok(None);
        };
        while let Some(to) = filtered.next.take() {
            let (row, env) = self.snapshot.device_row(to)?;
            let Some((name, value)) = row else {
                break;
            };
            let device = record::decode(name, value).map_err(|e| e.at(env.path()))?;
            filtered.next = Some(Move::Next);
            if filtered.filter.takes(&device) {
                return Ok(Some(Move::Stay));
            }
        }
        Ok(None)
    }

    /// Shows every device of a new walk to `visit`, until it fails.
    pub(crate) fn each<E: From<Error>>(
        env: &Arc<Env>,
        mut visit: impl FnMut(DeviceRef<'_>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let mut walk = Walk::open(env)?;
        let _scope = walk.enter_callback();
        while let Some(device) = walk.next_ref()? {
            visit(device)?;
        }
        Ok(())
    }

    /// The names of all devices.
    pub(crate) fn names(env: &Arc<Env>) -> Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        Walk::each(env, |device| {
            names.push(device.name.to_vec());
            Ok::<(), Error>(())
        })?;
        Ok(names)
    }

    /// Marks this thread as being inside the walk's callback until the scope is dropped.
    pub(crate) fn enter_callback(&self) -> CallbackScope<Env> {
        CallbackScope::enter(self.snapshot.env())
    }

    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Makes the walk show the last device once more.
    pub(crate) fn step_back(&mut self) {
        self.next = Some(Move::Stay);
    }
}

impl Iterator for Walk {
    type Item = Result<DeviceInfo>;

    fn next(&mut self) -> Option<Result<DeviceInfo>> {
        self.next_ref()
            .map(|device| device.map(|device| device.to_owned()))
            .transpose()
    }
}

impl std::fmt::Debug for Walk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Walk").finish_non_exhaustive()
    }
}
