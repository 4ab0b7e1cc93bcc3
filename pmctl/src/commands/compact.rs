//! `pmctl compact`: makes the file as small as it can be.

use std::fs;
use std::path::Path;

use pool_metadata::{BackupOptions, OpenOptions, Verify};

use crate::ask::Consent;
use crate::cli::Context;
use crate::commands::Outcome;
use crate::doctor::files::with_suffix;
use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::progress::Progress;
use crate::text;

/// Make the store's file as small as it can be
///
/// No process may have the store open: stop containerd first. A copy without free pages is made,
/// checked, and put in the store's place; the old file is kept beside it.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    consent: Consent,
}

/// What is added to the store's name for the copy, before it is put in place.
const COPY: &str = ".compacted";

impl Args {
    pub fn run(&self, context: &Context) -> Result<Outcome> {
        let path = context.place.path()?;
        let store = context.place.read()?;
        let before = store.stats()?;
        let in_use = before
            .map_used
            .saturating_sub(before.pages_free * before.page_size);
        let plan = [
            format!(
                "copy what is in use of {}, {} of {}, and put that in its place",
                path.display(),
                text::size(in_use),
                text::size(before.file_size)
            ),
            format!(
                "keep the file as it is as {}.before-restore",
                path.display()
            ),
        ];
        if !self.consent.to(&plan)? {
            return Ok(Outcome::Fine);
        }
        let copy = with_suffix(&path, COPY);
        let progress = Progress::file("copying", with_suffix(&copy, ".partial-"), in_use);
        let mut options = BackupOptions::new();
        store.backup(&copy, options.compact(true))?;
        store.close()?;
        let copied = commits(&copy);
        let replaced = copied.and_then(|copied| Ok((copied, self.replace(&path, &copy, context)?)));
        drop(progress);
        let removed = fs::remove_file(&copy);
        let _ = fs::remove_file(with_suffix(&copy, "-lock"));
        let (copied, kept) = replaced?;
        removed.map_err(|e| Failure::unusable(format!("{}: {e}", copy.display())))?;
        if commits(&kept)? != copied {
            return put_back(&path, &kept, context);
        }
        let size = |path: &Path| fs::metadata(path).map(|file| file.len()).unwrap_or(0);
        let mut out = Output::new();
        let [shown, old] = [&path, &*kept].map(|p| text::escape_message(&p.to_string_lossy()));
        out.line(&format!("{shown}: {}", text::size(size(&path))))?;
        out.line(&format!(
            "the file as it was, {}, is {old}",
            text::size(size(&kept))
        ))?;
        out.finish()?;
        Ok(Outcome::Fine)
    }

    /// Puts the copy in the store's place; where the store is kept.
    fn replace(&self, path: &Path, copy: &Path, context: &Context) -> Result<Box<Path>> {
        let kept = context.place.alone().restore(copy, path)?;
        kept.map(Into::into).ok_or_else(|| {
            let path = path.display();
            Failure::problem(format!(
                "{path}: the store has gone meanwhile; the copy is there now"
            ))
        })
    }
}

/// How many commits a store has had.
fn commits(path: &Path) -> Result<u64> {
    let mut options = OpenOptions::new();
    let store = options.read_only(true).verify(Verify::Quick).open(path)?;
    Ok(store.stats()?.commits)
}

/// Undoes the exchange: a process has opened the store, written and closed it, between the copy and
/// the exchange.
fn put_back(path: &Path, kept: &Path, context: &Context) -> Result<Outcome> {
    context.place.alone().restore(kept, path)?;
    Err(Failure::problem(format!(
        "{}: another process wrote to the store meanwhile, so it has its old file again; stop that \
         process first",
        path.display()
    )))
}
