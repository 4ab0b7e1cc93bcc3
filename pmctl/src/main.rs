//! `pmctl`: what an operator holds to look into the metadata store of a thin-pool, and to put it
//! right, also while containerd uses it.

mod ask;
mod bars;
mod cli;
mod commands;
mod containerd;
mod context;
mod doctor;
mod failure;
mod json;
mod load;
mod output;
mod place;
mod pool;
mod processes;
mod progress;
mod table;
mod text;

use std::process::ExitCode;

use clap::Parser;

use cli::Cli;
use context::Outcome;
use failure::{Failure, FINE, PROBLEM, UNUSABLE, USAGE};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and the version are errors to clap as well, and go to standard output.
            let code = if error.use_stderr() { USAGE } else { FINE };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    ExitCode::from(match cli.run() {
        Ok(Outcome::Fine) => FINE,
        Ok(Outcome::ProblemFound) => PROBLEM,
        Err(Failure::OutputClosed) => FINE,
        Err(Failure::Problem(message)) => failure::report(&message, PROBLEM),
        Err(Failure::Usage(message)) => failure::report(&message, USAGE),
        Err(Failure::Unusable(message)) => failure::report(&message, UNUSABLE),
    })
}
