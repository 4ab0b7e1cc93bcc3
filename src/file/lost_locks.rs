//! Whether every process that has a store open still has LMDB's locks on the `-lock` file.
//!
//! Those are POSIX locks, which a process loses as soon as any code in it closes a descriptor of
//! the file. LMDB takes the process for dead then: it lets others use the pages again that the
//! process reads, and the next program that opens the store begins with an empty reader table.

use std::io;
use std::os::unix::fs::MetadataExt;

use crate::file::process_lock::FileLock;

/// The id of a process that has the store open and has lost its locks, if there is one. This
/// process itself is not looked at, nor is one of which it cannot be known whether it runs: where
/// that process's id is seen as another.
pub(crate) fn process_without_locks(
    data_file: &FileLock,
    lock_file: &FileLock,
) -> io::Result<Option<u32>> {
    for process in data_file.processes_with_lmdb()? {
        // A process that uses another lock file has its locks there.
        if data_file.uses_another_lock_file(lock_file.metadata()?.ino())? {
            return Ok(None);
        }
        // A lock of a process that has ended can be left with a forked child; LMDB's never is.
        if !lock_file.pid_locked_elsewhere(process.pid())? && process.is_running() {
            return Ok(Some(process.pid()));
        }
    }
    Ok(None)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::fs::File;
    use std::path::Path;

    use super::*;

    fn open(path: &Path) -> FileLock {
        FileLock::new(File::options().read(true).write(true).open(path).unwrap())
    }

    #[test]
    fn process_that_runs_without_locks_is_found_until_it_has_them_or_closes_the_store() {
        let (data, lock) = (
            tempfile::NamedTempFile::new().unwrap(),
            tempfile::NamedTempFile::new(),
        );
        let lock = lock.unwrap();
        let [held, probe] = [open(data.path()), open(data.path())];
        let [lmdb, other] = [open(lock.path()), open(lock.path())];
        let find = || process_without_locks(&probe, &other).unwrap();
        let pid = std::process::id();
        assert!(held.claim_process().unwrap());
        assert_eq!(find(), None, "it has not opened LMDB yet");
        held.mark_lmdb_open().unwrap();
        assert_eq!(find(), Some(pid));
        assert!(lmdb.lock_pid().unwrap());
        assert_eq!(find(), None);
        lmdb.release();
        assert_eq!(find(), Some(pid));
        held.release();
        assert_eq!(find(), None);
    }
}
