//! One LMDB environment, and what belongs to it.

use std::cell::UnsafeCell;
use std::fs::File;
use std::mem::ManuallyDrop;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Mutex;

use lmdb::{Database, Environment};

use crate::error::{Error, Result};
use crate::file::lmdb_lock_file::Held;
use crate::file::process_lock::FileLock;
use crate::format::header::Header;
use crate::format::table::Table;
use crate::histogram::Commits;
use crate::lmdb::config::Config;
use crate::lmdb::raw::error::from_lmdb;
use crate::lmdb::raw::reader::Reader;
use crate::sync::deadline::Deadline;
use crate::sync::exclusion::{OpenState, WalkGate};
use crate::sync::primitives::unpoisoned;
use crate::sync::process;
use crate::sync::reader_queue::ReaderQueue;
use crate::sync::writer_gate::{self, WriterGate};

/// One open LMDB environment.
pub(crate) struct Env {
    /// Used by who holds a slot, the writer gate or a counted snapshot; replaced by who keeps all
    /// of them out.
    pub(super) lmdb: UnsafeCell<ManuallyDrop<Environment>>,
    pub(super) tables: Tables,
    pub(super) path: PathBuf,
    pub(super) config: Config,
    /// Reader `i` belongs to whoever holds slot `i`.
    pub(super) readers: Box<[UnsafeCell<Reader>]>,
    pub(super) writer: WriterGate<Option<Newest>>,
    pub(super) snapshots: WalkGate,
    pub(super) reader_queue: ReaderQueue,
    pub(super) process_lock: FileLock,
    /// The data file again, for what LMDB does not do itself.
    pub(super) file: File,
    /// Bytes that the file is known to have at least.
    pub(super) known_len: AtomicU64,
    pub(super) page_size: u64,
    /// What this process has committed.
    pub(super) commits: Commits,
    /// The process that opened it.
    pub(super) stamp: u64,
    /// Whether it is open, and can be read at the moment.
    pub(super) state: OpenState,
    /// A flush failed, or LMDB gave up: no more writes.
    pub(super) writes_stopped: AtomicBool,
    /// The file and its `-lock` file. Taken out when the store is closed: then the file can be
    /// opened again, though this handle is still there.
    pub(super) held: Mutex<Option<Held>>,
}

/// The databases inside the file.
#[derive(Clone, Copy)]
pub(super) struct Tables {
    pub(super) main: Database,
    pub(super) devices: Database,
    pub(super) ids: Database,
}

impl Tables {
    pub(super) fn get(&self, table: Table) -> Database {
        match table {
            Table::Devices => self.devices,
            Table::Ids => self.ids,
        }
    }
}

/// What this process's newest commit has left behind. If no other process has committed since, the
/// next one knows it without asking.
pub(crate) struct Newest {
    /// The commit's number in LMDB.
    pub(super) id: usize,
    /// What the header row says.
    pub(super) header: Header,
    /// Bytes of the file up to the end of the last page in use.
    pub(super) used: u64,
}

/// The process's writer, which finds what its last commit has left behind.
pub(crate) type Writer<'e> = writer_gate::Writer<'e, Option<Newest>>;

// SAFETY: LMDB's environment handle may be used from any thread (lmdb.h, "Caveats"); transactions are
// kept apart by read permits, `writer` and `Snapshot`, which says for each which thread may use it.
unsafe impl Send for Env {}
// SAFETY: LMDB's handle may be shared (lmdb.h, "Caveats"); `readers[i]` is touched only by the holder
// of read permit `i`, or while the environment is quiesced.
unsafe impl Sync for Env {}

impl Env {
    /// The store's path, with symbolic links resolved.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The data file, for reading it without LMDB.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Has the system begin to read the file's first `len` bytes, which will be wanted in another
    /// order than they lie on the disk.
    pub fn read_ahead(&self, len: u64) {
        // More than this may push out what others need, and what was read first before it is used.
        const MOST: u64 = 1 << 30;
        let len = len.min(MOST) as libc::off_t;
        // SAFETY: touches no memory; the descriptor is open. It is advice: what becomes of it does
        // not matter.
        unsafe { libc::posix_fadvise(self.file.as_raw_fd(), 0, len, libc::POSIX_FADV_WILLNEED) };
    }

    /// How long operations may wait.
    pub fn deadline(&self) -> Deadline {
        Deadline::after(self.config.lock_wait)
    }

    /// Refuses a store that is closed, or that a forked child has inherited.
    #[inline]
    pub fn check_usable(&self) -> Result<()> {
        if self.state.is_closed() {
            return Err(Error::Closed);
        }
        if process::stamp() != self.stamp {
            return Err(Error::Forked);
        }
        Ok(())
    }

    /// Refuses writes to a store that cannot take them.
    pub fn check_writable(&self) -> Result<()> {
        self.check_usable()?;
        if self.config.read_only {
            return Err(Error::ReadOnly {
                path: self.path.as_path().into(),
            });
        }
        if self.writes_stopped.load(Ordering::Relaxed) {
            return Err(self.stopped());
        }
        Ok(())
    }

    pub(super) fn stopped(&self) -> Error {
        Error::WritesStopped {
            path: self.path.as_path().into(),
        }
    }

    /// Closes the environment once nothing uses it, waiting for that within the lock wait.
    pub fn close(&self) -> Result<()> {
        self.check_usable()?;
        let deadline = self.deadline();
        let busy = |what| move |_| Error::Busy { what };
        let writer = self
            .writer
            .acquire(&deadline)
            .map_err(busy("another thread is writing to it"))?;
        self.check_usable()?;
        // Walks first: they can be long, and short reads, which may belong to a walk's caller, go
        // on meanwhile.
        let no_walk = self
            .snapshots
            .block(&deadline)
            .map_err(busy("a walk over it is open; end the walk first"))?;
        let quiet = self
            .quiet(&writer, &no_walk, &deadline)
            .map_err(busy("another thread is reading from it"))?;
        quiet.close();
        Ok(())
    }

    /// Gives the files up, once LMDB has closed them: they can be opened again, though this handle
    /// is still there.
    pub(super) fn let_files_go(&self) {
        self.process_lock.release();
        drop(unpoisoned(self.held.lock()).take());
    }

    /// Gives back all that LMDB holds.
    ///
    /// # Safety
    /// No transaction is in use and none can begin; called once for an environment.
    pub(super) unsafe fn release(&self) {
        for reader in &self.readers {
            // SAFETY: nobody else uses a reader now, says the caller.
            unsafe { (*reader.get()).free() };
        }
        // SAFETY: `lmdb` is not used again, says the caller.
        unsafe { ManuallyDrop::drop(&mut *self.lmdb.get()) };
    }

    /// Flushes everything to disk, the last commit's meta page included.
    pub fn sync(&self) -> Result<()> {
        self.check_writable()?;
        let _writer = self.writer.acquire(&self.deadline())?;
        self.check_writable()?;
        self.lmdb().sync(true).map_err(|e| match e {
            lmdb::Error::Other(errno) if errno > 0 => {
                self.flush_failed("flushing the store", errno)
            }
            other => self.lmdb_error("flushing the store", other),
        })
    }

    pub(super) fn lmdb_error(&self, doing: &'static str, error: lmdb::Error) -> Error {
        from_lmdb(doing, &self.path, error)
    }

    /// LMDB's handle, for who holds a slot, the writer gate or a counted snapshot while it is used.
    pub(super) fn lmdb(&self) -> &Environment {
        // SAFETY: it is replaced, and dropped, only by who has the environment quiet.
        unsafe { &*self.lmdb.get() }
    }

    pub(super) fn raw(&self) -> *mut lmdb_sys::MDB_env {
        self.lmdb().env()
    }
}

impl Drop for Env {
    fn drop(&mut self) {
        // In a forked child LMDB's handle and the lock file are the parent's affair: closing their
        // descriptors here would drop locks of a store that the child has opened itself.
        if process::stamp() != self.stamp {
            std::mem::forget(unpoisoned(self.held.get_mut()).take());
        } else if !self.state.is_closed() {
            // SAFETY: `&mut self` proves that nothing else uses the environment; it was not closed
            // before.
            unsafe { self.release() };
        }
    }
}
