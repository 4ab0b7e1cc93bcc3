//! `pmctl restore`: puts a backup in the store's place.

use std::fs;
use std::path::PathBuf;

use crate::ask::Consent;
use crate::commands::backup::temporary;
use crate::context::{Context, Outcome};
use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::progress::Progress;
use crate::text;

/// What to do next: the pool has not gone back, so ids of its devices would be given out again.
const NEXT: &str = "the pool is as it was: before containerd starts, compare the two \
                    (pmctl reconcile --pool FILE)";

/// Put a backup in the place of the store, which is kept
///
/// No process may have the store open: stop containerd first. Devices that were added after the
/// backup are missing in it: compare it with the pool (`pmctl reconcile`) before containerd starts.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The backup; it stays
    #[arg(value_name = "BACKUP")]
    backup: PathBuf,

    #[command(flatten)]
    consent: Consent,
}

/// How far a store had come.
pub(super) fn extent(commits: u64, last_id: u32) -> String {
    let commits = text::count(commits, "commit");
    format!("{commits}, highest id {last_id}")
}

/// Which ids the pool may have data under, if the store's content is older than the pool.
pub(super) fn ids_in_doubt(last_id: u32) -> String {
    format!(
        "if the pool is newer, ids that are free here and all above {last_id} may be in use there"
    )
}

impl Args {
    pub fn run(&self, context: &Context) -> Result<Outcome> {
        let path = context.place.path()?;
        let (from, to) = (self.backup.display(), path.display());
        let size = fs::metadata(&self.backup)
            .map_err(|e| Failure::unusable(format!("{from}: {e}")))?
            .len();
        let mut plan = vec![format!(
            "put a copy of {from} ({}) at {to}",
            text::size(size)
        )];
        if path.exists() {
            plan.push(format!("keep what is there now as {to}.before-restore"));
        }
        if !self.consent.to(&plan)? {
            return Ok(Outcome::Fine);
        }
        let progress = Progress::file("copying", temporary(&path, ".restoring-"), size);
        let result = context.place.alone().restore(&self.backup, &path);
        drop(progress);
        let restored = result?;
        let mut out = Output::new();
        let [from, to] = [&self.backup, &path].map(|p| text::escape_message(&p.to_string_lossy()));
        let now = extent(restored.commits, restored.last_id);
        out.line(&format!("{to} has what {from} has: {now}"))?;
        if let Some(kept) = restored.kept {
            let kept = text::escape_message(&kept.to_string_lossy());
            let old = match restored.replaced {
                Some(old) => extent(old.commits, old.last_id),
                None => "its header cannot be read".to_owned(),
            };
            out.line(&format!("what was there is {kept}: {old}"))?;
        }
        out.line(&ids_in_doubt(restored.last_id))?;
        out.line(NEXT)?;
        out.finish()?;
        Ok(Outcome::Fine)
    }
}
