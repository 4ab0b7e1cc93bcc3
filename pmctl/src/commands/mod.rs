//! The commands, a file each.

pub mod backup;
pub mod changes;
pub mod check;
pub mod compact;
pub mod completions;
mod devices;
pub mod doctor;
pub mod dump;
pub mod filter;
pub mod free_id;
pub mod ids;
pub mod load;
pub mod ls;
pub mod man;
pub mod mark_faulty;
pub mod reconcile;
pub mod repair;
pub mod restore;
pub mod rm;
pub mod salvage;
pub mod set_state;
pub mod show;
pub mod stats;
pub mod tree;
pub mod watch;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use pool_metadata::DeviceState;

use crate::failure::{Failure, Result};
use crate::output::Style;
use crate::text;

/// How a command ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Fine,
    ProblemFound,
}

/// The names that arguments stand for.
pub fn names(arguments: &[OsString]) -> Result<Vec<Vec<u8>>> {
    arguments
        .iter()
        .map(|name| name_of(name.as_bytes()))
        .collect()
}

/// The name that an argument or a line stands for.
pub fn name_of(text: &[u8]) -> Result<Vec<u8>> {
    text::unescape(text).map_err(Failure::Usage)
}

/// How a state stands out: faulty ones, and those that a crash can have left behind.
pub fn style_of(state: DeviceState) -> Style {
    match state {
        DeviceState::Faulty => Style::Bad,
        DeviceState::Creating
        | DeviceState::Activating
        | DeviceState::Suspending
        | DeviceState::Resuming
        | DeviceState::Deactivating
        | DeviceState::Removing => Style::Passing,
        _ => Style::Plain,
    }
}
