//! The command line.

use clap::{CommandFactory, Parser, Subcommand};

use crate::commands;
use crate::context::{Context, Outcome};
use crate::failure::Result;
use crate::output::{Color, Paint};
use crate::place::{Place, COMMON};

const AFTER_HELP: &str = "\
Names: what is not printable UTF-8 is shown and given as \\xNN, a backslash as \\\\.

Exit codes: 0 all done, nothing wrong; 1 a problem was found, or a change was refused; \
2 the command line is wrong; 3 the store cannot be used.

The store is --store, or PM_STORE, or the one that containerd's configuration names. \
docs/operators.md goes through the situations.";

/// Looks into the metadata store of containerd's devmapper snapshotter, and puts it right
///
/// Works beside a running containerd. Commands that only read open the store read-only; those that
/// change something say what, and ask.
#[derive(Parser, Debug)]
#[command(name = "pmctl", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub place: Place,

    /// When to use colours
    #[arg(long, global = true, help_heading = COMMON)]
    #[arg(value_name = "WHEN", default_value = "auto")]
    pub color: Color,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    Ls(commands::ls::Args),
    Show(commands::show::Args),
    Tree(commands::tree::Args),
    Ids(commands::ids::Args),
    Changes(commands::changes::Args),
    Stats(commands::stats::Args),
    Check(commands::check::Args),
    Doctor(commands::doctor::Args),
    Watch(commands::watch::Args),
    Reconcile(commands::reconcile::Args),
    FreeId(commands::free_id::Args),
    MarkFaulty(commands::mark_faulty::Args),
    SetState(commands::set_state::Args),
    Rm(commands::rm::Args),
    Backup(commands::backup::Args),
    Restore(commands::restore::Args),
    Repair(commands::repair::Args),
    Salvage(commands::salvage::Args),
    Compact(commands::compact::Args),
    Dump(commands::dump::Args),
    Load(commands::load::Args),
    Completions(commands::completions::Args),
    Man(commands::man::Args),
}

impl Cli {
    pub fn run(self) -> Result<Outcome> {
        let context = Context {
            place: self.place,
            paint: Paint::new(self.color),
        };
        match self.command {
            Command::Ls(args) => args.run(&context),
            Command::Show(args) => args.run(&context),
            Command::Tree(args) => args.run(&context),
            Command::Ids(args) => args.run(&context),
            Command::Changes(args) => args.run(&context),
            Command::Stats(args) => args.run(&context),
            Command::Check(args) => args.run(&context),
            Command::Doctor(args) => args.run(&context),
            Command::Watch(args) => args.run(&context),
            Command::Reconcile(args) => args.run(&context),
            Command::FreeId(args) => args.run(&context),
            Command::MarkFaulty(args) => args.run(&context),
            Command::SetState(args) => args.run(&context),
            Command::Rm(args) => args.run(&context),
            Command::Backup(args) => args.run(&context),
            Command::Restore(args) => args.run(&context),
            Command::Repair(args) => args.run(&context),
            Command::Salvage(args) => args.run(&context),
            Command::Compact(args) => args.run(&context),
            Command::Dump(args) => args.run(&context),
            Command::Load(args) => args.run(&context),
            Command::Completions(args) => args.run(Cli::command()),
            Command::Man(args) => args.run(Cli::command()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
