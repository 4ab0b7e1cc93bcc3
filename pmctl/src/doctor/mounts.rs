//! The file system that the store is on.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

use super::Findings;
use crate::text;

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    at: PathBuf,
    kind: String,
    read_only: bool,
}

/// File systems of other machines, where locks and maps do not hold between hosts.
const REMOTE: [&str; 9] = [
    "9p",
    "afs",
    "ceph",
    "cifs",
    "fuse.glusterfs",
    "fuse.sshfs",
    "nfs",
    "nfs4",
    "smb3",
];

/// With less space than this, or than the file is large, the next commits can fail.
const LITTLE_SPACE: u64 = 64 << 20;

pub fn look(path: &Path, found: &mut Findings) {
    let Ok(directory) = parent(path).canonicalize() else {
        return;
    };
    let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
    if let Some(mount) = mount_of(&table, &directory) {
        judge(&mount, found);
    }
    let size = fs::metadata(path).map(|file| file.len()).unwrap_or(0);
    if let Ok(space) = statvfs(&directory) {
        let free = space.blocks_available() * space.fragment_size();
        judge_space(free, size, found);
    }
}

/// The directory that a path is in.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn judge(mount: &Mount, found: &mut Findings) {
    let about = "file system";
    let at = text::escape_message(&mount.at.to_string_lossy());
    let what = format!("{} at {at}", mount.kind);
    if REMOTE.contains(&&*mount.kind) {
        let advice = "put the store on a local file system (root_path in containerd's config.toml)";
        return found.problem(about, format!("{what} is on another machine"), advice);
    }
    if mount.read_only {
        let advice = format!(
            "look for the reason (dmesg), then: mount -o remount,rw {at}; containerd has to be \
             started again"
        );
        return found.problem(about, format!("{what} is mounted read-only"), advice);
    }
    match &*mount.kind {
        "tmpfs" | "ramfs" => found.problem(
            about,
            format!("{what} is gone after a reboot, and the pool is not"),
            "put the store on a disk (root_path in containerd's config.toml)",
        ),
        "overlay" => found.note(
            about,
            format!("{what}: the root of a container; a store belongs on a volume of the host"),
            "",
        ),
        _ => found.fine(about, what),
    }
}

fn judge_space(free: u64, size: u64, found: &mut Findings) {
    let about = "space";
    let left = text::size(free);
    if free == 0 {
        let advice = "free space; removals go on working (docs/operators.md, \"The disk is full\")";
        found.problem(about, "the disk is full", advice);
    } else if free < LITTLE_SPACE.max(size) {
        let what = format!("{left} are left, for a store of {}", text::size(size));
        found.note(about, what, "free space before it is needed");
    } else {
        found.fine(about, format!("{left} are left"));
    }
}

/// The mount that a directory is on: the last one with the longest path above it. The paths of
/// others may have any bytes.
fn mount_of(mountinfo: &[u8], directory: &Path) -> Option<Mount> {
    let above = |mount: &Mount| directory.starts_with(&mount.at);
    let table = String::from_utf8_lossy(mountinfo);
    let mounts = table.lines().filter_map(parse).filter(above);
    mounts.max_by_key(|mount| mount.at.components().count())
}

/// Reads a line of /proc/self/mountinfo (see proc(5)).
fn parse(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let words: Vec<_> = before.split(' ').collect();
    let mut about = after.split(' ');
    let kind = about.next()?.to_owned();
    let super_options = about.nth(1)?;
    let read_only = |options: &str| options.split(',').any(|option| option == "ro");
    Some(Mount {
        at: PathBuf::from(unescape(words.get(4)?)),
        kind,
        read_only: read_only(words.get(5)?) || read_only(super_options),
    })
}

/// The kernel writes blanks in paths as octal numbers.
fn unescape(text: &str) -> String {
    [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    const TABLE: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
23 22 0:21 / /data rw - xfs /dev/sdb1 ro,noatime
24 22 0:22 / /data/with\\040blank rw - tmpfs tmpfs rw
25 22 0:23 / /net ro,nosuid - nfs4 server:/x rw
26 22 0:24 / /data rw - ext4 /dev/sdc1 rw
";

    #[test]
    fn mount_is_the_last_with_the_longest_path_above() {
        let mut table = TABLE.as_bytes().to_vec();
        table.extend(b"27 22 8:1 / /media/\xfc rw - vfat /dev/sdd1 rw\n");
        let kind = |path: &str| mount_of(&table, Path::new(path)).unwrap();
        assert_eq!(kind("/var/lib").kind, "ext4");
        assert_eq!(kind("/database").at, Path::new("/"));
        assert_eq!(
            (kind("/data/x").kind.as_str(), kind("/data/x").read_only),
            ("ext4", false)
        );
        assert_eq!(kind("/data/with blank").kind, "tmpfs");
        assert!(kind("/net/a").read_only);
        assert_eq!(mount_of(b"broken\n", Path::new("/")), None);
    }

    #[test]
    fn unsuitable_file_systems_and_little_room_are_named() {
        let of = |line: &str| {
            let mut found = Findings::default();
            judge(&parse(line).unwrap(), &mut found);
            (found.all[0].level, found.all[0].what.clone())
        };
        let lines: Vec<_> = TABLE.lines().map(of).collect();
        assert_eq!(lines[0], (Level::Fine, "ext4 at /".to_owned()));
        assert_eq!(
            lines[1],
            (
                Level::Problem,
                "xfs at /data is mounted read-only".to_owned()
            )
        );
        assert!(lines[2].0 == Level::Problem && lines[2].1.contains("gone after a reboot"));
        assert!(lines[3].1.contains("is on another machine"));
        let level = |free, size| {
            let mut found = Findings::default();
            judge_space(free, size, &mut found);
            found.all[0].level
        };
        assert_eq!(level(0, 1), Level::Problem);
        assert_eq!(level(1 << 20, 1), Level::Note);
        assert_eq!(level(1 << 30, 2 << 30), Level::Note);
        assert_eq!(level(1 << 30, 1), Level::Fine);
    }
}
