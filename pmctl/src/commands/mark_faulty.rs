//! `pmctl mark-faulty`: takes devices and their ids out of use.

use pool_metadata::{Change, DeviceInfo, PoolMetadata};

use crate::ask::Consent;
use crate::commands::devices::{described, Edit, Names};
use crate::context::{Context, Outcome};
use crate::failure::Result;

/// Mark devices and their ids as faulty, so that containerd can make the devices again
///
/// A faulty device may be added again, and gets another id; the old id is not given out any more.
/// This frees a snapshotter that is jammed by a device that it does not know ("already exists").
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
            plan: |_: &PoolMetadata, devices: &[DeviceInfo]| {
                let lines = devices.iter().map(described);
                Ok(lines
                    .map(|device| format!("mark as faulty: {device}"))
                    .collect())
            },
            change: |device: &DeviceInfo| Change::MarkFaulty {
                name: device.name.clone(),
            },
            done: |device: &DeviceInfo| format!("is faulty, and so is id {}", device.device_id),
        };
        edit.run(&self.names, self.consent, context)
    }
}
