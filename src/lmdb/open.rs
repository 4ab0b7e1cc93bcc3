//! Opening an environment: which file is meant, whether it is a store, and then LMDB.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};

use crate::error::{Error, Result};
use crate::file::fs::{check_same, is_at, open_file, sync_directory};
use crate::file::lmdb_lock_file;
use crate::file::lmdb_lock_file::Held;
use crate::file::open_files::{Kind, Registered};
use crate::file::path::{keep_standard_streams, lock_path, resolve};
use crate::file::process_lock::{CLibrary, FileLock};
use crate::file::viewer::shares_lock_file;
use crate::histogram::Commits;
use crate::lmdb::config::{Config, Sharing};
use crate::lmdb::create;
use crate::lmdb::env::{Env, Tables};
use crate::lmdb::lock_blocks;
use crate::lmdb::lost_locks::{has_own_slots, refuse_lost_locks};
use crate::lmdb::one_flush::OneFlush;
use crate::lmdb::open_tables::open_tables;
use crate::lmdb::raw::{
    check_release, fitting_map_size, into_error, lacks_shared_maps, Environment, Flushes, Handle,
    LockWatch, MetaPages, Settings,
};
use crate::lmdb::recover::undo_unfinished;
use crate::sync::deadline::Deadline;
use crate::sync::exclusion::WalkGate;
use crate::sync::primitives::unpoisoned;
use crate::sync::reader_queue::ReaderQueue;
use crate::sync::writer_gate::WriterGate;
use crate::verify::flush_mark::FlushMark;
use crate::verify::head;
use crate::verify::head::Head;

impl Env {
    /// Opens the store at `path`, creating it if it is absent and `config` allows writing.
    pub fn open(path: &Path, config: Config) -> Result<Env> {
        let deadline = Deadline::after(config.lock_wait);
        let path = resolve(path)?;
        check_release(&path)?;
        if !config.read_only || config.sharing != Sharing::Many {
            return Env::open_in_place(path, config, &deadline);
        }
        if shares_lock_file(&path, &deadline)? {
            match Env::open_in_place(path.clone(), config.clone(), &deadline) {
                Err(Error::PidInUse { .. } | Error::Unfinished { .. }) => {}
                Err(_) if !shares_lock_file(&path, &deadline)? => {}
                opened => return opened,
            }
        }
        Env::open_copy(path, config, &deadline)
    }

    fn open_in_place(path: PathBuf, config: Config, deadline: &Deadline) -> Result<Env> {
        let claimed = create_or_claim(&path, &config, deadline)?;
        let new_store = claimed.new.then(|| claimed.metadata.clone());
        // Made before LMDB's handle and after the data file's lock, so that it is dropped between
        // them, also if opening fails.
        let mut held = Held::new(&path, new_store);
        if let Some(error) = create::lost_content(&path, &claimed.metadata)? {
            return Err(error);
        }
        let classify = || classify(&claimed.file, &path, &config, deadline);
        let mut head = classify()?;
        let mut undone = None;
        if head.unfinished.is_some() {
            let lock = &claimed.process_lock;
            undone = undo_unfinished(lock, &path, config.read_only, deadline, classify)?;
            head = classify()?;
        }
        if config.sharing != Sharing::Temporary {
            held.open_lock_file(&claimed.metadata, config.read_only, deadline)?;
            refuse_lost_locks(&path, &claimed.process_lock, &held)?;
            let alone = claimed.new || config.sharing == Sharing::Alone;
            lock_blocks::allocate(&held, &claimed.process_lock, alone, config.max_readers)?;
        }
        let mut lmdb = open_lmdb(&path, &config, &head).map_err(|error| {
            let lock_file = held.lock_file.as_ref();
            let lacks_maps = lacks_shared_maps(&claimed.file, false)
                .or_else(|| lacks_shared_maps(lock_file?.file(), !config.read_only));
            lacks_maps.map_or(error, |lack| Error::io("opening the store", &path, lack))
        })?;
        let one_flush = match flushes(&config, &head) {
            Flushes::Nothing => {
                let pages = MetaPages::new(&claimed.file, head.page_size);
                let pages = pages.map_err(|e| Error::io("opening the store", &path, e))?;
                let settled = undone.as_ref().map_or_else(FlushMark::default, |u| u.mark);
                Some(OneFlush::new(pages, settled))
            }
            Flushes::Both => None,
        };
        let watch = Arc::new(LockWatch::new(held.lock_file.as_ref()));
        watch.find(&lock_path(&path));
        lmdb.set_watch(Arc::clone(&watch));
        if config.sharing != Sharing::Temporary {
            held.claim(&claimed.metadata)?;
        }
        let mut tables = open_tables(&mut lmdb, &path, deadline)?;
        if has_own_slots(&lmdb) {
            // Closing LMDB frees them.
            drop(lmdb);
            lmdb = open_lmdb(&path, &config, &head)?;
            watch.find(&lock_path(&path));
            lmdb.set_watch(Arc::clone(&watch));
            tables = open_tables(&mut lmdb, &path, deadline)?;
        }
        let metadata = claimed.metadata.clone();
        let mut env = Env::new(
            path,
            config,
            claimed,
            head.page_size,
            Handle::new(lmdb, watch),
            tables,
            held,
        );
        env.one_flush = one_flush;
        env.undone_at_open = undone.and_then(|undone| undone.why);
        env.undone_commits = AtomicU64::new(env.undone_at_open.is_some().into());
        env.finish_opening(&metadata)?;
        Ok(env)
    }

    pub(super) fn new(
        path: PathBuf,
        config: Config,
        claimed: Claimed,
        page_size: u64,
        handle: Handle,
        tables: Tables,
        held: Held,
    ) -> Env {
        Env {
            handle,
            tables,
            path,
            config,
            writer: WriterGate::default(),
            snapshots: WalkGate::default(),
            reader_queue: ReaderQueue::default(),
            process_lock: claimed.process_lock,
            file: claimed.file,
            known_len: AtomicU64::new(claimed.metadata.len()),
            page_size,
            commits: Commits::new(),
            flushes: AtomicU64::new(0),
            one_flush: None,
            undone_commits: AtomicU64::new(0),
            undone_at_open: None,
            flushing: AtomicBool::new(false),
            writes_stopped: AtomicBool::new(false),
            held: Mutex::new(Some(held)),
            registered: Mutex::new(claimed.registered),
            copied: None,
        }
    }

    /// What is left to do once LMDB has the file open.
    fn finish_opening(&self, opened: &Metadata) -> Result<()> {
        let fail = |e| Error::io("opening", &self.path, e);
        check_same(&self.path, opened)?;
        if self.config.sharing == Sharing::Temporary {
            return Ok(());
        }
        let new = unpoisoned(self.held.lock())
            .as_ref()
            .is_some_and(Held::has_new_store);
        if new {
            self.process_lock.release_identities().map_err(fail)?;
        }
        if self.config.sharing == Sharing::Many {
            self.claim_lock_file()?;
        }
        if !self.config.read_only {
            self.process_lock.probe_writer_lock().map_err(fail)?;
        }
        self.mark_lmdb_open()?;
        self.clear_dead_readers()?;
        if new {
            // From here on others can open it.
            self.process_lock.claim_use().map_err(fail)?;
        }
        if let Some(held) = unpoisoned(self.held.lock()).as_mut() {
            held.keep();
        }
        Ok(())
    }
}

impl Env {
    /// Makes sure that every process that has the file open uses the same `-lock` file: that which
    /// LMDB has open, whatever is at its path by now.
    pub(crate) fn claim_lock_file(&self) -> Result<()> {
        let fail = |e| Error::io("opening", &self.path, e);
        let held = unpoisoned(self.held.lock());
        let opened = held.as_ref().and_then(|held| held.lock_file.as_ref());
        let found = match opened {
            Some(lock_file) => lock_file.metadata(),
            None => std::fs::metadata(lock_path(&self.path)),
        };
        let inode = found.map_err(fail)?.ino();
        match self.process_lock.claim_identity(inode).map_err(fail)? {
            true => Ok(()),
            false => Err(Error::AlreadyOpen {
                path: self.path.as_path().into(),
                why: "another process has this file open with another -lock file (by a hard link, \
                      or the -lock file was deleted meanwhile); close it there first, and use one \
                      path",
            }),
        }
    }
}

/// The data file, and this process's right to it.
pub(super) struct Claimed {
    pub file: File,
    pub metadata: Metadata,
    pub process_lock: FileLock,
    /// Dropped after the lock: a thread that may open the file would take this process's lock for
    /// that of another copy of the library.
    pub registered: Option<Registered>,
    /// Whether this process has just created it, and holds it alone.
    pub new: bool,
}

/// Creates the store if it is absent and `config` allows that, or opens the one that is there.
fn create_or_claim(path: &Path, config: &Config, deadline: &Deadline) -> Result<Claimed> {
    if config.read_only || config.sharing != Sharing::Many {
        return claim_file(path, config, deadline);
    }
    loop {
        if let Some(new) = create::ensure(path, deadline)? {
            let metadata = new.file.metadata();
            // No other copy of this library can have it open yet.
            let claimed = new.alone.claim_process();
            claimed.map_err(|e| Error::io("opening", path, e))?;
            refuse_other_c_library(&new.alone, path)?;
            return Ok(Claimed {
                metadata: metadata.map_err(|e| Error::io("opening", path, e))?,
                file: new.file,
                process_lock: new.alone,
                registered: Some(new.registered),
                new: true,
            });
        }
        match claim_file(path, config, deadline) {
            // Another process created it, could not open it, and has removed it again.
            Err(Error::NoSuchFile { .. }) if !deadline.left().is_zero() => {}
            claimed => return claimed,
        }
    }
}

/// Opens the data file and shares its use, once no thread or process has it alone.
fn claim_file(path: &Path, config: &Config, deadline: &Deadline) -> Result<Claimed> {
    let fail = |e| Error::io("opening", path, e);
    deadline.poll("the creation, repair or restore of the store", || {
        let (file, metadata) = open_file(path, config.read_only, deadline)?;
        // Dropped after the lock, as in `Claimed`.
        let mut registered = None;
        let process_lock = FileLock::new(file.try_clone().map_err(fail)?);
        if config.sharing != Sharing::Temporary {
            let kind = match config.sharing {
                Sharing::Alone => Kind::Alone,
                _ => Kind::Store,
            };
            registered = Registered::enter(path, &metadata, kind, deadline)?;
            if registered.is_none() {
                return Ok(None);
            }
            // Before anything opens the `-lock` file: closing it would drop the locks that another
            // copy of this library has in this process.
            if !process_lock.claim_process().map_err(fail)? {
                return Err(Error::another_copy(path));
            }
            let claimed = match config.sharing {
                Sharing::Alone if !process_lock.claim_alone().map_err(fail)? => {
                    return Err(Error::AlreadyOpen {
                        path: path.into(),
                        why: "another process has the store open; close it there first",
                    })
                }
                Sharing::Alone => true,
                _ => process_lock.claim_use().map_err(fail)?,
            };
            // Another file may have been renamed to its path during the wait.
            if !claimed || !is_at(path, &metadata).map_err(fail)? {
                return Ok(None);
            }
            refuse_other_c_library(&process_lock, path)?;
        }
        Ok(Some(Claimed {
            file,
            metadata,
            process_lock,
            registered,
            new: false,
        }))
    })
}

/// Refuses a store that a process with another C library has open, before LMDB takes its locks.
fn refuse_other_c_library(process_lock: &FileLock, path: &Path) -> Result<()> {
    let claimed = process_lock.claim_c_library(CLibrary::OWN);
    match claimed.map_err(|e| Error::io("opening", path, e))? {
        true => Ok(()),
        false => Err(Error::OtherLmdb {
            path: path.into(),
            why: "a process that was built for another C library (glibc or musl), whose locks \
                  differ, has the store open; close it there first, and use builds for one of them"
                .to_owned(),
        }),
    }
}

/// Makes sure that the file is a store, and that its lock file can be one, before LMDB opens them.
fn classify(file: &File, path: &Path, config: &Config, deadline: &Deadline) -> Result<Head> {
    let head = identify(file, path, config, deadline)?;
    if !config.read_only && head.commits == 0 {
        // Its creator may have died before its name was on disk; nothing may be written before that
        // is.
        sync_directory(path)?;
    }
    if config.sharing != Sharing::Temporary {
        lmdb_lock_file::check(path, deadline)?;
    }
    Ok(head)
}

/// What the file's first pages say, if they are those of a store.
pub(super) fn identify(
    file: &File,
    path: &Path,
    config: &Config,
    deadline: &Deadline,
) -> Result<Head> {
    match config.damaged_header {
        true => head::identify_damaged(file, path, deadline),
        false => head::identify(file, path, deadline),
    }
}

/// What LMDB flushes when this environment commits: nothing, where this library flushes once for
/// each commit. A release that does not know how to look for a commit that was not finished must
/// not find one, so a store of its format is upgraded with both flushes. A temporary file is
/// flushed when it is finished.
fn flushes(config: &Config, head: &Head) -> Flushes {
    let is_temporary = config.sharing == Sharing::Temporary;
    match config.read_only || is_temporary || !head.is_current {
        true => Flushes::Both,
        false => Flushes::Nothing,
    }
}

pub(crate) fn open_lmdb(path: &Path, config: &Config, head: &Head) -> Result<Environment> {
    let used = (head.last_page + 1) * head.page_size;
    let settings = Settings {
        read_only: config.read_only,
        flushes: flushes(config, head),
        no_lock: config.sharing == Sharing::Temporary,
        map_size: fitting_map_size(config.map_size, used, head.page_size)?,
        max_readers: config.max_readers,
    };
    keep_standard_streams();
    Environment::open(path, &settings).map_err(|e| into_error("opening the store", path, e))
}

#[cfg(all(test, not(loom)))]
pub(crate) mod tests {
    use super::*;

    /// A store in `directory`, opened without anything above LMDB.
    pub(crate) fn open(directory: &tempfile::TempDir) -> std::sync::Arc<Env> {
        let config = Config {
            read_only: false,
            map_size: 1 << 20,
            max_readers: 1024,
            lock_wait: std::time::Duration::from_secs(60),
            max_pinned_growth: 0,
            deferred_commits: 1000,
            deferred_age: std::time::Duration::from_secs(60),
            sharing: Sharing::Many,
            damaged_header: false,
        };
        let env = Env::open(&directory.path().join("pool.db"), config);
        std::sync::Arc::new(env.unwrap())
    }

    /// The lock file can be replaced while a store is being opened, after LMDB has opened it.
    #[test]
    fn other_processes_must_use_the_lock_file_that_lmdb_has_open() {
        let directory = tempfile::tempdir().unwrap();
        let env = open(&directory);
        let path = lock_path(env.path());
        let old = path.metadata().unwrap().ino();
        std::fs::rename(&path, directory.path().join("old")).unwrap();
        let new = File::create(&path).unwrap().metadata().unwrap().ino();
        env.process_lock.release();
        env.claim_lock_file().unwrap();
        let other = || FileLock::new(File::options().read(true).open(env.path()).unwrap());
        let claim = |inode| other().claim_identity(inode).unwrap();
        assert!(!claim(new));
        assert!(claim(old));
    }
}
