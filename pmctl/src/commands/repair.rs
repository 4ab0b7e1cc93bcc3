//! `pmctl repair`: fixes what needs no guessing.

use std::path::PathBuf;

use pool_metadata::{Fix, RepairOptions, Repaired, Report};

use crate::ask::Consent;
use crate::commands::check::{fix, print_report};
use crate::context::{Context, Outcome};
use crate::failure::Result;
use crate::output::{Output, Style};
use crate::progress::Progress;
use crate::text;

/// Fix what is wrong with the store, as far as that needs no guessing
///
/// No process may have the store open: stop containerd first. A copy of the file is kept. Records
/// of devices are never changed: what is wrong with them is listed, and is exit code 1.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Where the file is kept as it was; by default beside the store
    #[arg(long, value_name = "FILE")]
    keep: Option<PathBuf>,

    /// How many findings are listed; all are counted
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,

    #[command(flatten)]
    consent: Consent,
}

impl Args {
    pub fn run(&self, context: &Context) -> Result<Outcome> {
        let path = context.place.path()?;
        let options = context.place.alone();
        let progress = Progress::time("checking");
        let found = options.check_file(&path, self.limit);
        drop(progress);
        let found = found?;
        let mut out = Output::new();
        let shown = text::escape_message(&path.to_string_lossy());
        if found.is_sound() {
            let sound = context.paint.paint(Style::Good, "sound");
            out.line(&format!("{shown}: {sound}, nothing to repair"))?;
            out.finish()?;
            return Ok(Outcome::Fine);
        }
        if found.total == found.unfixable {
            print_report(&found, context, &mut out)?;
            out.line(ADVICE)?;
            out.finish()?;
            return Ok(Outcome::ProblemFound);
        }
        if !self.consent.to(&plan(&found))? {
            return Ok(Outcome::ProblemFound);
        }
        let mut how = RepairOptions::new();
        how.limit(self.limit);
        if let Some(keep) = &self.keep {
            how.backup(keep);
        }
        let progress = Progress::time("repairing");
        let repaired = options.repair(&path, &how);
        drop(progress);
        let repaired = repaired?;
        report(&repaired, &shown, context, &mut out)?;
        out.finish()?;
        Ok(match repaired.after.is_sound() {
            true => Outcome::Fine,
            false => Outcome::ProblemFound,
        })
    }
}

/// What a repair will do.
fn plan(found: &Report) -> Vec<String> {
    let findings = found.findings.iter();
    let fixable = findings.filter(|finding| finding.fix != Fix::Nothing);
    let mut plan: Vec<_> = fixable
        .map(|finding| format!("fix: {}: {}", finding.what, fix(finding.fix)))
        .collect();
    plan.push("keep a copy of the file as it is".to_owned());
    if found.unfixable > 0 {
        plan.push(format!("note: {} cannot be repaired", found.unfixable));
    }
    plan
}

/// Says what a repair of the store at `shown` has done, and what is left.
fn report(repaired: &Repaired, shown: &str, context: &Context, out: &mut Output) -> Result<()> {
    let fixed = repaired.before.total.saturating_sub(repaired.after.total);
    out.line(&format!("{shown}: {} fixed", text::count(fixed, "finding")))?;
    if let Some(kept) = &repaired.backup {
        let kept = text::escape_message(&kept.to_string_lossy());
        out.line(&format!("the file as it was is {kept}"))?;
    }
    print_report(&repaired.after, context, out)?;
    if !repaired.after.is_sound() {
        out.line(ADVICE)?;
    }
    Ok(())
}

const ADVICE: &str = "what cannot be repaired needs a backup (pmctl restore BACKUP) or a salvage \
                      (pmctl salvage TARGET)";
