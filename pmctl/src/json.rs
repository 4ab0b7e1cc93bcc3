//! Devices, and the other lines of a dump, as JSON. Every value is exact; names and texts are
//! escaped as everywhere (see `text`).

use pool_metadata::{DeviceInfo, DeviceRef, DeviceState, IntentKind};
use serde::{Deserialize, Serialize};

use crate::text;

/// A device's record.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Device {
    pub name: String,
    pub id: u32,
    pub state: String,
    pub size: u64,
    #[serde(default)]
    pub parent: String,
    #[serde(default)]
    pub error: String,
    #[serde(default)]
    pub generation: u64,
}

impl From<DeviceRef<'_>> for Device {
    fn from(device: DeviceRef<'_>) -> Device {
        Device {
            name: text::escape(device.name),
            id: device.device_id,
            state: device.state.name().to_owned(),
            size: device.size,
            parent: text::escape(device.parent_name),
            error: text::escape(device.error),
            generation: device.generation,
        }
    }
}

impl Device {
    /// The record that this shows.
    pub fn record(&self) -> Result<DeviceInfo, String> {
        Ok(DeviceInfo {
            name: text::unescape(self.name.as_bytes())?,
            device_id: self.id,
            size: self.size,
            parent_name: text::unescape(self.parent.as_bytes())?,
            state: state(&self.state)?,
            error: text::unescape(self.error.as_bytes())?,
            generation: 0,
        })
    }
}

/// The version of the lines of a dump.
pub const VERSION: u32 = 1;

/// The first line of a dump.
#[derive(Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Begin {
    /// The version of the lines that follow.
    pub pmctl_dump: u32,
    /// The highest id that was ever given out.
    pub last_id: u32,
}

/// Ids in a dump that no device needs to have.
#[derive(Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct IdLine {
    /// One id, or the first and the last of some: "7", "7-9".
    pub ids: String,
    pub state: IdState,
}

#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum IdState {
    Free,
    Faulty,
}

/// The pool that the store belongs to.
#[derive(Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    pub identity: String,
}

/// A change of the pool that has begun and is not known to have ended. A store that is loaded gives
/// it another number.
#[derive(Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Intent {
    /// "create", "snapshot" or "delete".
    pub intent: String,
    pub name: String,
    pub id: u32,
    pub transaction: u64,
    #[serde(default)]
    pub number: u64,
}

impl From<&pool_metadata::Intent> for Intent {
    fn from(intent: &pool_metadata::Intent) -> Intent {
        Intent {
            intent: intent.kind.to_string(),
            name: text::escape(&intent.name),
            id: intent.device_id,
            transaction: intent.transaction_id,
            number: intent.number,
        }
    }
}

impl Intent {
    /// The intent that this shows.
    pub fn intent(&self) -> Result<pool_metadata::Intent, String> {
        let mut known = IntentKind::ALL.into_iter();
        let kind = known.find(|kind| kind.to_string() == self.intent);
        let kind = kind.ok_or_else(|| {
            let given = text::escape_message(&self.intent);
            format!("\"{given}\" is no kind of change; there are create, snapshot, delete")
        })?;
        let name = text::unescape(self.name.as_bytes())?;
        if self.id >> 24 != 0 {
            return Err(format!("id {} has more than 24 bits", self.id));
        }
        Ok(pool_metadata::Intent::new(
            kind,
            name,
            self.id,
            self.transaction,
        ))
    }
}

/// The last line of a dump, by which one that was cut short is known.
#[derive(Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct End {
    pub end: bool,
}

/// The state of that name, however its letters are.
pub fn state(name: &str) -> Result<DeviceState, String> {
    let known = |state: &&DeviceState| state.name().eq_ignore_ascii_case(name);
    DeviceState::ALL.iter().find(known).copied().ok_or_else(|| {
        let names = DeviceState::ALL.map(DeviceState::name).join(", ");
        format!(
            "\"{}\" is no state; there are {names}",
            text::escape_message(name)
        )
    })
}

/// A value as one line. Serializing what this program makes does not fail.
pub fn line(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
