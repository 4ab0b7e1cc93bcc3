//! Imports of `src/` run one way: a room imports from the rooms below it, and no files import each
//! other in a circle.

mod imports;

use imports::{file_of, imports, read_files, Import, Sources};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The rooms of `src/`, from the lowest layer up. Those that share a layer do not import each
/// other. `lib` is lib.rs.
const LAYERS: [&[&str]; 12] = [
    &["limits"],
    &["error"],
    &["device", "device_ids", "histogram", "journal"],
    &["stats", "sync", "format", "reconcile"],
    &["verify"],
    &["file"],
    &["lmdb"],
    &["audit"],
    &["salvage"],
    &["store"],
    &["lib"],
    &["capi", "fuzzing"],
];
/// The only module that calls LMDB, by its C functions or by its Rust wrapper.
const RAW: &str = "lmdb::raw";

fn room(module: &str) -> &str {
    module.split("::").next().unwrap()
}

fn layer(module: &str) -> Option<usize> {
    LAYERS
        .iter()
        .position(|rooms| rooms.contains(&room(module)))
}

fn is_in(module: &str, room: &str) -> bool {
    module == room
        || module
            .strip_prefix(room)
            .is_some_and(|rest| rest.starts_with("::"))
}

/// What is wrong with an import by itself.
fn flaw(import: &Import, to: &str) -> Option<&'static str> {
    let Import { from, path } = import;
    if path.starts_with("::lmdb") {
        return (!is_in(from, RAW)).then_some("only lmdb/raw calls LMDB");
    }
    match (layer(from), layer(to)) {
        (None, _) => Some("the importing room is in no layer"),
        (_, None) => Some("the imported room is in no layer"),
        (Some(_), Some(_)) if room(from) == room(to) => None,
        _ if to == "lib" => Some("lib.rs is for users; name the module"),
        (Some(from), Some(to)) if to > from => Some("this runs up"),
        (Some(from), Some(to)) if to == from => Some("these rooms share a layer"),
        _ => None,
    }
}

/// A way from one file to another along imports, both ends included.
fn way(graph: &BTreeMap<String, BTreeSet<String>>, from: &str, to: &str) -> Option<Vec<String>> {
    let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut next = vec![from];
    while let Some(file) = next.pop() {
        if file == to {
            let back = std::iter::successors(Some(to), |file| came_from.get(file).copied());
            let mut way: Vec<_> = back.map(str::to_owned).collect();
            way.reverse();
            return Some(way);
        }
        for other in graph.get(file).into_iter().flatten() {
            if other != from && !came_from.contains_key(other.as_str()) {
                came_from.insert(other, file);
                next.insert(0, other);
            }
        }
    }
    None
}

/// Everything that is wrong with the imports of these files, a line each.
fn violations(sources: &Sources) -> Vec<String> {
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for import in &imports(sources) {
        let to = file_of(sources, &import.path);
        if let Some(flaw) = flaw(import, &to) {
            wrong.push(format!("{import}: {flaw}"));
        }
        if import.path.starts_with("::") {
            continue;
        }
        graph.entry(import.from.clone()).or_default().insert(to);
    }
    let mut in_circles = BTreeSet::new();
    for (file, imported) in &graph {
        for other in imported {
            let Some(circle) = way(&graph, other, file) else {
                continue;
            };
            if circle.iter().any(|file| !in_circles.contains(file)) {
                wrong.push(format!(
                    "a circle: {file} imports {}",
                    circle.join(" imports ")
                ));
                in_circles.extend(circle);
            }
        }
    }
    wrong
}

#[test]
fn imports_of_src_run_one_way() {
    let sources = read_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(sources.len() > 50 && sources.contains_key("lib"));
    let wrong = violations(&sources);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with made-up files, each with its module and its text.
fn violations_of(files: &[(&str, &str)]) -> Vec<String> {
    let sources = files
        .iter()
        .map(|(file, text)| (file.to_string(), text.to_string()));
    violations(&sources.collect())
}

#[test]
fn import_that_runs_up_is_found_wherever_it_stands() {
    let texts = [
        "use crate::lmdb::env::Env;",
        "use crate::{error::Error, lmdb::env::{self, Env}};",
        "use super::super::lmdb::env as e;",
        "fn f() -> crate::lmdb::env::Env { todo!() }",
        "fn f() { assert!(matches!(x, crate::lmdb::env::State::Open)); }",
        "mod tests { use super::super::super::lmdb::env::*; }",
        "pub(in crate::format) use crate::lmdb::env::Env;",
    ];
    for text in texts {
        let found = violations_of(&[
            ("error", ""),
            ("format", ""),
            ("format::record", text),
            ("lmdb", ""),
            ("lmdb::env", ""),
        ]);
        let wanted = "format::record imports crate::lmdb::env";
        assert!(!found.is_empty(), "{text}");
        assert!(
            found.iter().all(|line| line.starts_with(wanted)),
            "{text}: {found:?}"
        );
    }
}

#[test]
fn import_that_runs_down_or_is_only_written_about_is_none() {
    let text = r##"
        //! Unlike `crate::store`, this ends in `mdb_txn_abort`.
        use crate::error::Error; // not crate::store::Pool
        pub(crate) fn f(store: store::Pool) -> &'static str { r#"crate::store::Pool"# }
        mod tests { use super::*; use crate::format::crc; }
    "##;
    let files = [
        ("error", ""),
        ("format", ""),
        ("format::crc", ""),
        ("verify", text),
        ("store", ""),
    ];
    assert_eq!(violations_of(&files), [""; 0]);
}

#[test]
fn import_beside_a_layer_or_through_lib_is_found() {
    let found = violations_of(&[
        ("lib", "pub use error::Error;"),
        ("error", ""),
        ("sync", "use crate::format::crc::crc;"),
        ("format", ""),
        ("format::crc", ""),
        ("capi", "use crate::Error;"),
        ("shed", "use crate::error::Error;"),
    ]);
    assert_eq!(
        found,
        [
            "capi imports crate::Error: lib.rs is for users; name the module",
            "shed imports crate::error::Error: the importing room is in no layer",
            "sync imports crate::format::crc::crc: these rooms share a layer",
        ]
    );
}

#[test]
fn lmdb_is_called_from_its_raw_room_only() {
    let raw = "use lmdb_sys as ffi; fn f() { unsafe { ffi::mdb_env_sync(env, 1) }; }";
    let wrapper = "use lmdb::Environment;";
    let good = [("lmdb::raw", raw), ("lmdb::raw::environment", wrapper)];
    assert_eq!(violations_of(&good), [""; 0]);
    let found = violations_of(&[("verify", wrapper), ("file", raw), ("lmdb", wrapper)]);
    assert_eq!(
        found,
        [
            "file imports ::lmdb_sys::lmdb_sys: only lmdb/raw calls LMDB",
            "file imports ::lmdb_sys::mdb_env_sync: only lmdb/raw calls LMDB",
            "lmdb imports ::lmdb::Environment: only lmdb/raw calls LMDB",
            "verify imports ::lmdb::Environment: only lmdb/raw calls LMDB",
        ]
    );
}

#[test]
fn circle_of_files_is_found_within_a_room() {
    let found = violations_of(&[
        ("verify", "mod tree; fn f() { tree::check() }"),
        ("verify::tree", "use super::rows::Rows;"),
        ("verify::rows", "use crate::verify::Level;"),
        ("verify::page", "use crate::verify::Level;"),
    ]);
    assert_eq!(
        found,
        ["a circle: verify imports verify::tree imports verify::rows imports verify"]
    );
    let alone = [
        ("verify", "mod tree;"),
        ("verify::tree", "use super::Level;"),
    ];
    assert_eq!(violations_of(&alone), [""; 0]);
}
