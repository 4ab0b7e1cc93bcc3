//! `pmctl free-id`: puts faulty ids back into use.

use std::ops::RangeInclusive;

use pool_metadata::{Change, IdFilter, IdState, PoolMetadata};

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
            freed.extend(faulty_in(&store, range)?);
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

/// The ids of a range that are to be freed: the faulty ones without a device, of which there must
/// be one.
fn faulty_in(store: &PoolMetadata, range: &RangeInclusive<u32>) -> Result<Vec<u32>> {
    let (first, last) = (*range.start(), *range.end());
    let listed = store.list_ids(&IdFilter {
        first,
        last,
        ..IdFilter::default()
    })?;
    let mut freed = Vec::new();
    for id in listed.iter() {
        match (id.state, id.name) {
            (IdState::Faulty, None) => freed.push(id.device_id),
            // Of a range, what is not to be freed is passed over; of one id it is said.
            (_, Some(name)) if first == last => {
                let name = text::word(name);
                return Err(Failure::problem(format!(
                    "id {first} belongs to device {name}; nothing was changed\n`pmctl rm {name}` \
                     removes the device, which frees its id"
                )));
            }
            _ => {}
        }
    }
    if freed.is_empty() {
        let none = match first == last {
            true => format!("id {first} is not"),
            false => format!("no id of {first}-{last} is"),
        };
        return Err(Failure::problem(format!(
            "{none} faulty without a device; nothing was changed\n`pmctl ids --state faulty \
             --unowned` lists those that are"
        )));
    }
    Ok(freed)
}
