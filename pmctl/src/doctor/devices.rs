//! What the store says about its devices and ids.

use std::collections::HashSet;

use pool_metadata::{DeviceState, PoolMetadata};

use super::Findings;
use crate::failure::Result;
use crate::output::{style_of, Style};
use crate::text;

/// So many names are listed.
const NAMED: usize = 5;

pub fn look(store: &PoolMetadata, found: &mut Findings) -> Result<()> {
    let mut names = HashSet::new();
    let mut parents = Vec::new();
    let (mut faulty, mut between) = (Vec::new(), Vec::new());
    let mut walk = store.walk()?;
    let ids = walk.ids()?;
    while let Some(device) = walk.next_ref()? {
        names.insert(device.name.to_vec());
        if !device.parent_name.is_empty() {
            parents.push((device.name.to_vec(), device.parent_name.to_vec()));
        }
        match device.state {
            DeviceState::Faulty => faulty.push(device.name.to_vec()),
            state if style_of(state) == Style::Passing => between.push(device.name.to_vec()),
            _ => {}
        }
    }
    drop(walk);
    let total = names.len() as u64;
    let lost: Vec<_> = parents
        .into_iter()
        .filter(|(_, parent)| !names.contains(parent))
        .map(|(name, _)| name)
        .collect();
    found.fine("devices", text::count(total, "device"));
    intents(store, found)?;
    if !faulty.is_empty() {
        found.note(
            "devices",
            format!("{} faulty: {}", are(&faulty), listed(&faulty)),
            "containerd makes such a device again under another id when it needs it, or: \
             pmctl rm NAME",
        );
    }
    if !between.is_empty() {
        found.note(
            "devices",
            format!(
                "{} in the middle of an operation: {}",
                are(&between),
                listed(&between)
            ),
            "if containerd does not run, a crash has left them; its next start marks them faulty",
        );
    }
    if !lost.is_empty() {
        found.note(
            "devices",
            format!(
                "{} snapshots of devices that are not in the store: {}",
                are(&lost),
                listed(&lost)
            ),
            "pmctl tree",
        );
    }
    let owned = faulty.len();
    let piled = ids.faulty.len().saturating_sub(owned);
    if piled as u64 > total.max(100) {
        found.problem(
            "ids",
            format!("{piled} ids are faulty and belong to no device: they pile up"),
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
    Ok(())
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
