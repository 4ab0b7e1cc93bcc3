//! LMDB's environment: opening and closing it, and what can be asked of it outside transactions.

use std::ffi::{c_char, c_int, c_void, CStr};
use std::fs::File;
use std::mem::ManuallyDrop;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::ptr;
use std::sync::Arc;

use lmdb::EnvironmentFlags;
use lmdb_sys as ffi;
use nix::errno::Errno;

use crate::lmdb::raw::error::LmdbResult;
use crate::lmdb::raw::lock_watch::LockWatch;
use crate::lmdb::raw::value::{check, Database};
use crate::sync::process;

/// What an environment is opened with.
pub(crate) struct Settings {
    pub read_only: bool,
    /// What LMDB flushes when it commits.
    pub flushes: Flushes,
    /// Open no lock file: no other thread or process uses the file.
    pub no_lock: bool,
    pub map_size: usize,
    /// The size of the reader table, if this makes it.
    pub max_readers: u32,
}

/// What LMDB flushes when it commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushes {
    /// The pages, and then the meta page that refers to them.
    Both,
    /// Nothing: its caller does.
    Nothing,
}

/// An open environment, closed when dropped.
///
/// In a forked child it is left as it is: LMDB's handle is the parent's, and closing its
/// descriptors there would drop the locks of a store that the child has opened itself.
pub(crate) struct Environment {
    lmdb: ManuallyDrop<lmdb::Environment>,
    /// The map of its lock file.
    watch: Option<Arc<LockWatch>>,
    /// The process that opened it.
    stamp: u64,
}

/// How much of an environment is in use.
pub(crate) struct Info {
    /// Size of the map in bytes.
    pub map_size: usize,
    /// Pages up to the last one in use.
    pub pages: usize,
    /// LMDB's number of the newest commit.
    pub newest_commit: u64,
    /// Reader slots in all.
    pub max_readers: u32,
    /// Reader slots that were ever used, by all processes.
    pub readers: u32,
}

impl Environment {
    /// Opens the file, creating it with mode 0600 if it is absent.
    pub fn open(path: &Path, settings: &Settings) -> LmdbResult<Environment> {
        let mut flags = EnvironmentFlags::NO_SUB_DIR | EnvironmentFlags::NO_TLS;
        flags.set(EnvironmentFlags::READ_ONLY, settings.read_only);
        flags.set(
            EnvironmentFlags::NO_SYNC,
            settings.flushes == Flushes::Nothing,
        );
        flags.set(EnvironmentFlags::NO_LOCK, settings.no_lock);
        let mut builder = lmdb::Environment::new();
        builder.set_flags(flags).set_max_dbs(3);
        builder.set_map_size(settings.map_size);
        builder.set_max_readers(settings.max_readers);
        let environment = Environment {
            lmdb: ManuallyDrop::new(builder.open_with_permissions(path, 0o600)?),
            watch: None,
            stamp: process::stamp(),
        };
        environment.set_close_on_exec()?;
        Ok(environment)
    }

    /// Has transactions that end ask this whether LMDB may still write to its lock file.
    pub fn set_watch(&mut self, watch: Arc<LockWatch>) {
        self.watch = Some(watch);
    }

    /// Whether LMDB may write to its lock file.
    pub(super) fn lock_file_is_sound(&self) -> bool {
        self.watch.as_ref().is_none_or(|watch| watch.is_sound())
    }

    pub(super) fn raw(&self) -> *mut ffi::MDB_env {
        self.lmdb.env()
    }

    /// Whether this process has opened it, and not one that this process was forked from.
    #[inline]
    pub(super) fn is_own_process(&self) -> bool {
        process::stamp() == self.stamp
    }

    /// Opens a database, which takes a slot in the reader table for a moment.
    pub fn open_database(&self, name: Option<&str>) -> LmdbResult<Database> {
        self.lmdb.open_db(name).map(|db| Database(db.dbi()))
    }

    pub fn info(&self) -> LmdbResult<Info> {
        let info = self.lmdb.info()?;
        Ok(Info {
            map_size: info.map_size(),
            pages: info.last_pgno().saturating_add(1),
            newest_commit: info.last_txnid() as u64,
            max_readers: info.max_readers(),
            readers: info.num_readers(),
        })
    }

    /// Adopts the map size that another process has set. No transaction of the environment exists:
    /// it would borrow the environment, or share it.
    pub fn adopt_map_size(&mut self) -> LmdbResult<()> {
        // SAFETY: no transaction is in use, as the borrow shows.
        unsafe { self.set_map_size(0) }
    }

    /// Replaces the map by one of this size, or of the size that the file asks for if it is zero.
    ///
    /// # Safety
    /// No transaction of this environment is in use in this process (lmdb.h,
    /// `mdb_env_set_mapsize`); reads that were reset may exist.
    pub(super) unsafe fn set_map_size(&self, size: usize) -> LmdbResult<()> {
        self.lmdb.set_map_size(size)
    }

    /// Has an `exec` close LMDB's data descriptor. LMDB opens it so where it was compiled with the
    /// header in `src/lmdb/include`; a build elsewhere may have done without.
    fn set_close_on_exec(&self) -> LmdbResult<()> {
        let mut fd = -1;
        // SAFETY: the environment is open; `fd` outlives the call.
        check(unsafe { ffi::mdb_env_get_fd(self.raw(), &mut fd) })?;
        // SAFETY: sets a flag of a descriptor that LMDB keeps open.
        match unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } {
            -1 => Err(lmdb::Error::Other(Errno::last_raw())),
            _ => Ok(()),
        }
    }

    /// Writes the newest commit to the file, from its descriptor's position on, without the free
    /// pages. It begins a read of its own, and takes a reader slot for it.
    pub fn copy_compacted(&self, to: &File) -> LmdbResult<()> {
        // SAFETY: the environment and the descriptor are open.
        check(unsafe { ffi::mdb_env_copyfd2(self.raw(), to.as_raw_fd(), ffi::MDB_CP_COMPACT) })
    }

    /// Frees the reader slots of processes that died; how many those were.
    pub fn clear_dead_readers(&self) -> LmdbResult<u32> {
        let mut dead = 0;
        // SAFETY: the environment is open; `dead` outlives the call.
        check(unsafe { ffi::mdb_reader_check(self.raw(), &mut dead) })?;
        Ok(dead.unsigned_abs())
    }

    /// Calls `seen` for every read in progress, of whatever process, with the process's id and the
    /// commit that it sees.
    pub fn each_active_reader(&self, mut seen: impl FnMut(u32, u64)) {
        self.each_slot(|process, commit| {
            if let Some(commit) = commit {
                seen(process, commit);
            }
        });
    }

    /// Calls `seen` for every slot in use, with the id of its process, and with the commit that it
    /// sees while a read is in progress.
    ///
    /// LMDB lists its reader table as lines of text, one for each slot in use: process, thread, and
    /// the commit, or a dash while the slot is only kept for the next read.
    pub fn each_slot(&self, mut seen: impl FnMut(u32, Option<u64>)) {
        unsafe extern "C" fn line<F: FnMut(u32, Option<u64>)>(
            text: *const c_char,
            seen: *mut c_void,
        ) -> c_int {
            // SAFETY: LMDB passes a string that lives for the call, and the pointer that
            // `mdb_reader_list` was given.
            let (text, seen) = unsafe { (CStr::from_ptr(text), &mut *seen.cast::<F>()) };
            // The table's headings are not numbers.
            if let Some((process, commit)) = slot(text.to_bytes()) {
                seen(process, commit);
            }
            0
        }
        fn call_of<F: FnMut(u32, Option<u64>)>(
            _: &F,
        ) -> unsafe extern "C" fn(*const c_char, *mut c_void) -> c_int {
            line::<F>
        }
        let line = call_of(&seen);
        // SAFETY: the environment is open; `line` is of the type of `seen`, which outlives the
        // call.
        unsafe { ffi::mdb_reader_list(self.raw(), Some(line), (&raw mut seen).cast()) };
    }

    /// Begins a transaction; LMDB frees it when it ends.
    pub(super) fn begin(&self, flags: libc::c_uint) -> LmdbResult<ptr::NonNull<ffi::MDB_txn>> {
        let mut txn = ptr::null_mut();
        // SAFETY: the environment is open; `txn` outlives the call.
        check(unsafe { ffi::mdb_txn_begin(self.raw(), ptr::null_mut(), flags, &mut txn) })?;
        ptr::NonNull::new(txn).ok_or(lmdb::Error::BadTxn)
    }
}

/// Process and commit of a line in LMDB's list of its reader table, if it is of a slot.
fn slot(line: &[u8]) -> Option<(u32, Option<u64>)> {
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    let process = words.next()?.parse().ok()?;
    match words.nth(1)? {
        "-" => Some((process, None)),
        commit => Some((process, Some(commit.parse().ok()?))),
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        if self.is_own_process() {
            // SAFETY: it is not used again.
            unsafe { ManuallyDrop::drop(&mut self.lmdb) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_slots_have_a_process_and_those_of_reads_a_commit() {
        assert_eq!(slot(b"      4242 7f00 17\n"), Some((4242, Some(17))));
        assert_eq!(slot(b"      4242 7f00 -\n"), Some((4242, None)));
        assert_eq!(slot(b"    pid     thread     txnid\n"), None);
        assert_eq!(slot(b"(no active readers)\n"), None);
    }
}
