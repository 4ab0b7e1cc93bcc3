//! Long reads: a read transaction of its own with a cursor, for walks that outlive one call.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::header::{self, parse_header, Header, DAMAGED_HEADER};
use crate::format::table::Table;
use crate::lmdb::env::Env;
use crate::lmdb::raw::{Database, LmdbError, Move, NotBegun, ReadTxn, Row, RowCursor};
use crate::lmdb::read::Wait;
use crate::sync::deadline::Deadline;

/// A consistent view of the store at one commit, with a cursor over its devices.
///
/// It may move between threads, and is used by one at a time.
pub(crate) struct Snapshot {
    // Dropped first: the transaction ends before the snapshot is no longer counted.
    devices: RowCursor,
    counted: Counted,
}

/// A snapshot that the store counts, so that it is not closed and its map does not move.
struct Counted {
    env: Arc<Env>,
    /// Its number among those that are open.
    number: u64,
    /// Whether it has a slot in LMDB's reader table.
    has_slot: bool,
}

impl Drop for Counted {
    fn drop(&mut self) {
        // In a forked child, what is counted is the parent's.
        if self.env.handle.is_own_process() {
            if self.has_slot {
                self.env.reader_queue.notify_released();
            }
            self.env.snapshots.leave(self.number);
        }
    }
}

/// Why a visit to the rows of a table ended early.
pub(super) enum RowsEnd {
    Lmdb(LmdbError),
    Visit(Error),
}

impl From<LmdbError> for RowsEnd {
    fn from(error: LmdbError) -> RowsEnd {
        RowsEnd::Lmdb(error)
    }
}

impl Snapshot {
    /// Opens a snapshot of the newest commit.
    pub fn open(env: &Arc<Env>) -> Result<Snapshot> {
        let deadline = env.deadline();
        env.check_usable()?;
        let mut first = env.wait_behind_queue(&deadline)?;
        loop {
            let why = match Snapshot::try_open(env, &deadline)? {
                Ok(snapshot) => return Ok(snapshot),
                Err(why) => why,
            };
            match env.not_begun(why)? {
                Wait::Resized => env.adopt_map_size(&deadline)?,
                Wait::ReaderTable => env.wait_for_slot(&deadline, &mut first)?,
                Wait::Reopen => env.reopen(&deadline)?,
                Wait::Detach => env.detach_lock_file(&deadline)?,
                Wait::Quiesced => env.wait_until_open(&deadline)?,
            }
        }
    }

    /// Opens a snapshot, or says why LMDB does not begin its transaction.
    fn try_open(
        env: &Arc<Env>,
        deadline: &Deadline,
    ) -> Result<std::result::Result<Snapshot, NotBegun>> {
        env.check_usable()?;
        let mut counted = Counted {
            number: env.snapshots.enter(deadline)?,
            env: Arc::clone(env),
            has_slot: false,
        };
        env.check_usable()?;
        if !env.handle.watch().is_sound() {
            return Ok(Err(NotBegun::LockFileLost));
        }
        let txn = match ReadTxn::begin(&env.lmdb()?) {
            Ok(txn) => txn,
            Err(error) => return Ok(Err(error.into())),
        };
        counted.has_slot = true;
        env.snapshots.sees(counted.number, txn.commit());
        let devices = RowCursor::open(txn, env.tables.devices)
            .map_err(|e| env.lmdb_error("opening a cursor", e))?;
        Ok(Ok(Snapshot { devices, counted }))
    }

    /// The environment that this is a view of.
    pub fn env(&self) -> &Arc<Env> {
        &self.counted.env
    }

    pub(super) fn txn(&self) -> &ReadTxn {
        self.devices.txn()
    }

    /// LMDB's number of the commit that this is a view of.
    pub fn commit(&self) -> u64 {
        self.txn().commit()
    }

    /// Refuses a forked child the transaction of its parent, which the parent may end and replace.
    #[inline]
    fn check_own_process(&self) -> Result<()> {
        if self.env().handle.is_own_process() {
            Ok(())
        } else {
            Err(Error::Forked)
        }
    }

    /// Moves the cursor and shows the device's row that it is on then, `None` past the last, and
    /// the environment.
    #[inline]
    pub fn device_row(&mut self, to: Move) -> Result<(Option<Row<'_>>, &Env)> {
        self.check_own_process()?;
        let env = &self.counted.env;
        match self.devices.go(to) {
            Ok(row) => Ok((row, env)),
            Err(e) => Err(env.lmdb_error(WALKING, e)),
        }
    }

    /// Shows every row of a table to `visit`, in the order of keys, beside the walk over devices.
    pub fn each_row(
        &self,
        table: Table,
        visit: impl FnMut(&[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        match self.env().tables.get(table) {
            Some(database) => self.each_row_of(database, visit),
            None => self.check_own_process(),
        }
    }

    /// Shows every row of any of LMDB's databases to `visit`, in the order of keys.
    pub(crate) fn each_row_of(
        &self,
        database: Database,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        self.check_own_process()?;
        let visit = |key: &[u8], value: &[u8]| visit(key, value).map_err(RowsEnd::Visit);
        self.txn()
            .each_row(database, visit)
            .map_err(|end| match end {
                RowsEnd::Lmdb(e) => self.env().lmdb_error(WALKING, e),
                RowsEnd::Visit(error) => error,
            })
    }

    /// The header row in this view.
    pub fn header_row(&self) -> Result<Option<&[u8]>> {
        self.check_own_process()?;
        self.txn()
            .get(self.env().tables.main, header::KEY)
            .map_err(|e| self.env().lmdb_error("reading the header row", e))
    }
}

/// What is being done while a cursor moves, for errors.
pub(super) const WALKING: &str = "walking over rows";

/// The header row of this snapshot, decoded.
pub(crate) fn header(snapshot: &Snapshot) -> Result<Header> {
    let row = snapshot.header_row()?;
    row.and_then(parse_header)
        .ok_or_else(|| Error::corrupt(DAMAGED_HEADER).at(snapshot.env().path()))
}

#[cfg(all(test, not(loom)))]
#[allow(unsafe_code)]
mod tests {
    use super::*;
    use crate::lmdb::open::tests::open;

    #[test]
    fn forked_child_cannot_read_its_parents_snapshot() {
        let directory = tempfile::tempdir().unwrap();
        let env = open(&directory);
        let snapshot = Snapshot::open(&env).unwrap();
        // SAFETY: the child looks at memory, makes no more than small errors, and ends at once.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let refused = matches!(snapshot.header_row(), Err(Error::Forked))
                && matches!(
                    snapshot.each_row(Table::Ids, |_, _| Ok(())),
                    Err(Error::Forked)
                );
            // SAFETY: ends the child without what the parent's threads have registered.
            unsafe { libc::_exit(if refused { 0 } else { 1 }) };
        }
        assert!(child > 0);
        let mut status = -1;
        // SAFETY: the child is this process's own, and `status` outlives the call.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0);
        assert!(snapshot.header_row().unwrap().is_some());
    }
}
