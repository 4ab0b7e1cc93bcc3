//! `pmctl dump`: the whole store as lines of JSON, which `pmctl load` reads.

use serde::{Deserialize, Serialize};

use crate::cli::Context;
use crate::commands::Outcome;
use crate::failure::Result;
use crate::json;
use crate::output::Output;

/// Print the whole store, as of one moment, as lines of JSON that `pmctl load` reads
///
/// The first line has the highest id that was given out, the next ones have the ids that are free
/// or faulty, then there is a line for each device, and one for the end. The lines can be edited.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// The version of the lines.
pub const VERSION: u32 = 1;

/// The first line.
#[derive(Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Begin {
    /// The version of the lines that follow.
    pub pmctl_dump: u32,
    /// The highest id that was ever given out.
    pub last_id: u32,
}

/// Ids that no device needs to have.
#[derive(Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct IdLine {
    /// One id, or the first and the last of some: "7", "7-9".
    pub ids: String,
    pub state: IdState,
}

#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum IdState {
    Free,
    Faulty,
}

/// The last line, by which a dump that was cut short is known.
#[derive(Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct End {
    pub end: bool,
}

impl Args {
    pub fn run(&self, context: &Context) -> Result<Outcome> {
        let store = context.place.read()?;
        let mut walk = store.walk()?;
        let ids = walk.ids()?;
        let mut out = Output::new();
        out.line(&json::line(&Begin {
            pmctl_dump: VERSION,
            last_id: ids.last_id,
        }))?;
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
