//! Opening the databases in a file that LMDB has open.

use std::path::Path;

use crate::error::{Error, Result};
use crate::format::table::Table;
use crate::lmdb::env::Tables;
use crate::lmdb::raw::{into_error, Environment, LmdbError, LmdbResult};
use crate::sync::deadline::Deadline;

/// Opens the databases, which takes a slot in LMDB's reader table for a moment: if the table is
/// full, a slot is waited for.
pub(crate) fn open_tables(
    lmdb: &mut Environment,
    path: &Path,
    deadline: &Deadline,
) -> Result<Tables> {
    let fail = |e| into_error("opening the store's databases", path, e);
    let opened = deadline.poll("a slot in LMDB's reader table", || loop {
        match try_open_tables(lmdb) {
            // Another process has made the map larger since this one's was made, in which nothing
            // is in use yet.
            Err(LmdbError::MapResized) => lmdb.adopt_map_size().map_err(fail)?,
            Err(LmdbError::ReadersFull) => {
                let dead = lmdb.clear_dead_readers();
                if dead.map_err(|e| into_error("clearing dead readers", path, e))? == 0 {
                    return Ok(None);
                }
            }
            // LMDB's lock for this process's id.
            Err(LmdbError::Other(libc::EAGAIN | libc::EACCES)) => {
                return Err(Error::another_namespace(path))
            }
            tables => return tables.map(Some).map_err(fail),
        }
    });
    opened.map_err(|error| match (error, lmdb.info()) {
        (Error::Timeout { .. }, Ok(info)) => Error::ReadersFull {
            slots: info.max_readers,
        },
        (error, _) => error,
    })
}

fn try_open_tables(lmdb: &Environment) -> LmdbResult<Tables> {
    let open = |table: Table| lmdb.open_database(Some(table.name()));
    let tables = Tables {
        main: lmdb.open_database(None)?,
        devices: open(Table::Devices)?,
        ids: open(Table::Ids)?,
        journal: match open(Table::Journal) {
            Err(LmdbError::NotFound) => None,
            opened => Some(opened?),
        },
    };
    lmdb.order_keys(tables.devices)?;
    Ok(tables)
}
