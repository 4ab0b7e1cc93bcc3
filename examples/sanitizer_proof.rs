//! Makes the mistakes that a sanitizer must find, so that its silence about the tests is known to
//! mean something.
//!
//! `cargo run --example sanitizer_proof -- MISTAKE`, with one of the names below.
//! `scripts/sanitize.sh` runs each under the sanitizer whose task it is and expects its report.
//! Each is made once in Rust and once in LMDB's C, because the two are compiled apart.

#![allow(unsafe_code)] // that is what it is for

use std::hint::black_box;
use std::ptr::null_mut;

fn main() {
    let mistake = std::env::args().nth(1).unwrap_or_default();
    match mistake.as_str() {
        "use-after-free" => use_after_free(|place| {
            // SAFETY: none, on purpose: the memory was freed.
            unsafe { place.write(1) }
        }),
        "use-after-free-in-lmdb" => use_after_free(version_to),
        "race" => race(|place| {
            // SAFETY: none, on purpose: another thread does the same at the same time.
            unsafe { place.write(1) }
        }),
        "race-in-lmdb" => race(version_to),
        other => {
            eprintln!("no mistake is called {other:?}");
            std::process::exit(2);
        }
    }
    println!("the mistake was not noticed");
}

/// Has LMDB write an int there.
fn version_to(place: *mut i32) {
    // SAFETY: none, on purpose: what becomes of the place is the caller's mistake.
    unsafe { lmdb_sys::mdb_version(place, null_mut(), null_mut()) };
}

fn use_after_free(write: fn(*mut i32)) {
    let place = Box::into_raw(Box::new(0));
    // SAFETY: it came from a box a line above.
    drop(unsafe { Box::from_raw(place) });
    write(black_box(place));
}

fn race(write: fn(*mut i32)) {
    let place = Box::into_raw(Box::new(0));
    let address = place as usize;
    let threads = [(); 2].map(|()| {
        std::thread::spawn(move || (0..1000).for_each(|_| write(black_box(address as *mut i32))))
    });
    for thread in threads {
        let _ = thread.join();
    }
    // SAFETY: it came from a box, and both threads have ended.
    drop(unsafe { Box::from_raw(place) });
}
