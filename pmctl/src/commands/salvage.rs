//! `pmctl salvage`: a new store of what is whole in a damaged file.

use std::fs;
use std::path::PathBuf;

use crate::ask::Consent;
use crate::commands::backup::temporary;
use crate::commands::restore::{extent, ids_in_doubt};
use crate::context::{Context, Outcome};
use crate::failure::{Failure, Result};
use crate::output::{Output, Style};
use crate::progress::Progress;
use crate::text;

/// What to do after that: ids of devices that are not in the new store would be given out again.
const NEXT: &str =
    "the pool still has what is missing in it: before containerd starts, compare the \
                    two (pmctl reconcile --pool FILE)";

/// Make a new store of every record that is still whole in a damaged one
///
/// The damaged file is only read; no process may have it open. Exit code 1: something is missing in
/// the new store, or may be old; the list says what.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The store to make; nothing may be there
    #[arg(value_name = "TARGET")]
    target: PathBuf,

    /// How many findings are listed; all are counted
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,

    #[command(flatten)]
    consent: Consent,
}

impl Args {
    pub fn run(&self, context: &Context) -> Result<Outcome> {
        let path = context.place.path()?;
        let (from, to) = (path.display(), self.target.display());
        let size = fs::metadata(&path)
            .map_err(|e| Failure::unusable(format!("{from}: {e}")))?
            .len();
        // A new file takes nothing away, so it needs no yes.
        if self.consent.is_dry_run() {
            self.consent
                .to(&[format!("read {from}, and make a new store at {to}")])?;
            return Ok(Outcome::Fine);
        }
        let progress = Progress::file("salvaging", temporary(&self.target, ".salvaging-"), size);
        let result = context
            .place
            .alone()
            .salvage(&path, &self.target, self.limit);
        drop(progress);
        let found = result?;
        let mut out = Output::new();
        for finding in &found.report.findings {
            out.line(&context.paint.paint(Style::Bad, &finding.what))?;
        }
        let listed = found.report.findings.len() as u64;
        if found.report.total > listed {
            out.line(&format!(
                "and {} more (--limit lists more)",
                found.report.total - listed
            ))?;
        }
        let target = text::escape_message(&self.target.to_string_lossy());
        let devices = text::count(found.devices, "device");
        out.line(&match found.complete {
            true => format!("{target}: {devices}: all that the store held"),
            false => format!(
                "{target}: {devices}, {} of them found outside the tables; {} lost",
                found.recovered,
                text::count(found.lost_pages, "page")
            ),
        })?;
        out.line(&match found.commits {
            Some(commits) => format!("as of {}", extent(commits, found.last_id)),
            None => format!(
                "the header row is lost: the highest id that was seen is {}",
                found.last_id
            ),
        })?;
        out.line(&format!(
            "once you are content with it (pmctl ls --store {target}): pmctl restore {target}"
        ))?;
        out.line(&ids_in_doubt(found.last_id))?;
        out.line(NEXT)?;
        out.finish()?;
        Ok(match found.complete {
            true => Outcome::Fine,
            false => Outcome::ProblemFound,
        })
    }
}
