//! Which processes have a store open, and what they publish of it.
//!
//! A process is known by its descriptors: that of the file in memory that has its counters, or that
//! of the data file. A forked child and a handle that was closed have the data file open as well,
//! and where this process may not look at descriptors it sees none. So `/proc/locks` is asked too:
//! LMDB has a lock on the first byte of the `-lock` file for as long as it has the store open.

use std::collections::BTreeSet;
use std::fs::{self, DirEntry, File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::sys::stat::{major, minor};
use nix::unistd::Pid;

use crate::error::{Error, Result};
use crate::file::path::{lock_path, resolve};
use crate::file::published::{self, since_boot, Found};
use crate::histogram::Counters;
use crate::stats::{ProcessCounts, ProcessStats, Uncounted};

/// What is known of a process that has the store open.
type Counts = std::result::Result<ProcessCounts, Uncounted>;

/// The processes that have the store at that path open, in the order of their ids; this one too.
pub(crate) fn find(path: &Path) -> Result<Vec<ProcessStats>> {
    let path = resolve(path)?;
    let store = Inode::of(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::NoSuchFile {
            path: path.as_path().into(),
            why: "the file does not exist",
        },
        _ => Error::io("looking at the file", &path, error),
    })?;
    let users = Inode::of(&lock_path(&path)).ok();
    let users = users.and_then(|lock_file| lock_file.users());
    let running = numbers_in(Path::new("/proc")).unwrap_or_default();
    if running.is_empty() {
        return Err(Error::NoSuchFile {
            path: Path::new("/proc").into(),
            why: "processes are found there, with what they have open; mount it",
        });
    }
    let with_locks = users.iter().flatten().copied();
    let pids: BTreeSet<_> = running.into_iter().chain(with_locks).collect();
    let found = pids.into_iter().filter_map(|pid| {
        let uses = users.as_ref().map(|users| users.contains(&pid));
        let counts = match Descriptors::of(pid, &store, uses) {
            Ok(descriptors) => descriptors.counts()?,
            Err(_) if uses == Some(true) && exists(pid) => Err(Uncounted::NotPermitted),
            Err(_) => return None,
        };
        Some(ProcessStats { pid, counts })
    });
    Ok(found.collect())
}

/// A file, as calls and as `/proc` show it: on btrfs and overlayfs in two ways.
struct Inode {
    device: u64,
    inode: u64,
    /// The number that the descriptors in `/proc` have; not before Linux 5.14.
    shown: Option<u64>,
    /// Device and number in `/proc/locks`, if that is known.
    in_locks: Option<String>,
}

impl Inode {
    fn of(path: &Path) -> io::Result<Inode> {
        // Opened for no access: closing it drops none of the locks that this process has on it.
        let mut options = File::options();
        let file = options.read(true).custom_flags(libc::O_PATH).open(path)?;
        let metadata = file.metadata()?;
        let (device, inode) = (metadata.dev(), metadata.ino());
        let facts = format!("/proc/self/fdinfo/{}", file.as_raw_fd());
        let facts = text_of(facts).unwrap_or_default();
        let shown = number_after(&facts, "ino:");
        let mounts = text_of("/proc/self/mountinfo").unwrap_or_default();
        let mount = number_after(&facts, "mnt_id:").and_then(|id| device_of_mount(&mounts, id));
        let in_locks = mount.and_then(|mount| {
            // Where the device is the same, so is the number.
            let is_plain = mount == (major(device), minor(device));
            let number = shown.or(is_plain.then_some(inode))?;
            Some(format!("{:02x}:{:02x}:{number}", mount.0, mount.1))
        });
        Ok(Inode {
            device,
            inode,
            shown,
            in_locks,
        })
    }

    fn is(&self, file: &Metadata) -> bool {
        (file.dev(), file.ino()) == (self.device, self.inode)
    }

    /// Whether that descriptor of a process may be of this file. Asking a file system that does not
    /// answer would wait for it, so only what the kernel knows by itself is asked first.
    fn may_be(&self, pid: u32, descriptor: &DirEntry) -> bool {
        let number = descriptor.file_name();
        let facts = format!("/proc/{pid}/fdinfo/{}", number.to_string_lossy());
        let number = text_of(facts).map(|facts| number_after(&facts, "ino:"));
        match (number, self.shown) {
            (Ok(Some(number)), Some(shown)) => number == shown,
            (Ok(_), _) => true,
            (Err(_), _) => false,
        }
    }

    /// The processes that have LMDB's lock on this file, its lock file; `None` if the system does
    /// not say.
    fn users(&self) -> Option<BTreeSet<u32>> {
        let file = self.in_locks.as_ref()?;
        let locks = text_of("/proc/locks").ok()?;
        let user = |line| user_of_lock(line, file);
        Some(locks.lines().filter_map(user).collect())
    }
}

/// The text of a file in `/proc`. Names of processes and mounts in it may have any bytes.
fn text_of(path: impl AsRef<Path>) -> io::Result<String> {
    let bytes = fs::read(path)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The number behind the first word of a line.
fn number_after(text: &str, word: &str) -> Option<u64> {
    let mut lines = text.lines();
    let rest = lines.find_map(|line| line.strip_prefix(word))?;
    rest.trim().parse().ok()
}

/// The device of a mount, in `/proc/self/mountinfo`: "36 35 98:0 / /mnt rw ...".
fn device_of_mount(mounts: &str, id: u64) -> Option<(u64, u64)> {
    let id = id.to_string();
    let mut words = mounts.lines().map(str::split_ascii_whitespace);
    let mut mount = words.find(|words| words.clone().next() == Some(&id))?;
    let (major, minor) = mount.nth(2)?.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The process of a line in `/proc/locks` ("7: POSIX ADVISORY READ 4711 fd:01:1310 0 0"), if that
/// is LMDB's lock on the file.
fn user_of_lock(line: &str, file: &str) -> Option<u32> {
    let words: Vec<_> = line.split_ascii_whitespace().collect();
    match words[..] {
        [_, "POSIX", _, _, pid, locked, "0", "0"] if locked == file => pid.parse().ok(),
        _ => None,
    }
}

/// The names in a directory that are numbers.
fn numbers_in(directory: &Path) -> io::Result<Vec<u32>> {
    let entries = fs::read_dir(directory)?.flatten();
    let number = |entry: DirEntry| entry.file_name().to_str()?.parse().ok();
    Ok(entries.filter_map(number).collect())
}

/// Whether there is such a process, which may be another user's.
fn exists(pid: u32) -> bool {
    let pid = i32::try_from(pid).map(Pid::from_raw);
    pid.is_ok_and(|pid| kill(pid, None) != Err(Errno::ESRCH))
}

/// What a process has open of a store.
#[derive(Default)]
struct Descriptors {
    /// The data file, and whether it is open for writing.
    data_file: Option<bool>,
    /// Its own counters, those of the last time that it opened the store.
    counters: Option<(u64, Box<Counters>)>,
    has_other_layout: bool,
}

impl Descriptors {
    /// Fails if this process may not look, or the other one has ended. `uses` is whether LMDB has
    /// its lock there, if that is known: where it has none, a data file that is open means nothing,
    /// and to look for it would take most of the time.
    fn of(pid: u32, store: &Inode, uses: Option<bool>) -> io::Result<Descriptors> {
        let seeks_file = uses != Some(false);
        let mut found = Descriptors::default();
        for descriptor in fs::read_dir(format!("/proc/{pid}/fd"))?.flatten() {
            // What was closed meanwhile has no link any more.
            let link = descriptor.path();
            match fs::read_link(&link) {
                Ok(target) if target == Path::new(published::LINK) => {
                    found.enter_counters(pid, &link, store);
                }
                Ok(target)
                    if seeks_file && target.is_absolute() && store.may_be(pid, &descriptor) =>
                {
                    found.enter_file(&link, store);
                }
                _ => {}
            }
        }
        Ok(found)
    }

    fn enter_counters(&mut self, pid: u32, link: &Path, store: &Inode) {
        let mut options = File::options();
        // Something else may have got that number: a pipe is not to be waited for.
        options.read(true);
        options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
        let Ok(file) = options.open(link) else {
            return;
        };
        match published::read(&file) {
            Found::Counters(owner, counters) => {
                let is_of_store = (owner.device, owner.inode) == (store.device, store.inode);
                let last = self.counters.as_ref().map_or(0, |counters| counters.0);
                // A forked child has its parent's.
                if is_of_store && owner.opened >= last && is_called(pid, owner.pid) {
                    self.counters = Some((owner.opened, counters));
                }
            }
            Found::OtherLayout => self.has_other_layout = true,
            Found::Nothing => {}
        }
    }

    fn enter_file(&mut self, link: &Path, store: &Inode) {
        // The mode of the link is how the descriptor was opened.
        const FOR_WRITING: u32 = 0o200;
        let (Ok(file), Ok(descriptor)) = (fs::metadata(link), fs::symlink_metadata(link)) else {
            return;
        };
        if store.is(&file) {
            let writes = descriptor.mode() & FOR_WRITING != 0;
            self.data_file = Some(self.data_file.unwrap_or(false) || writes);
        }
    }

    /// What is known of the process, if it has the store open.
    fn counts(self) -> Option<Counts> {
        if let Some((opened, counters)) = self.counters {
            return Some(Ok(read(opened, &counters)));
        }
        let writes = self.data_file?;
        Some(Err(match self.has_other_layout {
            true => Uncounted::OtherLayout,
            false if writes => Uncounted::NotPublished,
            false => Uncounted::ReadsOnly,
        }))
    }
}

fn read(opened: u64, counters: &Counters) -> ProcessCounts {
    ProcessCounts {
        open_for: Duration::from_nanos(since_boot().saturating_sub(opened)),
        commit_operations: counters.operations.read(),
        commit_nanoseconds: counters.nanoseconds.read(),
        flushes: counters.flushes.load(Ordering::Relaxed),
        undone_commits: counters.undone.load(Ordering::Relaxed),
        deferred_commits: counters.deferred.load(Ordering::Relaxed),
    }
}

/// Whether the process that has the id `pid` here has the other one for itself, in its own PID
/// namespace. Systems before Linux 4.1 do not say so.
fn is_called(pid: u32, own: u32) -> bool {
    let status = text_of(format!("/proc/{pid}/status")).unwrap_or_default();
    own_id(&status).unwrap_or(pid) == own
}

/// The last of the ids in `/proc/PID/status`, which is that in the innermost namespace.
fn own_id(status: &str) -> Option<u32> {
    let ids = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?;
    ids.split_ascii_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_read_from_the_locks_of_one_file() {
        let user = |line| user_of_lock(line, "fd:01:1310");
        let line = "7: POSIX  ADVISORY  READ 4711 fd:01:1310 0 0";
        assert_eq!(user(line), Some(4711));
        for other in [
            "7: POSIX  ADVISORY  READ 4711 fd:01:13100 0 0",
            "7: POSIX  ADVISORY  READ 4711 fd:02:1310 0 0",
            "7: POSIX  ADVISORY  WRITE 4711 fd:01:1310 4711 4711",
            "7: FLOCK  ADVISORY  READ 4711 fd:01:1310 0 EOF",
            "7: OFDLCK ADVISORY  READ -1 fd:01:1310 0 0",
            "7: -> POSIX  ADVISORY  READ 4711 fd:01:1310 0 0",
            "7: POSIX",
            "",
        ] {
            assert_eq!(user(other), None, "{other}");
        }
    }

    #[test]
    fn facts_of_descriptors_mounts_and_processes_are_read() {
        let facts = "pos:\t0\nflags:\t0100000\nmnt_id:\t24\nino:\t3\n";
        assert_eq!(number_after(facts, "mnt_id:"), Some(24));
        assert_eq!(number_after(facts, "ino:"), Some(3));
        assert_eq!(number_after("pos:\t0\nino:\tx\n", "ino:"), None);
        let mounts = "24 1 254:0 / / rw - ext4 /dev/vda rw\n240 1 0:25 / /a rw - tmpfs - rw\n";
        assert_eq!(device_of_mount(mounts, 24), Some((254, 0)));
        assert_eq!(device_of_mount(mounts, 240), Some((0, 25)));
        assert_eq!(device_of_mount(mounts, 2), None);
        let status = "Name:\ta\nNSpid:\t4711\t17\t1\nNSsid:\t9\n";
        assert_eq!(own_id(status), Some(1));
        assert_eq!(own_id("Name:\ta\nNSpid:\n"), None);
        assert!(is_called(std::process::id(), std::process::id()));
        assert!(exists(std::process::id()) && !exists(u32::MAX) && !exists(0x7fff_ffff));
    }

    #[test]
    fn name_that_is_no_utf_8_hides_no_other_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, b"24 1 8:16 / /media/\xfc rw\n25 1 8:1 / / rw\n").unwrap();
        assert_eq!(device_of_mount(&text_of(&file).unwrap(), 25), Some((8, 1)));
    }

    #[test]
    fn file_is_the_same_by_every_name_and_no_other_is() {
        let directory = tempfile::tempdir().unwrap();
        let [one, other, link] = ["one", "other", "link"].map(|name| directory.path().join(name));
        let opened = [&one, &other].map(|path| File::create(path).unwrap());
        fs::hard_link(&one, &link).unwrap();
        let inode = Inode::of(&link).unwrap();
        assert!(inode.is(&opened[0].metadata().unwrap()));
        assert!(!inode.is(&opened[1].metadata().unwrap()));
        let found = Descriptors::of(std::process::id(), &inode, None).unwrap();
        assert_eq!(found.data_file, Some(true));
        drop(opened);
        let _reader = File::open(&one).unwrap();
        let found = Descriptors::of(std::process::id(), &inode, None).unwrap();
        assert_eq!(found.data_file, Some(false));
        let other = Descriptors::of(std::process::id(), &Inode::of(&other).unwrap(), None);
        assert_eq!(other.unwrap().data_file, None);
        let unused = Descriptors::of(std::process::id(), &inode, Some(false));
        assert_eq!(unused.unwrap().data_file, None);
    }
}
