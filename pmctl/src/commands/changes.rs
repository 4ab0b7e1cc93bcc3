//! `pmctl changes`: what was written and removed since a commit.

use pool_metadata::{DeviceInfo, PoolMetadata, Removal, WalkFilter};
use serde_json::json;

use crate::context::{Context, Outcome};
use crate::failure::Result;
use crate::json;
use crate::output::{style_of, Output, Paint, Style};
use crate::text;

/// List the devices that were written or removed since a commit
///
/// In the order of the commits; the last line has the number for the next --since. The store
/// remembers the last 4096 removals: exit code 1 says that older ones are missing.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The commit: what it and those before it have done is left out
    #[arg(long, value_name = "COMMIT")]
    since: u64,

    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// One line of the list.
pub enum Event {
    Written(DeviceInfo),
    Removed(Removal),
}

/// What has happened since a commit.
pub struct Changes {
    /// In the order of the commits.
    pub events: Vec<Event>,
    /// Whether no removal is missing.
    pub complete: bool,
    /// The newest commit that was looked at.
    pub commit: u64,
}

impl Args {
    pub fn run(&self, context: &Context) -> Result<Outcome> {
        let store = context.place.read()?;
        let changes = Changes::since(&store, self.since)?;
        let mut out = Output::new();
        for event in &changes.events {
            out.line(&match self.json {
                true => event.json(),
                false => event.line(context.paint),
            })?;
        }
        out.line(&match self.json {
            true => json::line(&json!({
                "commit": changes.commit,
                "complete": changes.complete,
            })),
            false => format!("up to commit {}", changes.commit),
        })?;
        out.finish()?;
        if !changes.complete && !self.json {
            eprintln!("pmctl: removals before those listed are not remembered any more");
        }
        Ok(match changes.complete {
            true => Outcome::Fine,
            false => Outcome::ProblemFound,
        })
    }
}

impl Changes {
    pub fn since(store: &PoolMetadata, since: u64) -> Result<Changes> {
        let filter = WalkFilter {
            since,
            ..WalkFilter::default()
        };
        let walk = store.walk_filtered(&filter)?;
        let removals = walk.removals(since)?;
        let mut events: Vec<_> = removals.removed.into_iter().map(Event::Removed).collect();
        for device in walk {
            events.push(Event::Written(device?));
        }
        events.sort_by_key(Event::commit);
        Ok(Changes {
            events,
            complete: removals.complete,
            commit: removals.commit,
        })
    }
}

impl Event {
    pub fn commit(&self) -> u64 {
        match self {
            Event::Written(device) => device.generation,
            Event::Removed(removal) => removal.commit,
        }
    }

    pub fn line(&self, paint: Paint) -> String {
        match self {
            Event::Written(device) => format!(
                "{:>10}  written  {}  id {}  {}",
                device.generation,
                text::word(&device.name),
                device.device_id,
                paint.paint(style_of(device.state), device.state.name())
            ),
            Event::Removed(removal) => format!(
                "{:>10}  {}  {}  id {}",
                removal.commit,
                paint.paint(Style::Passing, "removed"),
                text::word(&removal.name),
                removal.device_id
            ),
        }
    }

    fn json(&self) -> String {
        match self {
            Event::Written(device) => json::line(&json!({
                "commit": device.generation,
                "event": "written",
                "device": json::Device::from(device.as_ref()),
            })),
            Event::Removed(removal) => json::line(&json!({
                "commit": removal.commit,
                "event": "removed",
                "name": text::escape(&removal.name),
                "id": removal.device_id,
            })),
        }
    }
}
