//! Creating a store so that a crash at any moment leaves none or a whole one.
//!
//! It is made under another name, `<path>.new`, and renamed once it is on disk. A creator that died
//! leaves that file behind; the next one takes it over.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::error::{Error, Result};
use crate::file::fs::{put_in_place, refuse_others, write_zeros};
use crate::file::lmdb_lock_file;
use crate::file::path::{lock_path, refuse_irregular, with_suffix};
use crate::file::process_lock::FileLock;
use crate::file::temp_file::Draft;
use crate::format::header;
use crate::format::header::Header;
use crate::format::table::{DEVICES, IDS};
use crate::limits::MIN_MAP_SIZE;
use crate::lmdb::raw::{into_error, Environment, LmdbResult, PutMode, Settings, WriteTxn};
use crate::sync::deadline::Deadline;
use crate::verify::head;

/// Length of a new file in bytes: its pages, and room for the first commits.
const FIRST_LEN: u64 = 256 << 10;

/// Creates the store at `path` unless something is there already.
pub(crate) fn ensure(path: &Path, deadline: &Deadline) -> Result<()> {
    let draft = with_suffix(path, ".new");
    deadline.poll("another process that creates the store", || {
        if exists(path)? {
            return Ok(Some(()));
        }
        lmdb_lock_file::check(path, deadline)?;
        try_create(path, &draft, deadline)
    })
}

fn exists(path: &Path) -> Result<bool> {
    path.try_exists()
        .map_err(|e| Error::io("looking for the store", path, e))
}

/// One try; `None` if the draft was another creator's, which has finished meanwhile.
fn try_create(path: &Path, draft: &Path, deadline: &Deadline) -> Result<Option<()>> {
    let fail = |e| Error::io("creating the store", path, e);
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(draft)
        .map_err(fail)?;
    let opened = file.metadata().map_err(fail)?;
    refuse_irregular(draft, &opened)?;
    let lock = FileLock::new(file.try_clone().map_err(fail)?);
    let _drafting = lock.lock_writer(draft, deadline)?;
    // Whoever held the lock before may have renamed this very file.
    let current = match std::fs::metadata(draft) {
        Ok(current) => current,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(fail(e)),
    };
    if (current.dev(), current.ino()) != (opened.dev(), opened.ino()) {
        return Ok(None);
    }
    if exists(path)? {
        // Another creator finished before this one made the draft anew.
        if current.len() == 0 {
            let _ = std::fs::remove_file(draft);
        }
        return Ok(None);
    }
    refuse_store(draft, &file, deadline)?;
    let made = write_draft(draft, &file).and_then(|()| put_in_place(draft, path).map_err(fail));
    if let Err(error) = made {
        let _ = std::fs::remove_file(draft);
        // Somebody else's file came to be at the path meanwhile: that is what is there to be
        // opened.
        return if exists(path)? { Ok(None) } else { Err(error) };
    }
    Ok(Some(()))
}

/// Refuses to take over a store that happens to be called like a draft: one that somebody has
/// opened, which drafts never are, or that holds something.
fn refuse_store(draft: &Path, file: &File, deadline: &Deadline) -> Result<()> {
    let written = head::identify(file, draft, deadline).is_ok_and(|head| head.commits > 0);
    if written || lock_path(draft).exists() {
        return Err(Error::InvalidPath {
            path: draft.into(),
            why: "a store is there, under the name that a new one is drafted under; move it, or give another path",
        });
    }
    refuse_others(draft, file)
}

/// Makes an empty store of a draft.
pub(crate) fn fill(draft: &Draft) -> Result<()> {
    write_draft(draft.path(), draft.file())
}

/// Fills the draft with an empty store and flushes it.
fn write_draft(draft: &Path, file: &File) -> Result<()> {
    let fail = |e| Error::io("creating the store", draft, e);
    file.set_len(0).map_err(fail)?;
    // One that was taken over may have been made in another way.
    file.set_permissions(Permissions::from_mode(0o600))
        .map_err(fail)?;
    // LMDB takes a write that a full disk cuts short for any error of a disk: that there is room is
    // seen first.
    write_zeros(file, 0, FIRST_LEN).map_err(fail)?;
    file.set_len(0).map_err(fail)?;
    let mut header = Vec::new();
    Header::default().encode(&mut header)?;
    write_empty(draft, &header).map_err(|e| into_error("creating the store", draft, e))?;
    let len = file.metadata().map_err(fail)?.len();
    write_zeros(file, len, FIRST_LEN).map_err(fail)?;
    file.sync_all().map_err(fail)
}

fn write_empty(path: &Path, header: &[u8]) -> LmdbResult<()> {
    let settings = Settings {
        read_only: false,
        no_meta_sync: false,
        no_lock: true,
        map_size: MIN_MAP_SIZE as usize,
        max_readers: None,
    };
    let lmdb = Environment::open(path, &settings)?;
    let main = lmdb.open_database(None)?;
    for name in [DEVICES, IDS] {
        lmdb.create_database(name)?;
    }
    let mut txn = WriteTxn::begin(&lmdb, main)?;
    txn.put(main, header::KEY, header, PutMode::Replace)?;
    txn.commit()
}
