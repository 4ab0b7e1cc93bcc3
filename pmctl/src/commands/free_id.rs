//! `pmctl free-id`: puts faulty ids back into use.

use std::ops::RangeInclusive;

use pool_metadata::{Change, IdFilter, IdState};

use crate::ask::Consent;
use crate::context::{Context, Outcome};
use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::text;

/// Free faulty ids that no device has, so that they are given out again
///
/// Only for ids that the pool does not have any more: see `pmctl reconcile --pool FILE`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The ids, or ranges of them, of which the faulty ones are freed
    #[arg(value_name = "N[-M]", required = true, value_parser = text::id_range)]
    ids: Vec<RangeInclusive<u32>>,

    #[command(flatten)]
    consent: Consent,
}

impl Args {
    pub fn run(&self, context: &Context) -> Result<Outcome> {
        let store = context.place.open_for(self.consent)?;
        let mut freed = Vec::new();
        for range in &self.ids {
            let filter = IdFilter {
                first: *range.start(),
                last: *range.end(),
                ..IdFilter::default()
            };
            let listed = store.list_ids(&filter)?;
            let before = freed.len();
            for id in listed.iter() {
                match (id.state, id.name) {
                    (IdState::Faulty, None) => freed.push(id.device_id),
                    // Of a range, what is not to be freed is passed over; of one id it is said.
                    (_, Some(name)) if range.start() == range.end() => {
                        let name = text::word(name);
                        return Err(Failure::problem(format!(
                            "id {} belongs to device {name}; nothing was changed\n`pmctl rm \
                             {name}` removes the device, which frees its id",
                            id.device_id
                        )));
                    }
                    _ => {}
                }
            }
            if freed.len() == before {
                let shown = match range.start() == range.end() {
                    true => format!("id {} is", range.start()),
                    false => format!("no id of {}-{} is", range.start(), range.end()),
                };
                let not = if range.start() == range.end() {
                    " not"
                } else {
                    ""
                };
                return Err(Failure::problem(format!(
                    "{shown}{not} faulty without a device; nothing was changed\n`pmctl ids \
                     --state faulty --unowned` lists those that are"
                )));
            }
        }
        freed.sort_unstable();
        freed.dedup();
        let shown: Vec<_> = freed.iter().map(u32::to_string).collect();
        let which = if freed.len() == 1 { "id" } else { "the ids" };
        let plan = format!("free {which} {}", shown.join(" "));
        if !self.consent.to(&[plan])? {
            return Ok(Outcome::Fine);
        }
        let changes = freed.iter().map(|id| Change::FreeId { device_id: *id });
        store
            .apply(&changes.collect::<Vec<_>>())
            .map_err(|e| e.error)?;
        let mut out = Output::new();
        out.line(&format!(
            "{} free again",
            text::count(freed.len() as u64, "id")
        ))?;
        out.finish()?;
        Ok(Outcome::Fine)
    }
}
