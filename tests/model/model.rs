//! The model in `spec.rs` as a [`Store`], so that it takes the same operations as the real ones.

use crate::c::types::{Failure, Outcome};
use crate::spec::{Pending, Spec};
use crate::subject::{Applied, Edit, Refusal, RunningRead, Store, Update, Visit, Walk};
use pool_metadata::capi::*;
use pool_metadata::{Change, DeviceInfo, DeviceState, Error, Ids};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

type Shared = Arc<Mutex<Spec>>;

/// What the disk is to real stores: keeps the contents while no handle is open.
static DISK: Mutex<BTreeMap<PathBuf, Shared>> = Mutex::new(BTreeMap::new());

pub struct Model {
    path: PathBuf,
    spec: Shared,
    session: u32,
    read_only: bool,
}

/// Forgets the contents of these stores.
pub fn remove_from_disk(paths: &[&Path]) {
    let mut disk = DISK.lock().unwrap();
    disk.retain(|path, _| !paths.contains(&path.as_path()));
}

impl Model {
    pub fn read_spec(&self) -> Result<MutexGuard<'_, Spec>, Error> {
        let spec = self.spec.lock().unwrap();
        match spec.session == self.session {
            true => Ok(spec),
            false => Err(Error::Closed),
        }
    }

    pub fn write_spec(&self) -> Result<MutexGuard<'_, Spec>, Error> {
        let spec = self.read_spec()?;
        if spec.in_callback {
            return Err(Error::NestedWrite);
        }
        if self.read_only {
            let path = self.path.as_path().into();
            return Err(Error::ReadOnly { path });
        }
        Ok(spec)
    }
}

impl Store for Model {
    type Update = ModelUpdate;
    type Walk = ModelWalk;

    fn open(path: &Path, options: &pm_options) -> Outcome<Model> {
        let mut disk = DISK.lock().unwrap();
        let spec = Arc::clone(disk.entry(path.into()).or_default());
        let session = spec.lock().unwrap().session;
        Ok(Model {
            path: path.into(),
            spec,
            session,
            read_only: options.flags & PM_OPEN_READ_ONLY != 0,
        })
    }

    fn close(&self) -> Outcome<()> {
        let mut spec = self.read_spec()?;
        if spec.in_callback {
            return Err(Error::NestedWrite.into());
        }
        spec.close();
        Ok(())
    }

    fn deferred(&self) -> Outcome<Model> {
        Ok(Model {
            path: self.path.clone(),
            spec: Arc::clone(&self.spec),
            session: self.session,
            read_only: self.read_only,
        })
    }

    fn sync(&self) -> Outcome<()> {
        self.write_spec().map(drop).map_err(Failure::from)
    }

    fn verify(&self) -> Outcome<()> {
        self.read_spec().map(drop).map_err(Failure::from)
    }

    fn stats(&self) -> Outcome<pm_stats> {
        let spec = self.read_spec()?;
        // SAFETY: zeros are a valid struct of numbers.
        let nothing: pm_stats = unsafe { std::mem::zeroed() };
        Ok(pm_stats {
            devices: spec.devices.len() as u64,
            taken_ids: spec.taken() as u64,
            free_ids: spec.free.len() as u64,
            faulty_ids: spec.faulty.len() as u64,
            last_id: spec.last_id.into(),
            commits: spec.commits,
            ..nothing
        })
    }

    /// The model has no reads that last.
    fn running_reads(&self) -> Outcome<Vec<RunningRead>> {
        Ok(self.read_spec().map(|_| Vec::new())?)
    }

    fn add(&self, device: &mut DeviceInfo) -> Outcome<()> {
        Ok(self.write_spec()?.add(device)?)
    }

    fn get(&self, name: &[u8]) -> Outcome<DeviceInfo> {
        Ok(self.read_spec()?.get(name)?)
    }

    fn read(&self, name: &[u8]) -> Outcome<DeviceInfo> {
        self.get(name)
    }

    fn names(&self) -> Outcome<Vec<Vec<u8>>> {
        Ok(self.read_spec()?.devices.keys().cloned().collect())
    }

    fn change_state(&self, name: &[u8], state: DeviceState) -> Outcome<()> {
        Ok(self.write_spec()?.change_state(name, state)?)
    }

    fn mark_faulty(&self, name: &[u8]) -> Outcome<()> {
        Ok(self.write_spec()?.mark_faulty(name)?)
    }

    fn remove(&self, name: &[u8]) -> Outcome<()> {
        Ok(self.write_spec()?.remove(name)?)
    }

    fn update(&self, name: &[u8], edit: Edit<'_>) -> Outcome<()> {
        let mut update = self.begin(name)?;
        self.spec.lock().unwrap().in_callback = true;
        let edited = edit(update.device());
        self.spec.lock().unwrap().in_callback = false;
        edited.map_err(crate::rust::callback_failure)?;
        update.commit()
    }

    fn begin(&self, name: &[u8]) -> Outcome<ModelUpdate> {
        let pending = self.write_spec()?.begin(name)?;
        Ok(ModelUpdate {
            spec: Arc::clone(&self.spec),
            pending,
        })
    }

    fn walk_devices(&self, visit: Visit<'_>) -> Outcome<()> {
        for device in self.walk()? {
            visit(device?).map_err(crate::rust::callback_failure)?;
        }
        Ok(())
    }

    fn walk(&self) -> Outcome<ModelWalk> {
        let spec = self.read_spec()?;
        let devices: Vec<_> = spec.devices.values().cloned().collect();
        Ok(ModelWalk {
            devices: devices.into_iter(),
            ids: Ids {
                last_id: spec.last_id,
                free: spec.free.iter().copied().collect(),
                faulty: spec.faulty.iter().copied().collect(),
            },
        })
    }

    fn apply(&self, changes: &[Change]) -> Result<Vec<Applied>, Refusal> {
        let mut spec = self.write_spec().map_err(|error| (None, error.into()))?;
        spec.apply(changes)
            .map_err(|(index, error)| (index, error.into()))
    }

    fn apply_each(&self, _: &[Change]) -> Vec<Outcome<Applied>> {
        unreachable!("changes that are made one by one are not drawn")
    }

    fn import(&self, devices: &[DeviceInfo], ids: &Ids) -> Outcome<()> {
        Ok(self.write_spec()?.import(&self.path, devices, ids)?)
    }
}

pub struct ModelUpdate {
    spec: Shared,
    pending: Pending,
}

impl Update for ModelUpdate {
    fn device(&mut self) -> &mut DeviceInfo {
        &mut self.pending.device
    }

    fn commit(self) -> Outcome<()> {
        Ok(self.spec.lock().unwrap().commit(self.pending.clone())?)
    }

    fn abort(self) {}
}

impl Drop for ModelUpdate {
    fn drop(&mut self) {
        // After a commit there is nothing left to unlock.
        self.spec.lock().unwrap().abort(&self.pending);
    }
}

pub struct ModelWalk {
    devices: std::vec::IntoIter<DeviceInfo>,
    ids: Ids,
}

impl Iterator for ModelWalk {
    type Item = Outcome<DeviceInfo>;

    fn next(&mut self) -> Option<Outcome<DeviceInfo>> {
        self.devices.next().map(Ok)
    }
}

impl Walk for ModelWalk {
    fn ids(&self) -> Outcome<Ids> {
        Ok(self.ids.clone())
    }
}
