//! Creating a store so that a crash at any moment leaves none or a whole one.

use std::fs::{File, Metadata};
use std::io;
use std::path::Path;

use crate::error::{Error, Result};
use crate::file::access::Access;
use crate::file::destination::{is_blank, Destination};
use crate::file::fs::write_zeros;
use crate::file::lmdb_lock_file;
use crate::file::open_files::{Kind, Registered};
use crate::file::process_lock::FileLock;
use crate::file::temp_file::TempFile;
use crate::format::header;
use crate::format::header::Header;
use crate::format::table::Table;
use crate::limits::MIN_MAP_SIZE;
use crate::lmdb::raw::{
    check_release, into_error, lacks_shared_maps, Environment, LmdbResult, PutMode, Settings,
    WriteTxn,
};
use crate::sync::deadline::Deadline;

/// Length of a new file in bytes: its pages, and what is preallocated for the first commits.
const FIRST_LEN: u64 = 256 << 10;

/// A store that this process has created and still holds alone, so that nobody else can have opened
/// it.
pub(crate) struct NewStore {
    pub file: File,
    pub alone: FileLock,
    pub registered: Registered,
}

/// Creates the store at `path`, where nothing is or an empty file; `None` if another file is there.
/// Of several creators one makes it, and the others wait for that.
pub(crate) fn ensure(path: &Path, deadline: &Deadline) -> Result<Option<NewStore>> {
    deadline.poll("another process that creates the store", || {
        if is_taken(path)? {
            return Ok(Some(None));
        }
        match try_create(path, deadline) {
            // Another file came to be at the path meanwhile: that is what is there to be opened.
            Err(_) if is_taken(path)? => Ok(Some(None)),
            Ok(None) if is_taken(path)? => Ok(Some(None)),
            tried => Ok(tried?.map(Some)),
        }
    })
}

/// Whether there is a file in whose place no store is created.
fn is_taken(path: &Path) -> Result<bool> {
    match std::fs::metadata(path) {
        Ok(found) => Ok(!is_blank(&found) || lost_content(path, &found)?.is_some()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Error::io("looking for the store", path, e)),
    }
}

/// The error for an empty file that held a store, as its lock file shows: something has emptied
/// it, or a copy to it has failed.
pub(crate) fn lost_content(path: &Path, found: &Metadata) -> Result<Option<Error>> {
    if !is_blank(found) || !lmdb_lock_file::is_there(path)? {
        return Ok(None);
    }
    let what = "the file is empty (0 bytes), and the -lock file beside it shows that it held a \
                store (if not, delete both)";
    Ok(Some(Error::corrupt(what).at(path)))
}

/// One try; `None` if another creator is at it, or has just made it.
fn try_create(path: &Path, deadline: &Deadline) -> Result<Option<NewStore>> {
    let Some(destination) = Destination::vacant(path, deadline)? else {
        return Ok(None);
    };
    let Some(temp) = TempFile::try_create_store(path, deadline)? else {
        return Ok(None);
    };
    // Another creator may have finished before this one made the temporary file.
    if is_taken(path)? {
        return Ok(None);
    }
    fill(&temp)?;
    let fail = |e| Error::io("creating the store", path, e);
    let own = Access::of(&temp.file().metadata().map_err(fail)?);
    destination.pass_access_on(temp.file(), temp.path(), &own)?;
    temp.sync()?;
    let metadata = temp.file().metadata().map_err(fail)?;
    let Some(registered) = Registered::enter(path, &metadata, Kind::Store, deadline)? else {
        return Ok(None);
    };
    let (file, alone) = temp.put_new_store_in_place(&destination)?;
    Ok(Some(NewStore {
        file,
        alone,
        registered,
    }))
}

/// Writes an empty store to a temporary file that is empty.
pub(crate) fn fill(temp: &TempFile) -> Result<()> {
    let (path, file) = (temp.path(), temp.file());
    check_release(path)?;
    let fail = |e| Error::io("creating the store", path, e);
    // LMDB reports a write that a full disk cuts short as any other error of a disk, so that there
    // is enough space is found out first.
    write_zeros(file, 0, FIRST_LEN).map_err(fail)?;
    temp.truncate().map_err(fail)?;
    let mut header = Vec::new();
    Header::default().encode(&mut header)?;
    write_empty(path, &header).map_err(|e| match lacks_shared_maps(file, false) {
        Some(lack) => fail(lack),
        None => into_error("creating the store", path, e),
    })?;
    let len = file.metadata().map_err(fail)?.len();
    write_zeros(file, len, FIRST_LEN).map_err(fail)
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
    for table in Table::ALL {
        lmdb.create_database(table.name())?;
    }
    let mut txn = WriteTxn::begin(&lmdb, main)?;
    txn.put(main, header::KEY, header, PutMode::Replace)?;
    txn.commit()
}
