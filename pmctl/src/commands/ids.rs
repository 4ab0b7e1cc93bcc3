//! `pmctl ids`: the states of all device ids.

use clap::ValueEnum;
use pool_metadata::{IdFilter, IdState};
use serde_json::json;

use crate::context::{Context, Outcome};
use crate::failure::Result;
use crate::json;
use crate::output::{Output, Style};
use crate::table::{Align, Cell, Table};
use crate::text;

/// List the device ids that were ever given out, with their states and devices
///
/// Ids that are neighbours, in the same state and of no device are one line.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Ids in these states
    #[arg(long, value_name = "STATE,...", value_delimiter = ',')]
    state: Vec<State>,

    /// Ids that belong to no device
    #[arg(long)]
    unowned: bool,

    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum State {
    Taken,
    Free,
    Faulty,
}

/// A run of ids that have all of this in common.
#[derive(Clone, Copy)]
struct Run<'a> {
    first: u32,
    last: u32,
    state: IdState,
    device: Option<&'a [u8]>,
}

impl Args {
    pub fn run(&self, context: &Context) -> Result<Outcome> {
        let store = context.place.read()?;
        let wanted = |state| self.state.is_empty() || self.state.contains(&state);
        let listed = store.list_ids(&IdFilter {
            free: wanted(State::Free),
            taken: wanted(State::Taken),
            faulty: wanted(State::Faulty),
            ..IdFilter::default()
        })?;
        let mut out = Output::new();
        let aligned = vec![Align::Right, Align::Left, Align::Left];
        let mut table = Table::new(aligned, Some(vec!["ID", "STATE", "DEVICE"]), context.paint);
        let mut run: Option<Run> = None;
        for id in listed.iter() {
            if self.unowned && id.name.is_some() {
                continue;
            }
            let next = Run {
                first: id.device_id,
                last: id.device_id,
                state: id.state,
                device: id.name,
            };
            match &mut run {
                Some(run) if run.goes_on_with(&next) => run.last = next.last,
                _ => {
                    if let Some(done) = run.replace(next) {
                        self.print(&done, &mut table, &mut out)?;
                    }
                }
            }
        }
        if let Some(last) = run {
            self.print(&last, &mut table, &mut out)?;
        }
        if !self.json {
            table.finish(&mut out)?;
        }
        out.finish()?;
        Ok(Outcome::Fine)
    }

    fn print(&self, run: &Run, table: &mut Table, out: &mut Output) -> Result<()> {
        let (word, style) = match run.state {
            IdState::Taken => ("taken", Style::Plain),
            IdState::Free => ("free", Style::Plain),
            IdState::Faulty => ("faulty", Style::Bad),
        };
        if self.json {
            return out.line(&json::line(&json!({
                "first": run.first,
                "last": run.last,
                "state": word,
                "device": run.device.map(text::escape),
            })));
        }
        let ids = match run.first == run.last {
            true => run.first.to_string(),
            false => format!("{}-{}", run.first, run.last),
        };
        let device = text::word(run.device.unwrap_or_default());
        table.row(vec![ids.into(), Cell::new(word, style), device.into()], out)
    }
}

impl Run<'_> {
    fn goes_on_with(&self, next: &Run<'_>) -> bool {
        let unowned = self.device.is_none() && next.device.is_none();
        unowned && self.state == next.state && self.last + 1 == next.first
    }
}
