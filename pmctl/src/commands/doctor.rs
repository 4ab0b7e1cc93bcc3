//! `pmctl doctor`: looks at everything, and says what is wrong and what to type.

use std::fs;
use std::path::Path;

use pool_metadata::PoolMetadata;
use serde_json::json;

use crate::containerd;
use crate::context::{Context, Outcome};
use crate::doctor::{devices, files, mounts, pool, processes, Findings, Level};
use crate::failure::Result;
use crate::json;
use crate::output::{Output, Style};
use crate::text;

/// Look at the store, its files, its file system, the pool and containerd, and say what is wrong
///
/// For each thing that is wrong there is a line that says what to type. Nothing is changed. Exit
/// code 1: there is a problem.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The pool's name for dmsetup; by default the one in containerd's configuration
    #[arg(long, value_name = "NAME")]
    pool: Option<String>,

    /// One JSON object a finding
    #[arg(long)]
    json: bool,
}

impl Args {
    pub fn run(&self, context: &Context) -> Result<Outcome> {
        let path = context.place.path()?;
        let mut found = Findings::default();
        let configured = containerd::read(&context.place.config);
        match &configured {
            Ok(config) if !same_file(&config.store(), &path) => found.note(
                "configuration",
                format!(
                    "containerd's configuration names another store: {}",
                    config.store().display()
                ),
                "",
            ),
            Ok(_) => found.fine(
                "configuration",
                "containerd's configuration names this store",
            ),
            Err(why) => found.note("configuration", why.as_str(), ""),
        }
        mounts::look(&path, &mut found);
        files::look(&path, &mut found);
        processes::look(&path, &mut found);
        let store = look_into(&path, context, &mut found);
        if let Some(store) = &store {
            devices::look(store, &mut found)?;
        }
        let pool = self
            .pool
            .clone()
            .or(configured.ok().map(|config| config.pool_name));
        match pool {
            Some(pool) => pool::look(&pool, store.as_ref(), &mut found)?,
            None => found.note("pool", "its name is not known", "pmctl doctor --pool NAME"),
        }
        self.print(&found, context)
    }

    fn print(&self, found: &Findings, context: &Context) -> Result<Outcome> {
        let mut out = Output::new();
        for finding in &found.all {
            let (word, style) = match finding.level {
                Level::Fine => ("fine", Style::Good),
                Level::Note => ("note", Style::Passing),
                Level::Problem => ("problem", Style::Bad),
            };
            if self.json {
                out.line(&json::line(&json!({
                    "level": word,
                    "about": finding.about,
                    "what": finding.what,
                    "advice": finding.advice,
                })))?;
                continue;
            }
            let word = context.paint.paint(style, &format!("{word:<8}"));
            let what = text::escape_message(&finding.what);
            out.line(&format!("{word} {:<14} {what}", finding.about))?;
            if let Some(advice) = &finding.advice {
                out.line(&format!("{:24}{}", "", text::escape_message(advice)))?;
            }
        }
        out.finish()?;
        let problem = found
            .all
            .iter()
            .any(|finding| finding.level == Level::Problem);
        Ok(match problem {
            true => Outcome::ProblemFound,
            false => Outcome::Fine,
        })
    }
}

/// Checks the store, and opens it if that is possible.
fn look_into(path: &Path, context: &Context, found: &mut Findings) -> Option<PoolMetadata> {
    let shown = text::escape_message(&path.to_string_lossy());
    match context.place.alone().check_file(path, 0) {
        Ok(report) if report.is_sound() => {
            let store = context.place.read_at_once();
            found.fine("store", format!("{shown} is sound"));
            return store.ok();
        }
        Ok(report) => found.problem(
            "store",
            format!("{shown} has {}", text::count(report.total, "violation")),
            "pmctl check lists them; with containerd stopped, pmctl repair fixes what needs no \
             guessing",
        ),
        Err(error) => {
            let advice = crate::failure::advice(&error);
            found.problem(
                "store",
                error.to_string(),
                advice.unwrap_or("docs/troubleshooting.md"),
            );
        }
    }
    None
}

fn same_file(a: &Path, b: &Path) -> bool {
    match (fs::canonicalize(a), fs::canonicalize(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}
