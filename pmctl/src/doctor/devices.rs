//! What the store says about its devices and ids.

use std::collections::HashSet;

use pool_metadata::{DeviceState, Ids, PoolMetadata};

use super::Findings;
use crate::failure::Result;
use crate::output::{style_of, Style};
use crate::text;

/// So many names are listed.
const NAMED: usize = 5;

/// What a walk over the devices finds.
#[derive(Default)]
struct Census {
    names: HashSet<Vec<u8>>,
    /// Names, and those of what they are snapshots of.
    parents: Vec<(Vec<u8>, Vec<u8>)>,
    faulty: Vec<Vec<u8>>,
    /// In a state that an operation only passes through.
    between: Vec<Vec<u8>>,
}

impl Census {
    /// Snapshots of devices that are not in the store.
    fn orphans(&self) -> Vec<Vec<u8>> {
        let parents = self.parents.iter();
        parents
            .filter(|(_, parent)| !self.names.contains(parent))
            .map(|(name, _)| name.clone())
            .collect()
    }
}

pub fn look(store: &PoolMetadata, found: &mut Findings) -> Result<()> {
    let mut census = Census::default();
    let mut walk = store.walk()?;
    let ids = walk.ids()?;
    while let Some(device) = walk.next_ref()? {
        let name = device.name.to_vec();
        if !device.parent_name.is_empty() {
            let parent = device.parent_name.to_vec();
            census.parents.push((name.clone(), parent));
        }
        match device.state {
            DeviceState::Faulty => census.faulty.push(name.clone()),
            state if style_of(state) == Style::Passing => census.between.push(name.clone()),
            _ => {}
        }
        census.names.insert(name);
    }
    drop(walk);
    found.fine("devices", text::count(census.names.len() as u64, "device"));
    intents(store, found)?;
    report_devices(&census, found);
    report_ids(&census, &ids, found);
    Ok(())
}

fn report_devices(census: &Census, found: &mut Findings) {
    let mut note = |names: &[Vec<u8>], what: &str, advice: &str| {
        if !names.is_empty() {
            let what = format!("{} {what}: {}", are(names), listed(names));
            found.note("devices", what, advice);
        }
    };
    note(
        &census.faulty,
        "faulty",
        "containerd makes such a device again under another id when it needs it, or: pmctl rm NAME",
    );
    note(
        &census.between,
        "in the middle of an operation",
        "if containerd does not run, a crash has left them; its next start marks them faulty",
    );
    note(
        &census.orphans(),
        "snapshots of devices that are not in the store",
        "pmctl tree",
    );
}

fn report_ids(census: &Census, ids: &Ids, found: &mut Findings) {
    let unowned = ids.faulty.len().saturating_sub(census.faulty.len());
    if unowned > census.names.len().max(100) {
        found.problem(
            "ids",
            format!("{unowned} ids are faulty and belong to no device: they pile up"),
            "pmctl reconcile --pool FILE frees those that the pool does not have \
             (docs/operators.md, \"Faulty ids pile up\")",
        );
    } else {
        let (free, faulty) = (ids.free.len(), ids.faulty.len());
        found.fine(
            "ids",
            format!("up to {}: {free} free, {faulty} faulty", ids.last_id),
        );
    }
}

/// Changes of the pool that had begun when a program went down, where one notes them.
fn intents(store: &PoolMetadata, found: &mut Findings) -> Result<()> {
    for intent in store.intents()? {
        found.note(
            "pool",
            format!(
                "a change ({:?} of {}, id {}) was begun at the pool's transaction {} and not \
                 finished",
                intent.kind,
                text::word(&intent.name),
                intent.device_id,
                intent.transaction_id
            ),
            "the program that began it finishes or undoes it at its next start",
        );
    }
    Ok(())
}

fn are(names: &[Vec<u8>]) -> String {
    match names.len() {
        1 => "1 is".to_owned(),
        n => format!("{n} are"),
    }
}

fn listed(names: &[Vec<u8>]) -> String {
    let mut text: Vec<_> = names
        .iter()
        .take(NAMED)
        .map(|name| text::word(name))
        .collect();
    if names.len() > NAMED {
        text.push("...".to_owned());
    }
    text.join(" ")
}
