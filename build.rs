//! Gives the shared library its soname, so that programs record the name that `make install` sets
//! up, and keeps it loaded after `dlclose`: unloading would forget which files are open, and take
//! code away from under stores, walks and ending threads.

use std::env;
use std::process::exit;

fn main() {
    check_target();
    let major = env!("CARGO_PKG_VERSION_MAJOR");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libpool_metadata.so.{major}");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo:rerun-if-changed=build.rs");
}

/// Refuses machines for which the file format and LMDB's maps are not made, before anything is
/// compiled: a store has little-endian numbers of 64 bits, which are used in place.
fn check_target() {
    let is = |what: &str, wanted: &str| env::var(what).is_ok_and(|found| found == wanted);
    if !is("CARGO_CFG_TARGET_POINTER_WIDTH", "64") || !is("CARGO_CFG_TARGET_ENDIAN", "little") {
        let target = env::var("TARGET").unwrap_or_default();
        eprintln!("pool-metadata needs a 64-bit, little-endian machine, which {target} is not");
        exit(1);
    }
}
