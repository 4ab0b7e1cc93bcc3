//! Which processes have the store open, and whether containerd is one of them.

use std::fs;
use std::path::Path;

use super::Findings;
use crate::processes::{self, Process};

/// The daemons that have a store: containerd, and its snapshotter as a program of its own. The
/// kernel keeps 15 bytes of a name.
const DAEMONS: [&str; 2] = ["containerd", "devmapper-snaps"];

pub fn look(path: &Path, found: &mut Findings) {
    let about = "processes";
    let holders = match processes::others(path) {
        Ok(holders) => holders,
        Err(why) => {
            let what = format!("which processes have the store open is not known: {why}");
            return found.note(about, what, "");
        }
    };
    if !holders.is_empty() {
        let names = holders.iter().map(Process::name);
        let names = names.collect::<Vec<_>>().join(", ");
        return found.fine(about, format!("the store is open in {names}"));
    }
    match programs().find(|program| DAEMONS.contains(&&**program)) {
        None => found.fine(about, "nobody has the store open"),
        Some(daemon) => found.note(
            about,
            format!("{daemon} runs and does not have the store open, so far as this user may see"),
            "ask it why: ctr plugins ls -d id==devmapper; journalctl -u containerd -g devmapper",
        ),
    }
}

/// A process, other than this one, that has the store open, as far as this user may look.
pub fn open_elsewhere(path: &Path) -> Option<String> {
    let first = processes::others(path).ok()?.into_iter().next()?;
    Some(format!("process {}", first.name()))
}

/// The programs of all processes.
fn programs() -> impl Iterator<Item = String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| processes::program(entry.file_name().to_str()?.parse().ok()?))
}
