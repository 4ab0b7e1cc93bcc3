//! `pmctl show`: everything about some devices.

use std::ffi::OsString;

use pool_metadata::DeviceInfo;
use serde::Serialize;

use crate::commands::names;
use crate::context::{Context, Outcome};
use crate::failure::Result;
use crate::json;
use crate::output::{style_of, Output, Style};
use crate::text;

/// Show everything about devices: their records, the states of their ids, their snapshots
///
/// The store is kept by name: to find snapshots, and a device by its id, all devices are read.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Names of the devices
    #[arg(value_name = "NAME", required_unless_present = "id")]
    names: Vec<OsString>,

    /// The device with this id
    #[arg(long, value_name = "N")]
    id: Vec<u32>,

    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// A device, and what else the store knows of it.
struct Shown {
    device: DeviceInfo,
    id_is_faulty: bool,
    parent_is_there: bool,
    children: Vec<Vec<u8>>,
}

#[derive(Serialize)]
struct Json {
    #[serde(flatten)]
    device: json::Device,
    id_is_faulty: bool,
    parent_is_there: bool,
    children: Vec<String>,
}

impl Args {
    pub fn run(&self, context: &Context) -> Result<Outcome> {
        let names = names(&self.names)?;
        let store = context.place.read_at_once()?;
        let mut walk = store.walk()?;
        let ids = walk.ids()?;
        let mut all = Vec::new();
        let mut found: Vec<Shown> = Vec::new();
        // All of it is of one moment: what is asked for, and the snapshots of that.
        while let Some(device) = walk.next_ref()? {
            if names.iter().any(|name| name == device.name) || self.id.contains(&device.device_id) {
                found.push(Shown {
                    device: device.to_owned(),
                    id_is_faulty: ids.faulty.binary_search(&device.device_id).is_ok(),
                    parent_is_there: false,
                    children: Vec::new(),
                });
            }
            if !device.parent_name.is_empty() {
                all.push((device.parent_name.to_vec(), device.name.to_vec()));
            }
        }
        drop(walk);
        for shown in &mut found {
            let device = &shown.device;
            let children = all.iter().filter(|(parent, _)| *parent == device.name);
            shown.children = children.map(|(_, name)| name.clone()).collect();
            shown.parent_is_there = store.get_device(&device.parent_name).is_ok();
        }
        let mut out = Output::new();
        for (at, shown) in found.iter().enumerate() {
            if self.json {
                out.line(&json::line(&Json::from(shown)))?;
                continue;
            }
            if at > 0 {
                out.line("")?;
            }
            for line in shown.lines(context) {
                out.line(&line)?;
            }
        }
        out.finish()?;
        self.report_missing(&names, &found)
    }

    fn report_missing(&self, names: &[Vec<u8>], found: &[Shown]) -> Result<Outcome> {
        let no_name = |name: &&Vec<u8>| found.iter().all(|shown| shown.device.name != **name);
        let no_id = |id: &&u32| found.iter().all(|shown| shown.device.device_id != **id);
        let missing_names = names.iter().filter(no_name);
        let missing_ids = self.id.iter().filter(no_id);
        let missing: Vec<_> = missing_names
            .map(|name| format!("device \"{}\" is not in the store", text::escape(name)))
            .chain(missing_ids.map(|id| format!("no device in the store has id {id}")))
            .collect();
        if missing.is_empty() {
            return Ok(Outcome::Fine);
        }
        let advice = "`pmctl ls` lists the devices there are".to_owned();
        let message = [missing, vec![advice]].concat().join("\n");
        Err(crate::failure::Failure::Problem(message))
    }
}

impl Shown {
    fn lines(&self, context: &Context) -> Vec<String> {
        let device = &self.device;
        let state = context
            .paint
            .paint(style_of(device.state), device.state.name());
        let id_note = if self.id_is_faulty {
            context
                .paint
                .paint(Style::Bad, ", faulty: it is not given out again")
        } else {
            String::new()
        };
        let parent = match (device.parent_name.is_empty(), self.parent_is_there) {
            (true, _) => "none".to_owned(),
            (false, true) => text::escape(&device.parent_name),
            (false, false) => format!(
                "{}, which is not in the store",
                text::escape(&device.parent_name)
            ),
        };
        let children = match self.children.len() {
            0 => "none".to_owned(),
            n => {
                let names: Vec<_> = self.children.iter().map(|name| text::word(name)).collect();
                format!("{n}: {}", names.join(" "))
            }
        };
        let error = match device.error.is_empty() {
            true => "none".to_owned(),
            false => text::escape(&device.error),
        };
        let size = match device.size {
            small @ 0..1024 => text::size(small),
            size => format!("{} ({size} bytes)", text::size(size)),
        };
        [
            ("name", text::escape(&device.name)),
            ("id", format!("{}{id_note}", device.device_id)),
            ("state", state),
            ("size", size),
            ("parent", parent),
            ("snapshots", children),
            ("error", error),
            ("generation", device.generation.to_string()),
        ]
        .map(|(key, value)| format!("{key:<11} {value}"))
        .into()
    }
}

impl From<&Shown> for Json {
    fn from(shown: &Shown) -> Json {
        Json {
            device: shown.device.as_ref().into(),
            id_is_faulty: shown.id_is_faulty,
            parent_is_there: shown.parent_is_there,
            children: shown
                .children
                .iter()
                .map(|name| text::escape(name))
                .collect(),
        }
    }
}
