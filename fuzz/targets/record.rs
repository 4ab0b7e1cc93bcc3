//! The record decoder: any bytes give an error, or a device that encodes and decodes to itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pool_metadata::fuzzing::{decode, encode, seal};

fuzz_target!(|input: (&[u8], &[u8])| {
    let (name, body) = input;
    // The checksum of random bytes is almost never right, so they are tried with a right one as
    // well.
    let _ = decode(name, body);
    let sealed = seal(name, body);
    if let Ok(device) = decode(name, &sealed) {
        assert_eq!(device.name, name);
        let again = encode(&device).expect("what was decoded can be encoded");
        assert_eq!(decode(name, &again).expect("and decodes"), device);
    }
});
