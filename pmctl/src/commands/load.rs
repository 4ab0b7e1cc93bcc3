//! `pmctl load`: fills an empty store from what `pmctl dump` printed.

use std::path::PathBuf;

use pool_metadata::{DeviceInfo, Error, OpenOptions};

use crate::ask::Consent;
use crate::commands::devices::read_file;
use crate::context::{Context, Outcome};
use crate::failure::{Failure, Result};
use crate::load::Loaded;
use crate::output::Output;
use crate::progress::Progress;
use crate::text;

/// Fill a new or empty store from lines that `pmctl dump` printed
///
/// Everything is loaded in one commit, or nothing: each line that cannot be is listed with its
/// number. If it is killed, nothing is loaded, or everything. The generations of the records start
/// over.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The file with the lines; - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    consent: Consent,
}

/// So many lines that cannot be loaded are listed.
const LISTED: usize = 100;

impl Args {
    pub fn run(&self, context: &Context) -> Result<Outcome> {
        let path = context.place.path()?;
        let loaded = Loaded::read(&read_file(&self.file)?);
        if !loaded.problems.is_empty() {
            return Err(self.refusal(&loaded));
        }
        refuse_other_pool(&loaded, context)?;
        refuse_used(&path, &context.place.alone())?;
        let (devices, ids) = (&loaded.devices, &loaded.ids);
        let plan = format!(
            "fill {} with {}, {} free and {} faulty ids",
            path.display(),
            text::count(devices.len() as u64, "device"),
            ids.free.len(),
            ids.faulty.len()
        );
        if !self.consent.to(&[plan])? {
            return Ok(Outcome::Fine);
        }
        let progress = Progress::time("loading");
        let store = context.place.alone().open(&path)?;
        let records: Vec<_> = devices.iter().map(DeviceInfo::as_ref).collect();
        let identity = loaded.identity.as_deref();
        // One commit, so that a kill leaves all of it or nothing.
        let imported = store.import_with_journal(&records, ids, identity, &loaded.intents);
        drop(progress);
        imported?;
        store.close()?;
        let mut out = Output::new();
        let path = text::escape_message(&path.to_string_lossy());
        out.line(&format!(
            "{path}: {}",
            text::count(devices.len() as u64, "device")
        ))?;
        out.finish()?;
        Ok(Outcome::Fine)
    }

    fn refusal(&self, loaded: &Loaded) -> Failure {
        let problems = loaded.problems.iter().take(LISTED);
        let file = self.file.display();
        let mut lines: Vec<_> = problems
            .map(|(line, what)| format!("{file}:{line}: {what}"))
            .collect();
        match loaded.problems.len().checked_sub(LISTED) {
            None | Some(0) => {}
            Some(more) => lines.push(format!("and {more} more")),
        }
        lines.push("nothing was loaded: correct these lines, and load the file again".to_owned());
        Failure::Problem(lines.join("\n"))
    }
}

/// Refuses the lines of another pool than the one that was named.
fn refuse_other_pool(loaded: &Loaded, context: &Context) -> Result<()> {
    match (&loaded.identity, &context.place.identity) {
        (Some(found), Some(named)) if found != named.as_bytes() => Err(Failure::problem(format!(
            "the lines are those of the pool \"{}\", not of \"{}\"; nothing was loaded",
            text::escape(found),
            text::escape_message(named)
        ))),
        _ => Ok(()),
    }
}

/// Refuses a store that has anything in it, before anybody is asked.
fn refuse_used(path: &std::path::Path, options: &OpenOptions) -> Result<()> {
    let store = match options.clone().read_only(true).open(path) {
        Ok(store) => store,
        Err(Error::NoSuchFile { .. }) => return Ok(()),
        Err(other) => return Err(other.into()),
    };
    if store.stats()?.last_id == 0 {
        return Ok(());
    }
    Err(Failure::problem(format!(
        "{}: the store is not empty; name a path where nothing is with --store, and put the new \
         store in place with `pmctl restore`",
        path.display()
    )))
}
