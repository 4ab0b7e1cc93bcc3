//! Tests that need a right or a program which a machine may not give: in a container, as an
//! ordinary user, under a filter of system calls.

use std::fs::File;
use std::io::Write;

/// Says that the test which runs in this thread is skipped, and what it needs; `make test` lists
/// such lines at its end (scripts/skipped.sh). For the case in which no other way is left.
pub fn skipped(needs: &str) {
    let program = std::env::current_exe().unwrap();
    let program = program.file_stem().unwrap().to_string_lossy();
    // cargo's hash is behind the name.
    let program = program.rsplit_once('-').map_or(&*program, |(name, _)| name);
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    eprintln!("skipped: needs {needs}");
    let Some(list) = std::env::var_os("PM_SKIPPED") else {
        return;
    };
    // In one write, since other tests write to it as well.
    let needs = needs.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let line = format!("{program}: {test}: needs {needs}\n");
    let opened = File::options().append(true).create(true).open(list);
    opened.unwrap().write_all(line.as_bytes()).unwrap();
}
