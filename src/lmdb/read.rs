//! Short reads: a pooled read transaction, renewed for one look-up and reset after it.

use crate::error::{Error, Result};
use crate::format::table::Table;
use crate::lmdb::env::Env;
use crate::lmdb::raw::NotBegun;
use crate::sync::read_permits::ReadPermit;

/// What a try to read came to.
pub(crate) enum Try<R> {
    /// The caller was shown the row, or that there is none; this is what it made of that.
    Done(R),
    /// Something has to be waited for without a read permit: [`Env::read_row`] does.
    Later(Wait),
}

/// What has to be done before a read can begin.
#[derive(Clone, Copy)]
pub(crate) enum Wait {
    /// Adopt the map size that another process has set.
    Resized,
    /// Get a slot in LMDB's reader table.
    ReaderTable,
    /// Reopen LMDB's environment.
    Reopen,
    /// Wait for the thread that closes the store, or replaces its map.
    Quiesced,
}

impl Env {
    /// Looks one row up at the newest commit and shows it to `look`, once, while the read lasts.
    pub fn read_row<R>(
        &self,
        table: Table,
        key: &[u8],
        mut look: impl FnMut(Option<&[u8]>) -> Result<R>,
    ) -> Result<R> {
        let deadline = self.deadline();
        let mut turn = None;
        loop {
            let permit = ReadPermit::acquire(&deadline)?;
            let tried = self.try_read_row(&permit, table, key, &mut look)?;
            drop(permit);
            match tried {
                Try::Done(done) => return Ok(done),
                Try::Later(Wait::Resized) => self.adopt_map_size(&deadline)?,
                Try::Later(Wait::ReaderTable) => self.wait_for_slot(&deadline, &mut turn)?,
                Try::Later(Wait::Reopen) => self.reopen(&deadline)?,
                Try::Later(Wait::Quiesced) => self.wait_until_open(&deadline)?,
            }
        }
    }

    /// Looks one row up as [`read_row`](Env::read_row) does, if that can begin at once.
    #[inline]
    pub fn try_read_row<R>(
        &self,
        permit: &ReadPermit,
        table: Table,
        key: &[u8],
        mut look: impl FnMut(Option<&[u8]>) -> Result<R>,
    ) -> Result<Try<R>> {
        let read = match self.handle.begin_read(permit) {
            Ok(read) => read,
            Err(why) => return self.not_begun(why).map(Try::Later),
        };
        let row = read
            .get(self.tables.get(table), key)
            .map_err(|e| self.lmdb_error("looking a row up", e))?;
        look(row).map(Try::Done)
    }

    /// What to wait for before a read that could not begin is tried again.
    #[cold]
    fn not_begun(&self, why: NotBegun) -> Result<Wait> {
        match why {
            NotBegun::Closed => Err(Error::Closed),
            NotBegun::Forked => Err(Error::Forked),
            NotBegun::Quiesced => Ok(Wait::Quiesced),
            NotBegun::Resized => Ok(Wait::Resized),
            NotBegun::SlotsFull => Ok(Wait::ReaderTable),
            NotBegun::Poisoned => Ok(Wait::Reopen),
            NotBegun::Nested => Err(Error::Internal {
                what: "a read was begun inside another with the same permit",
            }),
            NotBegun::Failed(e) => Err(self.lmdb_error("beginning a read", e)),
        }
    }

    /// Frees the reader slots of processes that died; how many those were. The caller keeps the
    /// environment open.
    pub(crate) fn clear_dead_readers(&self) -> Result<u32> {
        let cleared = self.lmdb()?.clear_dead_readers();
        cleared.map_err(|e| self.lmdb_error("clearing dead readers", e))
    }
}

#[cfg(all(test, not(loom)))]
#[allow(unsafe_code)]
mod tests {
    use crate::error::Error;
    use crate::format::table::Table;
    use crate::lmdb::open::tests::open;
    use crate::sync::read_permits::ReadPermit;

    #[test]
    fn read_inside_a_read_with_the_same_permit_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let env = open(&directory);
        let permit = ReadPermit::acquire(&env.deadline()).unwrap();
        let read = || env.try_read_row(&permit, Table::Devices, b"a", |_| Ok(()));
        env.try_read_row(&permit, Table::Devices, b"a", |_| {
            assert!(matches!(read(), Err(Error::Internal { .. })));
            Ok(())
        })
        .unwrap();
        read().unwrap();
    }

    #[test]
    fn forked_child_returning_from_a_read_leaves_the_parents_read_running() {
        let directory = tempfile::tempdir().unwrap();
        let env = open(&directory);
        let mut active = 0;
        let child = env
            .read_row(Table::Devices, b"a", |_| {
                // SAFETY: the child returns from the read, and ends.
                let child = unsafe { libc::fork() };
                let mut status = -1;
                // SAFETY: the child is this process's own, and `status` outlives the call.
                if child > 0 && unsafe { libc::waitpid(child, &mut status, 0) } == child {
                    assert_eq!(status, 0);
                    active = env.stats().unwrap().readers_active;
                }
                Ok(child)
            })
            .unwrap();
        if child == 0 {
            // SAFETY: ends the child without what the parent's threads have registered.
            unsafe { libc::_exit(0) };
        }
        assert!(child > 0);
        assert_eq!(active, 1);
    }
}
