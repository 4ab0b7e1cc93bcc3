//! Opening an environment: which file is meant, whether it is a store, and then LMDB.

use std::fs::{File, Metadata};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::error::{Error, Result};
use crate::file::fs::{check_same, sync_directory};
use crate::file::lmdb_lock_file;
use crate::file::lmdb_lock_file::Held;
use crate::file::path::{keep_standard_streams, lock_path, resolve};
use crate::file::viewer::shares_lock_file;
use crate::lmdb::claim::{create_or_claim, Claimed};
use crate::lmdb::config::{Config, Sharing};
use crate::lmdb::create;
use crate::lmdb::env::{Env, Tables};
use crate::lmdb::lock_blocks;
use crate::lmdb::lost_locks::{has_own_slots, refuse_lost_locks};
use crate::lmdb::one_flush::OneFlush;
use crate::lmdb::open_tables::open_tables;
use crate::lmdb::raw::{
    check_release, fitting_map_size, into_error, lacks_shared_maps, Environment, Flushes, Handle,
    LockWatch, MetaPages, Settings, SharedCounters,
};
use crate::lmdb::recover::{undo_unfinished, Undone};
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
        let (head, undone) = settle_head(&claimed, &path, &config, deadline)?;
        if config.sharing != Sharing::Temporary {
            held.open_lock_file(&claimed.metadata, config.read_only, deadline)?;
            refuse_lost_locks(&path, &claimed.process_lock, &held)?;
            let alone = claimed.new || config.sharing == Sharing::Alone;
            lock_blocks::allocate(&held, &claimed.process_lock, alone, config.max_readers)?;
        }
        let watch = Arc::new(LockWatch::new(held.lock_file.as_ref()));
        let mut lmdb = open_watched(&path, &config, &head, &watch).map_err(|error| {
            let lock_file = held.lock_file.as_ref();
            let lacks_maps = lacks_shared_maps(&claimed.file, false)
                .or_else(|| lacks_shared_maps(lock_file?.file(), !config.read_only));
            lacks_maps.map_or(error, |lack| Error::io("opening the store", &path, lack))
        })?;
        if config.sharing != Sharing::Temporary {
            held.claim(&claimed.metadata)?;
        }
        let mut tables = open_tables(&mut lmdb, &path, deadline)?;
        if has_own_slots(&lmdb) {
            // Closing LMDB frees them.
            drop(lmdb);
            lmdb = open_watched(&path, &config, &head, &watch)?;
            tables = open_tables(&mut lmdb, &path, deadline)?;
        }
        let one_flush = match flushes(&config, &head) {
            Flushes::Nothing => Some(one_flush(&claimed, &path, &head, undone.as_ref())?),
            Flushes::Both => None,
        };
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
        env.was_checked = undone.is_some() && env.config.check.is_some();
        env.undone_at_open = undone.and_then(|undone| undone.why);
        let undone = u64::from(env.undone_at_open.is_some());
        env.counters.undone.store(undone, Ordering::Relaxed);
        env.finish_opening(&metadata)?;
        if !env.config.read_only && env.config.sharing != Sharing::Temporary {
            env.counters.publish(&metadata);
        }
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
            counters: SharedCounters::new(),
            one_flush: None,
            undone_at_open: None,
            was_checked: false,
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

/// What the file's first pages say, once a commit that was not finished is undone.
fn settle_head(
    claimed: &Claimed,
    path: &Path,
    config: &Config,
    deadline: &Deadline,
) -> Result<(Head, Option<Undone>)> {
    let classify = || classify(&claimed.file, path, config, deadline);
    let head = classify()?;
    if head.unfinished.is_none() {
        return Ok((head, None));
    }
    let lock = &claimed.process_lock;
    let undone = undo_unfinished(lock, path, config, deadline, classify)?;
    Ok((classify()?, undone))
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

fn one_flush(
    claimed: &Claimed,
    path: &Path,
    head: &Head,
    undone: Option<&Undone>,
) -> Result<OneFlush> {
    let pages = MetaPages::new(&claimed.file, head.page_size);
    let pages = pages.map_err(|e| Error::io("opening the store", path, e))?;
    let settled = undone.map_or_else(FlushMark::default, |undone| undone.mark);
    Ok(OneFlush::new(pages, settled))
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

/// Opens LMDB, and watches the map of its lock file.
pub(super) fn open_watched(
    path: &Path,
    config: &Config,
    head: &Head,
    watch: &Arc<LockWatch>,
) -> Result<Environment> {
    let mut lmdb = open_lmdb(path, config, head)?;
    watch.find(&lock_path(path));
    lmdb.set_watch(Arc::clone(watch));
    Ok(lmdb)
}

#[cfg(all(test, not(loom)))]
pub(crate) mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::file::process_lock::FileLock;

    /// A store in `directory`, opened without anything above LMDB.
    pub(crate) fn open(directory: &tempfile::TempDir) -> Arc<Env> {
        open_with_age(directory, std::time::Duration::from_secs(60))
    }

    /// A store that flushes deferred commits after that time.
    pub(crate) fn open_with_age(
        directory: &tempfile::TempDir,
        deferred_age: std::time::Duration,
    ) -> Arc<Env> {
        let config = Config {
            read_only: false,
            map_size: 1 << 20,
            max_readers: 1024,
            lock_wait: std::time::Duration::from_secs(60),
            max_pinned_growth: 0,
            deferred_commits: 1000,
            deferred_age,
            sharing: Sharing::Many,
            check: None,
            damaged_header: false,
        };
        let env = Env::open(&directory.path().join("pool.db"), config);
        Arc::new(env.unwrap())
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
