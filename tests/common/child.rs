//! Child processes: the test program starts itself again and plays a role there.
//!
//! Every test program that uses this has a test named `child_entry` that hands its roles to
//! [`entry`].

use super::{sys, wait_until};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

const ROLE: &str = "PM_TEST_ROLE";
const ARGUMENT: &str = "PM_TEST_ARGUMENT";
/// Marks what a child says; the test harness writes to the same stream.
const MARK: &str = "@: ";
/// No child outlives this: a test that hangs fails.
const LIFETIME_SECONDS: u32 = 120;

/// A child process that plays a role.
pub struct Peer {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// Runs the child's role in a child. In the parent, where there is none to play, checks that
/// children work.
pub fn entry(play: impl FnOnce(&str, &OsStr)) {
    match std::env::var(ROLE) {
        Ok(role) => {
            sys::die_after(LIFETIME_SECONDS);
            let argument = std::env::var_os(ARGUMENT).unwrap();
            match role.as_str() {
                "echo" => say(argument.to_str().unwrap()),
                role => play(role, &argument),
            }
        }
        Err(_) => {
            let mut peer = Peer::start("echo", "hello");
            assert_eq!(peer.hear(), "hello");
            peer.finish();
        }
    }
}

/// In the child: says something to the parent.
pub fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{MARK}{line}").unwrap();
    out.flush().unwrap();
}

/// In the child: waits for a line from the parent; `None` when it has no more to say.
pub fn listen() -> Option<String> {
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line).unwrap();
    (read > 0).then(|| line.trim_end().to_owned())
}

/// In the child: waits for the parent to say in how many microseconds it is to die. It hears
/// nothing then.
pub fn dies() {
    say("ready");
    sys::die_after_micros(listen().unwrap().parse().unwrap());
}

/// Starts a child in that role, which [`dies`] so soon, and waits for its end.
pub fn start_and_kill(role: &str, argument: impl AsRef<OsStr>, micros: u64) {
    let mut peer = Peer::start(role, argument);
    peer.expect("ready");
    peer.tell(&micros.to_string());
    peer.outlive();
}

/// The command that starts a child in that role.
pub fn command(role: &str, argument: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "child_entry", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env(ARGUMENT, argument)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
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

    /// The next line that the child says; `None` when it has gone.
    pub fn try_hear(&mut self) -> Option<String> {
        let mut line = Vec::new();
        loop {
            line.clear();
            if self.output.read_until(b'\n', &mut line).unwrap() == 0 {
                return None;
            }
            let text = String::from_utf8_lossy(&line);
            // A line that the child did not finish was not said.
            if let (Some((_, said)), true) = (text.split_once(MARK), text.ends_with('\n')) {
                return Some(said.trim_end().to_owned());
            }
        }
    }

    /// The next line that the child says.
    pub fn hear(&mut self) -> String {
        self.try_hear().expect("the child has gone")
    }

    /// Waits until the child says this.
    pub fn expect(&mut self, line: &str) {
        assert_eq!(self.hear(), line);
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

    pub fn signal(&self, signal: i32) {
        sys::kill(self.child.id(), signal);
    }

    /// Stops the child, which uses a store with that lock file; `false` if that was in a moment in
    /// which it has a lock of LMDB's own there. Such a lock is waited for without end, which
    /// docs/design.md says: who gets it goes on at once, unless it is stopped. This process may
    /// not have the store open.
    pub fn stop(&self, lock_file: &Path) -> bool {
        self.signal(libc::SIGSTOP);
        let mut threads = Vec::new();
        wait_until("all of it to stand still", || {
            threads = self.threads();
            threads.iter().all(|(_, state)| "TZX".contains(*state))
        });
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

    /// The child's threads and the states that they are in.
    fn threads(&self) -> Vec<(u32, char)> {
        let listed = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let state = |thread: fs::DirEntry| {
            // One that has ended meanwhile cannot be read, and has none.
            let facts = fs::read_to_string(thread.path().join("stat")).ok()?;
            let (_, after_name) = facts.rsplit_once(") ")?;
            let number = thread.file_name().to_str()?.parse().ok()?;
            Some((number, after_name.chars().next()?))
        };
        listed.filter_map(|thread| state(thread.unwrap())).collect()
    }

    /// Kills the child with SIGKILL and returns what it had still said.
    pub fn kill(mut self) -> Vec<String> {
        self.signal(libc::SIGKILL);
        let mut said = Vec::new();
        while let Some(line) = self.try_hear() {
            said.push(line);
        }
        self.child.wait().unwrap();
        said
    }

    /// Waits for the child's end, which is the one that [`dies`] brings about.
    pub fn outlive(mut self) {
        while self.try_hear().is_some() {}
        let status = self.child.wait().unwrap();
        assert_eq!(status.signal(), Some(libc::SIGALRM), "it ended by itself");
    }

    /// Waits for the child's end, which has to be a good one.
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
