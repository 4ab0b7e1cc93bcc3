//! Making a store's file as short as its content allows.

use std::path::Path;
use std::sync::Arc;

#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::file::access::Access;
use crate::file::destination::Destination;
use crate::file::fs::open_file;
use crate::file::temp_file::{Purpose, TempFile};
use crate::lmdb::copy::copy_compacted;
use crate::lmdb::env::Env;
use crate::store::maintenance::backup::{copy_config, verify_copy};
use crate::store::options::{OpenOptions, Verify};
use crate::store::verify::verify;
use crate::store::PoolMetadata;
use crate::sync::deadline::Deadline;
use crate::verify::head;

/// What [`OpenOptions::compact`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compacted {
    /// Length of the file before, in bytes.
    pub before: u64,
    /// Length of the file now, in bytes.
    pub after: u64,
}

impl PoolMetadata {
    /// [`OpenOptions::compact`] with the default options.
    ///
    /// # Errors
    /// Those of [`OpenOptions::compact`].
    pub fn compact(path: impl AsRef<Path>) -> Result<Compacted> {
        OpenOptions::new().compact(path)
    }
}

impl OpenOptions {
    /// Rewrites the store at `path`, which nobody has open, without its free pages. LMDB uses free
    /// pages again and never gives them back, so a file that a stalled read has let grow stays
    /// long.
    ///
    /// The copy is written to `<path>.partial-` and a random number, checked as a whole, flushed,
    /// and only then renamed: killed at any moment, this leaves the store as it was or the shorter
    /// one in its place, with the same content, owner and permissions. It needs space for the copy.
    /// Of the options, only the lock wait counts.
    ///
    /// # Errors
    /// [`Error::AlreadyOpen`] if the store is open in this or another process;
    /// [`Error::NoSuchFile`]; [`Error::Corrupt`] if it is damaged; [`Error::NotAStore`],
    /// [`Error::BboltFile`], [`Error::ForeignLmdb`], [`Error::NotRegularFile`],
    /// [`Error::NewerFormat`]; and those of the file system. The store is then as it was.
    pub fn compact(&self, path: impl AsRef<Path>) -> Result<Compacted> {
        let deadline = Deadline::after(self.config()?.lock_wait);
        let destination = Destination::store(path.as_ref(), &deadline)?;
        let path = destination.path();
        let (file, metadata) = open_file(path, true, &deadline)?;
        head::identify(&file, path, &deadline)?;
        // Nobody else has it, so it needs no lock file. LMDB reads only what has been checked.
        let store = Arc::new(Env::open(path, copy_config())?);
        verify(&store, Verify::Full)?;
        let temp = TempFile::create(path, Purpose::Copy, &deadline)?;
        copy_compacted(&store, &temp, &deadline)?;
        drop(store);
        verify_copy(&temp, path)?;
        let copied = temp.file().metadata().map_err(|e| temp.write_error(e))?;
        temp.put_in_place(&destination, &Access::of(&metadata))?;
        Ok(Compacted {
            before: metadata.len(),
            after: copied.len(),
        })
    }
}
