//! Child processes: `tests/children` has the program that they run, and its roles.

use super::{skipped, sys, wait_until};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

/// A child process that plays a role.
pub struct Peer {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// The command that starts a child in that role.
pub fn command(role: &str, argument: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pm-test-child"));
    command
        .arg(role)
        .arg(argument)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

/// Starts a child in that role, as the first process of a PID namespace. `None`, with a line that
/// says why, where the right or the program for that is missing.
pub fn in_new_pid_namespace(role: &str, argument: impl AsRef<OsStr>) -> Option<Peer> {
    let unshare = |way: &[&str], program: &Command| {
        let mut command = Command::new("unshare");
        command.args(way).args(["--pid", "--fork", "--kill-child"]);
        command.arg(program.get_program()).args(program.get_args());
        command
    };
    // As root, and for any user in a user namespace.
    let ways: [&[&str]; 2] = [&[], &["--map-root-user"]];
    let works = |way: &&&[&str]| {
        let probe = unshare(way, &Command::new("true")).output();
        probe.is_ok_and(|probe| probe.status.success())
    };
    let Some(way) = ways.iter().find(works) else {
        skipped("a PID namespace, as root or by a user namespace, and the program unshare");
        return None;
    };
    let mut command = unshare(way, &command(role, argument));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    Some(Peer::spawn(&mut command).unwrap())
}

/// Starts a child in that role, waits until it listens in `child::dies`, and then for its end.
pub fn start_and_kill(role: &str, argument: impl AsRef<OsStr>, micros: u64) {
    let mut peer = Peer::start(role, argument);
    peer.expect("ready");
    peer.tell(&micros.to_string());
    peer.outlive();
}

impl Peer {
    /// Starts a child in that role.
    pub fn start(role: &str, argument: impl AsRef<OsStr>) -> Peer {
        Peer::spawn(&mut command(role, argument)).unwrap()
    }

    /// Starts what [`command`] made.
    pub fn spawn(command: &mut Command) -> std::io::Result<Peer> {
        let mut child = command.spawn()?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        Ok(Peer {
            child,
            input,
            output,
        })
    }

    /// The next line that the child says; `None` once the child has ended.
    pub fn try_hear(&mut self) -> Option<String> {
        let mut line = Vec::new();
        self.output.read_until(b'\n', &mut line).unwrap();
        // A line without its end is one that the child died over.
        let said = String::from_utf8_lossy(line.strip_suffix(b"\n")?);
        Some(said.into_owned())
    }

    /// The next line that the child says.
    pub fn hear(&mut self) -> String {
        self.try_hear().expect("the child has ended")
    }

    /// Waits until the child says this.
    pub fn expect(&mut self, line: &str) {
        assert_eq!(self.hear(), line);
    }

    /// Says something to the child, which answers this.
    pub fn order(&mut self, line: &str, answer: &str) {
        self.tell(line);
        self.expect(answer);
    }

    /// Says something to the child.
    pub fn tell(&mut self, line: &str) {
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{line}").unwrap();
        input.flush().unwrap();
    }

    /// Whether the child has not ended.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: i32) {
        sys::kill(self.child.id(), signal);
    }

    /// Stops the child, which uses a store with that lock file; `false` if the child holds one of
    /// LMDB's own locks at that moment. Others wait for such a lock without a deadline, as
    /// docs/design.md says: its holder releases it at once unless it is stopped. This process must
    /// not have the store open.
    pub fn stop(&self, lock_file: &Path) -> bool {
        let threads = self.halt();
        let Ok(file) = File::open(lock_file) else {
            return true;
        };
        // LMDB's reader table has its mutex behind two words (mdb.c, `MDB_txbody`), and that begins
        // with its owner.
        const OWNER: u32 = 0x3fff_ffff;
        let mut word = [0; 4];
        let owner = match file.read_exact_at(&mut word, 8) {
            Ok(()) => u32::from_ne_bytes(word) & OWNER,
            Err(_) => 0,
        };
        let sets_up = sys::first_byte_locked_by(&file) == Some(self.child.id());
        !sets_up && threads.iter().all(|(thread, _)| *thread != owner)
    }

    /// Stops the child, wherever it is; its threads.
    pub fn halt(&self) -> Vec<(u32, char)> {
        self.signal(libc::SIGSTOP);
        let mut threads = Vec::new();
        wait_until("all its threads to stop", || {
            threads = self.threads();
            threads.iter().all(|(_, state)| "TZX".contains(*state))
        });
        threads
    }

    /// The child's threads and the states that they are in.
    fn threads(&self) -> Vec<(u32, char)> {
        let listed = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let state = |thread: fs::DirEntry| {
            // A thread that has ended meanwhile cannot be read, and has no state.
            let facts = fs::read_to_string(thread.path().join("stat")).ok()?;
            let (_, after_name) = facts.rsplit_once(") ")?;
            let number = thread.file_name().to_str()?.parse().ok()?;
            Some((number, after_name.chars().next()?))
        };
        listed.filter_map(|thread| state(thread.unwrap())).collect()
    }

    /// Kills the child with SIGKILL and returns the lines that were still unread.
    pub fn kill(mut self) -> Vec<String> {
        self.signal(libc::SIGKILL);
        let mut said = Vec::new();
        while let Some(line) = self.try_hear() {
            said.push(line);
        }
        self.child.wait().unwrap();
        said
    }

    /// Waits for the child's end; fails unless `child::dies` brought it about.
    pub fn outlive(mut self) {
        while self.try_hear().is_some() {}
        let status = self.child.wait().unwrap();
        assert_eq!(status.signal(), Some(libc::SIGALRM), "it ended by itself");
    }

    /// Waits for the child's end; fails unless it succeeded.
    pub fn finish(mut self) {
        let status = self.end();
        assert!(status.success(), "the child ended with {status}");
    }

    fn end(&mut self) -> ExitStatus {
        drop(self.input.take());
        while self.try_hear().is_some() {}
        self.child.wait().unwrap()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
