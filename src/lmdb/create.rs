//! Creating a store so that a crash at any moment leaves none or a whole one.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::FileExt;
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
use crate::limits::{MIN_MAP_SIZE, PAGE_SIZE};
use crate::sync::deadline::Deadline;
use crate::verify::flush_mark::FlushMark;
use crate::verify::image;
use crate::verify::image::MainRow;

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
            // Its creator has removed it since, because it could not open it. A link that leads
            // nowhere stays.
            Err(Error::FileExists { .. }) if !path.is_symlink() => Ok(None),
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
    let Some(destination) = Destination::new_store(path, deadline)? else {
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
    let mut header = Vec::new();
    Header::default().encode(&mut header)?;
    let header = MainRow::Value {
        key: header::KEY,
        value: &header,
    };
    let tables = Table::ALL.iter().map(|table| MainRow::Table(table.name()));
    let rows = tables.chain([header]).collect();
    let mut image = image::of_rows(PAGE_SIZE, MIN_MAP_SIZE, rows);
    // Its one commit is flushed with the file.
    FlushMark::of(image::COMMIT).put(&mut image, u64::from(PAGE_SIZE));
    let (path, file) = (temp.path(), temp.file());
    file.write_all_at(&image, 0)
        .and_then(|()| write_zeros(file, image.len() as u64, FIRST_LEN))
        .map_err(|e| Error::io("creating the store", path, e))
}
