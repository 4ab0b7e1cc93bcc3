//! The child's side of a conversation: the parent's is a `Peer`.

use super::sys;
use std::io::{BufRead, Write};

/// Sends a line to the parent.
pub fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

/// Waits for a line from the parent; `None` once the parent has closed the pipe.
pub fn listen() -> Option<String> {
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line).unwrap();
    (read > 0).then(|| line.trim_end().to_owned())
}

/// Waits for the parent to say after how many microseconds this process is to die, of a signal.
pub fn dies() {
    say("ready");
    sys::die_after_micros(listen().unwrap().parse().unwrap());
}
