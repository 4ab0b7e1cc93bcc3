//! LMDB's `-lock` file: that it is one, and that all processes use the same.
//!
//! It holds the reader table, which says what each process reads: without it, a writer would use
//! pages again that are being read.

mod make;

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{fallocate, FallocateFlags};

use crate::error::{Error, Result};
use crate::file::access::Access;
use crate::file::fs::{check_same, is_at};
use crate::file::open_files::{Listed, Registered};
use crate::file::path::{lock_path, refuse_other_owner};
use crate::file::process_lock::FileLock;
use crate::limits::MAX_READERS;
use crate::sync::deadline::Deadline;
use crate::verify::meta;
use make::{open, open_or_make, open_to_write};

/// The first word of a lock file that has been set up.
const MAGIC: [u8; 4] = meta::MAGIC.to_le_bytes();
/// Enough of a file to distinguish a lock file from a data file, whose magic is at 16.
const HEAD_LEN: u64 = 64;

/// Refuses a path at which LMDB would set up its lock file over a file of another kind, or over the
/// lock file that this process has open for a store whose file was moved or deleted.
pub(crate) fn check(store: &Path, deadline: &Deadline) -> Result<()> {
    let path = lock_path(store);
    let list = Listed::hold(deadline)?;
    match find(&path)? {
        None => Ok(()),
        Some(found) => {
            list.refuse_lock_file(&path, &found)?;
            refuse_other_owner(&path, &found, store)?;
            refuse_other_kinds(&path, &found)
        }
    }
}

/// Whether the store has a lock file, or something in the place of one.
pub(crate) fn is_there(store: &Path) -> Result<bool> {
    find(&lock_path(store)).map(|found| found.is_some())
}

/// Shows the store's lock file to `look`, if it is there and this process may write to it.
pub(crate) fn with_shared_lock_file<T>(
    store: &Path,
    deadline: &Deadline,
    look: impl FnOnce(&FileLock) -> io::Result<T>,
) -> Result<Option<T>> {
    let path = lock_path(store);
    let list = Listed::hold(deadline)?;
    let Some(found) = find(&path)? else {
        return Ok(None);
    };
    list.refuse_lock_file(&path, &found)?;
    if !found.is_file() {
        return Err(not_a_lock_file(&path));
    }
    match open_to_write(&path) {
        Err(e) if is_out_of_reach(&e) => Ok(None),
        opened => opened
            .and_then(|file| look(&FileLock::new(file)))
            .map(Some)
            .map_err(|e| Error::io("looking at the lock file", &path, e)),
    }
}

fn find(path: &Path) -> Result<Option<Metadata>> {
    match path.symlink_metadata() {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("examining the lock file", path, e)),
    }
}

/// Refuses a file that is not a lock file. No thread of this process has it open.
fn refuse_other_kinds(path: &Path, found: &Metadata) -> Result<()> {
    if !found.is_file() {
        return Err(not_a_lock_file(path));
    }
    let mut head = Vec::new();
    open(path)
        .and_then(|file| file.take(HEAD_LEN).read_to_end(&mut head))
        .map_err(|e| Error::io("looking at the lock file", path, e))?;
    // LMDB makes the locks in it, which follow these eight bytes, before it writes the magic. A
    // data file begins with zeros, too.
    let unmarked = head.iter().take(8).all(|byte| *byte == 0);
    let data_file = head.get(16..20).is_some_and(|word| word == MAGIC);
    if head.starts_with(&MAGIC) || (unmarked && !data_file) {
        return Ok(());
    }
    Err(not_a_lock_file(path))
}

fn not_a_lock_file(path: &Path) -> Error {
    Error::InvalidPath {
        path: path.into(),
        why: "the store's lock file would be there, and it is not a lock file; move it, or give \
              another path",
    }
}

/// Whether the lock file is not there, or this process may not write to it.
fn is_out_of_reach(error: &io::Error) -> bool {
    const DENIED: [i32; 3] = [libc::EACCES, libc::EPERM, libc::EROFS];
    let denied = |errno| DENIED.contains(&errno);
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error().is_some_and(denied)
}

/// Removes the lock file of a store that another file has replaced. No thread or process can have
/// the new one open yet.
pub(crate) fn discard(store: &Path) -> Result<()> {
    let path = lock_path(store);
    match find(&path)? {
        Some(found) => refuse_other_kinds(&path, &found)?,
        None => return Ok(()),
    }
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("removing the old lock file", &path, e))
        }
        _ => Ok(()),
    }
}

/// This process's claims on the lock file, and what its open has made, dropped when LMDB has closed
/// both files.
pub(crate) struct Held {
    store: PathBuf,
    // Dropped first: no thread of this process may open the lock file again before this descriptor
    // of it is closed.
    pub(crate) lock_file: Option<Arc<FileLock>>,
    registered: Option<Registered>,
    /// What this open has made, until it succeeds.
    made: Made,
}

/// Files that an open has made, which it removes again if it fails.
#[derive(Default)]
struct Made {
    store: Option<Metadata>,
    lock_file: bool,
}

impl Held {
    /// Claims on the store at that path, which is `new_store` if this open has created it; then it
    /// holds it alone until this is dropped or kept.
    pub fn new(store: &Path, new_store: Option<Metadata>) -> Held {
        Held {
            store: store.into(),
            lock_file: None,
            registered: None,
            made: Made {
                store: new_store,
                lock_file: false,
            },
        }
    }

    /// Whether this open has created the store.
    pub fn has_new_store(&self) -> bool {
        self.made.store.is_some()
    }

    /// Keeps what this open has made: it has succeeded.
    pub fn keep(&mut self) {
        self.made = Made::default();
    }

    /// Opens the lock file before LMDB does. No other thread of this process opens it from here on.
    /// A handle that writes makes it if it is not there, for whoever can use the data file.
    pub fn open_lock_file(
        &mut self,
        data_file: &Metadata,
        read_only: bool,
        deadline: &Deadline,
    ) -> Result<()> {
        let path = lock_path(&self.store);
        let fail = |e| Error::io("opening the lock file", &path, e);
        let list = Listed::hold(deadline)?;
        if let Some(found) = find(&path)? {
            list.refuse_lock_file(&path, &found)?;
        }
        let (file, new) = match read_only {
            true => (open_to_write(&path).map_err(fail)?, false),
            false => open_or_make(&path, &Access::of(data_file))?,
        };
        self.made.lock_file = new;
        let found = file.metadata().map_err(fail)?;
        refuse_other_owner(&path, &found, &self.store)?;
        self.registered = Some(list.enter_lock_file(&found));
        self.lock_file = Some(Arc::new(FileLock::new(file)));
        Ok(())
    }

    /// Preallocates all blocks of the lock file, if there is one. With `in_place`, blocks that it
    /// has are as good as new ones.
    pub fn preallocate(&self, max_readers: u32, in_place: bool) -> Result<()> {
        let Some(lock) = &self.lock_file else {
            return Ok(());
        };
        let path = lock_path(&self.store);
        let fail = |e| Error::io("preallocating the lock file", &path, e);
        let size = |slots: u32| SLOT * u64::from(slots) + BEFORE_SLOTS;
        let found = lock.metadata().map_err(fail)?;
        let len = size(max_readers).max(found.len()).min(size(MAX_READERS));
        preallocate(lock.file(), len, in_place).map_err(fail)
    }

    /// Makes sure, once LMDB has the lock file open, that no process uses it for another data file:
    /// both would share the number of the last commit.
    pub fn claim(&self, data_file: &Metadata) -> Result<()> {
        let fail = |e| Error::io("opening the lock file", &lock_path(&self.store), e);
        let agreed = match &self.lock_file {
            Some(lock) => lock.claim_identity(data_file.ino()).map_err(fail)?,
            None => true,
        };
        // After the claim: an open that has made the file and fails removes it, unless it is
        // claimed.
        self.check_in_place()?;
        if agreed {
            return Ok(());
        }
        Err(Error::AlreadyOpen {
            path: self.store.as_path().into(),
            why: "another process uses its -lock file for a store that was here before and was \
                  moved, replaced or deleted; close it there first",
        })
    }

    /// Refuses a lock file that is not the one that was opened first: LMDB has, or would open, a
    /// file other than the one that is locked.
    pub fn check_in_place(&self) -> Result<()> {
        let path = lock_path(&self.store);
        match &self.lock_file {
            Some(lock) => check_same(
                &path,
                &lock
                    .metadata()
                    .map_err(|e| Error::io("examining the lock file", &path, e))?,
            ),
            None => Ok(()),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.remove_made_files();
    }
}

impl Held {
    /// Removes what a failed open has made. Nobody else can have opened the store that it created,
    /// which it holds alone; the lock file may be in use by a process that opened another store
    /// here.
    fn remove_made_files(&mut self) {
        let made = std::mem::take(&mut self.made);
        if let (true, Some(lock)) = (made.lock_file, &self.lock_file) {
            let path = lock_path(&self.store);
            let is_there = || is_at(&path, &lock.metadata()?);
            // LMDB locks the first byte, in whatever program it is.
            let unused = || Ok(lock.claim_alone()? && !lock.first_byte_locked_elsewhere()?);
            if matches!(unused(), io::Result::Ok(true)) && matches!(is_there(), Ok(true)) {
                let _ = std::fs::remove_file(&path);
            }
        }
        if let Some(store) = made.store {
            if matches!(is_at(&self.store, &store), Ok(true)) {
                let _ = std::fs::remove_file(&self.store);
            }
        }
    }
}

/// Bytes of a slot in LMDB's reader table, and at least as many as come before the first (mdb.c:
/// `MDB_reader`, `MDB_txninfo`).
const SLOT: u64 = 64;
const BEFORE_SLOTS: u64 = 1024;

/// Allocates the file's blocks without a change of its length, from which LMDB computes the number
/// of slots.
fn preallocate(file: &File, len: u64, in_place: bool) -> io::Result<()> {
    let len = libc::off_t::try_from(len).map_err(io::Error::other)?;
    loop {
        match fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, len) {
            Err(Errno::EINTR) => {}
            // XFS refuses on a full disk, and a quota refuses, though nothing is to be allocated.
            Err(error @ (Errno::ENOSPC | Errno::EDQUOT)) => {
                return match has_blocks(file, len) {
                    Ok(true) if in_place => Ok(()),
                    _ => Err(error.into()),
                }
            }
            Err(error @ Errno::EIO) => return Err(error.into()),
            // A file system, or a sandbox, that cannot do it: its users have to see to the space.
            _ => return Ok(()),
        }
    }
}

/// Whether the file has blocks for `len` bytes. Nothing but this library makes such a file longer
/// in blocks than in bytes, and it does so from the beginning on.
fn has_blocks(file: &File, len: libc::off_t) -> io::Result<bool> {
    const BLOCK: u64 = 512;
    let allocated = file.metadata()?.blocks().saturating_mul(BLOCK);
    Ok(u64::try_from(len).is_ok_and(|len| allocated >= len))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Between these two moments, a thread that opened the file and closed it again would drop
    /// LMDB's locks.
    #[test]
    fn lock_file_is_not_opened_again_from_before_lmdb_opens_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("pool.db");
        let deadline = Deadline::after(Duration::from_secs(60));
        check(&store, &deadline).unwrap();
        let mut held = Held::new(&store, None);
        held.open_lock_file(&directory.path().metadata().unwrap(), false, &deadline)
            .unwrap();
        let refused =
            |result: Result<()>| assert!(matches!(result, Err(Error::AlreadyOpen { .. })));
        refused(check(&store, &deadline));
        refused(Held::new(&store, None).open_lock_file(
            &directory.path().metadata().unwrap(),
            false,
            &deadline,
        ));
        drop(held);
        check(&store, &deadline).unwrap();
    }

    #[test]
    fn preallocated_lock_file_has_its_blocks_and_its_old_length() {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("pool.db");
        let deadline = Deadline::after(Duration::from_secs(60));
        for len in [0, 100_000] {
            let file = File::create(lock_path(&store)).unwrap();
            file.set_len(len).unwrap();
            let mut held = Held::new(&store, None);
            held.open_lock_file(&directory.path().metadata().unwrap(), false, &deadline)
                .unwrap();
            held.preallocate(1024, true).unwrap();
            let found = file.metadata().unwrap();
            assert_eq!(found.len(), len);
            assert!(found.blocks() * 512 >= len.max(1024 * SLOT), "{found:?}");
        }
    }

    #[test]
    fn replaced_lock_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("pool.db");
        let deadline = Deadline::after(Duration::from_secs(60));
        let mut held = Held::new(&store, None);
        held.open_lock_file(&directory.path().metadata().unwrap(), false, &deadline)
            .unwrap();
        held.check_in_place().unwrap();
        std::fs::rename(lock_path(&store), directory.path().join("old")).unwrap();
        assert!(held.check_in_place().is_err());
        File::create(lock_path(&store)).unwrap();
        assert!(held.check_in_place().is_err());
        let opened = directory.path().metadata().unwrap();
        assert!(held.claim(&opened).is_err());
    }
}
