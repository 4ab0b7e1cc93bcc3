//! Asking before something is changed.

use std::io::{self, BufRead, IsTerminal, Write};

use clap::Args;

use crate::failure::{Failure, Result};
use crate::text;

/// What the commands that change something have in common.
#[derive(Args, Clone, Copy, Debug)]
pub struct Consent {
    /// Do it without asking
    #[arg(short, long)]
    yes: bool,

    /// Only say what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Consent {
    /// Whether to do what `plan` says, line by line. Nothing is done in a dry run, nor without a
    /// yes. Where nobody can be asked, that is an error.
    pub fn to(self, plan: &[String]) -> Result<bool> {
        if self.dry_run {
            show("would ", plan);
            eprintln!("dry run: nothing was changed");
            return Ok(false);
        }
        show("will ", plan);
        if self.yes {
            return Ok(true);
        }
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(Failure::usage(
                "nothing was changed: there is no terminal to ask at; --yes goes on without asking",
            ));
        }
        ask()
    }

    pub fn is_dry_run(self) -> bool {
        self.dry_run
    }
}

/// Prints the plan to standard error, where the question is.
fn show(lead: &str, plan: &[String]) {
    for line in plan {
        let (lead, line) = match line.strip_prefix("note: ") {
            Some(note) => ("note: ", note),
            None => (lead, line.as_str()),
        };
        eprintln!("{lead}{}", text::escape_message(line));
    }
}

fn ask() -> Result<bool> {
    eprint!("go on? [y/N] ");
    let _ = io::stderr().flush();
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|e| Failure::unusable(format!("the answer cannot be read: {e}")))?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(true),
        _ => Err(Failure::problem(
            "nothing was changed: the answer was not yes",
        )),
    }
}
