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

use crate::failure::{Failure, Result};
use crate::text;

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
