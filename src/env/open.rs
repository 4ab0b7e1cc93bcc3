//! Opening an environment: which file is meant, whether it is a store, and then LMDB.

use super::filelock::FileLock;
use super::path::{keep_standard_streams, refuse_irregular, resolve};
use super::registry::{Kind, Listed, Registered};
use super::{
    create, error, gate, growth, lockfile, order, places, process, reader, snapshot, usage,
};
use super::{Deadline, Env, Tables, DEVICES, IDS, MIN_MAP_SIZE};
use crate::error::{Error, Result};
use crate::verify::head::{self, Head};
use lmdb::{Environment, EnvironmentFlags};
use std::cell::UnsafeCell;
use std::fs::{File, Metadata};
use std::io;
use std::mem::ManuallyDrop;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::Mutex;
use std::time::Duration;

/// What an environment is opened with; see [`crate::OpenOptions`] for the meaning.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub read_only: bool,
    pub map_size: u64,
    pub max_readers: u32,
    pub lock_wait: Duration,
    pub relaxed: bool,
    pub sharing: Sharing,
    /// Whether a store whose header row is damaged is to be opened all the same.
    pub damaged_header: bool,
}

/// Who else may have the file open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Any number of processes.
    Many,
    /// Nobody: it is being fixed.
    Alone,
    /// Nobody knows of it: a draft, which is only read and needs no lock file.
    Draft,
}

impl Env {
    /// Opens the store at `path`, creating it if it is absent and `config` allows writing.
    pub fn open(path: &Path, config: Config) -> Result<Env> {
        let deadline = Deadline::after(config.lock_wait);
        let path = resolve(path)?;
        if !config.read_only && config.sharing == Sharing::Many {
            create::ensure(&path, &deadline)?;
        }
        let mut claimed = claim_file(&path, &config, &deadline)?;
        let head = look(&claimed.file, &path, &config, &deadline)?;
        // Before LMDB's handle, so that it is given up after that, come what may.
        let mut held = lockfile::Held::new(claimed.registered.take());
        if config.sharing != Sharing::Draft {
            held.prepare(&path, &config, &deadline)?;
        }
        let lmdb = open_lmdb(&path, &config, &head)?;
        if config.sharing != Sharing::Draft {
            held.claim(&path, &claimed.metadata, &deadline)?;
        }
        let tables = open_tables(&lmdb, &path, &deadline)?;
        let metadata = claimed.metadata.clone();
        let env = Env::new(path, config, claimed, head.page_size, lmdb, tables, held);
        env.settle(&metadata)?;
        Ok(env)
    }

    fn new(
        path: PathBuf,
        config: Config,
        claimed: Claimed,
        page_size: u64,
        lmdb: Environment,
        tables: Tables,
        held: lockfile::Held,
    ) -> Env {
        Env {
            tables,
            readers: (0..process::SLOTS)
                .map(|_| UnsafeCell::new(reader::Reader::new()))
                .collect(),
            lmdb: UnsafeCell::new(ManuallyDrop::new(lmdb)),
            path,
            config,
            writer: gate::WriterGate::default(),
            snapshots: snapshot::Count::default(),
            places: places::Line::default(),
            process_lock: claimed.process_lock,
            file: claimed.file,
            known_len: AtomicU64::new(claimed.metadata.len()),
            page_size,
            commits: usage::Commits::new(),
            stamp: process::stamp(),
            state: Default::default(),
            writes_stopped: AtomicBool::new(false),
            held: Mutex::new(Some(held)),
        }
    }

    /// What is left to do once LMDB has the file open.
    fn settle(&self, opened: &Metadata) -> Result<()> {
        let fail = |e| Error::io("opening", &self.path, e);
        check_same(&self.path, opened)?;
        self.close_on_exec().map_err(fail)?;
        match self.config.sharing {
            Sharing::Many => self.claim_lock_file()?,
            Sharing::Alone => {}
            Sharing::Draft => return Ok(()),
        }
        self.clear_dead_readers().map(drop)
    }

    /// LMDB leaves its data descriptor open across `exec` (mdb.c, `mdb_fopen`); a daemon's children
    /// must not get it.
    pub(super) fn close_on_exec(&self) -> io::Result<()> {
        let mut fd = -1;
        // SAFETY: the environment is open; `fd` outlives the call.
        let code = unsafe { lmdb_sys::mdb_env_get_fd(self.raw(), &mut fd) };
        if code != lmdb_sys::MDB_SUCCESS {
            return Err(io::Error::from_raw_os_error(code));
        }
        // SAFETY: sets a flag of a descriptor that LMDB keeps open.
        match unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }
}

/// The data file, and this process's right to it.
struct Claimed {
    file: File,
    metadata: Metadata,
    process_lock: FileLock,
    registered: Option<Registered>,
}

/// Opens the data file and takes part in its use, once nobody has it alone.
fn claim_file(path: &Path, config: &Config, deadline: &Deadline) -> Result<Claimed> {
    let fail = |e| Error::io("opening", path, e);
    deadline.poll("the end of a repair or a restore of the store", || {
        let (file, metadata) = open_file(path, config.read_only, deadline)?;
        let process_lock = FileLock::new(file.try_clone().map_err(fail)?);
        let mut registered = None;
        if config.sharing != Sharing::Draft {
            let kind = match config.sharing {
                Sharing::Alone => Kind::Alone,
                _ => Kind::Store,
            };
            registered = Registered::enter(path, &metadata, kind, deadline)?;
            if registered.is_none() {
                return Ok(None);
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
            // Another file may have taken its place while it was waited for.
            if !claimed || !is_at(path, &metadata).map_err(fail)? {
                return Ok(None);
            }
        }
        Ok(Some(Claimed {
            file,
            metadata,
            process_lock,
            registered,
        }))
    })
}

/// Makes sure that the file is a store, and that its lock file can be one, before LMDB opens them.
fn look(file: &File, path: &Path, config: &Config, deadline: &Deadline) -> Result<Head> {
    let head = if config.damaged_header {
        head::identify_damaged(file, path, deadline)?
    } else {
        head::identify(file, path, deadline)?
    };
    if !config.read_only && head.commits == 0 {
        // Whoever created it may have died before its name was on disk; nothing may be written
        // before it is.
        create::sync_directory(path)?;
    }
    if config.sharing != Sharing::Draft {
        lockfile::check(path, deadline)?;
    }
    Ok(head)
}

/// Opens a file for reading all of it, and refuses one that is open as a store. The path has its
/// links resolved.
pub(crate) fn open_unused(path: &Path, deadline: &Deadline) -> Result<(File, PathBuf)> {
    let path = resolve(path)?;
    let (file, _) = open_file(&path, true, deadline)?;
    refuse_used(&file, &path)?;
    Ok((file, path))
}

/// Refuses a file that is open as a store, here or in another process.
pub(crate) fn refuse_used(file: &File, path: &Path) -> Result<()> {
    let fail = |e| Error::io("opening", path, e);
    let lock = FileLock::new(file.try_clone().map_err(fail)?);
    if lock.used_elsewhere().map_err(fail)? {
        return Err(Error::AlreadyOpen {
            path: path.into(),
            why: "it is open as a store, here or in another process, and may change while it is read; close it first, or make a backup of it and take that",
        });
    }
    Ok(())
}

/// Whether that file is at the path.
pub(super) fn is_at(path: &Path, file: &Metadata) -> io::Result<bool> {
    match std::fs::metadata(path) {
        Ok(now) => Ok((now.dev(), now.ino()) == (file.dev(), file.ino())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Refuses a path at which there is another file than the one that was opened.
pub(super) fn check_same(path: &Path, opened: &Metadata) -> Result<()> {
    let fail = |e| Error::io("opening", path, e);
    if is_at(path, opened).map_err(fail)? {
        return Ok(());
    }
    Err(fail(io::Error::other(
        "the file was replaced by another one; close the store and open it again",
    )))
}

/// Opens the data file for looking at it, and for the locks and the room that LMDB does not care
/// for.
pub(super) fn open_file(
    path: &Path,
    read_only: bool,
    deadline: &Deadline,
) -> Result<(File, Metadata)> {
    let fail = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound => Error::NoSuchFile {
            path: path.into(),
            why: "there is no such file, and reading creates none",
        },
        _ => Error::io("opening the file", path, e),
    };
    // Looked at before it is opened: opening a device or a pipe could have effects.
    let found = std::fs::metadata(path).map_err(fail)?;
    refuse_irregular(path, &found)?;
    Listed::hold(deadline)?.refuse_lock_file(path, &found)?;
    let file = File::options()
        .read(true)
        .write(!read_only)
        .custom_flags(libc::O_CLOEXEC | libc::O_NONBLOCK)
        .open(path)
        .map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    refuse_irregular(path, &metadata)?;
    Ok((file, metadata))
}

pub(super) fn open_lmdb(path: &Path, config: &Config, head: &Head) -> Result<Environment> {
    let mut flags = EnvironmentFlags::NO_SUB_DIR | EnvironmentFlags::NO_TLS;
    flags.set(EnvironmentFlags::READ_ONLY, config.read_only);
    flags.set(EnvironmentFlags::NO_META_SYNC, config.relaxed);
    flags.set(EnvironmentFlags::NO_LOCK, config.sharing == Sharing::Draft);
    let used = (head.last_page + 1) * head.page_size;
    keep_standard_streams();
    let mut builder = Environment::new();
    builder
        .set_flags(flags)
        .set_max_readers(config.max_readers)
        .set_max_dbs(2)
        .set_map_size(fitting_map_size(config.map_size, used, head.page_size)?);
    builder
        .open_with_permissions(path, 0o600)
        .map_err(|e| error::from_lmdb("opening the store", path, e))
}

/// The map size asked for, or as much of it as the address space has room for, in whole pages.
fn fitting_map_size(wanted: u64, used: u64, page_size: u64) -> Result<usize> {
    let least = used.max(MIN_MAP_SIZE).next_multiple_of(page_size);
    let mut size = wanted.max(least).next_multiple_of(page_size);
    loop {
        match usize::try_from(size) {
            Ok(fits) if growth::address_space_for(fits) => return Ok(fits),
            _ if size == least => {
                return Err(Error::NoMemory {
                    what: "mapping the store; raise the limit of the address space",
                })
            }
            _ => size = (size / 2).max(least).next_multiple_of(page_size),
        }
    }
}

/// Opens the databases, which takes a place in LMDB's reader table for a moment: one is waited for.
pub(super) fn open_tables(lmdb: &Environment, path: &Path, deadline: &Deadline) -> Result<Tables> {
    let fail = |e| error::from_lmdb("opening the store's databases", path, e);
    let opened = deadline.poll("a place in LMDB's reader table", || loop {
        match try_open_tables(lmdb) {
            // Another process has made the map larger since this one's was made, in which nothing
            // is in use yet.
            Err(lmdb::Error::MapResized) => lmdb.set_map_size(0).map_err(fail)?,
            Err(lmdb::Error::ReadersFull) => {
                if reader::clear_dead_readers(lmdb, path)? == 0 {
                    return Ok(None);
                }
            }
            tables => return tables.map(Some).map_err(fail),
        }
    });
    opened.map_err(|error| match (error, lmdb.info()) {
        (Error::Timeout { .. }, Ok(info)) => Error::ReadersFull {
            slots: info.max_readers(),
        },
        (error, _) => error,
    })
}

fn try_open_tables(lmdb: &Environment) -> lmdb::Result<Tables> {
    let tables = Tables {
        main: lmdb.open_db(None)?,
        devices: lmdb.open_db(Some(DEVICES))?,
        ids: lmdb.open_db(Some(IDS))?,
    };
    order::install(lmdb, tables.devices)?;
    Ok(tables)
}
