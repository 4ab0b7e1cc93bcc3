//! `pmctl compact`: makes the file as small as it can be.

use std::fs;

use crate::ask::Consent;
use crate::context::{Context, Outcome};
use crate::doctor::files::with_suffix;
use crate::failure::Result;
use crate::output::Output;
use crate::progress::Progress;
use crate::text;

/// Make the store's file as small as it can be
///
/// No process may have the store open: stop containerd first. Free pages are used again, but never
/// given back: a file stays as large as it was once. A copy without them is made, checked, and put
/// in the store's place.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    consent: Consent,
}

impl Args {
    pub fn run(&self, context: &Context) -> Result<Outcome> {
        let path = context.place.path()?;
        let store = context.place.read()?;
        let stats = store.stats()?;
        store.close()?;
        drop(store);
        let in_use = stats
            .map_used
            .saturating_sub(stats.pages_free * stats.page_size);
        let plan = format!(
            "write {} again, without its free pages: {} of {} are in use",
            path.display(),
            text::size(in_use),
            text::size(stats.file_size)
        );
        if !self.consent.to(&[plan])? {
            return Ok(Outcome::Fine);
        }
        // The temporary file is beside the file that a symbolic link leads to.
        let file = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
        let progress = Progress::file("copying", with_suffix(&file, ".partial-"), in_use);
        let result = context.place.alone().compact(&path);
        drop(progress);
        let done = result?;
        let mut out = Output::new();
        let shown = text::escape_message(&path.to_string_lossy());
        let [before, after] = [done.before, done.after].map(text::size);
        out.line(&format!("{shown}: {after}, and {before} before"))?;
        out.finish()?;
        Ok(Outcome::Fine)
    }
}
