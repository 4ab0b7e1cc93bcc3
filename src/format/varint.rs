//! Numbers as bincode writes them in its standard configuration: a small one is its own byte, a
//! larger one stands behind a byte that says how wide it is, little-endian.
//!
//! bincode's own writer could as well write to a stream, and every write of a store paid for that.
//! Tests hold this one to it.

/// What stands before a number of two, four, eight and sixteen bytes. Below the first, the byte is
/// the number itself.
pub(crate) const TWO: u8 = 251;
pub(crate) const FOUR: u8 = 252;
pub(crate) const EIGHT: u8 = 253;
const SIXTEEN: u8 = 254;

/// Most bytes that a number of up to eight bytes takes.
pub(crate) const MOST: usize = 9;
/// Most bytes that a number of sixteen takes.
pub(crate) const MOST_WIDE: usize = 17;

/// Writes a number of up to eight bytes, of whichever type: its value alone says how.
#[inline]
pub(crate) fn put(out: &mut Vec<u8>, number: u64) {
    let [a, b, c, d, e, f, g, h] = number.to_le_bytes();
    if number < TWO.into() {
        out.push(a);
    } else if number <= u16::MAX.into() {
        out.extend_from_slice(&[TWO, a, b]);
    } else if number <= u32::MAX.into() {
        out.extend_from_slice(&[FOUR, a, b, c, d]);
    } else {
        out.extend_from_slice(&[EIGHT, a, b, c, d, e, f, g, h]);
    }
}

/// Writes a number of up to sixteen bytes.
#[inline]
pub(crate) fn put_wide(out: &mut Vec<u8>, number: u128) {
    match u64::try_from(number) {
        Ok(narrow) => put(out, narrow),
        Err(_) => {
            out.push(SIXTEEN);
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use bincode::config;

    use super::*;

    #[test]
    fn every_width_is_written_as_bincode_does() {
        for bits in 0..=128_u32 {
            let edge = 1_u128.checked_shl(bits).unwrap_or(0);
            for by in [-6_i128, -5, -4, -1, 0, 1, 5] {
                let number = edge.wrapping_add_signed(by);
                let mut wide = Vec::new();
                put_wide(&mut wide, number);
                assert_eq!(
                    wide,
                    bincode::encode_to_vec(number, config::standard()).unwrap(),
                    "{number}"
                );
                assert!(wide.len() <= MOST_WIDE);
                let mut narrow = Vec::new();
                put(&mut narrow, number as u64);
                assert_eq!(
                    narrow,
                    bincode::encode_to_vec(number as u64, config::standard()).unwrap(),
                    "{number}"
                );
                assert!(narrow.len() <= MOST);
            }
        }
    }
}
