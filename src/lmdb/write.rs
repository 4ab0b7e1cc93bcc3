//! Write transactions: one at a time in the process, then one at a time between processes, both
//! with a limit.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::file::process_lock::WriterLock;
use crate::format::header;
use crate::format::header::Header;
use crate::format::table::Table;
use crate::lmdb::env::{Env, Newest, Writer};
use crate::lmdb::grow;
use crate::lmdb::raw::{self, Database, LmdbError, LmdbResult, PutMode};
use crate::sync::deadline::Deadline;
use crate::sync::lock_wait::{LockWait, WaitFor};
use crate::verify::announcement;

mod fault;
mod rewrite;
mod rows;

pub(crate) use fault::{Fault, Step};

/// The memory for encoding rows that the last write has left.
fn take_buffer(left: &mut Option<Box<Newest>>) -> Vec<u8> {
    let buffer = left.as_mut().map(|left| std::mem::take(&mut left.buffer));
    buffer.unwrap_or_default()
}

/// A running write transaction: rows in and out.
pub(crate) struct WriteTxn<'e> {
    env: &'e Env,
    writer: &'e Writer<'e>,
    txn: raw::WriteTxn<'e>,
    /// Rows written and removed.
    writes: u64,
    /// Bytes of the rows written.
    bytes: u64,
    /// Operations that were done, for the statistics.
    operations: u64,
    /// Whether it makes the store larger, and so leaves the reserve alone.
    grows: bool,
    /// What the header row says now, if this transaction has written it.
    header: Option<Header>,
    /// Memory for encoding rows, which one write leaves for the next.
    pub buffer: Vec<u8>,
    /// Rows for the table of devices, if that is to be written anew; nothing for one removed.
    new_rows: Option<BTreeMap<Vec<u8>, Option<Vec<u8>>>>,
}

impl<'e> WriteTxn<'e> {
    /// How many rows it has written and removed.
    pub fn writes(&self) -> u64 {
        self.writes
    }

    /// Counts one more operation as done; a transaction that counts none is counted as one.
    pub fn count_operation(&mut self) {
        self.operations += 1;
    }

    /// Says that it makes the store larger: on a full disk, it is refused while there is still
    /// space for commits that do not.
    pub fn grow_store(&mut self) {
        self.grows = true;
    }

    /// The header row.
    pub fn header(&self) -> Step<&[u8]> {
        match self.txn.get(self.env.tables.main, header::KEY) {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err(Error::corrupt("its header row is missing").into()),
            Err(e) => Err(self.fault("reading the header row", e)),
        }
    }

    /// What the header row says, if this process wrote it last.
    pub fn known_header(&self) -> Option<Header> {
        self.newest(|newest| newest.header.clone())
    }

    /// What the newest commit has left behind, if it was this process's. Its number is proof of
    /// that: no other process undoes a commit of this one while it has the store open (recover.rs).
    fn newest<T>(&self, look: impl FnOnce(&Newest) -> T) -> Option<T> {
        let left = self.writer.handed_over();
        let newest = left.as_deref()?;
        (newest.id + 1 == self.txn.commit_number()).then(|| look(newest))
    }

    /// How many commits of this number were undone; reads may have seen them.
    pub fn undone_before(&self) -> u64 {
        let number = self.txn.commit_number();
        let one_flush = self.env.one_flush.as_ref();
        one_flush.map_or(0, |one_flush| one_flush.undone_before(number))
    }

    /// Writes the header row, which says this.
    pub fn put_header(&mut self, header: Header, value: &[u8]) -> Step<()> {
        self.header = Some(header);
        self.writes += 1;
        self.txn
            .put(self.env.tables.main, header::KEY, value, PutMode::Replace)
            .map_err(|e| self.fault("writing the header row", e))
    }

    /// Makes the tables that a store of an older format does not have. They are empty, and nothing
    /// can be written to them in this transaction.
    pub fn create_missing_tables(&mut self) -> Step<()> {
        self.txn
            .create_database(Table::JOURNAL)
            .map_err(|e| self.fault("creating a table", e))
    }

    #[inline]
    fn database(&self, table: Table) -> LmdbResult<Database> {
        self.env.tables.get(table).ok_or(LmdbError::BadDbi)
    }

    fn fault(&self, doing: &'static str, error: LmdbError) -> Fault {
        self.env.fault(doing, error)
    }
}

/// This thread is the only writer of the store, among threads and processes, until this is dropped.
pub(crate) struct Writing<'e> {
    env: &'e Env,
    waits: &'e LockWait,
    /// None while this thread waits for a larger map: other processes may write meanwhile. Dropped
    /// before the gate, so that the next writer of this process finds it released.
    process: Cell<Option<WriterLock<'e>>>,
    writer: Writer<'e>,
    /// Whether a transaction has run.
    ran: Cell<bool>,
    /// Whether its commits may be left unflushed.
    deferred: Cell<bool>,
}

impl Env {
    /// Waits until this thread may write.
    pub fn begin_writing<'e>(&'e self, waits: &'e LockWait) -> Result<Writing<'e>> {
        waits.wait_for(WaitFor::Turn, |deadline| {
            if self.is_poisoned_by_a_write() {
                self.reopen(deadline)?;
            }
            let writer = self
                .writer
                .acquire_patiently(deadline, || self.waits_on())?;
            // The store may have been closed, or a flush have failed, while this thread waited.
            self.check_writable()?;
            let lock = self.process_lock.lock_writer(&self.path, deadline)?;
            if !self.handle.watch().is_sound() {
                self.detach_locked(lock)?;
                return Err(self.stopped());
            }
            Ok(Writing {
                env: self,
                waits,
                process: Cell::new(Some(lock)),
                writer,
                ran: Cell::new(false),
                deferred: Cell::new(false),
            })
        })
    }
}

impl Writing<'_> {
    /// The store's path.
    pub fn path(&self) -> &Path {
        &self.env.path
    }

    /// Says whether the commits from here on may be left unflushed.
    #[inline]
    pub fn defer(&self, deferred: bool) {
        self.deferred.set(deferred);
    }

    /// Runs `work` in a write transaction and commits what it wrote; nothing is written if it
    /// fails.
    ///
    /// If the map is too small it grows and `work` runs again from the start, so it must not keep
    /// anything from a run that failed.
    pub fn run<R>(&self, mut work: impl FnMut(&mut WriteTxn<'_>) -> Step<R>) -> Result<R> {
        if self.ran.replace(true) {
            // In the last run a flush may have failed, or the store was closed because the map
            // could not be replaced.
            self.env.check_writable()?;
        }
        let grow = |to| {
            drop(self.process.take());
            let grow = |deadline: &Deadline| self.env.grow(&self.writer, to, deadline);
            self.waits.wait_for(WaitFor::Growth, grow)
        };
        let mut rewrite = false;
        loop {
            self.lock_process()?;
            let forget = || self.writer.hand_over(|left| *left = None);
            self.env.settle(self.waits, forget)?;
            let deferred = self.deferred.get();
            match self
                .env
                .try_write(&self.writer, deferred, rewrite, &mut work)
            {
                Ok(done) => return Ok(done),
                Err(Fault::Error(error)) => return Err(error.at(&self.env.path)),
                Err(Fault::MapFull) => grow(grow::To::Larger)?,
                Err(Fault::Resized) => grow(grow::To::File)?,
                Err(Fault::PageFull) if !rewrite => rewrite = true,
                Err(Fault::PageFull) => {
                    return Err(self.env.lmdb_error("writing a row", LmdbError::PageFull))
                }
            }
        }
    }

    /// Keeps other processes' writers out again, if they were let in during a wait for a larger
    /// map. If this times out, that is not noted as a wait for the turn: other changes of the same
    /// list may still wait for theirs.
    fn lock_process(&self) -> Result<()> {
        let lock = match self.process.take() {
            Some(lock) => lock,
            None => {
                let lock = &self.env.process_lock;
                lock.lock_writer(&self.env.path, self.waits.left())?
            }
        };
        self.process.set(Some(lock));
        Ok(())
    }
}

impl Env {
    /// Begins LMDB's transaction, at the newest commit that the meta pages show.
    #[inline]
    fn begin_txn<'l>(&self, lmdb: &'l raw::Environment) -> Step<raw::WriteTxn<'l>> {
        let begun = raw::WriteTxn::begin(lmdb, self.tables.devices);
        let txn = begun.map_err(|e| self.fault("beginning a write", e))?;
        match &self.one_flush {
            Some(one_flush) if txn.commit_number() != one_flush.newest_commit() + 1 => {
                self.begin_again(lmdb, txn, one_flush.newest_commit())
            }
            _ => Ok(txn),
        }
    }

    /// Announces a commit that is about to be made, with this header row, where another that was to
    /// get its number may have left pages on the disk, and no meta page. One of this process that
    /// comes right after its own has no such predecessor that is not announced.
    ///
    /// What it is written over may be the announcement of a deferred commit, so that is flushed
    /// before.
    #[cold]
    fn announce(&self, commit: u64, header: Option<&Header>) -> Result<()> {
        let (Some(_), Some(header)) = (&self.one_flush, header) else {
            return Ok(());
        };
        self.flush_what_is_deferred()?;
        let bytes = announcement::encode(commit, header.digest);
        let at = announcement::offset(commit, self.page_size);
        let written = self.file.write_all_at(&bytes, at);
        written.map_err(|e| Error::io("announcing a commit", &self.path, e))
    }

    /// Runs one transaction. In one piece: split in two, it costs a lone write 40 instructions (see
    /// "Instructions of a lone write" in docs/performance.md).
    fn try_write<R>(
        &self,
        writer: &Writer<'_>,
        deferred: bool,
        rewrite: bool,
        work: &mut impl FnMut(&mut WriteTxn<'_>) -> Step<R>,
    ) -> Step<R> {
        let _flushing = self.begin_flushing();
        let lmdb = self.lmdb()?;
        let txn = self.begin_txn(&lmdb)?;
        let mut txn = WriteTxn {
            env: self,
            writer,
            txn,
            writes: 0,
            bytes: 0,
            operations: 0,
            grows: false,
            header: None,
            buffer: writer.hand_over(take_buffer),
            new_rows: rewrite.then(BTreeMap::new),
        };
        let done = work(&mut txn)?;
        if txn.new_rows.is_some() {
            txn.rewrite_devices(&lmdb)?;
        }
        if txn.writes == 0 {
            // Nothing to commit. What it has found as it was to be may be deferred.
            if !deferred {
                self.flush_what_is_deferred()?;
            }
            return Ok(done);
        }
        // LMDB keeps changed pages in memory up to here, but for those that a very large commit has
        // spilled to where nothing refers to yet.
        let known = txn.newest(|newest| newest.used);
        let used = match known {
            Some(used) => used,
            None => self.used(&lmdb)?,
        };
        let space = self.preallocate(used, txn.writes, txn.bytes, txn.grows)?;
        let (id, header) = (txn.txn.commit_number(), txn.header.take());
        let buffer = std::mem::take(&mut txn.buffer);
        let (operations, start) = (txn.operations.max(1), Instant::now());
        if known.is_none() {
            self.announce(id, header.as_ref())?;
        }
        txn.txn.commit().map_err(|e| {
            // It may have left pages on the disk: the next one is announced.
            writer.hand_over(|left| *left = None);
            self.commit_fault(e, &space, id)
        })?;
        // What was committed stays committed, even if the file cannot be made longer.
        let used = self.used(&lmdb).ok();
        if let Some(used) = used {
            let _ = self.cover(used);
        }
        match deferred {
            false => self.flush_commit(id)?,
            true => self.defer(id)?,
        }
        self.counters.add_commit(operations, start.elapsed());
        let newest = header.zip(used);
        let newest = newest.map(|(header, used)| Newest {
            id,
            header,
            used,
            buffer,
        });
        writer.hand_over(|left| match (left, newest) {
            (Some(left), Some(newest)) => **left = newest,
            (left, newest) => *left = newest.map(Box::new),
        });
        Ok(done)
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
