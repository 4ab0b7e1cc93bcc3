//! What an environment is opened with.

use std::time::Duration;

/// What an environment is opened with; see [`crate::OpenOptions`] for the meaning.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub read_only: bool,
    pub map_size: u64,
    pub max_readers: u32,
    pub lock_wait: Duration,
    pub relaxed: bool,
    pub sharing: Sharing,
    /// Whether a store whose header row is damaged is to be opened all the same.
    pub damaged_header: bool,
}

/// Who else may have the file open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Any number of processes.
    Many,
    /// Nobody: it is being fixed.
    Alone,
    /// Nobody knows of it: a draft, which is only read and needs no lock file.
    Draft,
}
