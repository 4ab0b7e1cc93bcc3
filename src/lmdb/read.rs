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
    /// Detach LMDB from its lock file.
    Detach,
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
        let mut first = None;
        loop {
            let permit = ReadPermit::acquire(&deadline)?;
            let tried = self.try_read_row(&permit, table, key, &mut look)?;
            drop(permit);
            match tried {
                Try::Done(done) => return Ok(done),
                Try::Later(Wait::Resized) => self.adopt_map_size(&deadline)?,
                Try::Later(Wait::ReaderTable) => self.wait_for_slot(&deadline, &mut first)?,
                Try::Later(Wait::Reopen) => self.reopen(&deadline)?,
                Try::Later(Wait::Detach) => self.detach_lock_file(&deadline)?,
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
        let Some(database) = self.tables.get(table) else {
            return look(None).map(Try::Done);
        };
        let row = read
            .get(database, key)
            .map_err(|e| self.lmdb_error("looking a row up", e))?;
        look(row).map(Try::Done)
    }

    /// What to wait for before a read that could not begin is tried again.
    #[cold]
    pub(super) fn not_begun(&self, why: NotBegun) -> Result<Wait> {
        match why {
            NotBegun::Closed => Err(Error::Closed),
            NotBegun::Forked => Err(Error::Forked),
            NotBegun::Quiesced => Ok(Wait::Quiesced),
            NotBegun::Resized => Ok(Wait::Resized),
            NotBegun::SlotsFull => Ok(Wait::ReaderTable),
            NotBegun::Poisoned => Ok(Wait::Reopen),
            NotBegun::LockFileLost => Ok(Wait::Detach),
            NotBegun::Nested => Err(Error::Internal {
                what: "a read was begun inside another with the same permit",
            }),
            NotBegun::Failed(e) => Err(self.lmdb_error("beginning a read", e)),
        }
    }
}

#[cfg(all(test, not(loom)))]
#[allow(unsafe_code)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd;
    use std::path::Path;
    use std::ptr;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::file::path::lock_path;
    use crate::lmdb::open::tests::open;

    /// LMDB's lock on the reader table, which a process takes for a moment to get a reader slot.
    struct ReaderTable {
        mutex: *mut libc::pthread_mutex_t,
        // Closing it would drop the locks that this process's environment has on the file.
        _lock_file: File,
    }

    impl ReaderTable {
        /// Locks the table, as a process does that is stopped in that moment.
        fn lock(store: &Path) -> ReaderTable {
            /// Behind the magic number and the version (mdb.c, `MDB_txbody`).
            const MUTEX_AT: usize = 8;
            let mut options = File::options();
            let lock_file = options
                .read(true)
                .write(true)
                .open(lock_path(store))
                .unwrap();
            let (access, fd) = (libc::PROT_READ | libc::PROT_WRITE, lock_file.as_raw_fd());
            // SAFETY: makes a new mapping of the file, which LMDB has made longer than that.
            let page =
                unsafe { libc::mmap(ptr::null_mut(), 4096, access, libc::MAP_SHARED, fd, 0) };
            assert_ne!(page, libc::MAP_FAILED);
            let mutex = page.wrapping_byte_add(MUTEX_AT).cast();
            // SAFETY: LMDB has set the mutex up, and the mapping stays.
            assert_eq!(unsafe { libc::pthread_mutex_lock(mutex) }, 0);
            ReaderTable {
                mutex,
                _lock_file: lock_file,
            }
        }

        fn unlock(&self) {
            // SAFETY: this thread has locked the mutex.
            assert_eq!(unsafe { libc::pthread_mutex_unlock(self.mutex) }, 0);
        }
    }

    #[test]
    fn read_waiting_for_the_reader_table_does_not_block_a_write() {
        let directory = tempfile::tempdir().unwrap();
        let env = &open(&directory);
        let table = ReaderTable::lock(env.path());
        std::thread::scope(|scope| {
            let (begins, begun) = mpsc::channel();
            scope.spawn(move || {
                begins.send(()).unwrap();
                env.read_row(Table::Devices, b"a", |_| Ok(())).unwrap();
            });
            begun.recv().unwrap();
            std::thread::sleep(Duration::from_millis(100));
            let (writes, written) = mpsc::channel();
            scope.spawn(move || {
                let waits = env.lock_wait();
                let writing = env.begin_writing(&waits).unwrap();
                let put = writing.run(|txn| txn.put(Table::Ids, b"key", b"row"));
                writes.send(put.is_ok()).unwrap();
            });
            let put = written.recv_timeout(Duration::from_secs(10));
            table.unlock();
            assert_eq!(put, Ok(true));
        });
    }

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
