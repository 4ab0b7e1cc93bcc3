//! What an environment is opened with.

use std::time::Duration;

use crate::verify::Level;

/// What an environment is opened with; see [`crate::OpenOptions`] for the meaning.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub read_only: bool,
    pub map_size: u64,
    pub max_readers: u32,
    pub lock_wait: Duration,
    /// Bytes; 0 for no limit.
    pub max_pinned_growth: u64,
    /// How many commits, and how long, may be left unflushed.
    pub deferred_commits: u64,
    pub deferred_age: Duration,
    pub sharing: Sharing,
    /// How far the commit before an unfinished one is checked before that is undone: a damaged
    /// store, which is refused, stays as it was.
    pub check: Option<Level>,
    /// Whether to open a store whose header row is damaged.
    pub damaged_header: bool,
}

/// Which others may have the file open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Any number of processes.
    Many,
    /// None: it is being fixed.
    Alone,
    /// None, since it is a temporary file, which needs no lock file.
    Temporary,
}
