//! Records what a process does to the files of one directory: every write, every change of a length
//! or a name, every flush, in their order.
//!
//! The process only has to write its progress to the file [`SAID`] there. Bytes that it has written
//! are read back from the file while the writing thread is stopped, and names from the directory,
//! so its memory is never read.
//!
//! By a word there, it can also ask for its next flushes to fail. The system then regards the pages
//! that were to be flushed as written, and writes one of them again only, as a whole, once any of
//! its bytes are written. So from then on writes are recorded as those of whole pages.

use super::ptrace::{self, Call, When};
use super::workload::{FAIL, SAID};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bytes that the system writes to a disk together.
const PAGE: u64 = 4096;

/// Number of a file, in the order of their first appearance.
pub type FileId = usize;

/// What a process did. A flush covers the events before it began; its number is that of the first
/// event that it need not cover.
#[derive(Debug)]
pub enum Event {
    /// Bytes written; `durable` if the call returns only when these bytes are on the disk
    /// (`O_DSYNC`).
    Write {
        file: FileId,
        offset: u64,
        bytes: Vec<u8>,
        durable: bool,
    },
    Length {
        file: FileId,
        len: u64,
    },
    /// Names that one call has added and removed; a rename does both.
    Names {
        given: BTreeMap<String, FileId>,
        taken: BTreeSet<String>,
    },
    Flush {
        file: FileId,
        began: usize,
    },
    /// A flush that the process was told has failed.
    FailedFlush {
        file: FileId,
        began: usize,
    },
    FlushNames {
        began: usize,
    },
    Said(String),
}

/// All events, and the files before them.
#[derive(Default)]
pub struct Recording {
    pub before: Vec<Vec<u8>>,
    pub names: BTreeMap<String, FileId>,
    pub events: Vec<Event>,
    /// What LMDB's lock file held at the end.
    pub lock_file: Vec<u8>,
}

/// Whether a file has no part in the recording: the lock file and the process's words.
fn is_ignored(name: &str) -> bool {
    name == SAID || name.ends_with("-lock")
}

/// Runs the command, and records what it does in that directory. The command must succeed.
pub fn record(directory: &Path, command: &mut Command) -> Recording {
    let directory = directory.canonicalize().unwrap();
    fs::write(directory.join(SAID), "").unwrap();
    let mut recorder = Recorder::new(&directory);
    let status = ptrace::run(command, CALLS, |when, call| recorder.see(when, call)).unwrap();
    assert!(status.success(), "the recorded process: {status}");
    let mut done = recorder.done;
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        if path.to_str().unwrap().ends_with("-lock") {
            done.lock_file = fs::read(path).unwrap();
        }
    }
    done
}

const CALLS: &[libc::c_long] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_creat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_link,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    libc::SYS_openat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_unlinkat,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_copy_file_range,
    libc::SYS_sendfile,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
];

struct Recorder {
    directory: PathBuf,
    /// Device and inode of each file.
    files: BTreeMap<(u64, u64), FileId>,
    /// For each thread in a flush, when it began.
    flushing: BTreeMap<i32, usize>,
    names: BTreeMap<String, FileId>,
    /// Bytes of [`SAID`] that have been read.
    heard: u64,
    /// How many of the next flushes of files fail.
    failing: usize,
    /// Whether any has failed.
    has_failed: bool,
    done: Recording,
}

/// What a descriptor of the process refers to.
enum Target {
    Other,
    Directory,
    File(FileId),
    Said,
}

impl Recorder {
    fn new(directory: &Path) -> Recorder {
        let mut recorder = Recorder {
            directory: directory.into(),
            files: BTreeMap::new(),
            flushing: BTreeMap::new(),
            names: BTreeMap::new(),
            heard: 0,
            failing: 0,
            has_failed: false,
            done: Recording::default(),
        };
        recorder.names = recorder.look();
        for name in recorder.names.keys() {
            let bytes = fs::read(recorder.directory.join(name)).unwrap();
            recorder.done.before.push(bytes);
        }
        // Files were numbered in the order of their names; a second name has no content of its own.
        assert_eq!(recorder.done.before.len(), recorder.files.len());
        recorder.done.names = recorder.names.clone();
        recorder
    }

    fn see(&mut self, when: When, call: &mut Call) {
        let flush = [libc::SYS_fsync, libc::SYS_fdatasync].contains(&call.number);
        if when == When::Before {
            if flush {
                self.flushing.insert(call.thread, self.done.events.len());
            }
            return;
        }
        let began = self.flushing.remove(&call.thread);
        if call.result < 0 {
            return;
        }
        match (call.number, began) {
            (_, Some(began)) => self.flushed(call, began),
            (libc::SYS_write | libc::SYS_writev | libc::SYS_sendfile, _) => {
                self.wrote(call, call.arguments[0], None);
            }
            (libc::SYS_pwrite64 | libc::SYS_pwritev | libc::SYS_pwritev2, _) => {
                self.wrote(call, call.arguments[0], Some(call.arguments[3]));
            }
            (libc::SYS_copy_file_range, _) => {
                assert_eq!(call.arguments[3], 0, "a copy to a place of its own");
                self.wrote(call, call.arguments[2], None);
            }
            (libc::SYS_ftruncate, _) => self.set_length(call),
            (libc::SYS_fallocate, _) => {
                let target = self.target(call, call.arguments[0]);
                assert!(!matches!(target, Target::File(_)), "not recorded");
            }
            (libc::SYS_openat, _) => self.opened(call, call.arguments[2]),
            #[cfg(target_arch = "x86_64")]
            (libc::SYS_open, _) => self.opened(call, call.arguments[1]),
            _ => self.names_changed(),
        }
    }

    fn opened(&mut self, call: &Call, flags: u64) {
        if flags & libc::O_CREAT as u64 != 0 {
            self.names_changed();
        }
        if flags & libc::O_TRUNC as u64 != 0 {
            if let Target::File(file) = self.target(call, call.result as u64) {
                self.done.events.push(Event::Length { file, len: 0 });
            }
        }
    }

    fn flushed(&mut self, call: &mut Call, began: usize) {
        match self.target(call, call.arguments[0]) {
            Target::File(file) if self.failing > 0 => {
                self.failing -= 1;
                self.has_failed = true;
                call.result = -i64::from(libc::EIO);
                self.done.events.push(Event::FailedFlush { file, began });
            }
            Target::File(file) => self.done.events.push(Event::Flush { file, began }),
            Target::Directory => self.done.events.push(Event::FlushNames { began }),
            Target::Said | Target::Other => {}
        }
    }

    /// Notes bytes that were written at that offset, or up to the descriptor's position.
    fn wrote(&mut self, call: &Call, fd: u64, offset: Option<u64>) {
        match self.target(call, fd) {
            Target::File(file) => {
                let len = call.result as u64;
                let before = || position(call.thread, fd) - len;
                let mut offset = offset.unwrap_or_else(before);
                let mut end = offset + len;
                let opened = File::open(descriptor(call.thread, fd)).unwrap();
                if self.has_failed {
                    offset -= offset % PAGE;
                    end = end
                        .next_multiple_of(PAGE)
                        .min(opened.metadata().unwrap().len());
                }
                let mut bytes = vec![0; (end - offset) as usize];
                opened.read_exact_at(&mut bytes, offset).unwrap();
                let flags = field(call.thread, fd, "flags:", 8);
                let durable = flags & libc::O_DSYNC as u64 != 0;
                self.done.events.push(Event::Write {
                    file,
                    offset,
                    bytes,
                    durable,
                });
            }
            Target::Said => self.listen(),
            Target::Directory | Target::Other => {}
        }
    }

    fn listen(&mut self) {
        let said = fs::read(self.directory.join(SAID)).unwrap();
        let new = String::from_utf8(said[self.heard as usize..].to_vec()).unwrap();
        self.heard = said.len() as u64;
        for line in new.lines() {
            if let Some(count) = line.strip_prefix(FAIL) {
                self.failing = count.parse().unwrap();
            }
            self.done.events.push(Event::Said(line.to_owned()));
        }
    }

    fn set_length(&mut self, call: &Call) {
        if let Target::File(file) = self.target(call, call.arguments[0]) {
            let len = call.arguments[1];
            self.done.events.push(Event::Length { file, len });
        }
    }

    fn names_changed(&mut self) {
        let now = self.look();
        if now == self.names {
            return;
        }
        let is_new = |(name, file): &(&String, &FileId)| self.names.get(*name) != Some(file);
        let given = now.iter().filter(is_new);
        let given = given.map(|(name, file)| (name.clone(), *file)).collect();
        let gone = self.names.keys().filter(|name| !now.contains_key(*name));
        let taken = gone.cloned().collect();
        self.done.events.push(Event::Names { given, taken });
        self.names = now;
    }

    /// The names that are in the directory now.
    fn look(&mut self) -> BTreeMap<String, FileId> {
        let entries = fs::read_dir(&self.directory).unwrap();
        let names: BTreeSet<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !is_ignored(name))
            .collect();
        let mut found = BTreeMap::new();
        for name in names {
            // A name that was removed in the meantime is left out.
            if let Ok(metadata) = fs::symlink_metadata(self.directory.join(&name)) {
                let next = self.files.len();
                let file = self.files.entry((metadata.dev(), metadata.ino()));
                found.insert(name, *file.or_insert(next));
            }
        }
        found
    }

    /// Whether the file is a lock file, which may have got its name after it was opened.
    fn is_lock_file(&self, file: &fs::Metadata) -> bool {
        let entries = fs::read_dir(&self.directory).unwrap();
        let mut names = entries.map(|entry| entry.unwrap().path());
        names.any(|path| {
            path.to_str().unwrap().ends_with("-lock")
                && fs::metadata(path).is_ok_and(|found| found.ino() == file.ino())
        })
    }

    fn target(&mut self, call: &Call, fd: u64) -> Target {
        let descriptor = descriptor(call.thread, fd);
        let path = fs::read_link(&descriptor).unwrap();
        if path == self.directory {
            return Target::Directory;
        }
        let name = path.file_name().and_then(|name| name.to_str());
        if path.parent() != Some(&self.directory) {
            return Target::Other;
        }
        match name {
            Some(SAID) => return Target::Said,
            Some(name) if is_ignored(name) => return Target::Other,
            _ => {}
        }
        // A file that was created and not seen yet, if another thread's call came first.
        self.names_changed();
        let metadata = fs::metadata(descriptor).unwrap();
        if self.is_lock_file(&metadata) {
            return Target::Other;
        }
        // A file without a name may get one later.
        let next = self.files.len();
        let file = self.files.entry((metadata.dev(), metadata.ino()));
        Target::File(*file.or_insert(next))
    }
}

fn descriptor(thread: i32, fd: u64) -> PathBuf {
    format!("/proc/{thread}/fd/{fd}").into()
}

/// The descriptor's position in its file.
fn position(thread: i32, fd: u64) -> u64 {
    field(thread, fd, "pos:", 10)
}

fn field(thread: i32, fd: u64, name: &str, base: u32) -> u64 {
    let facts = fs::read_to_string(format!("/proc/{thread}/fdinfo/{fd}")).unwrap();
    let line = facts.lines().find(|line| line.starts_with(name)).unwrap();
    u64::from_str_radix(line[name.len()..].trim(), base).unwrap()
}
