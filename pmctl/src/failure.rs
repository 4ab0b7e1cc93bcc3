//! Why a command failed, the exit code that says so, and what the operator can do about it.

use std::io;

use pool_metadata::Error;

use crate::text;

/// All done, and nothing is wrong.
pub const FINE: u8 = 0;
/// Something is wrong with what the store holds, or a device is not there, or a change was refused.
pub const PROBLEM: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 2;
/// The store, or another file, cannot be used.
pub const UNUSABLE: u8 = 3;

/// Why a command ended early.
#[derive(Debug)]
pub enum Failure {
    /// Exit code 1.
    Problem(String),
    /// Exit code 2.
    Usage(String),
    /// Exit code 3.
    Unusable(String),
    /// Whoever read the output has gone, as `head` does: no failure of this program.
    OutputClosed,
}

pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    pub fn problem(message: impl Into<String>) -> Failure {
        Failure::Problem(message.into())
    }

    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::Usage(message.into())
    }

    pub fn unusable(message: impl Into<String>) -> Failure {
        Failure::Unusable(message.into())
    }

    /// The failure of writing to standard output.
    pub fn of_output(error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::unusable(format!("the output cannot be written: {error}")),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let message = match advice(&error) {
            Some(advice) => format!("{error}\n{advice}"),
            None => error.to_string(),
        };
        match error {
            Error::NotFound { .. }
            | Error::AlreadyExists { .. }
            | Error::IdentityChanged { .. }
            | Error::InvalidName { .. }
            | Error::TooLong { .. }
            | Error::IdsExhausted
            | Error::NotEmpty { .. }
            | Error::InvalidImport { .. }
            | Error::Conflict { .. }
            | Error::TooManyChanges { .. }
            | Error::FileExists { .. } => Failure::Problem(message),
            _ => Failure::Unusable(message),
        }
    }
}

/// The command to type next, where the library's message does not say it.
pub fn advice(error: &Error) -> Option<&'static str> {
    Some(match error {
        Error::NotFound { .. } => "`pmctl ls` lists the devices there are",
        Error::Corrupt { .. } => {
            "stop containerd, then: `pmctl check` lists what is wrong, `pmctl repair` fixes what \
             needs no guessing, `pmctl restore BACKUP` puts a backup back, `pmctl salvage TARGET` \
             saves what is whole (docs/operators.md, \"The store is damaged\")"
        }
        Error::BboltFile { .. } => {
            "`pm-migrate check PATH` looks into it, `pm-migrate to PATH` migrates it \
             (docs/migration.md)"
        }
        Error::NoSuchFile { .. } => {
            "name the store with --store or PM_STORE; a store is made by containerd's first start \
             or by `pmctl load`"
        }
        Error::Permission { .. } | Error::OtherOwner { .. } => {
            "run pmctl as root, or as the user that containerd runs as"
        }
        Error::AlreadyOpen { .. } => {
            "this needs that no process has the store open: stop containerd first \
             (`fuser PATH` lists the processes that have it)"
        }
        Error::Timeout { .. } => {
            "`pmctl stats` shows which process reads; --wait SECONDS waits for longer; nothing was \
             changed"
        }
        Error::DiskFull { .. } => "docs/operators.md, \"The disk is full\", says how to free space",
        _ => return None,
    })
}

/// Prints a message to standard error, and returns the exit code. What a path or a name holds
/// cannot reach the terminal as a control sequence.
pub fn report(message: &str, code: u8) -> u8 {
    for (at, line) in message.lines().enumerate() {
        let lead = if at == 0 { "pmctl: " } else { "       " };
        eprintln!("{lead}{}", text::escape_message(line));
    }
    code
}
