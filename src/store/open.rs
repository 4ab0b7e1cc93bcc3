//! Opening a store.

use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::lmdb::config::{Config, Sharing};
use crate::lmdb::env::Env;
use crate::store::journal::check_identity;
use crate::store::maintenance::upgrade::upgrade;
use crate::store::options::{Durability, OpenOptions};
use crate::store::verify::verify_opened;
use crate::store::write::pool::Pool;
use crate::store::PoolMetadata;

impl OpenOptions {
    /// Opens the store at `path`; a symbolic link is followed.
    ///
    /// If there is nothing at `path`, a store is created (mode 0600, whatever the umask), so that a
    /// crash at any moment leaves none or a whole one. LMDB's lock file, `<path>-lock`, is made
    /// beside it. Both must be on a local file system. Never delete the `-lock` file while any
    /// process has the store open.
    ///
    /// A store of an older format is read as it is. Opened for writing, it is upgraded in one
    /// transaction, which needs that no other process has it open; older releases refuse it then.
    ///
    /// A commit that a power cut has left half written is undone when the store is opened for
    /// writing (see [`PoolMetadata::undone_at_open`]), once the commit before it was verified as
    /// far as [`verify`](Self::verify) says; opened read-only, the store is read in a private copy
    /// without it.
    ///
    /// # Errors
    /// What is at `path` is left untouched by all of these, but for a half-written commit of a
    /// sound store, which is undone before something else fails.
    /// - [`Error::InvalidPath`], [`Error::NoSuchFile`] (read-only, or no such directory),
    ///   [`Error::Permission`]
    /// - [`Error::NotRegularFile`], [`Error::NotAStore`], [`Error::BboltFile`],
    ///   [`Error::ForeignLmdb`], [`Error::NewerFormat`], [`Error::Corrupt`]
    /// - [`Error::OtherPool`] if the store belongs to another pool than the one that was given
    /// - [`Error::AlreadyOpen`] if this process has the file open already, by whatever path or hard
    ///   link, or another process has it open with another `-lock` file, or in an older format, or
    ///   although the disk has lost pages of its newest commit
    /// - [`Error::InvalidOption`], [`Error::Timeout`], [`Error::ReadersFull`], [`Error::DiskFull`],
    ///   [`Error::NoMemory`], [`Error::Io`]
    pub fn open(&self, path: impl AsRef<Path>) -> Result<PoolMetadata> {
        let (path, config) = (path.as_ref(), self.config()?);
        let mut env = Env::open(path, config.clone())?;
        if !env.is_current() && !self.read_only {
            drop(env);
            upgrade(path, &config, self.verify)?;
            env = Env::open(path, config)?;
        }
        let env = Arc::new(env);
        verify_opened(&env, self.verify)?;
        env.settle_at_open()?;
        env.permit_deferral();
        if self.expect_deferred && !self.read_only {
            env.expect_deferral();
        }
        let pool = match self.durability {
            Durability::Full => Pool::new(env),
            Durability::Relaxed => Pool::new(env).deferred(),
        };
        let pool = Arc::new(pool);
        if let Some(identity) = &self.identity {
            pool.claim_identity(identity)?;
        }
        Ok(PoolMetadata { pool })
    }

    pub(crate) fn config(&self) -> Result<Config> {
        let refuse = |option, why| Err(Error::InvalidOption { option, why });
        self.identity.as_deref().map_or(Ok(()), check_identity)?;
        if self.deferred_commits == 0 {
            return refuse("deferred_commits", "at least 1");
        }
        if self.map_size > Self::MAX_MAP_SIZE {
            return refuse("map_size", "at most 2^46 bytes (64 TiB)");
        }
        if self.max_readers > Self::MAX_MAX_READERS {
            return refuse("max_readers", "at most 2^20 (1048576)");
        }
        Ok(Config {
            read_only: self.read_only,
            map_size: self.map_size,
            max_readers: self.max_readers.max(Self::MIN_MAX_READERS),
            lock_wait: self.lock_wait,
            max_pinned_growth: self.max_pinned_growth,
            deferred_commits: self.deferred_commits.min(Self::MAX_DEFERRED_COMMITS),
            deferred_age: self.deferred_age,
            sharing: Sharing::Many,
            check: self.verify.level(),
            damaged_header: false,
        })
    }
}
