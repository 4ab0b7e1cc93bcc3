//! Small file systems of any kind, each in an image file and mounted for one test.

use super::{directory, skipped, sys};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A mounted file system, unmounted when it is dropped.
pub struct Disk {
    image: TempDir,
    mounted: PathBuf,
}

impl Disk {
    /// Makes a file system of that kind and mounts it with these options. `None`, with a line that
    /// says why, where the programs or the rights for that are missing.
    pub fn mount(kind: &str, megabytes: u64, options: &str) -> Option<Disk> {
        let skipped = |why: &str| {
            skipped(why);
            None
        };
        let image = directory();
        let (file, mounted) = (image.path().join("image"), image.path().join("mounted"));
        let made = File::create(&file).and_then(|made| made.set_len(megabytes << 20));
        made.unwrap();
        std::fs::create_dir(&mounted).unwrap();
        let maker = format!("mkfs.{kind}");
        let quiet = if kind == "ext4" { "-qF" } else { "-q" };
        match run(Command::new(&maker).arg(quiet).arg(&file)) {
            Ok(()) => {}
            Err(why) => return skipped(&format!("{maker} ({why})")),
        }
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("loop,{options}")]);
        match run_with_a_loop_device(mount.arg(&file).arg(&mounted)) {
            Ok(()) => Some(Disk { image, mounted }),
            Err(why) => {
                // Without the directory's random name, so that the line is the same in every run.
                let why = why.replace(&format!("{}: ", mounted.display()), "");
                skipped(&format!("root's right to mount {kind} ({why})"))
            }
        }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mounted
    }

    /// Runs a command on the file system; the reason if it fails.
    pub fn command(&self, line: &str) -> Result<(), String> {
        let mut words = line.split(' ');
        let mut command = Command::new(words.next().unwrap());
        run(command.args(words).arg(&self.mounted))
    }

    /// Unmounts it, and mounts it again without options, which recovers it.
    pub fn mount_again(self) -> Disk {
        self.command("umount").unwrap();
        let mut mount = Command::new("mount");
        mount
            .args(["-o", "loop"])
            .arg(self.image.path().join("image"));
        run_with_a_loop_device(mount.arg(&self.mounted)).unwrap();
        self
    }

    /// Occupies all free space until what is returned is dropped.
    pub fn fill(&self) -> Filler {
        fill(&self.mounted)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = run(Command::new("umount").arg(&self.mounted));
        if let Err(why) = unmounted {
            // Something that a failed test has started still uses it.
            eprintln!("unmounting {}: {why}", self.image.path().display());
            let _ = run(Command::new("umount").arg("-l").arg(&self.mounted));
        }
    }
}

/// A directory with another one below it, whose files are copied to an upper layer when they are
/// opened for writing; unmounted when it is dropped.
pub struct Overlay {
    layers: TempDir,
}

impl Overlay {
    /// Mounts overlayfs over that directory. `None`, with a line that says why, where the rights
    /// for that are missing.
    pub fn over(lower: &Path) -> Option<Overlay> {
        let overlay = Overlay {
            layers: directory(),
        };
        for layer in ["upper", "work", "merged"] {
            std::fs::create_dir(overlay.layer(layer)).unwrap();
        }
        let [upper, work] = ["upper", "work"].map(|layer| overlay.layer(layer));
        let [lower, upper, work] = [lower, &upper, &work].map(|path| path.display());
        let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "overlay", "overlay", "-o", &options]);
        match run(mount.arg(overlay.path())) {
            Ok(()) => Some(overlay),
            Err(why) => {
                let why = why.replace(&format!("{}: ", overlay.path().display()), "");
                skipped(&format!("root's right to mount overlayfs ({why})"));
                None
            }
        }
    }

    fn layer(&self, name: &str) -> PathBuf {
        self.layers.path().join(name)
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.layer("merged")
    }

    /// The directory that gets the copies.
    pub fn upper(&self) -> PathBuf {
        self.layer("upper")
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = run(Command::new("umount").arg("-l").arg(self.path()));
    }
}

/// The ways to a mount namespace of one's own: for any user, in a user namespace, and for root,
/// also in a chroot, where user namespaces are refused.
const WAYS: [&[&str]; 2] = [&["--map-root-user", "--mount"], &["--mount"]];

/// A command that runs `program` where `directory` is mounted read-only. `None`, with a line that
/// says why, where the right or the program for that is missing.
pub fn with_read_only(directory: &Path, program: &Command) -> Option<Command> {
    const MOUNT: &str = "mount --bind \"$1\" \"$1\" && mount -o remount,ro,bind \"$1\" && \
                         shift && exec \"$@\"";
    let command = |way: &[&str], program: &Command| {
        let mut outer = Command::new("unshare");
        outer.args(way).args(["sh", "-c", MOUNT, "sh"]);
        outer.arg(directory).arg(program.get_program());
        outer.args(program.get_args());
        let set = program
            .get_envs()
            .filter_map(|(key, value)| Some((key, value?)));
        outer.envs(set);
        outer
    };
    let probe = Command::new("true");
    let mut why = String::new();
    for way in WAYS {
        match run(&mut command(way, &probe)) {
            Ok(()) => return Some(command(way, program)),
            Err(reason) => why = reason,
        }
    }
    skipped(&format!(
        "a mount namespace, by a user namespace or as root ({why})"
    ));
    None
}

/// Runs a command that needs a loop device. The machine may have few, and other tests, of this
/// checkout or another, have them all for a moment.
fn run_with_a_loop_device(command: &mut Command) -> Result<(), String> {
    const LONGEST: Duration = Duration::from_secs(20);
    let control = || File::options().write(true).open("/dev/loop-control");
    let start = Instant::now();
    loop {
        match run(command.env("LC_ALL", "C")) {
            Err(why) if why.contains("loop device") && start.elapsed() < LONGEST => {
                // Without the right to have one, no wait helps.
                control().map_err(|_| why)?;
                std::thread::sleep(Duration::from_millis(50));
            }
            result => break result,
        }
    }
}

/// Runs a command; the reason if it fails.
fn run(command: &mut Command) -> Result<(), String> {
    let Output { status, stderr, .. } = command.output().map_err(|e| e.to_string())?;
    match status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&stderr).trim().to_owned()),
    }
}

/// Files that occupy all free space of a file system, removed when this is dropped.
pub struct Filler(PathBuf);

/// Occupies all free space of the file system that has `directory`, to the last block.
pub fn fill(directory: &Path) -> Filler {
    let filler = Filler(directory.join("filler"));
    std::fs::create_dir(&filler.0).unwrap();
    // What a file system gives to one file it may refuse to the next, and the other way round.
    let file = |number: u32| File::create(filler.0.join(number.to_string()));
    let files: Vec<_> = (0..4).map(|number| file(number).unwrap()).collect();
    files.iter().for_each(sys::fill_file);
    filler
}

impl Drop for Filler {
    fn drop(&mut self) {
        let removed = std::fs::remove_dir_all(&self.0);
        assert!(removed.is_ok() || std::thread::panicking(), "{removed:?}");
        // Some file systems give the space back only when they write back.
        sys::sync_file_system(self.0.parent().unwrap());
    }
}
