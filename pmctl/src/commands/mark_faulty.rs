//! `pmctl mark-faulty`: takes devices and their ids out of use.

use pool_metadata::Change;

use crate::ask::Consent;
use crate::commands::devices::{commit, described, records, Names};
use crate::context::{Context, Outcome};
use crate::failure::Result;
use crate::output::Output;
use crate::text;

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
        let names = self.names.read()?;
        let store = context.place.open_for(self.consent)?;
        let devices = records(&store, &names)?;
        let plan = devices
            .iter()
            .map(|device| format!("mark as faulty: {}", described(device)));
        if !self.consent.to(&plan.collect::<Vec<_>>())? {
            return Ok(Outcome::Fine);
        }
        commit(&store, &devices, |device| Change::MarkFaulty {
            name: device.name.clone(),
        })?;
        let mut out = Output::new();
        for device in &devices {
            let name = text::word(&device.name);
            out.line(&format!(
                "{name} is faulty, and so is id {}",
                device.device_id
            ))?;
        }
        out.finish()?;
        Ok(Outcome::Fine)
    }
}
