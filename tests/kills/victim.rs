//! Starts processes, kills them, and judges what they have left.

use crate::child::steps::{left, Devices};
use crate::common::rng::Rng;
use crate::common::{devices, peer};
use pool_metadata::{DeviceInfo, PoolMetadata};
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

/// How victims are started.
pub enum Victim {
    This,
    Program(PathBuf),
}

impl Victim {
    pub fn all() -> Vec<Victim> {
        let listed = std::env::var("PM_VICTIMS").unwrap_or_default();
        let programs = listed
            .split_whitespace()
            .map(|path| Victim::Program(path.into()));
        std::iter::once(Victim::This).chain(programs).collect()
    }

    pub fn command(&self, prefix: &str, path: &Path) -> Command {
        match self {
            Victim::This => peer::command("kills::victim", format!("{prefix}:{}", path.display())),
            Victim::Program(program) => {
                let mut command = Command::new(program);
                command.arg(prefix).arg(path);
                command
            }
        }
    }
}

/// What a victim reported before it was killed.
#[derive(Default)]
pub struct Reported {
    pub opened: bool,
    pub done: usize,
}

impl Reported {
    /// Reads reports of at most that many steps, or until the victim has ended.
    fn listen(&mut self, from: &mut ChildStdout, most: usize) {
        let mut byte = [0];
        while self.done < most && from.read(&mut byte).unwrap() == 1 {
            match byte[0] {
                b'O' => self.opened = true,
                b'+' => self.done += 1,
                _ => {}
            }
        }
    }
}

/// Starts a victim, and kills it some time after its start or after some of its steps.
pub fn kill_one(mut command: Command, rng: &mut Rng) -> Reported {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut from = child.stdout.take().unwrap();
    let mut reported = Reported::default();
    let wait = match rng.below(6) {
        0 | 1 => rng.below(12_000),
        // Before the store is open, however fast the machine is.
        2 => rng.below(300),
        _ => {
            reported.listen(&mut from, rng.below(40) as usize);
            rng.below(1500)
        }
    };
    thread::sleep(Duration::from_micros(wait));
    child.kill().unwrap();
    reported.listen(&mut from, usize::MAX);
    let status = child.wait().unwrap();
    assert_eq!(
        status.signal(),
        Some(libc::SIGKILL),
        "the victim ended by itself"
    );
    reported
}

/// The victim's devices that are in the store.
pub fn found(store: &PoolMetadata, prefix: &str) -> Devices {
    let prefix = format!("{prefix}-").into_bytes();
    let all = devices(store).into_iter();
    all.filter(|device| device.name.starts_with(&prefix))
        .map(
            |DeviceInfo {
                 name, state, error, ..
             }| (name, (state, error.len())),
        )
        .collect()
}

/// Fails unless the store holds what the reported steps leave, or those and the next one.
pub fn judge(store: &PoolMetadata, prefix: &str, reported: &Reported) -> Devices {
    let found = found(store, prefix);
    assert!(
        may_be(&found, prefix, reported.done),
        "{prefix}: {} done: {found:?}",
        reported.done
    );
    found
}

pub fn may_be(found: &Devices, prefix: &str, done: usize) -> bool {
    [done, done + 1]
        .map(|steps| left(prefix, steps))
        .contains(found)
}
