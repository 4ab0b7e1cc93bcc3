//! `pmctl backup`: a copy of the store, made while it is in use.

use std::fs;
use std::path::{Path, PathBuf};

use pool_metadata::BackupOptions;

use crate::ask::Consent;
use crate::context::{Context, Outcome};
use crate::failure::Result;
use crate::output::Output;
use crate::progress::Progress;
use crate::text;

/// Write a copy of the store, as of one moment, while it is in use
///
/// The copy is checked as a whole before it gets its name.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The file to write
    #[arg(value_name = "FILE")]
    to: PathBuf,

    /// Leave free pages out: a smaller file
    #[arg(long)]
    compact: bool,

    /// Replace the store that is there
    #[arg(long)]
    overwrite: bool,

    /// Copy a store that does not pass the check as well
    #[arg(long)]
    no_check: bool,

    #[command(flatten)]
    consent: Consent,
}

impl Args {
    pub fn run(&self, context: &Context) -> Result<Outcome> {
        let store = context.place.read_unchecked(self.no_check)?;
        let replaces = self.overwrite && self.to.exists();
        let (from, to) = (store.path().display(), self.to.display());
        let mut plan = vec![format!("copy {from} to {to}")];
        if replaces {
            plan.push(format!("note: what is at {to} is replaced"));
        }
        // A new file takes nothing away, so it needs no yes.
        let asked = replaces || self.consent.is_dry_run();
        if asked && !self.consent.to(&plan)? {
            return Ok(Outcome::Fine);
        }
        let mut options = BackupOptions::new();
        options
            .compact(self.compact)
            .overwrite(self.overwrite)
            .verify(!self.no_check);
        let size = store.stats()?.map_used;
        let progress = Progress::file("copying", temporary(&self.to, ".partial-"), size);
        let result = store.backup(&self.to, &options);
        drop(progress);
        result?;
        let size = fs::metadata(&self.to).map(|file| file.len()).unwrap_or(0);
        let mut out = Output::new();
        let to = text::escape_message(&self.to.to_string_lossy());
        let checked = if self.no_check { "" } else { ", checked" };
        out.line(&format!("{to}: {}{checked}", text::size(size)))?;
        out.finish()?;
        Ok(Outcome::Fine)
    }
}

/// The beginning of the names of temporary files for a path.
pub fn temporary(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
