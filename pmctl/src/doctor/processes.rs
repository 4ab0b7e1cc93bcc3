//! Which processes have the store open, and whether containerd is one of them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Findings;
use crate::text;

/// A process that has the store open.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Holder {
    pid: u32,
    program: String,
}

/// The daemons that have a store: containerd, and its snapshotter as a program of its own. The
/// kernel keeps 15 bytes of a name.
const DAEMONS: [&str; 2] = ["containerd", "devmapper-snaps"];

pub fn look(path: &Path, found: &mut Findings) {
    let about = "processes";
    let holders = holders(path);
    if !holders.is_empty() {
        let names = holders
            .iter()
            .map(|holder| format!("{} ({})", holder.pid, holder.program));
        let names = names.collect::<Vec<_>>().join(", ");
        return found.fine(about, format!("the store is open in {names}"));
    }
    match processes().find(|(_, program)| DAEMONS.contains(&&**program)) {
        None => found.fine(about, "nobody has the store open"),
        Some((_, daemon)) => found.note(
            about,
            format!("{daemon} runs and does not have the store open, so far as this user may see"),
            "ask it why: ctr plugins ls -d id==devmapper; journalctl -u containerd -g devmapper",
        ),
    }
}

/// A process, other than this one, that has the file open, as far as this user may look.
pub fn open_elsewhere(path: &Path) -> Option<String> {
    let first = holders(path).into_iter().next()?;
    Some(format!("process {} ({})", first.pid, first.program))
}

/// Processes that have the file open, as far as this user may look.
fn holders(path: &Path) -> Vec<Holder> {
    let Ok(file) = fs::metadata(path) else {
        return Vec::new();
    };
    let this = std::process::id();
    let mut found = Vec::new();
    for (pid, program) in processes().filter(|(pid, _)| *pid != this) {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten();
        let is_the_file = |descriptor: std::io::Result<fs::DirEntry>| {
            let descriptor = descriptor.ok()?;
            let open = fs::metadata(descriptor.path()).ok()?;
            (open.ino() == file.ino() && open.dev() == file.dev()).then_some(())
        };
        if descriptors
            .into_iter()
            .any(|descriptor| is_the_file(descriptor).is_some())
        {
            found.push(Holder { pid, program });
        }
    }
    found
}

/// All processes with the names of their programs.
fn processes() -> impl Iterator<Item = (u32, String)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let name = fs::read(entry.path().join("comm")).ok()?;
        Some((pid, text::escape(name.trim_ascii_end())))
    })
}
