//! `include/pool_metadata.h` is what cbindgen makes of `src/capi`.

use std::path::Path;

/// The files that the header is made of, in the order in which a reader wants them.
const TOPICS: [&str; 14] = [
    "version", "status", "types", "block", "handle", "store", "device", "update", "walk",
    "changes", "import", "backup", "check", "salvage",
];

#[test]
fn the_committed_header_is_the_generated_one() {
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
