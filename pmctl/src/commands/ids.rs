//! `pmctl ids`: the states of all device ids.

use std::collections::HashMap;

use clap::ValueEnum;
use serde_json::json;

use crate::cli::Context;
use crate::commands::Outcome;
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
struct Run {
    first: u32,
    last: u32,
    state: State,
    device: Option<Vec<u8>>,
}

impl Args {
    pub fn run(&self, context: &Context) -> Result<Outcome> {
        let store = context.place.read()?;
        let mut walk = store.walk()?;
        let ids = walk.ids()?;
        let mut owners = HashMap::new();
        while let Some(device) = walk.next_ref()? {
            owners.insert(device.device_id, device.name.to_vec());
        }
        drop(walk);
        let mut out = Output::new();
        let aligned = vec![Align::Right, Align::Left, Align::Left];
        let mut table = Table::new(aligned, Some(vec!["ID", "STATE", "DEVICE"]), context.paint);
        let (mut free, mut faulty) = (ids.free.iter().peekable(), ids.faulty.iter().peekable());
        let mut run: Option<Run> = None;
        for id in 1..=ids.last_id {
            let state = match id {
                id if free.next_if_eq(&&id).is_some() => State::Free,
                id if faulty.next_if_eq(&&id).is_some() => State::Faulty,
                _ => State::Taken,
            };
            let device = owners.remove(&id);
            match &mut run {
                Some(run) if run.continues(state, &device) => run.last = id,
                _ => {
                    let next = Run {
                        first: id,
                        last: id,
                        state,
                        device,
                    };
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
        let wanted = self.state.is_empty() || self.state.contains(&run.state);
        if !wanted || (self.unowned && run.device.is_some()) {
            return Ok(());
        }
        let word = match run.state {
            State::Taken => "taken",
            State::Free => "free",
            State::Faulty => "faulty",
        };
        if self.json {
            let device = run.device.as_ref().map(|name| text::escape(name));
            return out.line(&json::line(&json!({
                "first": run.first,
                "last": run.last,
                "state": word,
                "device": device,
            })));
        }
        let style = match run.state {
            State::Faulty => Style::Bad,
            _ => Style::Plain,
        };
        let ids = match run.first == run.last {
            true => run.first.to_string(),
            false => format!("{}-{}", run.first, run.last),
        };
        let device = run.device.as_deref().unwrap_or_default();
        let cells = vec![
            ids.into(),
            Cell::new(word, style),
            text::word(device).into(),
        ];
        table.row(cells, out)
    }
}

impl Run {
    fn continues(&self, state: State, device: &Option<Vec<u8>>) -> bool {
        self.state == state && self.device.is_none() && device.is_none()
    }
}
