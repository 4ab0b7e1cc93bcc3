//! `pmctl man`: the manual pages, made of the command line itself.

use std::fs;
use std::path::PathBuf;

use clap_mangen::Man;

use crate::context::Outcome;
use crate::failure::{Failure, Result};
use crate::output::Output;

/// Print the manual page, or write one for each command
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The directory to write the pages to; it must exist
    #[arg(value_name = "DIRECTORY")]
    to: Option<PathBuf>,
}

impl Args {
    pub fn run(&self, command: clap::Command) -> Result<Outcome> {
        let Some(directory) = &self.to else {
            let mut page = Vec::new();
            Man::new(command)
                .render(&mut page)
                .map_err(|e| Failure::of_output(&e))?;
            let mut out = Output::new();
            for line in String::from_utf8_lossy(&page).lines() {
                out.line(line)?;
            }
            out.finish()?;
            return Ok(Outcome::Fine);
        };
        let fail = |e: std::io::Error| Failure::unusable(format!("{}: {e}", directory.display()));
        fs::read_dir(directory).map_err(fail)?;
        clap_mangen::generate_to(command, directory).map_err(fail)?;
        Ok(Outcome::Fine)
    }
}
