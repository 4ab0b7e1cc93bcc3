//! Where the store is, and how it is opened.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use pool_metadata::{OpenOptions, PoolMetadata, Verify};

use crate::ask::Consent;
use crate::containerd;
use crate::failure::{Failure, Result};

/// The heading of the options that every command has.
pub const COMMON: &str = "Options of every command";

/// The options that say which store it is.
#[derive(Args, Debug)]
pub struct Place {
    /// Path of the store; by default the one that containerd's configuration names
    #[arg(short, long, global = true, help_heading = COMMON, env = "PM_STORE", value_name = "PATH")]
    pub store: Option<PathBuf>,

    /// containerd's configuration, which names the store (root_path and pool_name)
    #[arg(long, global = true, help_heading = COMMON)]
    #[arg(value_name = "FILE", default_value = containerd::CONFIG)]
    pub config: PathBuf,

    /// How long to wait for another process that writes
    #[arg(long, global = true, help_heading = COMMON)]
    #[arg(value_name = "SECONDS", default_value = "10")]
    #[arg(value_parser = seconds)]
    pub wait: Duration,

    /// Refuse the store of another pool than this: the name, such as the UUID of the pool's
    /// metadata device, that the store was given, or is given with the first change
    #[arg(long, global = true, help_heading = COMMON, value_name = "NAME")]
    pub identity: Option<String>,
}

/// A file of up to this size is verified as a whole before it is read, which takes less than the
/// time that a person notices.
const VERIFIED_AT_ONCE: u64 = 64 << 20;

impl Place {
    /// The store's path, wherever it comes from.
    pub fn path(&self) -> Result<PathBuf> {
        if let Some(path) = &self.store {
            if path.as_os_str().is_empty() {
                return Err(Failure::usage("the path of the store is empty"));
            }
            return Ok(path.clone());
        }
        let found = containerd::read(&self.config).map_err(|why| {
            Failure::usage(format!(
                "no store is named: give --store PATH or set PM_STORE; {why}"
            ))
        })?;
        Ok(found.store())
    }

    fn options(&self) -> OpenOptions {
        let mut options = OpenOptions::new();
        options.lock_wait(self.wait);
        if let Some(identity) = &self.identity {
            options.identity(identity.as_bytes());
        }
        options
    }

    /// Options for what is done to a store that nobody has open.
    pub fn alone(&self) -> OpenOptions {
        self.options()
    }

    /// Opens the store for reading, after a check of the whole file.
    pub fn read(&self) -> Result<PoolMetadata> {
        Ok(self.options().read_only(true).open(self.path()?)?)
    }

    /// Opens the store for reading what has to show at once: of a large file, only its head and
    /// its free list are checked.
    pub fn read_at_once(&self) -> Result<PoolMetadata> {
        let path = self.path()?;
        let large = fs::metadata(&path).is_ok_and(|file| file.len() > VERIFIED_AT_ONCE);
        let level = if large { Verify::Quick } else { Verify::Full };
        let mut options = self.options();
        Ok(options.read_only(true).verify(level).open(path)?)
    }

    /// Opens the store for reading, unless it is known that it would not pass the check.
    pub fn read_unchecked(&self, unchecked: bool) -> Result<PoolMetadata> {
        let level = if unchecked {
            Verify::None
        } else {
            Verify::Full
        };
        let mut options = self.options();
        Ok(options.read_only(true).verify(level).open(self.path()?)?)
    }

    /// Opens the store for what the operator agrees to: a dry run only reads. A store that does not
    /// exist is not made.
    pub fn open_for(&self, consent: Consent) -> Result<PoolMetadata> {
        let path = self.path()?;
        // Opening for writing would create it.
        let mut options = self.options();
        let looked = options.read_only(true).verify(Verify::None).open(&path)?;
        drop(looked);
        let read_only = consent.is_dry_run();
        Ok(self.options().read_only(read_only).open(path)?)
    }
}

pub fn seconds(text: &str) -> std::result::Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(wait) if wait <= Duration::from_secs(86_400) => Ok(wait),
        _ => Err("from 0 to 86400 seconds are possible".to_owned()),
    }
}
