//! Uses a damaged file in a process of its own, and judges what came of it.

use super::kinds::Damaged;
use super::original::{Content, Original};
use super::outcome::Verdict;
use crate::common::{device, sys};
use pool_metadata::{DeviceInfo, Error, OpenOptions, Verify};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The time that a case may take, in seconds of the processor and of the clock; other processes use
/// the processor too.
const PROCESSOR_SECONDS: u64 = 5;
const CLOCK_SECONDS: u32 = 60;
/// Devices that are added to a file that was accepted.
const ADDED: usize = 50;

/// Where cases are tried.
pub struct Bench {
    directory: PathBuf,
    verify: Verify,
    /// A buffer for what a refused file holds afterwards.
    after: Vec<u8>,
}

impl Bench {
    pub fn new(directory: &Path, verify: Verify) -> Bench {
        Bench {
            directory: directory.to_owned(),
            verify,
            after: Vec::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Tries a file in a forked child, and returns the verdict and its reason.
    pub fn try_case(&mut self, original: &Original, damaged: &Damaged) -> (Verdict, String) {
        let (path, lock, report) = (self.path("db"), self.path("db-lock"), self.path("report"));
        let file = self.write(&path, &damaged.file);
        let _ = std::fs::remove_file(&report);
        match &damaged.lock_file {
            Some(bytes) => std::fs::write(&lock, bytes).unwrap(),
            None => drop(std::fs::remove_file(&lock)),
        }
        let ended = sys::in_limited_child(PROCESSOR_SECONDS, CLOCK_SECONDS, || {
            let judged = judge(&path, original, damaged, self.verify);
            judged.unwrap_or_else(|what| {
                let _ = std::fs::write(&report, what);
                Verdict::Wrong
            }) as i32
        });
        let told = std::fs::read_to_string(&report).unwrap_or_default();
        let verdict = match ended {
            Ok(code) => match Verdict::ALL.get(code as usize) {
                Some((verdict, _)) => *verdict,
                None => return (Verdict::Wrong, format!("it ended with {code}")),
            },
            Err(libc::SIGXCPU | libc::SIGALRM) => Verdict::Hung,
            Err(signal) => return (Verdict::Died, format!("signal {signal}")),
        };
        if verdict == Verdict::Refused && self.read(file) != damaged.file {
            return (Verdict::Wrong, "it was refused, and has changed".to_owned());
        }
        (verdict, told.replace('\n', " "))
    }

    /// Overwrites the file of the previous case, which is faster than creating one.
    fn write(&self, path: &Path, bytes: &[u8]) -> File {
        let mut options = File::options();
        let open = options.read(true).write(true).create(true).truncate(false);
        let file = open.open(path).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
        file.write_all_at(bytes, 0).unwrap();
        file
    }

    fn read(&mut self, mut file: File) -> &[u8] {
        self.after.clear();
        file.read_to_end(&mut self.after).unwrap();
        &self.after
    }
}

/// Uses the file as a daemon would. The error says what is wrong with the answers.
fn judge(
    path: &Path,
    original: &Original,
    damaged: &Damaged,
    verify: Verify,
) -> Result<Verdict, String> {
    let open = || {
        OpenOptions::new()
            .verify(verify)
            .lock_wait(Duration::from_secs(2))
            .open(path)
    };
    let store = match open() {
        Ok(store) => store,
        Err(_) => return Ok(Verdict::Refused),
    };
    let said = |doing: &'static str| move |error: Error| format!("{doing}: {error}");
    let content = Content::of(&store).map_err(said("reading"))?;
    let right = match damaged.metas {
        true => &original.contents[..],
        false => &original.contents[..1],
    };
    let Some(which) = right.iter().position(|right| *right == content) else {
        let devices = content.devices.len();
        return Err(format!("it has another content ({devices} devices)"));
    };
    let mut devices = content.devices;
    for device in &devices {
        let got = store.get_device(&device.name).map_err(said("reading"))?;
        if got != *device {
            return Err(format!("a look-up gives {got:?}, a walk {device:?}"));
        }
    }
    for n in 0..ADDED {
        let mut device = DeviceInfo {
            error: vec![b'x'; n % 10 * 1000],
            ..device(format!("added-{:02}", n * 7 % ADDED))
        };
        store.add_device(&mut device).map_err(said("adding"))?;
        devices.push(device);
    }
    devices.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let content = Content::of(&store).map_err(said("reading"))?;
    store.verify().map_err(said("verifying"))?;
    store.close().map_err(said("closing"))?;
    let store = open().map_err(said("opening again"))?;
    store.verify().map_err(said("verifying again"))?;
    let after = Content::of(&store).map_err(said("reading again"))?;
    if after.devices != devices || after != content {
        return Err("what was added is not there, or is not all".to_owned());
    }
    Ok(match which {
        0 => Verdict::Right,
        _ => Verdict::Earlier,
    })
}
