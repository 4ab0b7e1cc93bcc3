//! `pmctl dump`: the whole store as lines of JSON, which `pmctl load` reads.

use crate::context::{Context, Outcome};
use crate::failure::Result;
use crate::json::{self, Begin, End, IdLine, IdState, Identity};
use crate::output::Output;
use crate::text;

/// Print the whole store, as of one moment, as lines of JSON that `pmctl load` reads
///
/// The first line has the highest id that was given out. Then come the pool that the store belongs
/// to, changes of the pool that have begun and not ended, the ids that are free or faulty, and the
/// devices, each on a line; the last line is the end's. The lines can be edited. What was removed
/// before is not among them.
#[derive(clap::Args, Debug)]
pub struct Args {}

impl Args {
    pub fn run(&self, context: &Context) -> Result<Outcome> {
        let store = context.place.read()?;
        let (identity, intents) = (store.identity()?, store.intents()?);
        let mut walk = store.walk()?;
        let ids = walk.ids()?;
        let mut out = Output::new();
        out.line(&json::line(&Begin {
            pmctl_dump: json::VERSION,
            last_id: ids.last_id,
        }))?;
        if let Some(identity) = &identity {
            let identity = text::escape(identity);
            out.line(&json::line(&Identity { identity }))?;
        }
        for intent in &intents {
            out.line(&json::line(&json::Intent::from(intent)))?;
        }
        for (list, state) in [(&ids.free, IdState::Free), (&ids.faulty, IdState::Faulty)] {
            for (first, last) in runs(list) {
                let ids = match first == last {
                    true => first.to_string(),
                    false => format!("{first}-{last}"),
                };
                out.line(&json::line(&IdLine { ids, state }))?;
            }
        }
        while let Some(device) = walk.next_ref()? {
            out.line(&json::line(&json::Device::from(device)))?;
        }
        drop(walk);
        out.line(&json::line(&End { end: true }))?;
        out.finish()?;
        Ok(Outcome::Fine)
    }
}

/// Runs of neighbours in an ascending list.
fn runs(ids: &[u32]) -> impl Iterator<Item = (u32, u32)> + '_ {
    ids.chunk_by(|a, b| a + 1 == *b)
        .map(|run| (run[0], run[run.len() - 1]))
}
