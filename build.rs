//! Gives the shared library its soname, so that programs record the name that `make install` sets up.

fn main() {
    let major = env!("CARGO_PKG_VERSION_MAJOR");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libpool_metadata.so.{major}");
    println!("cargo:rerun-if-changed=build.rs");
}
