//! What an operator would ask of a store.

use crate::env::{Env, Snapshot};
use crate::error::Result;
use crate::verify::rows;
use std::sync::Arc;

/// Counts and sizes of a store at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Devices in the store.
    pub devices: u64,
    /// Device ids that devices have and that are not faulty.
    pub taken_ids: u64,
    /// Device ids that were given back and wait to be given out again.
    pub free_ids: u64,
    /// Device ids that are faulty, whether a device has them or not.
    pub faulty_ids: u64,
    /// The highest device id that was ever given out; 0 for none.
    pub last_id: u64,
    /// Commits since the store was created.
    pub commits: u64,
    /// Size of the memory map in bytes: address space, not memory.
    pub map_size: u64,
    /// Bytes of the map in use, up to the end of the last page. Pages freed in between count.
    pub map_used: u64,
    /// Length of the file in bytes.
    pub file_size: u64,
    /// Size of a page in bytes.
    pub page_size: u64,
    /// Places in LMDB's reader table.
    pub max_readers: u64,
    /// Places in use or kept for reuse, by all processes, at their highest so far.
    pub readers_in_use: u64,
}

pub(super) fn collect(env: &Arc<Env>) -> Result<Stats> {
    let snapshot = Snapshot::open(env)?;
    let header = rows::header(&snapshot)?;
    let info = env.info()?;
    Ok(Stats {
        devices: header.devices.into(),
        taken_ids: header.taken_ids().into(),
        free_ids: header.free_ids.into(),
        faulty_ids: header.faulty_ids.into(),
        last_id: header.last_id.into(),
        commits: header.commit,
        map_size: info.map_size,
        map_used: info.used,
        file_size: info.file_size,
        page_size: info.page_size.into(),
        max_readers: info.max_readers.into(),
        readers_in_use: info.readers_in_use.into(),
    })
}
