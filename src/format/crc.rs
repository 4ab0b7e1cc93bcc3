//! CRC32C of a key and a value.
//!
//! The `crc32c` crate is made for long inputs: it takes the bytes before the first and after the
//! last aligned word one at a time. That took half the time of a walk over rows of 70 bytes, so
//! short rows have a way of their own here where the processor has the instruction.
#![allow(unsafe_code)]

/// CRC32C of `first` and, behind it, `second`.
#[inline]
pub(crate) fn of_both(first: &[u8], second: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if first.len() + second.len() <= SHORT && is_x86_feature_detected!("sse4.2") {
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { short(first, second) };
    }
    any(first, second)
}

/// Of any length, on any processor. Kept apart so that what is inlined of the above is short.
#[inline(never)]
fn any(first: &[u8], second: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(first), second)
}

/// Beyond this many bytes, what the crate does with three words at a time pays off.
#[cfg(target_arch = "x86_64")]
const SHORT: usize = 768;

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2")]
fn short(first: &[u8], second: &[u8]) -> u32 {
    !advance(advance(!0, first), second)
}

/// The checksum's register after `bytes`. The instructions take words at any address.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "sse4.2")]
fn advance(register: u32, bytes: &[u8]) -> u32 {
    use std::arch::x86_64::{_mm_crc32_u16, _mm_crc32_u32, _mm_crc32_u64, _mm_crc32_u8};
    let mut rest = bytes;
    let mut wide = u64::from(register);
    while let Some((word, after)) = rest.split_first_chunk() {
        wide = _mm_crc32_u64(wide, u64::from_le_bytes(*word));
        rest = after;
    }
    let mut register = wide as u32;
    if let Some((four, after)) = rest.split_first_chunk() {
        register = _mm_crc32_u32(register, u32::from_le_bytes(*four));
        rest = after;
    }
    if let Some((two, after)) = rest.split_first_chunk() {
        register = _mm_crc32_u16(register, u16::from_le_bytes(*two));
        rest = after;
    }
    if let [one] = rest {
        register = _mm_crc32_u8(register, *one);
    }
    register
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_crc32c() {
        // The check value of the CRC catalogues, cut in two at every place.
        let digits = b"123456789";
        for cut in 0..=digits.len() {
            let (first, second) = digits.split_at(cut);
            assert_eq!(of_both(first, second), 0xe306_9283);
        }
    }

    #[test]
    fn every_length_gives_what_the_crate_gives() {
        let bytes: Vec<u8> = (0..2000_u32).map(|n| ((n * n) >> 3) as u8).collect();
        for len in (0..100).chain(700..800).chain([2000]) {
            for cut in [0, len / 3, len] {
                let (first, second) = bytes[..len].split_at(cut);
                assert_eq!(
                    of_both(first, second),
                    crc32c::crc32c(&bytes[..len]),
                    "{len} {cut}"
                );
            }
        }
    }
}
