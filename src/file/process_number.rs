//! A number for every process, by which one knows itself, and others that live, in locks on a file.
//!
//! It is made of the process id, of the moment when the process began, so that two processes that
//! have the same id one after the other have different numbers, and of the PID namespace, in which
//! they can have it at the same time. A lock can outlive its process, in a forked child that has
//! inherited the descriptor.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A process, as its locks name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessNumber(i64);

/// Process ids are below 2^22 (Linux, `PID_MAX_LIMIT`).
const PID_BITS: u32 = 22;
/// Enough for 21 years, in hundredths of a second.
const START_BITS: u32 = 36;

impl ProcessNumber {
    /// How many numbers there are.
    pub const COUNT: i64 = 1 << (PID_BITS + START_BITS);

    /// This process's. Without `/proc`, it is its id alone.
    pub fn own() -> ProcessNumber {
        let start = running_since(Path::new("/proc/self/stat"));
        ProcessNumber::new(std::process::id(), start.unwrap_or(0))
    }

    /// The number of a process of this one's PID namespace.
    fn new(pid: u32, start: u64) -> ProcessNumber {
        let namespace = std::fs::metadata("/proc/self/ns/pid").map_or(0, |found| found.ino());
        ProcessNumber::of(pid, start, namespace)
    }

    fn of(pid: u32, start: u64, namespace: u64) -> ProcessNumber {
        // An odd number whose bits are spread, so that the product's upper bits are, too.
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        let pid = i64::from(pid) & ((1 << PID_BITS) - 1);
        let moment = start ^ (namespace.wrapping_mul(SPREAD) >> (64 - START_BITS));
        let moment = moment & ((1 << START_BITS) - 1);
        ProcessNumber((moment as i64) << PID_BITS | pid)
    }

    pub fn from_number(number: i64) -> ProcessNumber {
        ProcessNumber(number)
    }

    pub fn number(self) -> i64 {
        self.0
    }

    /// The id of the process, as that process sees it.
    pub fn pid(self) -> u32 {
        (self.0 & ((1 << PID_BITS) - 1)) as u32
    }

    /// Whether the process is known to be running: not if it is in another PID namespace.
    pub fn is_running(self) -> bool {
        let stat = format!("/proc/{}/stat", self.pid());
        running_since(Path::new(&stat))
            .is_some_and(|start| ProcessNumber::new(self.pid(), start) == self)
    }
}

/// When the process with that `stat` file began, in the clock's ticks since the system did; `None`
/// if there is none, or it is ending: it runs no more code then, and loses its locks one by one.
fn running_since(stat: &Path) -> Option<u64> {
    parse(&std::fs::read(stat).ok()?)
}

/// State and start of a process (proc_pid_stat(5)). The name before them, in parentheses, may hold
/// any bytes.
fn parse(stat: &[u8]) -> Option<u64> {
    const STATE: usize = 3;
    const FLAGS: usize = 9;
    const START: usize = 22;
    /// `PF_EXITING` (Linux, sched.h), set before the files of the process are closed.
    const EXITING: u32 = 4;
    let behind_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let mut fields = std::str::from_utf8(&stat[behind_name..])
        .ok()?
        .split_ascii_whitespace();
    let state = fields.next()?;
    let flags: u32 = fields.nth(FLAGS - STATE - 1)?.parse().ok()?;
    let start = fields.nth(START - FLAGS - 1)?.parse().ok()?;
    let has_ended = matches!(state, "Z" | "X") || flags & EXITING != 0;
    (!has_ended).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_is_running_under_its_own_number_only() {
        let own = ProcessNumber::own();
        assert_eq!(own, ProcessNumber::own());
        assert_eq!(own.pid(), std::process::id());
        assert!((0..ProcessNumber::COUNT).contains(&own.number()));
        assert!(own.is_running());
        let earlier = ProcessNumber::from_number(own.number() ^ 1 << PID_BITS);
        assert!(earlier.pid() == own.pid() && !earlier.is_running());
        assert!(!ProcessNumber::new(0, 1).is_running());
    }

    #[test]
    fn processes_of_one_id_and_moment_in_two_namespaces_have_different_numbers() {
        let in_namespace = |namespace| ProcessNumber::of(1, 123_456, namespace);
        let first = in_namespace(4_026_531_836);
        for other in [0, 4_026_531_835, 4_026_531_837, 4_026_532_268] {
            assert_ne!(first, in_namespace(other));
            assert_eq!(in_namespace(other).pid(), 1);
        }
    }

    #[test]
    fn start_is_found_behind_any_name_and_not_of_those_that_end() {
        let stat = |name: &str, state: char| {
            format!("7 ({name}) {state} 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 123456 99 8\n")
        };
        assert_eq!(parse(stat("a", 'S').as_bytes()), Some(123_456));
        assert_eq!(parse(stat("a) Z 1 2 (b", 'R').as_bytes()), Some(123_456));
        assert_eq!(parse(stat("a", 'Z').as_bytes()), None);
        // PF_EXITING among the flags, which are 4194560 above.
        let exiting = stat("a", 'R').replace(" 4194560 ", " 4194564 ");
        assert_eq!(parse(exiting.as_bytes()), None);
        assert_eq!(parse(b"7 (a) S 1 2"), None);
        assert_eq!(parse(b""), None);
    }
}
