//! The record decoder: whatever the bytes, an error or a device that encodes and decodes to itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pool_metadata::fuzzing::{decode, encode, seal};

fuzz_target!(|input: (&[u8], &[u8])| {
    let (name, body) = input;
    // As it is, the checksum is almost never right; with one that is, what lies behind it is
    // reached.
    let _ = decode(name, body);
    let sealed = seal(name, body);
    if let Ok(device) = decode(name, &sealed) {
        assert_eq!(device.name, name);
        let again = encode(&device).expect("what was decoded can be encoded");
        assert_eq!(decode(name, &again).expect("and decodes"), device);
    }
});
