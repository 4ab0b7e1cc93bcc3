//! The checksum at the end of every row: CRC32C over its key and the bytes before the checksum, so
//! that a row found under another key is an error.
//!
//! The `crc32c` crate is made for long inputs: it takes the bytes before the first and after the
//! last aligned word one at a time, which took half of the time of a walk over rows of 70 bytes.
//! Short rows are done here where the processor has the instruction, for the `make bench` lines
//! `pm_walk_next in pages / raw cursor` and `pm_get_device / raw get`.
#![allow(unsafe_code)]

/// Bytes of a checksum.
pub(crate) const LEN: usize = 4;

/// The checksum of a row, as its last bytes hold it.
#[inline]
pub(crate) fn checksum(key: &[u8], body: &[u8]) -> [u8; LEN] {
    of_both(key, body).to_le_bytes()
}

/// The body of a row's value, if the checksum behind it holds.
#[inline]
pub(crate) fn checked<'a>(key: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
    let (body, sum) = value.split_last_chunk::<LEN>()?;
    (checksum(key, body) == *sum).then_some(body)
}

/// CRC32C of `first` and, behind it, `second`.
#[inline]
fn of_both(first: &[u8], second: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if first.len() + second.len() <= SHORT && is_x86_feature_detected!("sse4.2") {
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { short(first, second) };
    }
    any(first, second)
}

/// Inputs of any length, on any processor. It is not inlined, which keeps its callers short.
#[inline(never)]
fn any(first: &[u8], second: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(first), second)
}

/// Longest input that is faster here. The crate runs three instructions at once, which pays off
/// for longer ones.
#[cfg(target_arch = "x86_64")]
const SHORT: usize = 768;

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2")]
fn short(first: &[u8], second: &[u8]) -> u32 {
    !advance(advance(!0, first), second)
}

/// The checksum's register after `bytes`. The instructions read words at any address.
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
    fn check_value_of_the_crc_catalogues_holds() {
        // Cut in two at every offset.
        let digits = b"123456789";
        for cut in 0..=digits.len() {
            let (first, second) = digits.split_at(cut);
            assert_eq!(of_both(first, second), 0xe306_9283);
        }
    }

    #[test]
    fn every_length_gives_the_checksum_of_the_crate() {
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
