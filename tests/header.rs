//! `include/pool_metadata.h` is what cbindgen makes of `src/capi`.

use std::path::Path;

/// The files that the header is made of, in the order in which a reader wants them.
const TOPICS: [&str; 21] = [
    "version",
    "sizes",
    "status",
    "types",
    "block",
    "handle",
    "store",
    "running_reads",
    "device",
    "update",
    "walk",
    "changes",
    "lists",
    "ids",
    "journal",
    "reconcile",
    "import",
    "backup",
    "report",
    "check",
    "salvage",
];

/// The files of `src/capi` that declare nothing for C.
const INSIDE: [&str; 4] = ["mod", "args", "guard", "cancel"];

/// A file that is in neither list would be left out of the header without an error.
#[test]
fn every_file_of_the_c_abi_is_listed() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/capi");
    let mut found: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let mut listed: Vec<&str> = TOPICS.into_iter().chain(INSIDE).collect();
    found.sort();
    listed.sort();
    assert_eq!(found, listed);
}

#[test]
fn committed_header_is_the_generated_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    let mut builder = cbindgen::Builder::new().with_config(config);
    for topic in TOPICS {
        builder = builder.with_src(root.join(format!("src/capi/{topic}.rs")));
    }
    let bindings = builder.generate().unwrap();
    let mut generated = Vec::new();
    bindings.write(&mut generated);
    let generated = String::from_utf8(generated).unwrap();
    let header = root.join("include/pool_metadata.h");
    if std::env::var_os("PM_UPDATE_HEADER").is_some() {
        std::fs::write(&header, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(&header).unwrap_or_default();
    assert!(
        committed == generated,
        "include/pool_metadata.h is not what src/capi says; run `make header` and commit the result"
    );
}

/// A program that was compiled with an older header passes a shorter struct: which ones still work
/// has to be known. c-tests/test_error.c holds the numbers.
#[test]
fn every_struct_whose_size_a_caller_sets_says_the_smallest_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let header = std::fs::read_to_string(root.join("include/pool_metadata.h")).unwrap();
    let comments = header.split("  size_t struct_size;").map(|before| {
        let at = before.rfind("/**").unwrap();
        before[at..].replace("\n   *", "")
    });
    let set_by_callers: Vec<String> = comments
        .filter(|comment| comment.contains("set by the caller"))
        .collect();
    assert!(set_by_callers.len() > 8, "{set_by_callers:?}");
    for comment in set_by_callers {
        let says = comment.contains(", at least ") || comment.contains("The smallest has room");
        assert!(says, "{comment}");
    }
}
