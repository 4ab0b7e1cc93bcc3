//! `pmctl check`: whether the store is sound.

use pool_metadata::{Finding, Fix, Report};
use serde_json::json;

use crate::context::{Context, Outcome};
use crate::failure::Result;
use crate::json;
use crate::output::{Output, Style};
use crate::progress::Progress;
use crate::text;

/// Read the whole store and list everything that is wrong with it
///
/// Nothing is changed; containerd may go on meanwhile. Exit code 0: sound; 1: something is wrong;
/// 3: the file is damaged so that it cannot be read as a store.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// How many findings are listed; all are counted
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,

    /// One JSON object a finding, and one for the whole
    #[arg(long)]
    json: bool,
}

impl Args {
    pub fn run(&self, context: &Context) -> Result<Outcome> {
        let path = context.place.path()?;
        let progress = Progress::time("checking");
        let report = context.place.alone().check_file(&path, self.limit);
        drop(progress);
        let report = report?;
        let mut out = Output::new();
        if self.json {
            print_json(&report, &mut out)?;
        } else {
            print_report(&report, context, &mut out)?;
            let shown = text::escape_message(&path.to_string_lossy());
            if report.is_sound() {
                let sound = context.paint.paint(Style::Good, "sound");
                out.line(&format!("{shown}: {sound}"))?;
            } else {
                for line in conclusion(&report) {
                    out.line(&line)?;
                }
            }
        }
        out.finish()?;
        Ok(match report.is_sound() {
            true => Outcome::Fine,
            false => Outcome::ProblemFound,
        })
    }
}

/// What a repair would do about a finding.
pub fn fix(fix: Fix) -> &'static str {
    match fix {
        Fix::Nothing => "cannot be repaired",
        Fix::Header => "repair computes the header again",
        Fix::RemoveIdRow => "repair removes the row of the id",
        Fix::MakeFaulty => "repair makes the id faulty",
        Fix::RemoveJournalRow => "repair removes the row of the journal",
        _ => "unknown to this release of pmctl",
    }
}

fn print_json(report: &Report, out: &mut Output) -> Result<()> {
    for finding in &report.findings {
        out.line(&finding_json(finding))?;
    }
    out.line(&json::line(&json!({
        "sound": report.is_sound(),
        "findings": report.total,
        "unfixable": report.unfixable,
    })))
}

/// A finding as a line of JSON.
pub fn finding_json(finding: &Finding) -> String {
    json::line(&json!({
        "kind": format!("{:?}", finding.kind),
        "name": finding.name.as_ref().map(|name| text::escape(name)),
        "id": finding.device_id,
        "fix": format!("{:?}", finding.fix),
        "what": finding.what,
    }))
}

/// Lists findings: what is wrong, and what would fix it.
pub fn print_report(report: &Report, context: &Context, out: &mut Output) -> Result<()> {
    for finding in &report.findings {
        let style = match finding.fix {
            Fix::Nothing => Style::Bad,
            _ => Style::Passing,
        };
        let what = context.paint.paint(style, &finding.what);
        out.line(&format!("{what}: {}", fix(finding.fix)))?;
    }
    let listed = report.findings.len() as u64;
    if report.total > listed {
        out.line(&format!(
            "and {} more (--limit lists more)",
            report.total - listed
        ))?;
    }
    Ok(())
}

fn conclusion(report: &Report) -> Vec<String> {
    let fixable = report.total - report.unfixable;
    let mut lines = vec![format!(
        "{}, of which a repair fixes {fixable}",
        text::count(report.total, "finding")
    )];
    if fixable > 0 {
        lines.push("stop containerd, then type: pmctl repair".to_owned());
    }
    if report.unfixable > 0 {
        lines.push(
            "for what cannot be repaired: pmctl restore BACKUP, or pmctl salvage TARGET \
             (docs/operators.md)"
                .to_owned(),
        );
    }
    lines
}
