//! `pmctl set-state`: writes the state that a device is known to have.

use pool_metadata::{Change, DeviceInfo, DeviceState, PoolMetadata};

use crate::ask::Consent;
use crate::commands::devices::{described, Edit, Names};
use crate::context::{Context, Outcome};
use crate::failure::{Failure, Result};
use crate::json;
use crate::text;

/// Set the state of devices, and the text of their errors
///
/// The store then says so; the device in the pool stays as it is.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The state, such as Activated or Deactivated
    #[arg(value_name = "STATE", value_parser = json::state)]
    state: DeviceState,

    #[command(flatten)]
    names: Names,

    /// Set the error text as well; an empty one clears it
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,

    #[command(flatten)]
    consent: Consent,
}

impl Args {
    pub fn run(&self, context: &Context) -> Result<Outcome> {
        if self.state == DeviceState::Faulty {
            return Err(Failure::usage(
                "a device becomes faulty together with its id: use `pmctl mark-faulty NAME`",
            ));
        }
        let error = match &self.error {
            Some(error) => Some(text::unescape(error.as_bytes()).map_err(Failure::Usage)?),
            None => None,
        };
        let edit = Edit {
            plan: |_: &PoolMetadata, devices: &[DeviceInfo]| Ok(self.plan(devices)),
            change: |device: &DeviceInfo| self.change(device, &error),
            done: |_: &DeviceInfo| format!("is {}", self.state),
        };
        edit.run(&self.names, self.consent, context)
    }

    fn plan(&self, devices: &[DeviceInfo]) -> Vec<String> {
        let mut plan = Vec::new();
        for device in devices {
            plan.push(format!("set to {}: {}", self.state, described(device)));
            if device.state == DeviceState::Faulty {
                let id = device.device_id;
                plan.push(format!(
                    "note: id {id} stays faulty until the device is removed"
                ));
            }
        }
        plan
    }

    fn change(&self, device: &DeviceInfo, error: &Option<Vec<u8>>) -> Change {
        let mut changed = device.clone();
        changed.state = self.state;
        if let Some(error) = error {
            changed.error.clone_from(error);
        }
        Change::Update(changed)
    }
}
