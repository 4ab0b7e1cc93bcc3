//! Machines that the library is not made for: the build ends with one line that says why.

use std::process::Command;

#[test]
fn build_for_a_machine_of_another_kind_ends_with_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("build");
    let compiled = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()))
        .args(["--edition", "2021", "-o"])
        .arg(&program)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/build.rs"))
        .env("CARGO_PKG_VERSION_MAJOR", env!("CARGO_PKG_VERSION_MAJOR"))
        .status();
    assert!(compiled.unwrap().success());
    let build = |target: &str, width: &str, endian: &str| {
        let output = Command::new(&program)
            .env("TARGET", target)
            .env("CARGO_CFG_TARGET_POINTER_WIDTH", width)
            .env("CARGO_CFG_TARGET_ENDIAN", endian)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.success(), said)
    };
    for (target, width, endian) in [
        ("i686-unknown-linux-gnu", "32", "little"),
        ("s390x-unknown-linux-gnu", "64", "big"),
        ("powerpc-unknown-linux-gnu", "32", "big"),
    ] {
        let (built, said) = build(target, width, endian);
        assert!(!built && said.lines().count() == 1, "{said}");
        assert!(said.contains("64-bit, little-endian") && said.contains(target));
    }
    let good = build("aarch64-unknown-linux-gnu", "64", "little");
    assert_eq!(good, (true, String::new()));
}
