//! One open store file: LMDB's environment, and what belongs to it.

use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::error::{Error, Result};
use crate::file::access::Access;
use crate::file::fs;
use crate::file::lmdb_lock_file::Held;
use crate::file::open_files::Registered;
use crate::file::process_lock::FileLock;
use crate::format::header::Header;
use crate::format::table::Table;
use crate::lmdb::config::Config;
use crate::lmdb::one_flush::OneFlush;
use crate::lmdb::raw::{into_error, Database, Environment, Handle, LmdbError, SharedCounters};
use crate::sync::callbacks::CallbackScope;
use crate::sync::deadline::Deadline;
use crate::sync::exclusion::WalkGate;
use crate::sync::lock_wait::LockWait;
use crate::sync::primitives::unpoisoned;
use crate::sync::reader_queue::ReaderQueue;
use crate::sync::writer_gate::{self, WriterGate};

/// One open store file.
pub(crate) struct Env {
    // Dropped first: the locks below are released after LMDB has closed the file.
    pub(super) handle: Handle,
    /// The `-lock` file. Taken out when the store is closed: then the file can be opened again,
    /// though this handle is still there. Dropped before the data file's lock, under which it
    /// removes what a failed open has made.
    pub(super) held: Mutex<Option<Held>>,
    pub(super) tables: Tables,
    pub(super) path: PathBuf,
    pub(super) config: Config,
    pub(super) writer: WriterGate<Option<Box<Newest>>>,
    pub(super) snapshots: WalkGate,
    pub(super) reader_queue: ReaderQueue,
    pub(super) process_lock: FileLock,
    /// Its entry among the files that this process has open, taken out as `held` is. Dropped after
    /// the lock: to a thread that opens the file in between, that is another copy's of the library.
    pub(super) registered: Mutex<Option<Registered>>,
    /// The data file again, for what LMDB does not do itself.
    pub(super) file: File,
    /// The store's file, of which `file` is a private copy, as it was then; none where the store is
    /// read in place.
    pub(super) copied: Option<Metadata>,
    /// Bytes that the file is known to have at least.
    pub(super) known_len: AtomicU64,
    pub(super) page_size: u64,
    /// What this process has committed and flushed.
    pub(super) counters: SharedCounters,
    /// If commits are flushed once, and not by LMDB.
    pub(super) one_flush: Option<OneFlush>,
    /// What showed that the newest commit was not whole, which was undone when this was opened.
    pub(super) undone_at_open: Option<String>,
    /// Whether opening this has undone a commit, and has checked the one before as the
    /// configuration says.
    pub(super) was_checked: bool,
    /// Whether a thread of this process is in a commit or a flush, and so waits for the disk alone.
    pub(super) flushing: AtomicBool,
    /// The file system takes no writes, or flushes fail again and again: no more writes.
    pub(super) writes_stopped: AtomicBool,
}

/// The databases inside the file.
#[derive(Clone, Copy)]
pub(super) struct Tables {
    pub(super) main: Database,
    pub(super) devices: Database,
    pub(super) ids: Database,
    /// Not in a store of format 1.
    pub(super) journal: Option<Database>,
}

impl Tables {
    #[inline]
    pub(super) fn get(&self, table: Table) -> Option<Database> {
        match table {
            Table::Devices => Some(self.devices),
            Table::Ids => Some(self.ids),
            Table::Journal => self.journal,
        }
    }
}

/// What this process's newest commit has left behind: the next one knows it without reading it, if
/// no other process has committed since.
pub(crate) struct Newest {
    /// The commit's number in LMDB.
    pub(super) id: u64,
    /// What the header row says.
    pub(super) header: Header,
    /// Bytes of the file up to the end of the last page in use.
    pub(super) used: u64,
    /// Memory for encoding rows.
    pub(super) buffer: Vec<u8>,
}

/// The process's writer, which finds what its last commit has left behind. That is passed on as a
/// pointer: copying it costs each lone write a hundred instructions.
pub(crate) type Writer<'e> = writer_gate::Writer<'e, Option<Box<Newest>>>;

/// A thread is in a commit or a flush until this is dropped.
pub(super) struct Flushing<'e>(&'e AtomicBool);

impl Drop for Flushing<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Env {
    /// The store's path, with symbolic links resolved.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the store is of the format that this release writes, and not of an older one.
    pub fn is_current(&self) -> bool {
        self.tables.journal.is_some()
    }

    /// Whether opening this has undone a commit, and has checked the one before as the
    /// configuration says: nothing is left to be checked then.
    pub fn was_checked(&self) -> bool {
        self.was_checked
    }

    /// What showed that the newest commit was not whole, if one was undone when this was opened.
    pub fn undone_at_open(&self) -> Option<&str> {
        self.undone_at_open.as_deref()
    }

    /// The data file, for reading it without LMDB.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// What the system says of the store's file; of a private copy, what it said of the store when
    /// the copy was made.
    pub fn metadata(&self) -> io::Result<Metadata> {
        match &self.copied {
            Some(original) => Ok(original.clone()),
            None => self.file.metadata(),
        }
    }

    /// The owner and the mode of the store's file.
    pub fn access(&self) -> Result<Access> {
        let fail = |e| Error::io("reading the file's owner", &self.path, e);
        Ok(Access::of(&self.metadata().map_err(fail)?))
    }

    /// Whether this is a private copy of the store, as of when it was opened.
    pub fn is_copy(&self) -> bool {
        self.copied.is_some()
    }

    /// Has the system begin to read the file's first `len` bytes, which will be wanted in another
    /// order than they have on the disk.
    pub fn read_ahead(&self, len: u64) {
        fs::read_ahead(&self.file, len);
    }

    /// How long a call that writes may wait, and for what.
    pub fn lock_wait(&self) -> LockWait {
        LockWait::new(self.config.lock_wait)
    }

    /// How long operations may wait.
    pub fn deadline(&self) -> Deadline {
        Deadline::after(self.config.lock_wait)
    }

    /// Whether a write whose wait would end now waits on: while a thread of this process is in a
    /// commit or a flush, writes in line behind it do not time out, however long the disk takes.
    pub fn waits_on(&self) -> bool {
        self.flushing.load(Ordering::Relaxed) && !self.config.lock_wait.is_zero()
    }

    /// Called by the process's writer.
    pub(super) fn begin_flushing(&self) -> Flushing<'_> {
        self.flushing.store(true, Ordering::Relaxed);
        Flushing(&self.flushing)
    }

    /// Refuses a store that is closed, or that a forked child has inherited.
    #[inline]
    pub fn check_usable(&self) -> Result<()> {
        self.handle.check_usable()
    }

    /// Refuses writes to a store that cannot take them.
    #[inline]
    pub fn check_writable(&self) -> Result<()> {
        self.check_usable()?;
        if self.config.read_only || self.writes_stopped.load(Ordering::Relaxed) {
            return Err(self.not_writable());
        }
        Ok(())
    }

    #[cold]
    fn not_writable(&self) -> Error {
        match self.config.read_only {
            true => Error::ReadOnly {
                path: self.path.as_path().into(),
            },
            false => self.stopped(),
        }
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
        // Before the gate: the walk cannot end while another writer is waited for either.
        if CallbackScope::is_inside(self) {
            return Err(Error::Busy {
                what:
                    "this call comes from the callback of a walk over it; close it after the walk",
            });
        }
        let writer = self
            .writer
            .acquire(&deadline)
            .map_err(busy("another thread is writing to it"))?;
        self.check_usable()?;
        let flushed = self.settle_at_close(&deadline).map_err(busy(
            "what was deferred is not flushed, and another process keeps the writer lock; \
                 close it again once that process goes on or has ended",
        ))?;
        // Walks first: they can be long, and short reads, which may belong to a walk's caller, go
        // on meanwhile.
        let no_walk = self
            .snapshots
            .block(&deadline)
            .map_err(busy("a walk over it is open; end the walk first"))?;
        let quiesced = self
            .quiesce(&writer, &no_walk, &deadline)
            .map_err(busy("another thread is reading from it"))?;
        quiesced.close();
        drop(no_walk);
        drop(writer);
        if let Some(one_flush) = &self.one_flush {
            one_flush.flusher.stop();
        }
        flushed
    }

    /// Releases the files, which LMDB has closed: they can be opened again, though this handle
    /// still exists.
    pub(super) fn release_files(&self) {
        self.counters.withdraw();
        self.process_lock.release();
        if self.handle.watch().is_detached() {
            self.process_lock.release_writer();
        }
        drop(unpoisoned(self.held.lock()).take());
        drop(unpoisoned(self.registered.lock()).take());
    }

    pub(super) fn lmdb_error(&self, doing: &'static str, error: LmdbError) -> Error {
        into_error(doing, &self.path, error)
    }

    /// LMDB's environment, for a caller that holds a read permit, the writer gate or a counted
    /// snapshot for as long as it is used.
    pub(super) fn lmdb(&self) -> Result<Arc<Environment>> {
        self.handle.environment()
    }
}

impl Drop for Env {
    fn drop(&mut self) {
        // In a forked child the lock file belongs to the parent: closing its descriptor there
        // would drop locks of a store that the child has opened itself.
        if !self.handle.is_own_process() {
            std::mem::forget(unpoisoned(self.held.get_mut()).take());
            return;
        }
        self.unmark_lmdb_open();
        if self.handle.watch().is_detached() {
            // A child that is being started may have a copy of the descriptor.
            self.process_lock.release_writer();
        }
    }
}
