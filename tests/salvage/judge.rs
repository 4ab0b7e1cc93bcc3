//! Whether what was salvaged is what was there.

use super::*;

/// Of a store whose pages were changed: whatever came out was there at some time, and what is on
/// pages that were not changed is there as it was last.
pub fn assert_whole_is_there(
    sound: &Pages,
    changed: &Pages,
    old: &Contents,
    history: &History,
    salvaged: &(Salvaged, PathBuf),
) {
    whole_is_there(sound, changed, old, history, salvaged).unwrap();
}

fn hold(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    holds.then_some(()).ok_or_else(what)
}

/// What a salvage of `changed` has lost or made up, if anything.
pub fn whole_is_there(
    sound: &Pages,
    changed: &Pages,
    old: &Contents,
    history: &History,
    (found, target): &(Salvaged, PathBuf),
) -> Result<(), String> {
    let new = contents(target);
    let shown = |name: &[u8]| {
        name[name.len().saturating_sub(20)..]
            .escape_ascii()
            .to_string()
    };
    for (name, device) in &new.devices {
        hold(history[name].contains(device), || {
            format!("{} is made up", shown(name))
        })?;
    }
    hold(!found.complete || new == *old, || {
        "it is not all".to_owned()
    })?;
    for id in &new.ids.free {
        hold(old.ids.free.contains(id), || format!("{id} was not free"))?;
    }
    let owned: BTreeSet<u32> = new
        .devices
        .values()
        .map(|device| device.device_id)
        .collect();
    for id in old.devices.values().map(|device| device.device_id) {
        let ids = &new.ids;
        let known = id > ids.last_id || ids.faulty.contains(&id) || owned.contains(&id);
        hold(known, || format!("{id} is nowhere"))?;
    }
    let same = |page: u64| {
        let page = sound.at(page)..sound.at(page) + PAGE;
        sound.0.get(page.clone()) == changed.0.get(page)
    };
    let leaves = sound.leaves(Tree::Devices);
    for leaf in leaves.into_iter().filter(|leaf| same(*leaf)) {
        for at in 0..sound.nodes(leaf) {
            let name = sound.key(leaf, at);
            let first = || sound.u64(sound.value_at(leaf, at));
            let whole = !sound.is_far(leaf, at) || (first()..first() + 3).all(same);
            let left_out =
                found.report.findings.iter().any(|finding| {
                    finding.kind == SharedId && finding.name.as_deref() == Some(name)
                });
            let [new, old] = [&new, old].map(|contents| contents.devices.get(name));
            hold(!whole || left_out || new == old, || {
                format!(
                    "{} is {}",
                    shown(name),
                    if new.is_some() { "older" } else { "lost" }
                )
            })?;
        }
    }
    Ok(())
}
