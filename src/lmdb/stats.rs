//! Statistics of an environment: what it holds, what is in use of its map, its reader table and its
//! pages, and what this process has committed.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::file::process_number::ProcessNumber;
use crate::lmdb::env::Env;
use crate::lmdb::free_list;
use crate::lmdb::raw::{Environment, ReadTxn};
use crate::lmdb::snapshot::{self, Snapshot};
use crate::stats::{RunningRead, Stats};
use crate::sync::read_permits;
use crate::verify::anchor::Anchor;
use crate::verify::Metas;

/// Reads in progress at one moment, in all processes.
struct Active {
    /// The commits that they see, the oldest first, without the pins of deferred commits.
    seen: Vec<u64>,
    /// The oldest commit whose pages are kept, by a read or a pin.
    kept: Option<u64>,
}

/// A read in progress, and the commit that it sees.
struct ActiveRead {
    pid: u32,
    commit: u64,
    age: Option<Duration>,
}

impl Env {
    /// Counts and sizes as of this moment. Of the threads that wait to write, it knows those past
    /// the commit queue.
    pub fn stats(self: &Arc<Env>) -> Result<Stats> {
        self.check_lock_file(&self.deadline())?;
        let permit = self.enter(&self.deadline())?;
        // A dead process's read is not in progress.
        self.clear_dead_readers()?;
        let lmdb = self.lmdb()?;
        // Read before the snapshot below begins, which would be counted.
        let active = self.active(&lmdb);
        let info = lmdb
            .info()
            .map_err(|e| self.lmdb_error("reading the environment's state", e))?;
        drop(lmdb);
        drop(permit);
        let file_size = self.file_size()?;
        let (walks_open, oldest_walk) = self.snapshots.open();
        let seen = active.seen.first().copied();
        let seen = seen.unwrap_or(info.newest_commit);

        let snapshot = Snapshot::open(self)?;
        let header = snapshot::header(&snapshot)?;
        let (pages_free, pages_held) = self.free_pages(&snapshot, active.kept)?;
        drop(snapshot);
        Ok(Stats {
            devices: header.devices.into(),
            taken_ids: header.taken_ids().into(),
            free_ids: header.free_ids.into(),
            faulty_ids: header.faulty_ids.into(),
            last_id: header.last_id.into(),
            commits: header.commit,
            map_size: info.map_size as u64,
            map_used: info.pages as u64 * self.page_size,
            file_size,
            page_size: self.page_size,
            max_readers: info.max_readers.into(),
            readers_in_use: info.readers.into(),
            pages_free,
            pages_held,
            readers_active: active.seen.len() as u64,
            oldest_reader_commits: info.newest_commit.saturating_sub(seen),
            reader_waits: read_permits::WAITS.load(Ordering::Relaxed),
            reader_refusals: read_permits::REFUSALS.load(Ordering::Relaxed),
            walks_open: walks_open as u64,
            oldest_walk,
            writers_waiting: (self.writer.waiting() + self.process_lock.waiting()) as u64,
            writes_stopped: self.writes_stopped.load(Ordering::Relaxed),
            is_copy: self.is_copy(),
            commit_operations: self.counters.operations.read(),
            commit_nanoseconds: self.counters.nanoseconds.read(),
            flushes: self.counters.flushes.load(Ordering::Relaxed),
            undone_commits: self.counters.undone.load(Ordering::Relaxed),
            deferred_commits: self.count_unflushed(),
        })
    }

    fn file_size(&self) -> Result<u64> {
        match self.metadata() {
            Ok(metadata) => Ok(metadata.len()),
            // A file system that has shut down does not even say that.
            Err(_) if self.handle.watch().is_detached() => {
                Ok(self.known_len.load(Ordering::Relaxed))
            }
            Err(e) => Err(Error::io("reading the file's size", &self.path, e)),
        }
    }

    /// Pages that are free, and those of them that the oldest read holds, which began before.
    fn free_pages(&self, snapshot: &Snapshot, oldest: Option<u64>) -> Result<(u64, u64)> {
        let txn = snapshot.txn();
        let info = txn.environment().info();
        let info = info.map_err(|e| self.lmdb_error("reading the environment's state", e))?;
        // LMDB says how many pages the store has as of the newest commit only.
        let free = match info.newest_commit == snapshot.commit() {
            true => free_list::free_pages(txn, &self.tables, info.pages as u64, &self.path)?,
            false => free_list::count_free_pages(txn, &self.path)?,
        };
        let held = match oldest {
            Some(oldest) => free_list::held_pages(txn, &self.path, free, oldest)?,
            None => 0,
        };
        Ok((free, held))
    }

    /// The reads that are in progress, in all processes, the one of the oldest commit first.
    pub fn running_reads(&self) -> Result<Vec<RunningRead>> {
        self.check_lock_file(&self.deadline())?;
        let _permit = self.enter(&self.deadline())?;
        // A dead process's read is not in progress.
        self.clear_dead_readers()?;
        let lmdb = self.lmdb()?;
        let reads = self.active_reads(&lmdb);
        // Read after them, so that no commit that one of them sees is newer.
        let newest = lmdb.info().map(|info| info.newest_commit);
        let newest = newest.map_err(|e| self.lmdb_error("reading the environment's state", e))?;
        let running = |read: ActiveRead| RunningRead {
            pid: read.pid,
            commits_behind: newest.saturating_sub(read.commit),
            age: read.age,
        };
        Ok(reads.into_iter().map(running).collect())
    }

    /// The running read of the oldest commit, and the bytes of freed pages that it holds, if those
    /// are more than `limit`. Counting ends there.
    pub(super) fn pinned_beyond(
        &self,
        lmdb: &Arc<Environment>,
        limit: u64,
    ) -> Result<Option<(RunningRead, u64)>> {
        let Some(oldest) = self.active_reads(lmdb).into_iter().next() else {
            return Ok(None);
        };
        // Without a free slot the pages cannot be counted; the next time that the file has to grow
        // they are.
        let Ok(txn) = ReadTxn::begin(lmdb) else {
            return Ok(None);
        };
        let most = limit / self.page_size;
        let held = free_list::held_pages_beyond(&txn, &self.path, oldest.commit, most)?;
        let running = RunningRead {
            pid: oldest.pid,
            commits_behind: txn.commit().saturating_sub(oldest.commit),
            age: oldest.age,
        };
        let held = held.saturating_mul(self.page_size);
        Ok((held > limit).then_some((running, held)))
    }

    /// The reads in LMDB's reader table, the one of the oldest commit first. The walks of this
    /// process are known by the commits that they see; of several that see the same one, any slot
    /// may be any one's.
    fn active_reads(&self, lmdb: &Environment) -> Vec<ActiveRead> {
        let own = std::process::id();
        let mut reads = Vec::new();
        lmdb.each_active_reader(|pid, commit| {
            let age = None;
            reads.push(ActiveRead { pid, commit, age });
        });
        let mut walks = self.snapshots.ages();
        for read in reads.iter_mut().filter(|read| read.pid == own) {
            if let Some(at) = walks.iter().position(|walk| walk.0 == read.commit) {
                read.age = Some(walks.remove(at).1);
            }
        }
        reads.sort_by_key(|read| (read.commit, std::cmp::Reverse(read.age)));
        self.leave_out_pins(&mut reads);
        reads
    }

    /// What the reads in LMDB's reader table see.
    fn active(&self, lmdb: &Environment) -> Active {
        let mut reads = Vec::new();
        lmdb.each_active_reader(|pid, commit| {
            let age = None;
            reads.push(ActiveRead { pid, commit, age });
        });
        let kept = reads.iter().map(|read| read.commit).min();
        self.leave_out_pins(&mut reads);
        let mut seen: Vec<_> = reads.iter().map(|read| read.commit).collect();
        seen.sort_unstable();
        Active { seen, kept }
    }

    /// Leaves out one read for each pin: of those of one process that see one commit, any slot may
    /// be the pin's. A walk of this process, of which the age is known, is none.
    fn leave_out_pins(&self, reads: &mut Vec<ActiveRead>) {
        for (pid, commit) in self.pins() {
            let is_pin =
                |read: &ActiveRead| (read.pid, read.commit) == (pid, commit) && read.age.is_none();
            if let Some(at) = reads.iter().position(is_pin) {
                reads.remove(at);
            }
        }
    }

    /// The commits that are pinned while commits are deferred, each with the id of the process that
    /// pins it: there is a read of each, of which nobody has to know. The pins of a process that
    /// was killed have ended with it.
    fn pins(&self) -> Vec<(u32, u64)> {
        let own = std::process::id();
        let own_pins = self.handle.pinned().into_iter();
        let mut pins: Vec<_> = own_pins.map(|commit| (own, commit)).collect();
        let (mark, mut anchors) = match &self.one_flush {
            Some(one_flush) => (one_flush.pages.mark(), one_flush.pages.anchors().to_vec()),
            None => match Metas::read(&self.file) {
                Ok(metas) => {
                    let anchors = metas.anchors();
                    let commits = anchors.iter().map(Anchor::commit).collect();
                    (metas.flush_mark(), commits)
                }
                Err(_) => return pins,
            },
        };
        let process = ProcessNumber::from_number(mark.process);
        if mark.process != 0 && process != self.process_lock.own_number() {
            anchors.sort_unstable();
            anchors.dedup();
            pins.extend(anchors.iter().map(|commit| (process.pid(), *commit)));
        }
        pins
    }

    /// Slots in LMDB's reader table.
    pub(crate) fn max_readers(&self) -> Result<u32> {
        let _permit = self.enter(&self.deadline())?;
        let info = self.lmdb()?.info();
        info.map(|info| info.max_readers)
            .map_err(|e| self.lmdb_error("reading the environment's state", e))
    }
}
