//! A new store of what is still whole in a damaged file.

use std::path::Path;
use std::sync::Arc;

use crate::audit::Report;
use crate::error::{Error, Result};
use crate::file::access::Access;
use crate::file::destination::Destination;
use crate::file::fs::{open_unused, refuse_used};
use crate::file::temp_file::{Purpose, TempFile};
use crate::lmdb::config::{Config, Sharing};
use crate::lmdb::create;
use crate::lmdb::env::Env;
use crate::lmdb::one_flush;
use crate::salvage;
use crate::salvage::Salvage;
use crate::store::options::{OpenOptions, Verify};
use crate::store::verify::verify;
use crate::store::write::pool::Pool;
#[cfg(doc)]
use crate::store::PoolMetadata;
use crate::sync::deadline::Deadline;

/// What was salvaged, and what was not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Salvaged {
    /// How many devices the new store has.
    pub devices: u64,
    /// How many of them were found outside the tables: see
    /// [`FindingKind::Recovered`](crate::FindingKind::Recovered).
    pub recovered: u64,
    /// How many pages of the tables were damaged or not there.
    pub lost_pages: u64,
    /// Whether the new store has all that the old one held, by the old one's own digest.
    pub complete: bool,
    /// How many commits the content had seen, as in [`Stats::commits`](crate::Stats::commits);
    /// `None` if the header row is lost. The new store counts from the beginning.
    pub commits: Option<u64>,
    /// The highest device id that was ever given out, 0 for none. If the header row is lost, or may
    /// not be the last one, which the report says, this is the highest that was seen. Ids above it
    /// may belong to data of the pool if the file is an old copy, or if this is not the highest.
    pub last_id: u32,
    /// What was wrong, and what became of it.
    pub report: Report,
}

impl OpenOptions {
    /// Reads every record that is still whole from a damaged file, and makes a new store of them at
    /// `target`, where nothing may be. The damaged file is only read, with plain reads; no
    /// process may have it open.
    ///
    /// - Where the tables' trees lead to a record whose checksum holds, that is taken.
    /// - Where they lead nowhere, all pages of the file are searched for records; of two of one
    ///   name the one of the higher generation is taken. Such a record may be older than what was
    ///   lost, or of a device that was removed since (unless its id is known to be free): each is
    ///   reported as [`Recovered`](crate::FindingKind::Recovered).
    /// - Of two with the same id, the one of the higher generation is kept, the other reported.
    /// - Ids of which nothing is known any more become faulty: a device may live under them in the
    ///   pool. So do free ones unless all rows of the last commit are there.
    ///
    /// The new store is made as `<target>.salvaging-` and a random number, checked as a whole,
    /// flushed and renamed. It has the damaged file's owner and mode, as far as this process may
    /// set them. Generations start over. The first `limit` findings are kept for the
    /// report. All devices are in memory at once. Of the options, only the lock wait counts.
    ///
    /// The pool still has the devices that the new store lacks: those that are lost, and, if the
    /// file is an old copy, those that were made since. Their ids are assigned again unless they
    /// are faulty. Compare the two before the store is used: [`PoolMetadata::reconcile`]. The ids
    /// in doubt are those that are free in the new store, and all above [`Salvaged::last_id`].
    ///
    /// # Errors
    /// [`Error::FileExists`] if something is at `target`; [`Error::AlreadyOpen`] if the file is
    /// open as a store; [`Error::NotAStore`] if there is nothing of a store in it; and those of
    /// [`backup`](PoolMetadata::backup).
    pub fn salvage(
        &self,
        damaged: impl AsRef<Path>,
        target: impl AsRef<Path>,
        limit: usize,
    ) -> Result<Salvaged> {
        let deadline = Deadline::after(self.config()?.lock_wait);
        let (file, path) = open_unused(damaged.as_ref(), &deadline)?;
        let destination = Destination::empty(target.as_ref(), &deadline)?;
        destination.refuse_source(&file, &path)?;
        Purpose::Salvage.refuse_leftover(&path, &destination)?;
        let found =
            salvage::read(&file, limit).map_err(|e| Error::io("reading the file", &path, e))?;
        refuse_used(&file, &path)?;
        if found.is_nothing() {
            return Err(Error::NotAStore {
                path: path.as_path().into(),
                why: "there is no header row and no record in it".to_owned(),
            });
        }
        let temp = TempFile::create(destination.path(), Purpose::Salvage, &deadline)?;
        create::fill(&temp)?;
        self.import_into(&temp, &found)?;
        one_flush::mark_flushed(temp.file()).map_err(|e| temp.write_error(e))?;
        let metadata = file.metadata();
        let access = Access::of(&metadata.map_err(|e| Error::io("looking at", &path, e))?);
        temp.put_in_place(&destination, &access)?;
        Ok(Salvaged {
            devices: found.devices.len() as u64,
            recovered: found.recovered,
            lost_pages: found.lost_pages,
            complete: found.complete,
            commits: found.commit,
            last_id: found.ids.last_id,
            report: found.report,
        })
    }

    fn import_into(&self, temp: &TempFile, found: &Salvage) -> Result<()> {
        let config = Config {
            read_only: false,
            max_pinned_growth: 0,
            sharing: Sharing::Temporary,
            check: None,
            damaged_header: false,
            ..self.config()?
        };
        let env = Arc::new(Env::open(temp.path(), config)?);
        let devices: Vec<_> = found.devices.iter().map(|device| device.as_ref()).collect();
        let pool = Pool::new(Arc::clone(&env));
        pool.fill(&devices, &found.ids, &found.journal)?;
        verify(&env, Verify::Full)
    }
}
