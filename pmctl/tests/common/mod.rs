//! What the tests of pmctl share.
#![allow(dead_code)] // every test program uses a part of it

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::statvfs::{statvfs, FsFlags};
use pool_metadata::{DeviceInfo, DeviceState, Ids, PoolMetadata};
use tempfile::TempDir;

/// A directory with a store in it, which `pmctl` runs on.
pub struct Place {
    pub directory: TempDir,
    pub store: PathBuf,
}

/// A directory in memory, for tests do not depend on how a disk flushes.
const MEMORY: &str = "/dev/shm";

/// In containers, /dev/shm has 64 MiB, and no file there can be started.
fn has_room_and_runs_programs(directory: &str) -> bool {
    const ROOM: u64 = 1 << 30;
    statvfs(directory).is_ok_and(|facts| {
        let free = facts.blocks_available() * facts.fragment_size();
        free >= ROOM && !facts.flags().contains(FsFlags::ST_NOEXEC)
    })
}

/// How a run of `pmctl` ended.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// A command that runs `pmctl` with an empty standard input, and with nothing of this process's
/// environment that could change what it prints.
pub fn pmctl() -> Command {
    let mut command = on_the_terminal();
    command.stdin(Stdio::null());
    command
}

/// A command that runs `pmctl` on this process's own streams, and with nothing of this process's
/// environment that could change what it prints.
pub fn on_the_terminal() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pmctl"));
    command.env_clear().env("LC_ALL", "C");
    // For the tools that it starts, and for `make coverage`.
    for name in ["PATH", "LLVM_PROFILE_FILE"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    command
}

impl Place {
    /// A directory without a store.
    pub fn empty() -> Place {
        let directory = match has_room_and_runs_programs(MEMORY) {
            true => tempfile::tempdir_in(MEMORY).or_else(|_| tempfile::tempdir()),
            false => tempfile::tempdir(),
        };
        let directory = directory.unwrap();
        let store = directory.path().join("pool.db");
        Place { directory, store }
    }

    /// A store as `fill` leaves it.
    pub fn with(fill: impl FnOnce(&PoolMetadata)) -> Place {
        let place = Place::empty();
        let store = PoolMetadata::open(&place.store).unwrap();
        fill(&store);
        store.close().unwrap();
        place
    }

    /// A pool as a snapshotter has it: two bases with snapshots, a device that a crash has left
    /// behind, a faulty one, a free id and a faulty one.
    pub fn pool() -> Place {
        Place::with(|store| {
            add(store, "base", "", 10 << 30, DeviceState::Suspended);
            add(store, "base-2", "", 1 << 20, DeviceState::Activated);
            add(store, "gone", "base", 512, DeviceState::Removed);
            add(store, "snap-1", "base", 10 << 30, DeviceState::Activated);
            add(store, "snap-2", "snap-1", 10 << 30, DeviceState::Activating);
            add(
                store,
                "snap-3",
                "snap-1",
                20 << 30,
                DeviceState::Deactivated,
            );
            store
                .update_device("snap-3", |device| {
                    device.error = b"device or resource busy".to_vec();
                    Ok::<(), pool_metadata::Error>(())
                })
                .unwrap();
            store.mark_faulty("snap-3").unwrap();
            add(store, "snap-3", "snap-1", 20 << 30, DeviceState::Created);
            store.mark_faulty("snap-3").unwrap();
            store.remove_device("gone").unwrap();
        })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs `pmctl` on the store. The output names the directory as `[DIR]`.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Run {
        self.run_with(arguments, b"")
    }

    /// Runs `pmctl` with this on its standard input.
    pub fn run_with<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
        input: &[u8],
    ) -> Run {
        let mut command = pmctl();
        command.env("PM_STORE", &self.store).args(arguments);
        self.finish(command, input)
    }

    /// Runs a command to its end.
    pub fn finish(&self, mut command: Command, input: &[u8]) -> Run {
        let mut child = command
            .current_dir(self.directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        // A child that does not read its input closes the pipe.
        let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().unwrap();
        feeder.join().unwrap();
        Run {
            code: output.status.code().unwrap_or(-1),
            out: self.plain(&output.stdout),
            err: self.plain(&output.stderr),
        }
    }

    fn plain(&self, bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let resolved = self.directory.path().canonicalize().unwrap();
        let text = text.replace(resolved.to_str().unwrap(), "[DIR]");
        text.replace(self.directory.path().to_str().unwrap(), "[DIR]")
    }

    /// Names and contents of everything in the directory.
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let entries = std::fs::read_dir(self.directory.path()).unwrap();
        let mut files: Vec<_> = entries
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.clone(), std::fs::read(&path).unwrap()))
            .collect();
        files.sort();
        files
    }
}

impl Run {
    /// The output of a run that has to end with this code; what it printed as an error otherwise.
    #[track_caller]
    pub fn expect(self, code: i32) -> String {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        self.out
    }

    /// Fails unless the run ended with this code and its messages hold this text.
    #[track_caller]
    pub fn expect_error(self, code: i32, text: &str) {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        assert!(self.err.contains(text), "{}", self.err);
    }
}

pub fn add(store: &PoolMetadata, name: &str, parent: &str, size: u64, state: DeviceState) {
    let mut device = DeviceInfo {
        size,
        state,
        parent_name: parent.into(),
        ..DeviceInfo::new(name)
    };
    store.add_device(&mut device).unwrap();
}

/// Fills an empty store with devices, each a snapshot of the one before it.
pub fn chain(store: &PoolMetadata, number: u32, suffix: &str) {
    let name = |n: u32| format!("n{n:07}{suffix}").into_bytes();
    let devices: Vec<_> = (0..number)
        .map(|n| DeviceInfo {
            device_id: n + 1,
            size: 4096,
            state: DeviceState::Created,
            parent_name: n.checked_sub(1).map_or(Vec::new(), name),
            ..DeviceInfo::new(name(n))
        })
        .collect();
    let devices: Vec<_> = devices.iter().map(DeviceInfo::as_ref).collect();
    let ids = Ids {
        last_id: number,
        ..Ids::default()
    };
    store.import(&devices, &ids).unwrap();
}

/// Opens a store that a command has written, checks it, and returns its devices.
pub fn devices(path: &Path) -> Vec<DeviceInfo> {
    let store = PoolMetadata::open(path).unwrap();
    store.verify().unwrap();
    assert!(store.check(10).unwrap().is_sound());
    let devices = store.walk().unwrap().map(Result::unwrap).collect();
    store.close().unwrap();
    devices
}
