//! The store's file and those beside it.

use std::fs;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::mounts::parent;
use super::Findings;
use crate::text;

pub fn look(path: &Path, found: &mut Findings) {
    if let Ok(store) = fs::metadata(path) {
        rights(path, &store, found);
        lock_file(path, &store, found);
        left_over(path, found);
        kept(path, found);
    }
}

fn shown(path: &Path) -> String {
    text::escape_message(&path.to_string_lossy())
}

fn rights(path: &Path, store: &Metadata, found: &mut Findings) {
    let mode = store.mode() & 0o777;
    if mode & 0o022 != 0 {
        let what = format!(
            "{} may be written by other users (mode {mode:o})",
            shown(path)
        );
        found.problem("rights", what, format!("chmod 600 {}", shown(path)));
    }
}

fn lock_file(path: &Path, store: &Metadata, found: &mut Findings) {
    let lock = with_suffix(path, "-lock");
    match fs::metadata(&lock) {
        Ok(lock_file) if lock_file.uid() != store.uid() => {
            let owners = format!("user {} and user {}", lock_file.uid(), store.uid());
            found.problem(
                "lock file",
                format!("{} and the store belong to {owners}", shown(&lock)),
                format!(
                    "while nothing has the store open: chown --reference={} {}",
                    shown(path),
                    shown(&lock)
                ),
            );
        }
        Ok(_) => found.fine(
            "lock file",
            format!("{} belongs to the store's owner", shown(&lock)),
        ),
        Err(_) => found.fine(
            "lock file",
            "none: the next process that opens the store makes it",
        ),
    }
}

/// Temporary files.
fn left_over(path: &Path, found: &mut Findings) {
    const TEMPORARY: [&str; 4] = [
        ".partial-",
        ".restoring-",
        ".salvaging-",
        ".before-repair-1.partial-",
    ];
    let left = beside(path, |end| {
        end == ".new" || TEMPORARY.iter().any(|suffix| end.starts_with(suffix))
    });
    if !left.is_empty() {
        let names: Vec<_> = left.iter().map(|path| shown(path)).collect();
        found.note(
            "left over",
            format!(
                "temporary files of calls that run or were killed: {}",
                names.join(" ")
            ),
            "the next backup, restore or salvage to the same path removes them (docs/files.md)",
        );
    }
}

/// Files that a restore, a repair or a migration has kept.
fn kept(path: &Path, found: &mut Findings) {
    const KEPT: [&str; 3] = [".before-restore", ".before-repair-", ".bbolt"];
    let kept = beside(path, |end| {
        KEPT.iter().any(|suffix| end.starts_with(suffix)) && !end.contains(".partial-")
    });
    if !kept.is_empty() {
        let sizes = kept.iter().filter_map(|path| fs::metadata(path).ok());
        let bytes = sizes.map(|file| file.len()).sum();
        found.note(
            "kept files",
            format!(
                "{} of earlier states, {}",
                text::count(kept.len() as u64, "file"),
                text::size(bytes)
            ),
            "delete them once the store is known to be the right one (docs/files.md)",
        );
    }
}

/// The files beside the store whose names go on like that after the store's.
fn beside(path: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let Some(name) = path.file_name() else {
        return Vec::new();
    };
    let entries = fs::read_dir(parent(path)).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter(|entry| {
            let other = entry.file_name();
            let end = other.as_bytes().strip_prefix(name.as_bytes());
            end.is_some_and(|end| wanted(&String::from_utf8_lossy(end)))
        })
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

/// The path of another file beside the store.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
