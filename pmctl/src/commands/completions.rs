//! `pmctl completions`: what a shell completes.

use clap_complete::Shell;

use crate::context::Outcome;
use crate::failure::Result;
use crate::output::Output;

/// Print the script by which a shell completes pmctl's arguments
#[derive(clap::Args, Debug)]
pub struct Args {
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Args {
    pub fn run(&self, mut command: clap::Command) -> Result<Outcome> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "pmctl", &mut script);
        let text = String::from_utf8_lossy(&script).into_owned();
        let mut out = Output::new();
        for line in text.lines() {
            out.line(line)?;
        }
        out.finish()?;
        Ok(Outcome::Fine)
    }
}
