//! The blocks of LMDB's `-lock` file. LMDB writes to it through a map, where a disk without space
//! is a signal that ends the process, so every block that a write can need is allocated before.
//!
//! That is not enough where the file system writes what is overwritten to new blocks, as btrfs
//! does: there the file gets the flag that has it overwritten in place. Only an empty file takes
//! it, so one that is there already, without the flag, is emptied if nobody uses it.

use std::fs::File;
use std::io;

use crate::error::Result;
use crate::file::lmdb_lock_file::Held;
use crate::file::process_lock::FileLock;
use crate::lmdb::raw::{copies_on_write, is_overwritten_in_place, overwrite_in_place};

/// Allocates the blocks of the lock file, before LMDB opens it. `data_file` carries this process's
/// locks, without an identity yet; `alone` says that it goes on holding the file alone.
pub(crate) fn allocate(
    held: &Held,
    data_file: &FileLock,
    alone: bool,
    max_readers: u32,
) -> Result<()> {
    let Some(lock_file) = &held.lock_file else {
        return Ok(());
    };
    let file = lock_file.file();
    let mut in_place = !copies_on_write(file) || is_overwritten_in_place(file);
    if !in_place {
        // A failure is no reason to fail: with space on the disk, all is well without the flag.
        let _ = set_flag(data_file, alone, lock_file);
        in_place = is_overwritten_in_place(file);
    }
    held.preallocate(max_readers, in_place)
}

fn set_flag(data_file: &FileLock, alone: bool, lock_file: &FileLock) -> io::Result<()> {
    if is_empty(lock_file.file())? {
        return overwrite_in_place(lock_file.file());
    }
    // While this process holds the data file alone, others wait before they open the lock file. A
    // file that was opened for reading cannot be held so.
    if !data_file.claim_alone()? {
        return Ok(());
    }
    // LMDB locks the first byte, in whatever program it is.
    let emptied = || match lock_file.first_byte_locked_elsewhere()? {
        true => Ok(()),
        false => {
            lock_file.file().set_len(0)?;
            overwrite_in_place(lock_file.file())
        }
    };
    let done = emptied();
    if !alone {
        data_file.release_identities()?;
        data_file.claim_use()?;
    }
    done
}

fn is_empty(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.len() == 0)
}
