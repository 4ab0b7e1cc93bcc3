//! Gives the shared library its soname, so that programs record the name that `make install` sets
//! up, and keeps it loaded after `dlclose`: unloading would forget which files are open, and take
//! code away from under stores, walks and ending threads.

fn main() {
    let major = env!("CARGO_PKG_VERSION_MAJOR");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libpool_metadata.so.{major}");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo:rerun-if-changed=build.rs");
}
