//! The environment that a store has open: it can be closed, replaced, or given a larger map once
//! nothing uses it. And short reads, whose transactions are kept for the next read.

use std::cell::Cell;
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, MutexGuard};

use lmdb_sys as ffi;

use crate::error::{Error, Result};
use crate::lmdb::raw::environment::Environment;
use crate::lmdb::raw::error::{LmdbResult, NotBegun};
use crate::lmdb::raw::lock_watch::LockWatch;
use crate::lmdb::raw::pins::Pins;
use crate::lmdb::raw::value::{get, Database};
use crate::sync::deadline::Deadline;
use crate::sync::exclusion::OpenState;
use crate::sync::primitives::unpoisoned;
use crate::sync::process;
use crate::sync::read_permits::{wait_for_reads, ReadPermit};

/// A store's environment, and a pooled read transaction for each of the process's read permits.
pub(crate) struct Handle {
    state: OpenState,
    environment: Mutex<Option<Arc<Environment>>>,
    /// Reader `i` belongs to the thread that holds read permit `i`, while the state is open; all of
    /// them belong to the one that has the environment quiesced.
    readers: Box<[Reader]>,
    pins: Pins,
    watch: Arc<LockWatch>,
    /// The process that opened it.
    stamp: u64,
}

// SAFETY: each reader is used by one thread at a time, as said there, and its transaction belongs
// to no thread (MDB_NOTLS); all else may be shared.
unsafe impl Send for Handle {}
// SAFETY: for the same reason; a read permit cannot be shared between threads.
unsafe impl Sync for Handle {}

/// A read transaction that keeps its slot in LMDB's reader table between reads.
struct Reader {
    txn: Cell<*mut ffi::MDB_txn>,
    running: Cell<bool>,
    /// Whether the transaction is kept between reads.
    pooled: Cell<bool>,
}

/// A short read, at the newest commit. Dropping it resets the transaction, for the next one, or
/// ends it.
pub(crate) struct Read<'h> {
    handle: &'h Handle,
    reader: &'h Reader,
}

impl Handle {
    pub fn new(environment: Environment, watch: Arc<LockWatch>) -> Handle {
        let reader = |_| Reader {
            txn: Cell::new(ptr::null_mut()),
            running: Cell::new(false),
            pooled: Cell::new(true),
        };
        Handle {
            state: OpenState::default(),
            environment: Mutex::new(Some(Arc::new(environment))),
            readers: (0..process::PERMITS).map(reader).collect(),
            pins: Pins::default(),
            watch,
            stamp: process::stamp(),
        }
    }

    #[inline]
    pub fn is_own_process(&self) -> bool {
        process::stamp() == self.stamp
    }

    /// Refuses a store that is closed, or that a forked child has inherited.
    #[inline]
    pub fn check_usable(&self) -> Result<()> {
        if self.state.is_closed() {
            return Err(Error::Closed);
        }
        if !self.is_own_process() {
            return Err(Error::Forked);
        }
        Ok(())
    }

    /// Whether it can be read: for the holder of a read permit it stays so while the permit is
    /// held.
    pub fn is_open(&self) -> bool {
        self.state.is_open()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Environment>>> {
        unpoisoned(self.environment.lock())
    }

    /// The environment. The caller holds a read permit, the writer gate or a counted walk for as
    /// long as it keeps what it gets: meanwhile the map cannot grow and the store cannot be closed.
    pub fn environment(&self) -> Result<Arc<Environment>> {
        match &*self.lock() {
            Some(environment) => Ok(Arc::clone(environment)),
            None => Err(Error::Closed),
        }
    }

    /// The watch over the map of the lock file.
    pub fn watch(&self) -> &Arc<LockWatch> {
        &self.watch
    }

    /// Begins a read at the newest commit.
    #[inline]
    pub fn begin_read<'h>(
        &'h self,
        permit: &'h ReadPermit,
    ) -> std::result::Result<Read<'h>, NotBegun> {
        if !self.is_own_process() || !self.state.is_open() {
            return Err(self.not_readable());
        }
        let reader = &self.readers[permit.index()];
        if reader.running.get() {
            return Err(NotBegun::Nested);
        }
        if !self.watch.is_sound() {
            return Err(NotBegun::LockFileLost);
        }
        match NonNull::new(reader.txn.get()) {
            // SAFETY: the transaction was reset after its last use, and its environment is open.
            Some(txn) => match unsafe { ffi::mdb_txn_renew(txn.as_ptr()) } {
                ffi::MDB_SUCCESS => {}
                code => return Err(reader.not_renewed(code)),
            },
            None => self.begin_first(reader)?,
        }
        reader.running.set(true);
        Ok(Read {
            handle: self,
            reader,
        })
    }

    #[cold]
    fn not_readable(&self) -> NotBegun {
        match self.check_usable() {
            Err(Error::Forked) => NotBegun::Forked,
            Err(_) => NotBegun::Closed,
            Ok(()) => NotBegun::Quiesced,
        }
    }

    /// Begins a read with a new transaction. It may have to wait for LMDB's lock on the reader
    /// table, so it does not keep the environment from others.
    ///
    /// The transaction is kept for the next read, with its slot, unless half of the table's slots
    /// have been in use: processes that do nothing keep theirs, and the rest is for reads that run.
    #[cold]
    fn begin_first(&self, reader: &Reader) -> std::result::Result<(), NotBegun> {
        let environment = self.environment().map_err(|_| NotBegun::Closed)?;
        let table = environment.info()?;
        reader.pooled.set(table.readers < table.max_readers / 2);
        reader.txn.set(environment.begin(ffi::MDB_RDONLY)?.as_ptr());
        Ok(())
    }

    /// Waits for the reads in flight and keeps new ones waiting, until what is returned is dropped.
    pub fn quiesce(&self, deadline: &Deadline) -> Result<Quiesced<'_>> {
        self.check_usable()?;
        if !self.state.quiesce() {
            return Err(Error::Closed);
        }
        let quiesced = Quiesced(self);
        wait_for_reads(deadline)?;
        // A call that has released its walk or the writer gate may hold the environment for a
        // moment more, until it returns.
        deadline.poll("calls that are about to return", || {
            Ok(self.is_unshared().then_some(()))
        })?;
        Ok(quiesced)
    }

    /// Whether only this store holds the environment, or it is closed.
    fn is_unshared(&self) -> bool {
        let environment = self.lock();
        environment
            .as_ref()
            .is_none_or(|environment| Arc::strong_count(environment) == 1)
    }

    /// Pins the newest commit, which the process's writer keeps from being followed by another;
    /// false if that cannot be done, or if it is not this one.
    pub fn pin(&self, commit: u64) -> bool {
        let environment = self.environment();
        environment.is_ok_and(|environment| {
            self.watch.is_sound() && self.pins.add(&environment, commit).unwrap_or(false)
        })
    }

    /// The commits that this process pins.
    pub fn pinned(&self) -> Vec<u64> {
        self.pins.commits()
    }

    /// Ends the pins of commits before this one. The process's writer calls this.
    pub fn unpin_before(&self, commit: u64) {
        // A transaction that cannot give its slot back is left as it is.
        if self.watch.is_sound() {
            self.pins.end_before(commit);
        }
    }

    /// Ends every pooled transaction. The caller has the readers to itself.
    fn free_readers(&self) {
        self.pins.end_before(u64::MAX);
        for reader in &self.readers {
            reader.free();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // A forked child leaves its parent's transactions alone.
        if self.is_own_process() {
            self.watch.before_close();
            self.free_readers();
        }
    }
}

impl Reader {
    /// Ends the transaction, if there is one, which releases its slot.
    fn free(&self) {
        let txn = self.txn.replace(ptr::null_mut());
        if !txn.is_null() {
            // SAFETY: its environment is open still, and it is not used again.
            unsafe { ffi::mdb_txn_abort(txn) };
        }
        self.running.set(false);
    }

    #[cold]
    fn not_renewed(&self, code: libc::c_int) -> NotBegun {
        if code != ffi::MDB_MAP_RESIZED {
            // What a failed renewal leaves behind is not worth keeping.
            self.free();
        }
        lmdb::Error::from_err_code(code).into()
    }
}

impl Read<'_> {
    /// The row under `key`.
    #[inline]
    pub fn get(&self, database: Database, key: &[u8]) -> LmdbResult<Option<&[u8]>> {
        // SAFETY: the transaction runs until this is dropped.
        unsafe { get(self.reader.txn.get(), database, key) }
    }
}

impl Drop for Read<'_> {
    #[inline]
    fn drop(&mut self) {
        // A child that was forked while the read was in progress leaves the parent's read alone.
        if self.handle.is_own_process() {
            if !self.reader.pooled.get() {
                return self.reader.free();
            }
            self.reader.running.set(false);
            // SAFETY: the transaction runs; the permit is still held.
            unsafe { ffi::mdb_txn_reset(self.reader.txn.get()) };
        }
    }
}

/// No short read uses the environment, and none begins to, until this is dropped.
pub(crate) struct Quiesced<'h>(&'h Handle);

impl Quiesced<'_> {
    /// Closes the environment, and the store for good.
    pub fn close(self) {
        self.0.state.close();
        self.take_environment();
    }

    /// Closes the environment and gives the store the one that `open` makes. If that fails, the
    /// store is closed for good.
    pub fn replace(&self, open: impl FnOnce() -> Result<Environment>) -> Result<()> {
        self.take_environment();
        match open() {
            Ok(environment) => {
                *self.0.lock() = Some(Arc::new(environment));
                Ok(())
            }
            Err(error) => {
                self.0.state.close();
                Err(error)
            }
        }
    }

    fn take_environment(&self) {
        self.0.watch.before_close();
        self.0.free_readers();
        // Nothing shares it any more, so this closes it.
        drop(self.0.lock().take());
    }

    /// Replaces the map by one of this size. The inner error is LMDB's: then there is no map any
    /// more.
    pub fn set_map_size(&self, size: usize) -> Result<LmdbResult<()>> {
        match &*self.0.lock() {
            // Every long read and every write shares the environment; none can begin while the lock
            // is held.
            Some(environment) if Arc::strong_count(environment) == 1 => {
                // SAFETY: there is no transaction but the pooled ones, which were reset.
                Ok(unsafe { environment.set_map_size(size) })
            }
            Some(_) => Err(Error::Internal {
                what: "a transaction is open while the map is to be replaced",
            }),
            None => Err(Error::Closed),
        }
    }
}

impl Drop for Quiesced<'_> {
    fn drop(&mut self) {
        self.0.state.resume();
    }
}
