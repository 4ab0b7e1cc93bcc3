//! `pmctl rm`: removes the records of devices.

use std::collections::BTreeMap;

use pool_metadata::{Change, DeviceInfo, DeviceState, PoolMetadata};

use crate::ask::Consent;
use crate::commands::devices::{described, Edit, Names};
use crate::containerd;
use crate::context::{Context, Outcome};
use crate::failure::Result;
use crate::text;

/// Remove the records of devices from the store, and free their ids
///
/// The devices in the pool stay: delete them there as well, or the next device that gets such an id
/// fails with "file exists". For a device that containerd should make again, mark-faulty is safer:
/// it keeps the id out of use.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    names: Names,

    #[command(flatten)]
    consent: Consent,
}

impl Args {
    pub fn run(&self, context: &Context) -> Result<Outcome> {
        let edit = Edit {
            plan: |store: &PoolMetadata, devices: &[DeviceInfo]| plan(store, devices, context),
            change: |device: &DeviceInfo| Change::Remove {
                name: device.name.clone(),
            },
            done: |device: &DeviceInfo| format!("is removed, and id {} is free", device.device_id),
        };
        edit.run(&self.names, self.consent, context)
    }
}

fn plan(store: &PoolMetadata, devices: &[DeviceInfo], context: &Context) -> Result<Vec<String>> {
    let mut snapshots = BTreeMap::<&[u8], u64>::new();
    for device in devices {
        snapshots.insert(&device.name, 0);
    }
    let mut walk = store.walk()?;
    while let Some(device) = walk.next_ref()? {
        // Those that go as well do not lose their parent.
        if !snapshots.contains_key(device.name) {
            if let Some(count) = snapshots.get_mut(device.parent_name) {
                *count += 1;
            }
        }
    }
    let pool = containerd::read(&context.place.config).map(|found| found.pool_name);
    let pool = pool.unwrap_or_else(|_| "POOL".to_owned());
    let mut plan = Vec::new();
    for device in devices {
        plan.push(format!("remove {}", described(device)));
        match snapshots[&*device.name] {
            0 => {}
            n => plan.push(format!(
                "note: {} of it would name a parent that is not in the store",
                text::count(n, "snapshot")
            )),
        }
        if matches!(device.state, DeviceState::Activated | DeviceState::Resumed) {
            plan.push("note: it is active by its state; end what uses it first".to_owned());
        }
        plan.push(format!(
            "note: if the pool has it, delete it there too: \
             dmsetup message /dev/mapper/{pool} 0 'delete {}'",
            device.device_id
        ));
    }
    Ok(plan)
}
